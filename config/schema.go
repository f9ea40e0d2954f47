package config

import (
	"encoding/json"
	"maps"
	"slices"
)

// schema is a part of a JSON Schema.
type schema map[string]any

// Schema is a JSON Schema of otto.yaml, for editors. It is made from the same
// tables that read the file, so that it knows each key that they know.
func Schema() []byte {
	s := documentObject().schema()
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "otto.yaml"
	s["$defs"] = schema{"service": serviceSchema()}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // strings, numbers and maps of them: cannot happen
	}
	return append(b, '\n')
}

func (o object[T]) schema() schema {
	properties := schema{}
	for name, k := range o.keys {
		// Compose takes a key without a value for one that is not there.
		p := oneOf(k.schema, schema{"type": "null"})
		p["description"] = k.doc
		properties[name] = p
	}
	s := schema{
		"type":                 "object",
		"properties":           properties,
		"patternProperties":    schema{"^x-": schema{}},
		"additionalProperties": false,
	}
	if len(o.required) > 0 {
		s["required"] = slices.Sorted(maps.Keys(o.required))
	}
	return s
}

// serviceSchema is of a service in a list and in a mapping: only in a list it
// must have a name, which servicesSchema adds.
func serviceSchema() schema {
	s := serviceObject(true).schema()
	s["required"] = []string{"image"}
	return s
}

func servicesSchema() schema {
	service := schema{"$ref": "#/$defs/service"}
	named := schema{"allOf": []schema{service, {"required": []string{"name"}}}}
	return oneOf(schema{"type": "array", "items": named}, schema{"type": "object", "additionalProperties": service})
}

func oneOf(schemas ...schema) schema { return schema{"anyOf": schemas} }

func oneOfKinds(kinds ...string) schema { return schema{"type": kinds} }

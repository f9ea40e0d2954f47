package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// SetReplicas returns the content of an otto.yaml with another number of replicas
// of a service. All other lines stay as they are.
func SetReplicas(data []byte, service string, n int) ([]byte, error) {
	out, err := changed(data, func(e *edit) error {
		at, err := e.service(service)
		if err != nil {
			return err
		}
		return e.setReplicas(at, strconv.Itoa(n))
	})
	if err != nil {
		return nil, orOfStack(err, service, "write replicas: %d at service %s", n, service)
	}
	return out, nil
}

// RemoveService returns the content of an otto.yaml without a service. All other
// lines stay as they are.
func RemoveService(data []byte, service string) ([]byte, error) {
	out, err := changed(data, func(e *edit) error {
		at, err := e.service(service)
		if err != nil {
			return err
		}
		if at.list != nil {
			at.list.remove(at.index, false)
			return nil
		}
		lines, err := e.entry(at)
		if err != nil {
			return err
		}
		e.removeLines(lines)
		if s := at.services; len(s.Content) > 2 {
			s.Content = append(s.Content[:at.index-1:at.index-1], s.Content[at.index+1:]...)
		} else {
			*s = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
		}
		return nil
	})
	if err != nil {
		return nil, orOfStack(err, service, "take service %s out of it", service)
	}
	return out, nil
}

// orOfStack says where a service is written that otto.yaml has only by its stack, or what to do
// by hand.
func orOfStack(err error, service, format string, args ...any) error {
	if stack, short, ok := strings.Cut(service, "/"); ok {
		return fmt.Errorf("%s is in the Compose file of stack %s: change %s there, and run `otto apply`",
			service, stack, short)
	}
	return byHand(err, format, args...)
}

// editedService is a service in a list or in a mapping of services.
type editedService struct {
	services, node *yaml.Node
	index          int         // of its item in a list, of its value in a mapping
	list           *editedList // nil if it is in a mapping, or in a list in one line
}

// service finds a service.
func (e *edit) service(name string) (at editedService, err error) {
	missing := fmt.Errorf("its services have no %s", name)
	at.services = valueOf(e.root, "services")
	switch s := at.services; {
	case s == nil:
		return at, missing
	case e.shared[s]:
		return at, errors.New("its services are used elsewhere in it, too")
	case s.Kind == yaml.MappingNode:
		if at.index = find(s, name); at.index == 0 {
			return at, missing
		}
	case s.Kind == yaml.SequenceNode:
		if at.index = named(s, "name", name); at.index < 0 {
			return at, missing
		}
		if at.list, err = e.list("services"); err != nil {
			return at, err
		}
	default:
		return at, missing
	}
	at.node = at.services.Content[at.index]
	return at, nil
}

// entry is the lines of a service in a mapping with a key a line.
func (e *edit) entry(at editedService) (lines span, err error) {
	s := at.services
	if s.Style&yaml.FlowStyle != 0 {
		return lines, errors.New("its services are not written with one key a line")
	}
	key := s.Content[at.index-1]
	lines = span{key.Line - 1, e.below(find(e.root, "services"))}
	if at.index+1 < len(s.Content) {
		lines.end = s.Content[at.index+1].Line - 1
	}
	start := e.offset(key)
	if start < 0 || strings.TrimSpace(string(e.text[e.starts[lines.start]:start])) != "" {
		return lines, errors.New("its services are not written with one key a line")
	}
	return e.content(lines, s.Content[at.index]), nil
}

// setReplicas changes the number where it is given, or puts it in.
func (e *edit) setReplicas(at editedService, number string) error {
	s := at.node
	if s.Kind != yaml.MappingNode || len(s.Content) == 0 {
		return errors.New("the service has no keys of its own")
	}
	if e.shared[s] {
		return errors.New("the service is used elsewhere in it, too")
	}
	places := []*yaml.Node{valueOf(s, "replicas"), valueOf(s, "scale")}
	if deploy := valueOf(s, "deploy"); deploy != nil && deploy.Kind == yaml.MappingNode && !e.shared[deploy] {
		places = append(places, valueOf(deploy, "replicas"))
	}
	for _, v := range places {
		if v != nil {
			return e.setNumber(v, number)
		}
	}

	value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: number}
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "replicas"}
	pair := []*yaml.Node{key, value}
	if s.Style&yaml.FlowStyle != 0 { // before the second key, or else before the only one
		index := min(2, len(s.Content)-2)
		start := e.offset(s.Content[index])
		if start < 0 {
			return errNotAsWanted
		}
		e.splices = append(e.splices, splice{start: start, end: start, text: "replicas: " + number + ", "})
		s.Content = append(s.Content[:index:index], append(pair, s.Content[index:]...)...)
		return nil
	}

	// Behind the line in which its name stands: its first key in a list, its own in a mapping.
	index, before := 0, 0
	if at.list != nil {
		index = 2
		if before = at.list.items[at.index].end; len(s.Content) > 2 {
			before = s.Content[2].Line - 1
		}
		before = e.content(span{s.Content[0].Line - 1, before}, s.Content[1]).end
	} else {
		before = at.services.Content[at.index-1].Line
	}
	e.insertLines(before, indented(strings.Repeat(" ", max(s.Content[0].Column-1, 0)), "replicas: "+number))
	s.Content = append(s.Content[:index:index], append(pair, s.Content[index:]...)...)
	return nil
}

// setNumber replaces a number, with or without quotes.
func (e *edit) setNumber(v *yaml.Node, number string) error {
	if v.Kind != yaml.ScalarNode || v.Anchor != "" || strings.Trim(v.Value, "0123456789") != "" || v.Value == "" {
		return errors.New("its number of replicas is not written as a number")
	}
	raw := v.Value
	switch {
	case v.Style&yaml.DoubleQuotedStyle != 0:
		raw = `"` + raw + `"`
	case v.Style&yaml.SingleQuotedStyle != 0:
		raw = "'" + raw + "'"
	}
	start := e.offset(v)
	if start < 0 || !strings.HasPrefix(string(e.text[start:]), raw) {
		return errNotAsWanted
	}
	e.splices = append(e.splices, splice{start: start, end: start + len(raw), text: number})
	*v = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: number}
	return nil
}

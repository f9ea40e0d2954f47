package config

import (
	"errors"
	"io/fs"
	"maps"

	"github.com/otto-edge/otto"
)

// Policy is what a policy file of otto simulate says.
type Policy struct {
	Name string // one of those that there are; empty: the file leaves it open
	// Decisions and Weights have what the file has; the rest is the cluster's.
	Decisions otto.Decisions
	Weights   map[string]float64
}

// Over is what would be wanted of a cluster with the policy: what the file says
// goes before what the cluster has.
func (p Policy) Over(w otto.Wanted) otto.Wanted {
	w.Decisions = p.Decisions.Over(w.Decisions)
	if len(p.Weights) > 0 {
		weights := maps.Clone(w.Scheduler.Weights)
		if weights == nil {
			weights = map[string]float64{}
		}
		maps.Copy(weights, p.Weights)
		w.Scheduler.Weights = weights
	}
	return w
}

// policy is such a file as it is being read: a name, and keys of otto.yaml.
type policy struct {
	document
	policy string
}

func policyObject(names []string) object[policy] {
	own := func(k key[document]) key[policy] {
		return key[policy]{k.doc, k.schema, func(r *reader, v value, p *policy) { k.read(r, v, &p.document) }}
	}
	return object[policy]{noun: "a policy file", keys: map[string]key[policy]{
		"policy":    as("What decides about violations.", choice(names...), func(p *policy) *string { return &p.policy }),
		"decisions": own(decisionsKey()),
		"scheduler": own(schedulerKey()),
	}}
}

// LoadPolicy reads a policy file; names are the policies that there are. The error
// is Problems, also when there is no such file.
func LoadPolicy(path string, names []string, env func(string) (string, bool)) (Policy, error) {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Policy{}, Problems{{File: path, What: "there is no such file", Try: "name a policy or a file that is there"}}
	}
	if err != nil {
		return Policy{}, Problems{{File: path, What: reason(err), Try: "name a file that you may read"}}
	}
	return parsePolicy(path, data, names, env)
}

func parsePolicy(name string, data []byte, names []string, env func(string) (string, bool)) (Policy, error) {
	r := &reader{file: name, env: env}
	root, ok := r.parse(data)
	if !ok {
		return Policy{}, r.problems.sorted()
	}
	var p policy
	policyObject(names).read(r, root, &p)
	if len(r.problems) > 0 {
		return Policy{}, r.problems.sorted()
	}
	return Policy{p.policy, p.decisions, p.weights}, nil
}

package decide

import "github.com/otto-edge/otto"

// An instance of a unit goes nowhere without the others. Whatever is decided for one of
// them is asked, weighed and done for all.

// group are the instances that are placed with one and are where it is, in the order of
// the file; itself alone outside of a unit.
func (f *frame) group(i *instance) (list []*instance) {
	if i.of.Unit == "" {
		return []*instance{i}
	}
	for _, name := range f.Index.Together(i.name) {
		if o := f.instances[name]; o != nil && o.at == i.at {
			list = append(list, o)
		}
	}
	return list
}

// going are the instances that an action stops.
func (f *frame) going(i *instance, action string) []*instance {
	if action != otto.ActionMigrate {
		return []*instance{i}
	}
	return f.group(i)
}

// asks is what asks for a node when an instance has to go: its service, or its unit.
func (f *frame) asks(i *instance) *otto.Service {
	if u := f.Index.UnitOf(i.of); u != nil {
		return &u.Service
	}
	return &i.of.Service
}

// lift takes a group off the board, and returns how to put it back.
func (f *frame) lift(i *instance) (back func()) {
	group := f.group(i)
	for _, g := range group {
		f.state.Take(&g.of.Service, g.at)
	}
	return func() {
		for _, g := range group {
			f.state.Put(&g.of.Service, g.at)
		}
	}
}

// use is what a group takes of its node; it is not known if that of one is not.
func (f *frame) use(i *instance) (sum Use, measured bool) {
	if i.of.Unit == "" {
		sum, measured = f.Uses[i.name]
		return sum, measured
	}
	measured = true
	for _, g := range f.group(i) {
		u, known := f.Uses[g.name]
		measured = measured && known
		sum.Cores, sum.Most, sum.Memory = sum.Cores+u.Cores, sum.Most+max(u.Cores, u.Most), sum.Memory+u.Memory
	}
	return sum, measured
}

// named is what people are told goes.
func (f *frame) named(i *instance) string {
	if u := f.Index.UnitOf(i.of); u != nil {
		return u.Name
	}
	return i.name
}

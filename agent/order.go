package agent

import (
	"maps"
	"slices"

	"github.com/otto-edge/otto"
)

// needs are the services of its node without which an instance should not run.
func needs(inst otto.Instance) []string {
	services := inst.Spec.Lenders()
	for _, d := range inst.DependsOn {
		services = append(services, d.Service)
	}
	return services
}

// noteNeeds remembers what instances need: an assignment does not say that of those that
// are to go.
func (c *converger) noteNeeds(asg otto.Assignment) {
	if c.needs == nil {
		c.needs = map[string][]string{}
	}
	maps.DeleteFunc(c.needs, func(name string, _ []string) bool {
		return c.work[name] == nil &&
			!slices.ContainsFunc(c.containers, func(o otto.Container) bool { return o.Instance == name })
	})
	for _, inst := range asg.Instances {
		c.needs[inst.Name] = needs(inst)
	}
}

// order has what is to end wait for what needs it and is to end as well. An agent that has
// started since knows only of what is still wanted.
func (c *converger) order(all map[string]situation) {
	for name, s := range all {
		if !s.ends() || len(s.containers) == 0 {
			continue
		}
		service := s.containers[0].Service
		for _, other := range slices.Sorted(maps.Keys(all)) {
			o := all[other]
			runs := c.work[other] != nil || slices.ContainsFunc(o.containers, alive)
			stuck := c.attempts[other].err != "" // nobody waits for what cannot be stopped
			if other != name && o.ends() && runs && !stuck && slices.Contains(c.needs[other], service) {
				s.needed = other
				all[name] = s
				break
			}
		}
	}
}

// ends reports whether an instance is to be stopped for good.
func (s situation) ends() bool { return s.want == nil || s.stopped }

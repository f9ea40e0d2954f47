package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// hosts are the machines of every history.
func hosts() []string { return []string{"a", "b", "c"} }

// menu are the services that a history may ask for; one for each promise.
func menu() map[string]otto.Service {
	data := func(s otto.Service) otto.Service {
		s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: s.Name, Target: "/data"}}
		return s
	}
	calm := func(s otto.Service) otto.Service {
		r := otto.Requirement{Metric: "node.cpu", Aggregate: otto.AggregateLast, Operator: "<", Limit: 70, For: 5 * time.Second, Action: otto.ActionMigrate, Severity: otto.SeverityWarning, Unit: otto.UnitPercent}
		r.Clear = r.DefaultClear()
		s.Requirements = []otto.Requirement{r}
		return s
	}
	list := []otto.Service{
		{Name: "web"},  // anywhere, and on
		{Name: "pair"}, // two of it
		{Name: "home", Node: "a"},
		{Name: "guest", Node: "b", Failover: otto.FailoverMove, Rejoin: otto.RejoinHome},
		data(otto.Service{Name: "data", Node: "c"}),
		data(otto.Service{Name: "kept"}), // where it once was, for its data
		data(otto.Service{Name: "cache", Data: otto.DataDisposable}),
		calm(otto.Service{Name: "calm", Node: "a", Failover: otto.FailoverMove}), // away from a node that is busy
		calm(data(otto.Service{Name: "pond", Data: otto.DataDisposable})),
		data(otto.Service{Name: squat, Node: "b"}), // whose volume is another cluster's
		{Name: "lone", Node: "a", Failover: otto.FailoverMove, Data: otto.DataDisposable, Spec: otto.ContainerSpec{Exclusive: true}},
		{Name: "shelf", Unit: "shop"}, // with till
		calm(otto.Service{Name: "till", Unit: "shop"}),
		data(otto.Service{Name: "safe", Unit: "bank", Data: otto.DataDisposable}), // with door, and never twice
		{Name: "door", Unit: "bank", Data: otto.DataDisposable, Spec: otto.ContainerSpec{Exclusive: true}},
	}
	all := map[string]otto.Service{}
	for _, s := range list {
		s.Replicas = 1
		if s.Name == "pair" {
			s.Replicas = 2
		}
		s.Spec.Image = image
		all[s.Name] = s
	}
	return all
}

// squat is a service that must never run, and the name of its volume.
const squat = "squat"

// budget is what Otto may do by itself about requirements: so little, and with so short
// pauses, that histories come to its end.
var budget = otto.Decisions{
	Cooldown: 10 * time.Second, ReturnAfter: 20 * time.Second, Settle: 5 * time.Second, PerService: 2, PerCluster: 3,
}

// badVersion is a version of any service that does not start.
const badVersion = "0"

func isBad(s otto.ContainerSpec) bool { return s.Environment["VERSION"] == badVersion }

// keeping is the first version of a service whose data is not disposable: histories that
// are drawn do not come to it.
const keeping = 70

// order makes a wanted state of an order from the menu, such as web or web@2,
// which is another version of it.
func order(names []string) (otto.Wanted, error) {
	w := otto.Wanted{Interval: 5 * time.Second, Decisions: budget}
	for _, id := range hosts() {
		w.Nodes = append(w.Nodes, otto.Node{ID: id, Host: id, DockerURL: "unix:///var/run/docker.sock"})
	}
	for _, n := range names {
		name, version, _ := strings.Cut(n, "@")
		s, ok := menu()[name]
		if !ok {
			return w, fmt.Errorf("no service %s: there are %s", name, strings.Join(slices.Sorted(maps.Keys(menu())), ", "))
		}
		if version != "" {
			n, err := strconv.Atoi(version)
			if err != nil {
				return w, err
			}
			if n >= keeping {
				s.Data = ""
			}
			s.Spec.Environment = map[string]string{"VERSION": version}
		}
		w.Services = append(w.Services, s)
	}
	return w, nil
}

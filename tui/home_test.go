package tui

import (
	"fmt"
	"math"
	"time"

	"github.com/otto-edge/otto"
)

// noon is now in all screens.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func node(id string, cpu, memory, disk, temperature float64) otto.NodeStatus {
	return otto.NodeStatus{
		Node: otto.Node{ID: id, Host: id}, State: otto.NodeReady, Since: noon.Add(-time.Hour),
		Sample: &otto.NodeSample{
			CPUPercent: cpu, MemoryUsed: uint64(memory * 1e7), MemoryTotal: 1e9,
			DiskUsed: uint64(disk * 1e9), DiskTotal: 100e9, Temperature: &temperature,
		},
	}
}

func service(name, on string, cpu float64, memory uint64) otto.ServiceStatus {
	return otto.ServiceStatus{
		Service: otto.Service{Name: name, Replicas: 1},
		Instances: []otto.PlacedInstance{{
			Node: on, UpToDate: true,
			InstanceStatus: otto.InstanceStatus{Name: name, Service: name, State: otto.InstanceRunning},
			Sample:         &otto.ContainerSample{CPUPercent: cpu, MemoryUsed: memory},
		}},
	}
}

// limited gives a service a requirement and what was measured.
func limited(s otto.ServiceStatus, metric, aggregate string, limit, value float64, unit otto.Unit) otto.ServiceStatus {
	v := otto.Verdict{
		Requirement: otto.Requirement{Metric: metric, Aggregate: aggregate, Operator: "<", Limit: limit, Unit: unit},
		Service:     s.Name, Instance: s.Name, Node: s.Instances[0].Node, State: otto.RequirementOK, Value: &value,
	}
	s.Verdicts = append(s.Verdicts, v)
	return s
}

// homeCluster has some of everything.
func homeCluster() *otto.Cluster {
	c := &otto.Cluster{
		Name: "home", Time: noon.Add(-time.Second), Interval: 5 * time.Second,
		Nodes: []otto.NodeStatus{
			node("mini-pc", 71, 62, 41, 58), node("rpi-01", 12, 40, 77, 61), node("rpi-02", 0, 0, 0, 0),
			node("nas", 31, 55, 92, 45),
		},
		Services: []otto.ServiceStatus{
			service("immich/server", "nas", 24, 900<<20), service("immich/db", "nas", 3, 700<<20),
			service("immich/cache", "nas", 1, 40<<20), service("immich/learning", "nas", 3, 500<<20),
			limited(service("api", "mini-pc", 88, 210<<20), "latency", "p95", 0.15, 0.18, otto.UnitSeconds),
			limited(service("web", "rpi-01", 2.2, 30<<20), "memory", "last", 80, 44, otto.UnitPercent),
			service("db", "rpi-02", 0, 0),
			service("exporter", "mini-pc", 0.4, 12<<20),
		},
	}
	lost := &c.Nodes[2]
	lost.State, lost.Since, lost.Sample = otto.NodeLost, noon.Add(-9*time.Second), nil
	lost.Reason = "silent, and nas cannot reach it either"

	api := &c.Services[4]
	v := &api.Verdicts[0]
	v.State, v.Violated = otto.RequirementViolated, noon.Add(-41*time.Second)
	v.Requirement.Action, v.Reason = otto.ActionMigrate, "latency p95 is 180ms and should be < 150ms"
	api.Next = []otto.Decision{{
		Outcome: otto.OutcomeWait, Action: otto.ActionMigrate, Service: "api", Instance: "api", Node: "mini-pc", To: "nas",
		Requirement: v.Requirement.String(), Reason: v.Reason, Until: noon.Add(12 * time.Second),
		Waits: "the last one is less than 5m ago",
	}}
	web := &c.Services[5].Instances[0]
	web.Moving = &otto.InstanceMove{From: "rpi-01", To: "nas", Since: noon.Add(-3 * time.Second)}

	db := &c.Services[6].Instances[0]
	db.State, db.UpToDate, db.Sample = otto.InstanceUnknown, false, nil
	db.Reason = "node rpi-02 is lost"
	c.Services[6].Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "data", Target: "/data"}}

	exporter := &c.Services[7]
	for _, n := range []string{"rpi-01", "nas"} {
		i := exporter.Instances[0]
		i.Node, i.Name = n, "exporter-"+n
		exporter.Instances = append(exporter.Instances, i)
	}
	return c
}

// model shows a cluster with a past, and is drawn without a terminal.
func model(c *otto.Cluster) *Model {
	m := &Model{Index: NewIndex(c), Now: noon, Received: noon, Trends: map[string]Trend{}, Days: map[string][]otto.Span{}}
	for i, n := range c.Nodes {
		if n.Sample == nil {
			continue
		}
		var t Trend
		for at := range 60 {
			wave := 1 + 0.4*math.Sin(float64(at+7*i)/6)
			point := func(v float64) otto.Point {
				return otto.Point{Time: noon.Add(time.Duration(at-60) * time.Minute), Min: v, Mean: v, Max: v}
			}
			t.CPU = append(t.CPU, point(n.Sample.CPUPercent*wave))
			t.Memory = append(t.Memory, point(n.Sample.MemoryPercent()))
			t.Disk = append(t.Disk, point(n.Sample.DiskPercent()))
			t.Temperature = append(t.Temperature, point(*n.Sample.Temperature))
		}
		m.Trends[n.ID] = t
	}
	for i, s := range c.Services {
		m.Days[s.Name] = day(i)
	}
	return m
}

// day is up, with a while in which something was wrong.
func day(i int) []otto.Span {
	at := func(hours int) time.Time { return noon.Add(time.Duration(hours-24) * time.Hour) }
	span := func(from, to int, state string) otto.Span {
		return otto.Span{
			From: at(from), To: at(to), Known: float64(to-from) * 3600, Shares: map[string]float64{state: 1},
		}
	}
	switch i % 5 {
	case 4:
		return []otto.Span{span(0, 13, otto.ServiceUp), span(13, 15, otto.ServiceDown), span(15, 24, otto.ServiceUp)}
	case 1:
		return []otto.Span{span(6, 24, otto.ServiceUp)}
	}
	return []otto.Span{span(0, 24, otto.ServiceUp)}
}

func events() (list []otto.Event) {
	for i, message := range []string{
		"web is running", "node is lost: silent, and nas cannot reach it either",
		"api goes from mini-pc to nas: latency p95 is 180ms and should be < 150ms",
	} {
		list = append(list, otto.Event{
			Seq: uint64(i + 1), Time: noon.Add(time.Duration(3*i-20) * time.Second), Kind: "x",
			Node: []string{"rpi-01", "rpi-02", "nas"}[i], Service: []string{"web", "", "api"}[i], Message: message,
		})
	}
	return list
}

// largeCluster has so many nodes and services.
func largeCluster(nodes, services int) *otto.Cluster {
	c := &otto.Cluster{Name: "large", Time: noon, Interval: 5 * time.Second}
	for i := range nodes {
		c.Nodes = append(c.Nodes, node(fmt.Sprintf("node-%02d", i), float64(i), 30, 20, 50))
	}
	for i := range services {
		name := fmt.Sprintf("svc-%04d", i)
		if i%4 == 0 {
			name = fmt.Sprintf("stack-%02d/%s", i%40, name)
		}
		s := service(name, c.Nodes[i%nodes].ID, float64(i%50), uint64(i)<<20)
		c.Services = append(c.Services, limited(s, "memory", "last", 80, float64(i%80), otto.UnitPercent))
	}
	return c
}

package replay

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/otto-edge/otto"
)

// Size is how large a drawn scenario is.
type Size struct {
	Nodes    int
	Services int
	Length   time.Duration
	Interval time.Duration // between two samples; 0: as a cluster has it
}

// Streams of random numbers, so that more of one kind changes nothing of another.
const (
	streamPolicy = iota
	streamWanted
	streamMachines
	streamDemands // and one more for each instance
)

// minute is how far the points of drawn curves are apart.
const minute = time.Minute

// Draw makes a scenario of a seed: an edge cluster of machines of several sizes,
// whose services have a busy time of the day and now and then a peak of some
// minutes, of which about two fifths of all cores are taken on average. On some
// days a third of the nodes stand in a hot room, and nodes are lost now and then.
func Draw(seed uint64, size Size) Scenario {
	s := Scenario{
		Start: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), Length: size.Length, Demands: map[string]Demand{},
		Wanted: otto.Wanted{Interval: size.Interval, Requirements: []otto.Requirement{
			require("node.cpu", "<", 80, time.Minute, 30*time.Second),
			require("node.memory", "<", 90, 0, 30*time.Second),
			require("node.temperature", "<", 75, 0, time.Minute),
		}},
	}
	r := rand.New(rand.NewPCG(seed, streamMachines))
	hot := hotDays(r, size.Length)
	for i := range size.Nodes {
		s.Wanted.Nodes = append(s.Wanted.Nodes, otto.Node{ID: fmt.Sprintf("node-%02d", i+1), Host: "drawn"})
		s.Machines = append(s.Machines, drawMachine(r, size.Length, hot))
	}
	r = rand.New(rand.NewPCG(seed, streamWanted))
	for i := range size.Services {
		of := drawService(r, fmt.Sprintf("service-%03d", i+1))
		s.Wanted.Services = append(s.Wanted.Services, of)
		for _, name := range s.Wanted.InstanceNames(of) {
			own := rand.New(rand.NewPCG(seed, streamDemands+uint64(len(s.Demands))))
			s.Demands[name] = drawDemand(own, size.Length, of)
		}
	}
	return s
}

func require(metric, operator string, limit float64, over, lasts time.Duration) otto.Requirement {
	m, _ := otto.FindMetric(metric)
	r := otto.Requirement{Metric: metric, Over: over, Operator: operator, Limit: limit, Unit: m.Unit, For: lasts, Severity: otto.SeverityWarning, Action: otto.ActionMigrate}
	r.Aggregate, r.Clear = r.DefaultAggregate(), r.DefaultClear()
	return r
}

// drawService draws a service: one in four has a requirement of its own, which is
// stricter than all nodes', one in five cannot run twice, so that its move is an
// outage, and one in ten has two instances.
func drawService(r *rand.Rand, name string) otto.Service {
	// The middle of what services take is a quarter of a core.
	mean := min(math.Exp(math.Log(0.25)+0.8*r.NormFloat64()), 1.5)
	s := otto.Service{Name: name, Replicas: 1, Spec: otto.ContainerSpec{Image: name + ":1"}, Reserve: otto.Resources{CPU: mean, MemoryBytes: int64(64+r.IntN(320)) << 20}}
	if r.IntN(4) == 0 {
		s.Requirements = []otto.Requirement{require("node.cpu", "<", 70, 30*time.Second, 30*time.Second)}
	}
	switch r.IntN(10) {
	case 0, 1:
		s.Spec.Exclusive, s.Data = true, otto.DataDisposable
	case 2:
		s.Replicas = 2
	}
	return s
}

// drawDemand draws what an instance takes: about what its service reserves.
func drawDemand(r *rand.Rand, length time.Duration, of otto.Service) Demand {
	busiest := []float64{13, 20, 20, 3}[r.IntN(4)] + r.NormFloat64() // o'clock
	swing := 0.2 + 0.6*r.Float64()
	weekend := 0.7 + 0.6*r.Float64()
	points := int(length/minute) + 2
	d := Demand{Image: time.Duration(5+r.IntN(40)) * time.Second, Cores: Curve{minute, make([]float64, points)}, Memory: Curve{minute, make([]float64, points)}}
	noise, peak, peakEnds := 0.0, 1.0, 0
	for i := range points {
		noise += 0.1*r.NormFloat64() - 0.2*noise
		if begins := r.IntN(24*60) == 0; begins { // a peak a day
			peak, peakEnds = 1.5+1.5*r.Float64(), i+3+r.IntN(45)
		}
		if i >= peakEnds {
			peak = 1
		}
		hour := float64(i) / 60
		day := 1 + swing*math.Cos((hour-busiest)*math.Pi/12)
		if int(hour/24)%7 >= 5 {
			day *= weekend
		}
		d.Cores.Values[i] = max(0.005, of.Reserve.CPU*day*peak*(1+noise))
		d.Memory.Values[i] = float64(of.Reserve.MemoryBytes) * (0.8 + 0.15*day*peak)
	}
	return d
}

// hotDays are the days on which a room becomes hot, by how many degrees.
func hotDays(r *rand.Rand, length time.Duration) []float64 {
	days := make([]float64, int(length/(24*time.Hour))+1)
	for i := range days {
		if r.IntN(3) == 0 {
			days[i] = 8 + 8*r.Float64()
		}
	}
	return days
}

// drawMachine draws a node. One is lost about once in 20 days, for minutes to hours.
func drawMachine(r *rand.Rand, length time.Duration, hot []float64) Machine {
	kind := []struct {
		cores  float64
		memory uint64
	}{{2, 4 << 30}, {4, 4 << 30}, {4, 8 << 30}, {8, 16 << 30}}[r.IntN(4)]
	m := Machine{Cores: kind.cores, Memory: kind.memory, Heat: 0.2 + 0.15*r.Float64(), Used: Flat(float64(kind.memory) * (0.1 + 0.1*r.Float64()))}
	points := int(length/minute) + 2
	m.Idle, m.CPU = Curve{minute, make([]float64, points)}, Curve{minute, make([]float64, points)}
	idle, inHotRoom, noise := 38+8*r.Float64(), r.IntN(3) == 0, 0.0
	var lost Span
	for i := range points {
		at := time.Duration(i) * minute
		hour := math.Mod(float64(i)/60, 24)
		m.Idle.Values[i] = idle + 3*math.Cos((hour-16)*math.Pi/12)
		if day := int(at / (24 * time.Hour)); inHotRoom && day < len(hot) {
			m.Idle.Values[i] += hot[day] * max(0, math.Cos((hour-16)*math.Pi/12))
		}
		noise += 0.1*r.NormFloat64() - 0.1*noise
		m.CPU.Values[i] = m.Cores * 0.05 * max(0, 1+noise)
		if dies := r.IntN(20*24*60) == 0; dies && at >= lost.To {
			lost = Span{at, at + time.Duration(3+r.ExpFloat64()*60)*minute}
			m.Lost = append(m.Lost, lost)
		}
	}
	return m
}

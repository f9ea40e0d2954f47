package control

import (
	"slices"
	"time"

	"github.com/otto-edge/otto/wire"
)

// topic is one that an application publishes numbers on.
type topic struct {
	wanted bool
	taken  time.Time // when the last message was
}

const (
	// maxMetric is the largest message of an application that is read, in bytes.
	maxMetric = 64 << 10
	// metricEvery is the least time between two messages of a topic that are read.
	metricEvery = 100 * time.Millisecond
)

// listen subscribes to the topics that requirements name. There is no way to
// unsubscribe; what is not wanted any more is dropped.
func (p *Plane) listen() {
	q := &p.required
	if q.topics == nil {
		q.topics = map[string]topic{}
	}
	for name, t := range q.topics {
		t.wanted = false
		q.topics[name] = t
	}
	names := []string{}
	for s := range q.feedsOf {
		if s.topic != "" {
			names = append(names, s.topic)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		t, subscribed := q.topics[name]
		t.wanted = true
		q.topics[name] = t
		if !subscribed {
			p.background.Go(func() { p.Conn.Subscribe(name, p.receiveMetric) })
		}
	}
	p.metricTopics.Store(&names)
}

// MetricTopics are the topics that applications may publish on, because
// requirements name them. The broker asks at any time.
func (p *Plane) MetricTopics() []string {
	if names := p.metricTopics.Load(); names != nil {
		return *names
	}
	return nil
}

// receiveMetric takes a message of an application from the network.
func (p *Plane) receiveMetric(topic string, payload []byte) {
	now := time.Now()
	p.post(func() { p.measureTopic(topic, payload, now) })
}

// measureTopic takes in what an application publishes. A message that holds no
// such number is no sample, so that the requirement is unknown in the end.
func (p *Plane) measureTopic(name string, payload []byte, now time.Time) {
	t, known := p.required.topics[name]
	if !known || !t.wanted || len(payload) > maxMetric || now.Sub(t.taken) < metricEvery {
		return
	}
	t.taken = now
	p.required.topics[name] = t
	for _, f := range p.required.feedsOf[subject{topic: name}] {
		value, err := wire.DecodeNumber(payload, f.path)
		if err != nil {
			p.Log.Debug("no number", "topic", name, "err", err)
			continue
		}
		f.add(value, now)
		p.required.unquiet(f)
	}
}

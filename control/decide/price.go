package decide

import (
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

const (
	// outageWeight is how much worse a second without the service is than one in
	// which a requirement of severity warning is violated.
	outageWeight = 2
	// effort is what each second of a move costs, for the bytes and the work.
	effort = 0.1
	// risk is what every move costs, however well it goes.
	risk = 1.0
	// unforeseen is the share of a violation's cost that counts where it cannot be
	// foreseen whether another node is better.
	unforeseen = 0.5
	// restartOutage is how long a restart is expected to take.
	restartOutage = 3 * time.Second
)

// What a move takes that nothing has been learned of.
const (
	startTime = 2.0  // seconds, of a container whose image is there
	pullTime  = 30.0 // seconds more where it is not, or not known to be, and its size is not known either
	// fetchTime is what each MiB of an image takes, unpacked, in seconds: that of a board
	// on Wi-Fi which unpacks to an SD card. An image of 120 MiB takes pullTime.
	fetchTime = 0.25
	// doubt is how many MiB must have been fetched for what was learned to weigh as much
	// as that.
	doubt = 32
)

// StartsFirst reports whether a service's new instance may run beside the former
// one, so that a move is no outage.
func StartsFirst(s otto.Service) bool { return !s.Stateful() }

// price says what the move of an instance to a node is expected to cost, with all that
// goes along.
func (f *frame) price(d *otto.Decision, i *instance, to *Node) {
	var all Cost
	d.Bytes = 0
	for _, g := range f.group(i) {
		cost, bytes := f.priceOf(g, to)
		all.Took, all.Outage, d.Bytes = all.Took+cost.Took, all.Outage+cost.Outage, d.Bytes+bytes
	}
	d.Outage = time.Duration(all.Outage * float64(time.Second)).Round(time.Millisecond)
	d.Cost = (risk + outageWeight*all.Outage + effort*all.Took) * f.Memory.penalty(i.of.Name, f.now)
}

// priceOf is what one instance takes, and the bytes that have to be fetched for it.
func (f *frame) priceOf(i *instance, to *Node) (cost Cost, bytes int64) {
	stops, fetch := !StartsFirst(i.of.Service), 0.0
	cost, known := f.Memory.Costs[costKey(i.of.Spec.Image, i.at, to.ID)]
	if !known {
		cost.Took = startTime
		if stops {
			cost.Outage = startTime
		}
	}
	if _, there := to.Images[listed(i.of.Spec.Image)]; !there {
		bytes = f.size(i)
		switch {
		case bytes > 0:
			fetch = f.Memory.Rates[pairKey(i.at, to.ID)].time(bytes)
		case !known:
			fetch = pullTime
		}
	}
	cost.Took += fetch
	if stops {
		cost.Outage += fetch
	}
	return cost, bytes
}

// size is that of an instance's image, by the node that has it; 0 if it is not known.
func (f *frame) size(i *instance) int64 {
	if n := f.node(i.at); n != nil {
		return n.Images[listed(i.of.Spec.Image)]
	}
	return 0
}

// time is how many seconds it is expected to take to fetch so much.
func (r Rate) time(bytes int64) float64 {
	return mib(bytes) * (r.Took + doubt*fetchTime) / (r.MiB + doubt)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// listed is an image as engines list it.
func listed(image string) string {
	image = strings.TrimPrefix(strings.TrimPrefix(image, "docker.io/"), "library/")
	if tagged := image[strings.LastIndexByte(image, '/')+1:]; !strings.ContainsAny(tagged, ":@") {
		image += ":latest"
	}
	return image
}

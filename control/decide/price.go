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
	pullTime  = 30.0 // seconds more where it is not, or not known to be
)

// StartsFirst reports whether a service's new instance may run beside the former
// one, so that a move is no outage.
func StartsFirst(s otto.Service) bool { return !s.Stateful() }

// price says what the move of an instance to a node is expected to cost.
func (f *frame) price(d *otto.Decision, i *instance, to *Node) {
	cost, known := f.Memory.Costs[costKey(i.of.Spec.Image, i.at, to.ID)]
	if !known {
		cost.Took = startTime
		if !to.Images[listed(i.of.Spec.Image)] {
			cost.Took += pullTime
		}
		if !StartsFirst(i.of.Service) {
			cost.Outage = cost.Took
		}
	}
	d.Outage = time.Duration(cost.Outage * float64(time.Second)).Round(time.Millisecond)
	d.Cost = (risk + outageWeight*cost.Outage + effort*cost.Took) * f.Memory.penalty(i.of.Name, f.now)
}

// listed is an image as engines list it.
func listed(image string) string {
	image = strings.TrimPrefix(strings.TrimPrefix(image, "docker.io/"), "library/")
	if tagged := image[strings.LastIndexByte(image, '/')+1:]; !strings.ContainsAny(tagged, ":@") {
		image += ":latest"
	}
	return image
}

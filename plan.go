package otto

// Plan is what would change if a file were applied, and where things would go.
type Plan struct {
	// ID is of the file's content, the revision it was compared with, and the places.
	ID        string            `json:"id"`
	Revision  uint64            `json:"revision"`
	Changes   []Change          `json:"changes"`
	Instances []PlannedInstance `json:"instances"`
	// Notes are what applying the file does not change, and somebody may expect it to.
	Notes []string `json:"notes"`
	// Refused is what the file cannot have, and why: as long as there is any, it
	// cannot be applied.
	Refused []string `json:"refused"`
	// Seeds is the data of projects that would be copied to nodes, once.
	Seeds []PlannedSeed `json:"seeds,omitempty"`
}

// PlannedInstance is what would become of an instance.
type PlannedInstance struct {
	Name    string     `json:"name"`
	Service string     `json:"service"`
	Action  PlanAction `json:"action"`
	Node    string     `json:"node,omitempty"` // where it would be
	From    string     `json:"from,omitempty"` // where it is, if it leaves
	// Order is StartFirst or StopFirst if it gets another container.
	Order string `json:"order,omitempty"`
	Why   string `json:"why"`
}

// PlanAction is what would be done to an instance.
type PlanAction string

// The actions of a plan.
const (
	PlanKeep   PlanAction = "keep"   // the container that is there
	PlanAdd    PlanAction = "add"    // a new one
	PlanUpdate PlanAction = "update" // another container at its place
	PlanMove   PlanAction = "move"   // to another node
	PlanRemove PlanAction = "remove"
	PlanWait   PlanAction = "wait" // it has no place
)

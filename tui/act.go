package tui

// Act is something that changes the cluster.
type Act struct {
	Verb string // of the Acts
	Name string // the node or the service
	To   string // where a service is moved to; empty for the best node
}

// The verbs of acts, as in commands.
const (
	Cordon   = "cordon"
	Uncordon = "uncordon"
	Drain    = "drain"
	Move     = "move"
)

// String is the command that does the same.
func (a Act) String() string {
	if a.Verb != Move {
		return "otto node " + a.Verb + " " + a.Name
	}
	if a.To == "" {
		return "otto service move " + a.Name
	}
	return "otto service move " + a.Name + " --to " + a.To
}

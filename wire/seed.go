package wire

// Seed is what the agent's command seed reads before the data of a project: a line of JSON. It
// answers SeedWanted, and then SeedTaken once it is there, or the latter at once.
type Seed struct {
	Volume string `json:"volume"`
	Path   string `json:"path"` // as people write it
	Bytes  int64  `json:"bytes"`
	Files  int    `json:"files"`
}

// What the command answers, each a line.
const (
	SeedWanted = "send"
	SeedTaken  = "taken"
)

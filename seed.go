package otto

// Seed is where the data of a project is on the machine of the control plane: what a volume of
// another node begins with.
type Seed struct {
	Project string `json:"project"`         // a directory, absolute
	Path    string `json:"path"`            // below that
	Name    string `json:"name"`            // as people write it, such as ./data
	Empty   bool   `json:"empty,omitempty"` // the volume begins empty all the same
}

// String is the path as people write it.
func (s Seed) String() string { return s.Name }

// Seeds are several, by the name of the volume.
type Seeds map[string]Seed

// Seeded are the mounts of volumes that begin with data of the user's project.
func (s ContainerSpec) Seeded() (list []Mount) {
	for _, m := range s.Mounts {
		if m.Seed != "" {
			list = append(list, m)
		}
	}
	return list
}

// PlannedSeed is data of a project that would go to a node.
type PlannedSeed struct {
	Volume string `json:"volume"`
	Node   string `json:"node"`
	Seed
	// Bytes and Files are how much it is: what is to be copied is counted where it lies.
	Bytes int64 `json:"bytes"`
	Files int   `json:"files"`
}

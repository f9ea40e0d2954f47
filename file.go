package otto

import "slices"

// File is a file in a container that Otto brings: a secret or a config of Compose. It can
// only be read there. Its content is somewhere else, see Contents: a spec is shown, sent
// and stored in many places.
type File struct {
	Kind   string `json:"kind"` // FileSecret or FileConfig
	Name   string `json:"name"` // under secrets or configs at the top of the user's file
	Target string `json:"target"`
	UID    string `json:"uid,omitempty"`  // a number; empty: the agent's own
	GID    string `json:"gid,omitempty"`  // likewise
	Mode   uint32 `json:"mode,omitempty"` // DefaultFileMode when 0
	// Content is the key of its content. The control plane makes it of the content, by a
	// key of the cluster: nobody else can try out passwords on it.
	Content string `json:"content"`
}

// Kinds of a File.
const (
	FileSecret = "secret"
	FileConfig = "config"
)

const (
	// DefaultFileMode is Compose's.
	DefaultFileMode = 0o444
	// MaxFile is how large the content of a File may be, in bytes.
	MaxFile = 64 << 10
)

// String names it for people.
func (f File) String() string { return f.Kind + " " + f.Name }

// Permissions are those of the file.
func (f File) Permissions() uint32 {
	if f.Mode == 0 {
		return DefaultFileMode
	}
	return f.Mode
}

// WithFiles reports whether some instance of the assignment needs files.
func (a Assignment) WithFiles() bool {
	return slices.ContainsFunc(a.Instances, func(i Instance) bool { return len(i.Spec.Files) > 0 })
}

// Folders are the mounts of files that Otto brings, which it does by their Content.
func (s ContainerSpec) Folders() (list []Mount) {
	for _, m := range s.Mounts {
		if m.Type == MountFiles {
			list = append(list, m)
		}
	}
	return list
}

// EngineRestarts reports whether the engine may start its container again by itself, if
// its restart policy says so. For what keeps data a copy might run elsewhere by then. The
// files of others are in memory: after a reboot they are there when the agent has
// written them.
func (s ContainerSpec) EngineRestarts() bool { return !s.Stateful() && len(s.Files) == 0 }

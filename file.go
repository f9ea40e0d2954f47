package otto

import (
	"iter"
	"maps"
	"slices"
)

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
	// MaxFile is how large the content of a File, or the value of a secret variable, may be,
	// in bytes.
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

// WithContents reports whether some instance of the assignment needs contents.
func (a Assignment) WithContents() bool {
	return slices.ContainsFunc(a.Instances, func(i Instance) bool { return i.Spec.needsContents() })
}

func (s *ContainerSpec) needsContents() bool { return len(s.Files)+len(s.SecretEnvironment) > 0 }

// Needs are the keys of all contents that a spec names, each with what it is for people:
// of its files, and of the variables that are secret.
func (s ContainerSpec) Needs() iter.Seq2[string, string] {
	return func(yield func(key, what string) bool) {
		for _, f := range s.Files {
			if !yield(f.Content, f.String()) {
				return
			}
		}
		for _, name := range slices.Sorted(maps.Keys(s.SecretEnvironment)) {
			if !yield(s.SecretEnvironment[name], "secret variable "+name) {
				return
			}
		}
	}
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

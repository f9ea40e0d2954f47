package otto

import (
	"path"
	"slices"
	"strings"
	"time"
)

// LabelVolume is the label of a volume that tells it from every other one: Otto draws
// it when it makes the volume.
const LabelVolume = "otto.volume"

// Volume is a named volume as an engine reports it.
type Volume struct {
	Name string
	ID   string // of LabelVolume; empty if Otto has not made it, or a build that drew none
	// Others says for people whose it is, if it is not known to be this cluster's.
	Others string
}

// Directory is what is at a path of a node.
type Directory struct {
	There bool
	Kept  bool // false for files, and for what is in memory alone
	// Hidden says that what leads there may not be looked into: it is taken for there.
	Hidden bool
	ID     DataID
}

// Data is what is remembered of a volume or a directory of a node, once a service has
// run with it there: which one it was. What was there and is gone is missing; it is
// never taken for new.
type Data struct {
	Source string `json:"source"` // name of a volume, or path of a directory
	ID     DataID `json:"id,omitzero"`
	// Generation rises each time that a person says that another one counts from now
	// on. Of two records of a source on a node the higher one holds.
	Generation uint64 `json:"generation,omitempty"`
	// Accepted says that whatever is there counts, or a new one if nothing is.
	Accepted bool `json:"accepted,omitempty"`
	// Adopted says that a volume is this cluster's although it was made for another one.
	Adopted bool `json:"adopted,omitempty"`
	// Problem says what is wrong with what is there, such as "is missing", and Since
	// when that was noticed; empty while it is as remembered.
	Problem string    `json:"problem,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// DataMissing is the problem of data that was there and is gone.
const DataMissing = "is missing"

// IsVolume reports whether it is a volume; otherwise it is a directory.
func (d Data) IsVolume() bool { return !strings.HasPrefix(d.Source, "/") }

// String names it for people.
func (d Data) String() string {
	if d.IsVolume() {
		return "volume " + d.Source
	}
	return "directory " + d.Source
}

// Lost says for people what is wrong with it; empty if nothing is.
func (d Data) Lost() string {
	if d.Problem == "" {
		return ""
	}
	return d.String() + " " + d.Problem + " since " + d.Since.UTC().Format("2006-01-02 15:04 MST")
}

// DataID tells a volume or a directory from others of the same name or path. What is
// empty is not known.
type DataID struct {
	Volume     string `json:"volume,omitempty"`      // of LabelVolume
	FileSystem string `json:"file_system,omitempty"` // of a directory: made of its UUID, else what is mounted
	Path       string `json:"path,omitempty"`        // of a directory, in its file system
	Inode      uint64 `json:"inode,omitempty"`       // likewise, where it stays the same
}

// Is reports whether what was found can be what is remembered. A volume has the label
// that it was made with, or none, for ever; of a directory only that counts which is
// known of both.
func (d DataID) Is(found DataID) bool {
	return d.Volume == found.Volume &&
		(d.FileSystem == "" || found.FileSystem == "" || d.FileSystem == found.FileSystem) &&
		(d.Path == "" || found.Path == "" || d.Path == found.Path) &&
		(d.Inode == 0 || found.Inode == 0 || d.Inode == found.Inode)
}

// notKept are directories that nothing is kept in: they are made anew at each boot.
var notKept = []string{"/run", "/var/run", "/dev", "/proc", "/sys"} //nolint:gochecknoglobals // a constant

// Kept are the mounts that a service keeps data in, or finds it: named volumes and
// host directories, or files, which only the node can tell apart. The whole node is
// nobody's data.
func (s ContainerSpec) Kept() (list []Mount) {
	for _, m := range s.Mounts {
		switch {
		case m.Type == MountVolume && m.Source != "":
			list = append(list, m)
		case m.Type == MountBind && strings.HasPrefix(m.Source, "/"):
			m.Source = path.Clean(m.Source)
			within := func(dir string) bool { return m.Source == dir || strings.HasPrefix(m.Source, dir+"/") }
			if m.Source != "/" && !slices.ContainsFunc(notKept, within) {
				list = append(list, m)
			}
		}
	}
	return list
}

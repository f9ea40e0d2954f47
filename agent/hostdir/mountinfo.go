package hostdir

import (
	"strconv"
	"strings"
)

// mount is a line of /proc/self/mountinfo, described in proc_pid_mountinfo(5).
type mount struct {
	id     string
	device string // major:minor; major 0 is no block device
	root   string // the directory of the file system that is seen at point
	point  string
	kind   string // such as ext4
	source string // such as /dev/sda1 or nas:/export
}

// find returns the mount of an id.
func find(mountinfo, id string) (m mount, ok bool) {
	for l := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(l, " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if len(where) < 5 || len(what) < 2 || where[0] != id {
			continue
		}
		return mount{
			id: id, device: where[2], root: unescape(where[3]), point: unescape(where[4]),
			kind: what[0], source: unescape(what[1]),
		}, true
	}
	return mount{}, false
}

// unescape undoes the octal escapes of blanks and backslashes, such as \040.
func unescape(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if c, err := strconv.ParseUint(after[:min(3, len(after))], 8, 8); err == nil && len(after) >= 3 {
			b.WriteByte(byte(c))
			after = after[3:]
		} else {
			b.WriteByte('\\')
		}
		s = after
	}
}

package sampler

import (
	"path"
	"slices"
	"strings"
)

// mount is where a cgroup hierarchy is mounted. Version 1 has one hierarchy for
// each controller or few, version 2 has one for all; a hybrid has both.
type mount struct {
	point       string   // such as /sys/fs/cgroup/memory
	root        string   // the cgroup that is seen there, / outside of a cgroup namespace
	controllers []string // of version 1; nil means version 2
}

// parseMounts finds the cgroup hierarchies in /proc/self/mountinfo, described in
// proc_pid_mountinfo(5).
func parseMounts(mountinfo string) []mount {
	var mounts []mount
	for l := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(l, " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if !ok || len(where) < 5 || len(what) < 3 {
			continue
		}
		m := mount{root: unescape(where[3]), point: unescape(where[4])}
		switch what[0] {
		case "cgroup":
			m.controllers = strings.Split(what[2], ",")
		case "cgroup2":
		default:
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// unescape undoes the one escape that paths of cgroups meet.
func unescape(s string) string { return strings.ReplaceAll(s, `\040`, " ") }

// membership is one line of /proc/PID/cgroup.
type membership struct {
	controllers []string // nil for version 2
	path        string
}

// parseMemberships reads /proc/PID/cgroup, described in cgroups(7):
// "4:memory:/docker/ID", or "0::/system.slice/docker-ID.scope" for version 2.
func parseMemberships(cgroup string) []membership {
	var found []membership
	for l := range strings.Lines(cgroup) {
		parts := strings.SplitN(strings.TrimRight(l, "\n"), ":", 3)
		if len(parts) != 3 || !strings.HasPrefix(parts[2], "/") {
			continue
		}
		m := membership{path: parts[2]}
		if parts[1] != "" {
			m.controllers = strings.Split(parts[1], ",")
		}
		found = append(found, m)
	}
	return found
}

// locate finds the directory with a controller's files for a process, and
// whether it is of version 2. A controller is in one hierarchy only: in its own
// of version 1 if there is one, else in that of version 2.
func locate(controller string, mounts []mount, of []membership) (dir string, v2 bool) {
	for _, m := range of {
		if !slices.Contains(m.controllers, controller) {
			continue
		}
		for _, at := range mounts {
			if slices.Contains(at.controllers, controller) {
				return at.dir(m.path), false
			}
		}
	}
	for _, m := range of {
		if m.controllers != nil {
			continue
		}
		for _, at := range mounts {
			if at.controllers == nil {
				return at.dir(m.path), true
			}
		}
	}
	return "", false
}

// dir is where a cgroup is seen under the mount.
func (m mount) dir(cgroup string) string {
	if m.root != "/" {
		cgroup = strings.TrimPrefix(cgroup, m.root)
	}
	return path.Join(m.point, path.Clean("/"+cgroup))
}

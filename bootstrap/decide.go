package bootstrap

import (
	"errors"
	"fmt"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

const (
	clockTolerance = 2 * time.Second
	spareDisk      = 16 << 20 // bytes besides the agent itself, for its state and its log
)

// verdict is what an examination of a host leads to.
type verdict struct {
	problems []string // that keep it from being a node, each with its mend
	warnings []string
	upload   bool
}

func (v verdict) err() error {
	errs := make([]error, len(v.problems))
	for i, p := range v.problems {
		errs[i] = errors.New(p)
	}
	return errors.Join(errs...)
}

// request is what is wanted of a host.
type request struct {
	node      otto.Node
	enrolment wire.Enrolment
	agent     Binary // none if there is none for the host's architecture
	takeOver  bool   // the host may have been another node of the cluster so far
}

// decide examines the facts of a host. An engine that is not there stops only a
// host that has never been a node: on a node the agent is needed all the more,
// to report it and to be there when the engine comes back.
func decide(r request, f facts, now time.Time) verdict {
	var v verdict
	problem := func(format string, args ...any) { v.problems = append(v.problems, fmt.Sprintf(format, args...)) }
	id := r.node.ID

	v.upload = f.agents[r.agent.Hash] != r.agent.Size
	install := v.upload || f.running != r.agent.Hash
	switch arch := architecture(f); {
	case f.kernel != "Linux":
		problem("%s runs %s: the agent needs Linux", id, f.kernel)
		return v
	case arch == "":
		problem("%s is a %s machine: there are agents for amd64, arm64 and arm only", id, f.machine)
		return v
	}
	if p := engineProblem(r.node, f); p != "" && len(f.agents) == 0 {
		problem("%s", p)
	} else if p != "" {
		v.warnings = append(v.warnings, p)
	}
	switch {
	case f.noexec != "":
		problem("%s", f.cannotRun(id))
	case install && !f.writable:
		problem(
			"user %s cannot write to the home directory %s on %s: is its file system mounted read-only? Try `mount -o remount,rw` there",
			f.user,
			f.home,
			id,
		)
	case v.upload && f.diskFree >= 0 && f.diskFree < r.agent.Size+spareDisk:
		problem("the disk of %s is full: %s free in %s, the agent needs %s", id, megabytes(f.diskFree), f.home,
			megabytes(r.agent.Size+spareDisk))
	}
	if err := f.notOurs(r.node, r.enrolment.ClusterID); err != nil &&
		!(r.takeOver && f.ofCluster(r.enrolment.ClusterID)) {
		problem("%s", err)
	}
	if p := f.otherUser(r.node); p != "" {
		problem("%s", p)
	}
	if off := f.clock.Sub(now).Abs(); off > clockTolerance {
		v.warnings = append(v.warnings,
			fmt.Sprintf("its clock differs by %s: run `timedatectl set-ntp true` there", off.Round(time.Second)))
	}
	return v
}

// cannotRun says why no program of the user's home directory runs, and where else it may be.
func (f facts) cannotRun(id string) string {
	return fmt.Sprintf(
		"no program can be run in %s on %s, as %s is mounted noexec: run `sudo mount -o remount,exec %[3]s` there, or have the agent elsewhere: "+
			"`sudo install -d -o %s /opt/otto && mkdir -p ~/.local/share && ln -s /opt/otto ~/.local/share/otto`",
		f.home,
		id,
		f.noexec,
		f.user,
	)
}

// architecture is the agent's GOARCH for a host, empty if there is none.
func architecture(f facts) string {
	switch f.machine {
	case "x86_64", "amd64":
		return "amd64"
	case "aarch64", "arm64":
		if f.bits == 32 {
			return "arm" // as the engine there, whose images it picks
		}
		return "arm64"
	case "armv6l", "armv7l", "armv8l":
		return "arm"
	}
	return ""
}

func engineProblem(node otto.Node, f facts) string {
	socket := socketPath(node.DockerURL)
	switch {
	case socket == "" || f.socket == socketWritable:
		return ""
	case f.socket == socketPresent:
		return fmt.Sprintf("user %s may not use %s on %s: run `sudo usermod -aG docker %s` there and log in again",
			f.user, socket, node.ID, f.user)
	case f.engine:
		return fmt.Sprintf(
			"the container engine on %s does not run (there is no %s): run `sudo systemctl start docker` there",
			node.ID,
			socket,
		)
	}
	return fmt.Sprintf("no container engine on %s (there is no %s): run `sudo apt-get install docker.io` there",
		node.ID, socket)
}

// brokers orders the addresses of the broker: those that the node can reach go
// first. What the node has already is kept while its first address is good, so
// that one slow answer does not restart an agent.
func brokers(candidates, reachable, had []string) []string {
	ordered := unique(append(append([]string{}, reachable...), candidates...))
	if len(had) == 0 || len(had) != len(ordered) {
		return ordered
	}
	good, known := set(reachable), set(ordered)
	for _, addr := range had {
		if !known[addr] {
			return ordered
		}
	}
	if good[had[0]] {
		return had
	}
	return ordered
}

func unique(list []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

func set(list []string) map[string]bool {
	m := map[string]bool{}
	for _, s := range list {
		m[s] = true
	}
	return m
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/otto.MB) }

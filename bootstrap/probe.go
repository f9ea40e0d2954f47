package bootstrap

import (
	"context"
	_ "embed"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

//go:embed probe.sh
var probeScript string

// facts are what the probe found out about a host. It changes nothing there.
type facts struct {
	kernel, machine string // as uname says
	hostname        string
	cpus            int    // 0 unknown
	memory          uint64 // bytes; 0 unknown
	bits            int    // of the programs there, which may be fewer than the kernel's; 0 unknown
	user            string
	home            string
	dir             string // the node directory, there or not
	writable        bool   // the node directory, or where it would be
	noexec          string // where the file system is mounted that it is on, if no program runs there
	diskFree        int64  // bytes there; -1 unknown
	clock           time.Time
	client          string // where the SSH connection came from
	engine          bool   // an engine's program is installed
	socket          socketState
	agents          map[string]int64 // sizes in bytes by hash
	running         string           // hash of the agent that runs
	pid             int              // of the agent that runs, and how it is by its kernel:
	state           string           // R, S, D (waits for a disk), T (stopped), ...
	enrolmentRead   string           // short hash of the agent.json that it has read
	enrolment       string           // agent.json
	claim           claim            // agent.owner
	told            bool             // its agent has an assignment
	floor           otto.Revision    // agent.floor
	others          []otherAgent     // of other users
}

type socketState string

const (
	socketAbsent   socketState = ""
	socketPresent  socketState = "present" // but not writable for the user
	socketWritable socketState = "writable"
)

func probe(ctx context.Context, h host, cluster, dockerURL string) (facts, error) {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	out, err := h.run(ctx, probeScript, cluster, socketPath(dockerURL))
	if err != nil {
		return facts{}, err
	}
	f := parseFacts(out)
	if f.kernel == "" || f.dir == "" {
		return f, fmt.Errorf("the user's shell does not run scripts (it said %.60q)", out)
	}
	return f, nil
}

// socketPath is empty for an engine that is not reached by a socket.
func socketPath(dockerURL string) string {
	path, ok := strings.CutPrefix(dockerURL, "unix://")
	if !ok {
		return ""
	}
	return path
}

// parseFacts reads the probe's lines, key=value each. What else a login shell
// prints is passed over. The enrolment is the last one and may have several lines.
func parseFacts(s string) facts {
	f := facts{diskFree: -1, agents: map[string]int64{}}
	for s != "" {
		var line string
		line, s, _ = strings.Cut(s, "\n")
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "kernel":
			f.kernel = value
		case "machine":
			f.machine = value
		case "hostname":
			f.hostname = wire.Plain(value)
		case "cpus":
			if n, err := strconv.ParseUint(value, 10, 16); err == nil {
				f.cpus = int(n)
			}
		case "memory_kb":
			if kb, err := strconv.ParseUint(value, 10, 53); err == nil {
				f.memory = kb << 10
			}
		case "bits":
			f.bits, _ = strconv.Atoi(value)
		case "user":
			f.user = value
		case "home":
			f.home = value
		case "dir":
			f.dir = value
		case "writable":
			f.writable = value == "yes"
		case "noexec":
			f.noexec = value
		case "disk_kb":
			if kb, err := strconv.ParseInt(value, 10, 50); err == nil && kb >= 0 {
				f.diskFree = kb << 10
			}
		case "clock":
			if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
				f.clock = time.Unix(seconds, 0)
			}
		case "client":
			f.client = value
		case "engine":
			f.engine = true
		case "socket":
			f.socket = socketState(value)
		case "agent":
			hash, size, _ := strings.Cut(value, " ")
			if n, err := strconv.ParseInt(size, 10, 64); err == nil {
				f.agents[hash] = n
			}
		case "running":
			f.running = agentHash(value)
		case "process":
			pid, state, _ := strings.Cut(value, " ")
			f.pid, _ = strconv.Atoi(pid)
			f.state = state
		case "running_enrolment":
			f.enrolmentRead = value
		case "told":
			f.told = true
		case "floor":
			f.floor, _ = wire.DecodeFloor([]byte(value)) // else it is written again
		case "owner":
			f.claim = parseClaim(value)
		case "other":
			if o, ok := parseOther(value); ok {
				f.others = append(f.others, o)
			}
		case "enrolment":
			f.enrolment = strings.TrimSuffix(value+"\n"+s, "\n")
			return f
		}
	}
	return f
}

// ofMachine is what placement depends on.
func (f facts) ofMachine() otto.MachineFacts {
	return otto.MachineFacts{Hostname: f.hostname, Arch: architecture(f), CPUs: f.cpus, MemoryBytes: f.memory}
}

// agentHash is HASH of .../agents/HASH/otto-agent, and empty for the path of
// any other program.
func agentHash(exe string) string {
	exe = strings.TrimSuffix(exe, " (deleted)")
	dir, program := path.Split(exe)
	agents, hash := path.Split(path.Clean(dir))
	if program != agentName || path.Base(agents) != "agents" {
		return ""
	}
	return hash
}

package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/agent/hostdir"
	"github.com/otto-edge/otto/agent/sampler"
	"github.com/otto-edge/otto/agent/service"
	"github.com/otto-edge/otto/docker"
	"github.com/otto-edge/otto/knock"
	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/wire"
)

// runAgent is the whole wiring of an agent. It returns when ctx ends.
func runAgent(ctx context.Context, dir string, stderr io.Writer) error {
	debug.SetGCPercent(50) // a few MB of heap: collecting sooner costs less than the memory
	log := newLog(stderr)
	release, err := service.Hold(dir)
	if err != nil {
		return err
	}
	defer release()
	e, err := readEnrolment(dir)
	if err != nil {
		return err
	}
	tlsConfig, err := e.TLS.Config()
	if err != nil {
		return err
	}
	facts, err := gatherFacts()
	if err != nil {
		return err
	}
	clock, err := bootClock()
	if err != nil {
		return err
	}
	rt, err := docker.New(e.DockerURL, e.Owner(), log)
	if err != nil {
		return err
	}
	defer rt.Close()

	bootID := rand.Text()
	var a *agent.Agent
	client := mqtt.NewClient(mqtt.ClientOptions{
		Brokers: e.Brokers, TLS: tlsConfig, ClientID: e.ClientID, Username: e.Username, Password: e.Password,
		WillOf: func(session uint64) *mqtt.Message {
			topic, will := a.Will(session)
			return &mqtt.Message{Topic: topic, QoS: 1, Retain: true, Payload: will}
		},
		OnConnect: func(session uint64) { a.Connected(session) },
		Log:       log,
	})
	var exists func(string) bool
	directory := new(hostdir.Looker).Directory
	if !rt.Local() { // its devices are on another machine: what is asked for is taken to be there
		exists = func(string) bool { return true }
		directory = nil
	}
	files, noFiles := filesDir(e, rt.Local())
	a, err = agent.New(agent.Options{
		Enrolment: e, BootID: bootID, Facts: facts, StateDir: stateDir(dir), Floor: readFloor(dir, log),
		Runtime: rt, Conn: client, Sampler: newSampler(ctx, rt), Clock: clock, Knock: knock.Host, RoundTrip: knock.RoundTrip, Try: knock.Try, Exists: exists,
		Directory: directory, FilesDir: files, NoFiles: noFiles, FoldersDir: foldersDir(dir, rt.Local()), SeedsDir: seedsDir(dir, rt.Local()),
		Sweep: func(ctx context.Context) error { return rt.Sweep(ctx, false) }, Log: log,
	})
	if err != nil {
		return err
	}
	log.Info("agent starts", "node", e.NodeID, "cluster", e.Cluster, "version", version)

	// The client outlives the agent, so that it can say goodbye.
	g := new(errgroup.Group)
	clientCtx, stopClient := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return client.Run(clientCtx) })
	g.Go(func() error {
		defer stopClient()
		err := a.Run(ctx)
		goodbye, cancel := context.WithTimeout(clientCtx, time.Second)
		defer cancel()
		topic, will := a.Goodbye()
		_ = client.Publish(goodbye, topic, 1, true, will)
		return err
	})
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("agent ends")
	return nil
}

// localSampler reads the kernel's files; remoteSampler asks an engine on another
// machine for its containers.
type remoteSampler struct {
	*sampler.Sampler
	ctx context.Context
	rt  *docker.Runtime
}

func newSampler(ctx context.Context, rt *docker.Runtime) agent.Sampler {
	if !rt.Local() {
		return remoteSampler{sampler.New(sampler.Options{}), ctx, rt}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	disk, err := rt.RootDir(ctx)
	if err != nil {
		disk = "/var/lib/docker" // the engine is away: where it usually is
	}
	return sampler.New(sampler.Options{DiskPath: disk})
}

// Containers implements agent.Sampler.
func (s remoteSampler) Containers(_ time.Time, running []otto.RunningContainer) []otto.ContainerSample {
	samples, err := s.rt.Stats(s.ctx, running)
	if err != nil {
		return nil
	}
	return samples
}

func readEnrolment(dir string) (wire.Enrolment, error) {
	b, err := os.ReadFile(enrolmentFile(dir))
	if err != nil {
		return wire.Enrolment{}, err
	}
	return wire.DecodeEnrolment(b)
}

// readFloor reads which assignments are too old for an agent that has none. Builds before
// there was that have brought no such file.
func readFloor(dir string, log *slog.Logger) (floor otto.Revision) {
	b, err := os.ReadFile(filepath.Join(dir, wire.FloorFile))
	if err == nil {
		floor, err = wire.DecodeFloor(b)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the oldest assignment that is good is not known", "err", err)
	}
	return floor
}

// gatherFacts finds out what does not change while the agent runs.
func gatherFacts() (otto.NodeFacts, error) {
	f := otto.NodeFacts{Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), AgentVersion: version, OS: osName()}
	var err error
	if f.Hostname, err = os.Hostname(); err != nil {
		return f, fmt.Errorf("host name: %w", err)
	}
	if f.Kernel, err = host.KernelVersion(); err != nil {
		return f, fmt.Errorf("kernel version: %w", err)
	}
	if m, err := mem.VirtualMemory(); err == nil {
		f.MemoryBytes = m.Total
	}
	f.AgentHash, err = ownHash()
	return f, err
}

func osName() string {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return runtime.GOOS
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	return runtime.GOOS
}

func ownHash() (string, error) {
	f, err := os.Open(cmp.Or(executable(), os.Args[0]))
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func executable() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	return path
}

// newLog writes to agent.log, which is stderr here.
func newLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

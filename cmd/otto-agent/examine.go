package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os/user"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/host"

	"github.com/otto-edge/otto/docker"
	"github.com/otto-edge/otto/doctor"
	"github.com/otto-edge/otto/doctor/examine"
	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/wire"
)

// examineNode prints the facts of this machine as JSON. A node without an
// enrolment has facts too.
func examineNode(ctx context.Context, dir string, out io.Writer) error {
	e, err := readEnrolment(dir)
	if errors.Is(err, fs.ErrNotExist) {
		e.DockerURL, e.Cluster = "unix:///var/run/docker.sock", "none"
	} else if err != nil {
		return err
	}
	rt, err := docker.New(e.DockerURL, e.Owner(), newLog(io.Discard))
	if err != nil {
		return err
	}
	defer rt.Close()
	facts := examine.Node(ctx, examine.Options{
		Dir: dir, Local: rt.Local(),
		Engine:  func(ctx context.Context) (doctor.Engine, string) { return askEngine(ctx, rt) },
		Brokers: func(ctx context.Context) []doctor.Broker { return tryBrokers(ctx, e) },
	})
	facts.Agent, facts.OS = version, osName()
	if facts.Kernel, err = host.KernelVersion(); err != nil {
		return err
	}
	if u, err := user.Current(); err == nil {
		facts.User = u.Username
	}
	return json.NewEncoder(out).Encode(facts)
}

func askEngine(ctx context.Context, rt *docker.Runtime) (doctor.Engine, string) {
	who := rt.Engine(ctx)
	e := doctor.Engine{Name: who.Name, Version: who.Version, API: who.API, Problem: who.Problem}
	if e.Problem != "" {
		return e, ""
	}
	d, err := rt.Details(ctx)
	if err != nil {
		e.Problem = strings.TrimPrefix(err.Error(), "engine: ")
		return e, ""
	}
	e.Storage, e.LogDriver, e.NoMemoryLimit = d.Storage, d.LogDriver, !d.MemoryLimit
	return e, d.RootDir
}

// tryBrokers logs in at each address of the broker, as the agent would.
func tryBrokers(ctx context.Context, e wire.Enrolment) []doctor.Broker {
	config, err := e.TLS.Config()
	list := make([]doctor.Broker, len(e.Brokers))
	var all sync.WaitGroup
	for i, addr := range e.Brokers {
		all.Go(func() { list[i] = tryBroker(ctx, addr, config, err, e) })
	}
	all.Wait()
	return list
}

func tryBroker(ctx context.Context, addr string, config *tls.Config, err error, e wire.Enrolment) doctor.Broker {
	b := doctor.Broker{Address: addr}
	began := time.Now()
	if err == nil {
		err = mqtt.Probe(ctx, addr, config, e.Username, e.Password)
	}
	if err != nil {
		b.Problem = err.Error()
		return b
	}
	b.Took = time.Since(began)
	return b
}

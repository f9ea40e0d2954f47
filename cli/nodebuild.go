package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/config"
)

// nodeEngine is the engine of a node as the docker command here reaches it: a socket of
// this machine, which SSH connections to the node are behind.
type nodeEngine struct {
	engine
	node   string
	dir    string
	listen net.Listener
	fleet  *bootstrap.Fleet
	cancel context.CancelFunc
	open   sync.WaitGroup
}

// newNodeEngine serves until close is called.
func newNodeEngine(ctx context.Context, node otto.Node, cluster string) (*nodeEngine, error) {
	dir, err := os.MkdirTemp("", "otto-engine-") // its owner's alone
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "docker.sock")
	listen, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &nodeEngine{
		engine: engine{env: []string{"DOCKER_HOST=unix://" + socket, "DOCKER_CONTEXT=", "BUILDX_BUILDER="}},
		node:   node.ID, dir: dir, listen: listen, fleet: bootstrap.New(bootstrap.Options{}), cancel: cancel,
	}
	n.open.Go(func() {
		for {
			conn, err := listen.Accept()
			if err != nil {
				return
			}
			n.open.Go(func() { n.relay(ctx, conn, node, cluster) })
		}
	})
	return n, nil
}

// relay connects a client with the engine of the node.
func (n *nodeEngine) relay(ctx context.Context, conn net.Conn, node otto.Node, cluster string) {
	defer conn.Close()
	s, err := n.fleet.Open(ctx, node, cluster, "engine")
	if err != nil {
		return // the client says that it could not connect
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	n.open.Go(func() {
		_, _ = io.Copy(s, conn)
		_ = s.CloseWrite()
	})
	_, _ = io.Copy(conn, s)
}

func (n *nodeEngine) close() {
	n.cancel()
	n.listen.Close()
	n.open.Wait()
	n.fleet.Close()
	os.RemoveAll(n.dir)
}

// onNode is the engine of a node on which an image can be built that this machine cannot build:
// that of its services, or one like it.
func (b *builder) onNode(ctx context.Context, of *config.Build, arch string) (engine, error) {
	fits := func(id string) bool { return b.arch[id] == arch }
	id := ""
	for _, s := range b.file.Wanted.Services {
		if slices.Contains(of.Services, s.Name) && s.Node != "" && fits(s.Node) {
			id = s.Node
		}
	}
	for _, n := range b.file.Wanted.Nodes {
		if id == "" && fits(n.ID) {
			id = n.ID
		}
	}
	i := slices.IndexFunc(b.file.Wanted.Nodes, func(n otto.Node) bool { return n.ID == id })
	if i < 0 {
		return engine{}, errors.New("no node is known that could build it")
	}
	for _, n := range b.engines {
		if n.node == id {
			return n.engine, nil
		}
	}
	n, err := newNodeEngine(ctx, b.file.Wanted.Nodes[i], b.file.Name)
	if err != nil {
		return engine{}, err
	}
	b.engines = append(b.engines, n)
	if _, err := n.docker(ctx, "version"); err != nil {
		return engine{}, fmt.Errorf("the engine of %s cannot be reached: %w", id, err)
	}
	b.note("%s is built on %s, as there is no builder for %s here", of.Image, id, arch)
	return n.engine, nil
}

// closeEngines ends the ways to engines of nodes.
func (a *app) closeEngines() {
	for _, n := range a.engines {
		n.close()
	}
	a.engines = nil
}

package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/history"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/control/store"
	"github.com/otto-edge/otto/durable"
	"github.com/otto-edge/otto/knock"
	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/broker"
	"github.com/otto-edge/otto/wire"
)

// garbage is how much memory may be garbage, in percent of what is not: of a control
// plane of a thousand nodes half a gigabyte is too much, and a tenth of a core is not.
const garbage = 30

// controlUser is the control plane's own user at our broker.
const controlUser = "otto-control"

// fleet adds the broker's port to what bootstrap is told of a node.
type fleet struct {
	*bootstrap.Fleet
	port int
}

// Ensure implements control.Reach.
func (f fleet) Ensure(ctx context.Context, n otto.Node, e wire.Enrolment, by otto.Bringing) ([]string, error) {
	return f.Fleet.Ensure(ctx, n, e, f.port, by)
}

// runControlPlane is the whole wiring of a control plane. ready is called once
// it answers; it returns when ctx ends or a client asks it to exit.
func runControlPlane(ctx context.Context, self self, log *slog.Logger, ready func()) error {
	debug.SetGCPercent(garbage)
	d := self.dir
	var settings controlFile
	if err := d.read(fileControl, &settings); err != nil {
		return err
	}
	var remembered clusterFile
	if err := d.read(fileCluster, &remembered); err != nil {
		return err
	}
	plan, err := planBroker(ctx, settings.MQTT, settings.Remote)
	if err != nil {
		return err
	}
	served, err := openStore(ctx, d, log)
	if err != nil {
		return err
	}
	defer served.Close()
	nc, err := served.Conn()
	if err != nil {
		return err
	}
	create := remembered.StartedAt.IsZero()
	opened, err := store.Open(ctx, nc, create)
	if err != nil {
		return explainLost(d, err)
	}
	kept := guardedStore{opened, make(chan struct{}, 1)}

	reach := bootstrap.New(bootstrap.Options{Log: log, TakeOver: settings.TakeOver})
	defer reach.Close()
	events, err := journal.Open(d.path(fileEvents), journal.Limit)
	if err != nil {
		return err
	}
	defer events.Close()
	past := history.Open(d.path(dirHistory), log)
	past.There = self.there
	tokens, err := api.OpenTokens(d.path(fileTokens))
	if err != nil {
		return err
	}
	var strangers atomic.Pointer[api.Remote] // the API for other machines, once there is one
	conn := &lateConn{}
	plane, err := control.New(ctx, control.Options{
		Name:    settings.Name,
		Version: settings.Version,
		Store:   kept,
		Create:  create,
		Conn:    conn,
		Reach: fleet{
			reach,
			plan.port,
		},
		Broker:  plan.nodes,
		Journal: events,
		Kick:    served.Disconnect,
		Try:     knock.Try,
		Log:     log,
		Files:   d.files,
		Folders: d.folders(),
		Bring: func(ctx context.Context, n otto.Node, key string, pack io.Reader) error {
			return reach.Bring(ctx, n, settings.Name, key, pack)
		},
		Seed:      seeder(reach, settings.Name),
		Snapshots: snapshots{d, reach},
		Seen:      past.Take,
		Ailments:  func() []string { return withProblem(self.ailments(), past.Problem()) },
		Refused: func() []otto.Refused {
			list := refused(served.Complaints())
			if r := strangers.Load(); r != nil {
				list = append(list, r.Complaints()...)
			}
			return list
		},
		Trusted: func(authorities string) { writeCA(d, plan, authorities, log) },
		KnownID: remembered.ClusterID,
	})
	if err != nil {
		return explainLost(d, err)
	}
	auth := &authorizer{
		plane:          plane,
		log:            log,
		password:       rand.Text(),
		viewer:         settings.MQTT.Username,
		viewerPassword: settings.MQTT.Password,
		local:          isLoopback(plan.listen),
	}
	if err := serveMQTT(ctx, served, d, settings, plan, auth); err != nil {
		return err
	}
	options, err := clientOptions(plane, settings.MQTT, plan, auth.password)
	if err != nil {
		return err
	}
	options.Log = log
	client := mqtt.NewClient(options)
	conn.Client = client
	topic, will := options.Will.Topic, options.Will.Payload
	if id := plane.ClusterID(); create || remembered.ClusterID != id {
		remembered.ClusterID = id
		if create {
			remembered.StartedAt = time.Now().UTC()
		}
		if err := d.write(fileCluster, remembered); err != nil {
			return err
		}
	}
	listener, err := api.Listen(ctx, api.Socket(string(d)))
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := new(errgroup.Group)
	clientCtx, stopClient := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return client.Run(clientCtx) })
	g.Go(func() error {
		defer stopClient() // after the plane, so that it can say goodbye
		defer cancel()
		err := plane.Run(ctx)
		goodbye, done := context.WithTimeout(clientCtx, time.Second)
		defer done()
		_ = client.Publish(goodbye, topic, 1, true, will)
		return err
	})
	server := api.NewServer(plane, nodes{plane, reach}, string(d), cancel)
	server.Past = func(q otto.HistoryQuery) (otto.History, error) { return past.Query(q, time.Now()) }
	server.Tokens, server.Authorities = tokens, func() string { return plane.BrokerTLS().CA }
	g.Go(func() error {
		defer cancel()
		return server.Run(ctx, listener)
	})
	if settings.API.Listen != "" {
		remote, err := newRemote(plane, server, settings.MQTT, log)
		if err != nil {
			return err
		}
		strangers.Store(remote)
		g.Go(func() error { return serveRemote(ctx, remote, settings.API.Listen, log) })
	}
	g.Go(func() error { return past.Run(ctx) })
	g.Go(func() error { return saveView(ctx, self, plane) })
	g.Go(func() error {
		err := kept.guard(ctx, d)
		cancel()
		return err
	})
	log.Info("control plane is up", "epoch", plane.Epoch(), "broker", plan.nodes.Description, "version",
		settings.Version)
	ready()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("control plane ends")
	return nil
}

// clientOptions are those of the control plane's own client.
func clientOptions(p *control.Plane, m config.MQTT, plan brokerPlan, password string) (mqtt.ClientOptions, error) {
	o := mqtt.ClientOptions{
		Brokers: []string{
			plan.dial,
		},
		ClientID:     "otto-control-" + rand.Text(),
		Username:     controlUser,
		Password:     password,
		OnConnect:    p.Connected,
		OnDisconnect: p.Disconnected,
		Expendable:   wire.Sampled,
	}
	t := p.BrokerTLS()
	if plan.listen == "" {
		o.Username, o.Password, t = m.Username, m.Password, m.TLS
	}
	topic, will := p.Will()
	o.Will = &mqtt.Message{Topic: topic, QoS: 1, Retain: true, Payload: will}
	var err error
	if o.TLS, err = t.Config(); err == nil && plan.listen != "" {
		o.TLS.VerifyConnection = p.VerifyBroker // by what is in force when it connects
	}
	return o, err
}

// writeCA leaves the authorities of our broker for people's tools.
func writeCA(d stateDir, plan brokerPlan, authorities string, log *slog.Logger) {
	if plan.listen == "" {
		return
	}
	if err := durable.Replace(d.path(fileCA), []byte(authorities), 0o600); err != nil {
		log.Error("the authorities of the broker are not written", "file", d.path(fileCA), "err", err)
	}
}

// lateConn is the client, which is made after the plane that uses it: its will
// depends on the plane's epoch.
type lateConn struct{ *mqtt.Client }

func openStore(ctx context.Context, d stateDir, log *slog.Logger) (*broker.Broker, error) {
	b, err := broker.Start(ctx, broker.Options{Dir: d.path(dirStore), Log: log})
	if errors.Is(err, broker.ErrLocked) {
		return nil, fmt.Errorf("another control plane uses %s: %w", d.path(dirStore), err)
	}
	return b, err
}

func explainLost(d stateDir, err error) error {
	if !errors.Is(err, otto.ErrStateLost) {
		return err
	}
	return fmt.Errorf(
		"%w (%s): nothing was changed and services run on. Move that directory away and run `otto cluster restore`, or run `otto cluster start --new-state` to take otto.yaml as the truth",
		err,
		d.path(dirStore),
	)
}

// saveView keeps the last view on disk, for a status without a control plane.
func saveView(ctx context.Context, self self, p *control.Plane) error {
	save := func() error {
		if !self.there() { // what would be made there anew is no state
			return nil
		}
		return self.dir.write(fileView, p.Cluster())
	}
	ticker := time.NewTicker(15 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := save(); err != nil {
				return err
			}
		case <-ctx.Done():
			return save()
		}
	}
}

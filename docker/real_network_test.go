package docker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

func servicesFindEachOther(t *testing.T, r *Runtime) {
	server := instance("db-2", "sleep", "600")
	server.Service = "db"
	server.Spec.StopGrace = time.Second
	start(t, r, server)
	for _, name := range []string{"db", "db-2"} {
		asker := start(t, r, instance("asker-"+name, "nslookup", name, "127.0.0.11"))
		waitFor(t, "answer", func() bool { return inspect(t, r, asker).State != otto.ContainerRunning })
		if out := logsOf(t, r, asker, 10); !strings.Contains(out, "Address 1: 172.") &&
			!strings.Contains(out, "Address: 172.") {
			t.Errorf("%s is not found: %s", name, out)
		}
	}
}

func addressOfItsOwn(t *testing.T, r *Runtime) {
	inst := instance("addressed", "sleep", "600")
	inst.Spec.StopGrace = time.Second
	if c := inspect(t, r, start(t, r, inst)); !strings.HasPrefix(c.Address, "172.") {
		t.Errorf("address %q", c.Address)
	}
	inst.Name, inst.Spec.NetworkMode = "hosted", "host"
	if c := inspect(t, r, start(t, r, inst)); c.Address != "" {
		t.Errorf("address %q of a container without a network of its own", c.Address)
	}
}

// severalNetworks has a container in two networks, found by its aliases, links and names
// in each, and one that shares only one of them.
func severalNetworks(t *testing.T, r *Runtime) {
	back := otto.Network{
		Name:     "shop_back",
		Internal: true,
		IPAM:     &otto.IPAM{Pools: []otto.IPPool{{Subnet: "172.29.77.0/24"}}},
	}
	db := instance("shop/db", "sleep", "60")
	db.Spec.Networks = []otto.Network{back, {Name: "shop_front"}}
	db.Spec.Networks[0].Aliases, db.Spec.Networks[0].IPv4 = []string{"sql"}, "172.29.77.5"
	db.Spec.StopAtOnce = true
	db.Spec.Engine = &otto.Options{
		Hostname:    "database",
		Init:        new(true),
		ShmBytes:    8 << 20,
		SecurityOpt: []string{"no-new-privileges:true"},
	}
	if _, err := r.Pull(t.Context(), db.Spec); err != nil {
		t.Fatal(err)
	}
	id, err := r.Create(t.Context(), db, db.ContainerName())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(r.Stop(ctx, id), r.Remove(ctx, id)); err != nil {
			t.Error(err)
		}
	})
	if c := inspect(t, r, id); c.SpecHash != db.Spec.Hash() {
		t.Errorf("with all its networks it is not what is wanted: %q", c.SpecHash)
	}
	if err := r.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for network, names := range map[string][]string{"shop_back": {"db", "sql", "shop-db-1", "store"}, "shop_front": {"db", "shop-db-1"}} {
		asks := instance(
			"asks",
			"sh",
			"-c",
			"for n in "+strings.Join(
				names,
				" ",
			)+"; do nslookup $n 127.0.0.11 2>&1 | grep -q 'Address.*: 1[79][0-9][.]' || echo no $n; done; echo done",
		)
		asks.Spec.Networks, asks.Spec.Links, asks.Spec.Restart = []otto.Network{
			{Name: network},
		}, []string{
			"shop-db-1:store",
		}, "no"
		if network == "shop_back" {
			asks.Spec.Networks = []otto.Network{back}
		}
		t.Run(network, func(t *testing.T) {
			asked := start(t, r, asks)
			waitFor(t, "an answer", func() bool { return strings.HasSuffix(logsOf(t, r, asked, 20), "done") })
			if got := logsOf(t, r, asked, 20); got != "done" {
				t.Errorf("in %s: %s", network, got)
			}
		})
	}
}

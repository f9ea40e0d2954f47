package docker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/shell"
)

// runOfAService runs a service as `otto run` does, beside its instance, without the network
// between.
func runOfAService(t *testing.T, r *Runtime) {
	inst := instance("shop/db", "sh", "-c", "echo own; exec sleep 600")
	inst.Name = "db"
	inst.Spec.Environment = map[string]string{"A": "a"}
	inst.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "shop_data", Target: "/data"}}
	inst.Spec.Networks = []otto.Network{{Name: "shop_back", Aliases: []string{"sql"}}, {Name: "shop_front"}}
	inst.Spec.Ports = []otto.Port{{Host: 8080, Container: 80, Protocol: "tcp"}}
	inst.Spec.ContainerName = "db"
	inst.Spec.StopGrace = time.Second
	_, err := r.Make(t.Context(), inst, shell.Command{})
	if err == nil || !strings.Contains(err.Error(), "volume shop_data is not on this node") {
		t.Fatalf("without its volume: %v", err)
	}
	id := start(t, r, inst)
	runs := func() (list []string) {
		t.Helper()
		err := r.call(t.Context(), shortCall, "list", func(ctx context.Context, c *client.Client) error {
			found, err := c.ContainerList(ctx, client.ContainerListOptions{
				All: true, Filters: client.Filters{}.Add("label", labelOnce),
			})
			for _, item := range found.Items {
				list = append(list, nameOf(item.Names))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	served := make(chan error, 1)
	begin := func(c shell.Command) net.Conn {
		here, node := net.Pipe()
		go func() {
			err := shell.ServeOnce(context.WithoutCancel(t.Context()), r, node, node)
			node.Close()
			served <- err
		}()
		if err := shell.AskOnce(here, inst, c); err != nil {
			t.Fatal(err)
		}
		return here
	}
	sh := func(script string) shell.Command {
		return shell.Command{Args: []string{"sh", "-c", script}, In: true, Env: []string{"B=b"}}
	}
	terminal := sh(untilSize("24 80") + "echo err >&2; exit 3")
	terminal.TTY, terminal.Size = true, shell.Size{Width: 80, Height: 24}
	for name, test := range map[string]struct {
		command  shell.Command
		in       io.Reader
		out, err string
		code     int
	}{
		"output, errors, input and exit code": {sh("cat; echo $A $B >&2; exit 7"), strings.NewReader("in\n"), "in\n", "a b\n", 7},
		"a terminal":                          {terminal, nil, "err\r\n", "", 3},
		"its volume":                          {sh("[ -d /data ] && touch /data/ran"), nil, "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var out, errs bytes.Buffer
			code, err := shell.Attach(ctx, begin(test.command), shell.Ends{In: test.in, Out: &out, Err: &errs})
			if code != test.code || err != nil {
				t.Fatalf("exit code %d, %v\n%s%s", code, err, &out, &errs)
			}
			if diff := cmp.Diff([]string{test.out, test.err}, []string{out.String(), errs.String()}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if left := runs(); len(left) > 0 { // before the exit code is told
				t.Errorf("left: %v", left)
			}
			<-served
		})
	}
	if failed, err := r.Exec(t.Context(), id, []string{"sh", "-c", "[ -e /data/ran ]"}); failed != "" || err != nil {
		t.Errorf("it had another volume: %s, %v", failed, err)
	}
	t.Run("an interrupt", func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		here := begin(sh("trap 'exit 5' INT; echo ready; while :; do sleep 0.1; done"))
		code, err := shell.Attach(ctx, here, shell.Ends{Out: then(interrupt), Err: io.Discard})
		if code != 5 || err != nil {
			t.Errorf("exit code %d, %v", code, err)
		}
		<-served
	})
	t.Run("its own command, until nobody waits any more", func(t *testing.T) {
		here := begin(shell.Command{In: true})
		seen := false
		_, err := shell.Attach(t.Context(), here, shell.Ends{Err: io.Discard, Out: then(func() {
			seen = true
			list, err := r.Containers(t.Context())
			if len(list) != 1 || list[0].ID != id || err != nil {
				t.Errorf("counted as an instance: %+v, %v", list, err)
			}
			names := runs()
			if len(names) != 1 || !strings.HasPrefix(names[0], "shop-db-run-") {
				t.Fatalf("called %v", names)
			}
			if err := r.Sweep(t.Context(), false); err != nil || len(runs()) != 1 {
				t.Errorf("taken away from who waits for it: %v", err)
			}
			onceIsAlone(t, r, names[0])
			here.Close()
		})})
		if !errors.Is(err, shell.ErrLost) || !seen {
			t.Fatal(err)
		}
		<-served
		if left := runs(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
	t.Run("who waited was killed", func(t *testing.T) {
		waits := exec.Command("sleep", "600")
		if err := waits.Start(); err != nil {
			t.Fatal(err)
		}
		err := r.call(t.Context(), longCall, "make", func(ctx context.Context, c *client.Client) error {
			options, err := createOptions(r.owner, instance("web", "sleep", "600"), "web-run-1")
			if err != nil {
				return err
			}
			options.HostConfig.NetworkMode = "none"
			options.NetworkingConfig = nil
			options.Config.Labels = map[string]string{labelOnce: onceOf(r.owner), labelRunner: runner(waits.Process.Pid)}
			made, err := c.ContainerCreate(ctx, options)
			if err == nil {
				_, err = c.ContainerStart(ctx, made.ID, client.ContainerStartOptions{})
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Sweep(t.Context(), false); err != nil || len(runs()) != 1 {
			t.Errorf("taken away from who waits for it: %v, %v", runs(), err)
		}
		_ = waits.Process.Kill()
		_ = waits.Wait()
		if err := r.Sweep(t.Context(), false); err != nil || len(runs()) != 0 {
			t.Errorf("left: %v, %v", runs(), err)
		}
	})
}

// onceIsAlone looks at what a run must not have in common with the instance.
func onceIsAlone(t *testing.T, r *Runtime, name string) {
	t.Helper()
	err := r.call(t.Context(), shortCall, "look", func(ctx context.Context, c *client.Client) error {
		found, err := c.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		if n := len(found.Container.HostConfig.PortBindings); n > 0 {
			t.Errorf("it publishes %d ports", n)
		}
		networks := found.Container.NetworkSettings.Networks
		if len(networks) != 2 {
			t.Errorf("networks: %v", networks)
		}
		for in, end := range networks {
			if slices.ContainsFunc(end.Aliases, func(a string) bool { return !strings.HasPrefix(found.Container.ID, a) }) {
				t.Errorf("it is called %v in %s", end.Aliases, in)
			}
		}
		if l := found.Container.Config.Labels; l["com.docker.compose.oneoff"] != "True" || l[otto.LabelCluster] != "" {
			t.Errorf("labels: %v", l)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

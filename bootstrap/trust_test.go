package bootstrap

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/otto-edge/otto"
)

func yes(otto.Node, string) (bool, error) { return true, nil }

func never(t *testing.T) func(otto.Node, string) (bool, error) {
	return func(n otto.Node, _ string) (bool, error) {
		t.Errorf("asked about %s", n.ID)
		return false, nil
	}
}

func TestUnknownHostKeyIsAskedForOnce(t *testing.T) {
	t.Parallel()
	for _, hash := range []string{"no", "yes"} {
		w := newWorld(t)
		m := w.stranger("rpi-01")
		w.config("HashKnownHosts %s\n", hash)
		f := w.fleet()
		_, err := ensure(t, f, m, newBroker(t), nil)
		wantError(t, err, "unknown host key of rpi-01 ("+ssh.FingerprintSHA256(m.key)+")", "otto cluster start",
			"--accept-new-host-keys")
		if left := listing(t, m.home); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
		var asked []string
		ask := func(n otto.Node, fingerprint string) (bool, error) {
			asked = append(asked, n.ID+" "+fingerprint)
			return true, nil
		}
		for range 2 {
			if err := f.Trust(t.Context(), []otto.Node{m.node}, ask); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"rpi-01 " + ssh.FingerprintSHA256(m.key)}, asked); diff != "" {
			t.Error(diff)
		}
		if hashed := strings.HasPrefix(w.knownHosts(), "|1|"); hashed != (hash == "yes") {
			t.Errorf("HashKnownHosts %s wrote %q", hash, w.knownHosts())
		}
		mustEnsure(t, f, m, newBroker(t))
	}
}

func TestHostKeyThatIsNotAcceptedIsNotRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.stranger("rpi-01")
	err := w.fleet().Trust(t.Context(), []otto.Node{m.node},
		func(otto.Node, string) (bool, error) { return false, nil })
	wantError(t, err, "the host key of rpi-01 was not accepted")
	if got := w.knownHosts(); got != "" {
		t.Errorf("known_hosts is %q", got)
	}
}

func TestChangedHostKeyIsAHardError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.stranger("rpi-01")
	w.know("127.0.0.1:1", m.key)
	w.know(m.addr, w.key)
	want := []string{
		"host key of rpi-01 has CHANGED",
		ssh.FingerprintSHA256(m.key),
		w.opts.KnownHosts[0] + ":2",
		"ssh-keygen -f",
		m.addr[strings.Index(m.addr, ":"):],
	}
	f := w.fleet()
	wantError(t, f.Trust(t.Context(), []otto.Node{m.node}, never(t)), want...)
	_, err := ensure(t, f, m, newBroker(t), nil)
	wantError(t, err, want...)
	if left := listing(t, m.home); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// TestSwappedAddressesAreNamed has two nodes that have each other's address since.
func TestSwappedAddressesAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, three := w.stranger("pi-1"), w.stranger("pi-3")
	w.know(one.addr, three.key)
	w.know(three.addr, one.key)
	f := w.fleet()
	wantError(t, f.Trust(t.Context(), []otto.Node{one.node, three.node}, never(t)), "host key of pi-1 (",
		") is that of pi-3: have the two swapped their addresses?")
	again := w.fleet() // a control plane that goes from node to node
	_, err := ensure(t, again, one, newBroker(t), nil)
	wantError(t, err, "host key of pi-1 has CHANGED")
	_, err = ensure(t, again, three, newBroker(t), nil)
	wantError(t, err, "host key of pi-3 (", ") is that of pi-1:")
	_, err = ensure(t, again, one, newBroker(t), nil)
	wantError(t, err, "host key of pi-1 (", ") is that of pi-3:")
	if left := listing(t, one.home); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTrustPassesOverNodesThatAreDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.stranger("rpi-01")
	w.alias("host-dead", freeAddr(t))
	nodes := []otto.Node{{ID: "dead", Host: "host-dead"}, {ID: "local", Host: "localhost"}, m.node}
	if err := w.fleet().Trust(t.Context(), nodes, yes); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.knownHosts(), m.addr[strings.Index(m.addr, ":")+1:]) {
		t.Errorf("known_hosts is %q", w.knownHosts())
	}
}

func TestNodeBehindAJumpHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jump, m := w.stranger("jump"), w.stranger("rpi-01")
	w.config("Host %s\n  ProxyJump %s\n", m.node.Host, jump.node.Host)
	f := w.fleet()
	var asked []string
	err := f.Trust(t.Context(), []otto.Node{m.node}, func(n otto.Node, _ string) (bool, error) {
		asked = append(asked, n.ID)
		return true, nil
	})
	if diff := cmp.Diff([]string{jump.node.Host, "rpi-01"}, asked); err != nil || diff != "" {
		t.Fatalf("%v (-want +got)\n%s", err, diff)
	}
	broker := newBroker(t)
	e := enrolment("rpi-01", broker)
	if _, err := f.Ensure(t.Context(), m.node, e, 1, bringing(func(string) {}, nil)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{broker}, m.state(t).Enrolment.Brokers); diff != "" {
		t.Errorf("the jump host was taken for the broker:\n%s", diff)
	}
}

func TestRefusedUserIsToldWhichKeysWereTried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	other := filepath.Join(w.dir, "other")
	writeKey(t, other, "")
	m.node.IdentityFile, m.node.User = other, "pi"
	_, err := ensure(t, w.fleet(), m, newBroker(t), nil)
	wantError(t, err, "rpi-01 refuses user pi at "+m.addr, "tried "+other, "ssh-copy-id -p")
}

func TestKeyWithAPassphraseIsUsedThroughTheSSHAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	locked := filepath.Join(w.dir, "locked")
	w.key = writeKey(t, locked, "secret")
	m := w.machine("rpi-01")
	m.node.IdentityFile = locked
	_, err := ensure(t, w.fleet(), m, newBroker(t), nil)
	wantError(t, err, "rpi-01 refuses user", "run `ssh-add "+locked+"`")

	b, err := os.ReadFile(locked)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKeyWithPassphrase(b, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	w.config("IdentityAgent %s\nIdentitiesOnly yes\n", sshAgent(t, key))
	mustEnsure(t, w.fleet(), m, newBroker(t))
}

func sshAgent(t *testing.T, key any) (socket string) {
	t.Helper()
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(shortDir(t), "agent.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(ring, c)
		}
	}()
	return socket
}

func TestUnreachableServersAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.opts.DialTimeout = 200 * time.Millisecond
	silent := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	chatty := serve(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); c.Close() })
	refused := freeAddr(t)
	w.alias("silent", silent)
	w.alias("chatty", chatty)
	w.alias("refused", refused)
	w.config("Host circle\n  ProxyJump circle\nHost command\n  ProxyCommand nc\nHost badport\n  Port x\n")
	for host, want := range map[string]string{
		"silent":         "n1 accepts connections at " + silent + " but does not speak SSH within 400ms",
		"chatty":         "n1: SSH with " + chatty,
		"refused":        "n1 refuses connections at " + refused + ": is an SSH server running there?",
		"absent.invalid": "n1: there is no host named absent.invalid",
		"circle":         "n1: ProxyJump of circle in the ssh config goes in a circle",
		"command":        "n1: ProxyCommand of command in the ssh config is not supported: use ProxyJump",
		"badport":        `n1: port of badport in the ssh config: "x" is not a port`,
	} {
		node := otto.Node{ID: "n1", Host: host}
		_, err := w.fleet().Ensure(t.Context(), node, enrolment("n1", "b:1"), 0, bringing(func(string) {}, nil))
		wantError(t, err, want)
	}
}

func TestSilentServerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.alias("silent", serve(t, func(c net.Conn) { io.Copy(io.Discard, c) }))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := w.fleet().Stop(ctx, otto.Node{ID: "n1", Host: "silent"}, us)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
}

func TestRouteIsWhatSSHWouldTake(t *testing.T) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("LEFT OUT: there is no ssh here to compare with")
	}
	w := newWorld(t)
	w.config(
		"Host pi\n  HostName %%h.lan\n  User lolo\n  Port 2222\n  ProxyJump me@gate:2200,inner\nHost gate\n  HostName 10.0.0.1\nHost *\n  User other\n",
	)
	config, err := w.fleet().sshConfig()
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"pi", "gate", "somewhere", "10.1.2.3"} {
		route, err := config.route(otto.Node{ID: "n1", Host: host})
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(ssh, "-G", "-F", w.opts.SSHConfig, host).Output()
		if err != nil {
			t.Fatal(err)
		}
		last := route[len(route)-1]
		_, port, _ := net.SplitHostPort(last.addr())
		for _, line := range []string{"hostname " + last.host, "user " + last.user, "port " + port} {
			if !strings.Contains("\n"+string(out), "\n"+line+"\n") {
				t.Errorf("ssh -G %s does not say %q", host, line)
			}
		}
	}
	route, _ := config.route(otto.Node{ID: "n1", Host: "pi", User: "root", Port: 22})
	var got []string
	for _, h := range route {
		got = append(got, h.user+"@"+h.addr())
	}
	if diff := cmp.Diff([]string{"me@10.0.0.1:2200", "other@inner:22", "root@pi.lan:22"}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzSplitTarget(f *testing.F) {
	f.Add("me@gate:2200")
	f.Add("ssh://[::1]:22/")
	f.Add("@:")
	f.Fuzz(func(t *testing.T, s string) {
		if _, host, port, err := splitTarget(s); err == nil && (host == "" || port < 0 || port > 65535) {
			t.Errorf("%q: host %q, port %d", s, host, port)
		}
	})
}

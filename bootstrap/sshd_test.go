package bootstrap

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent/service"
	"github.com/otto-edge/otto/wire"
)

// The test binary is the agent that is brought to the nodes: started under the
// name otto-agent it does what that does, without containers.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != agentName {
		os.Exit(withPrivsepDir(m.Run))
	}
	if err := agentMain(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// withPrivsepDir makes the directory that sshd wants from root, where no sshd has
// been started yet.
func withPrivsepDir(run func() int) int {
	const dir = "/run/sshd"
	if os.Geteuid() == 0 && os.Mkdir(dir, 0o755) == nil {
		defer os.Remove(dir)
	}
	return run()
}

func agentMain(verb string, args []string) error {
	switch verb {
	case "start":
		if _, err := os.Stat(filepath.Join(os.Getenv("HOME"), "no-start")); err == nil {
			return errors.New("fork: Resource temporarily unavailable")
		}
		return service.StartDetached(args[1], slices.Contains(args, "--anew"))
	case "stop":
		return service.Stop(args[1])
	case "uninstall":
		return service.Remove(args[1])
	case "look":
		b, err := os.ReadFile(filepath.Join(args[1], "agent.json"))
		if err != nil {
			return err
		}
		e, err := wire.DecodeEnrolment(b)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(wire.Look{ClusterID: e.ClusterID, NodeID: e.NodeID})
	case "reach":
		for _, addr := range service.Reachable(context.Background(), args) {
			if !blocked(addr) {
				fmt.Println(addr)
			}
		}
	case "echo":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "flood":
		for {
			if _, err := os.Stdout.Write(make([]byte, 32<<10)); err != nil {
				return nil
			}
		}
	case "run":
		release, err := service.Hold(args[1])
		if err != nil {
			return err
		}
		defer release()
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM)
		fmt.Println("the agent is up")
		<-end
	}
	return nil
}

// blocked is the node's firewall: the addresses in ~/blocked.
func blocked(addr string) bool {
	b, _ := os.ReadFile(filepath.Join(os.Getenv("HOME"), "blocked"))
	return slices.Contains(strings.Fields(string(b)), addr)
}

// agents are two builds of the agent: n bytes at the end do not change what it does.
var agents = sync.OnceValue(func() [2]Binary {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	elf, err := os.ReadFile(self)
	if err != nil {
		panic(err)
	}
	var out [2]Binary
	for i := range out {
		var gz bytes.Buffer
		w, _ := gzip.NewWriterLevel(&gz, gzip.NoCompression)
		w.Write(append(elf, make([]byte, i)...))
		w.Close()
		if out[i], err = NewBinary(gz.Bytes()); err != nil {
			panic(err)
		}
	}
	return out
})

func build(n int) func(string) (Binary, error) {
	return func(string) (Binary, error) { return agents()[n], nil }
}

// world is a user's machine and the SSH servers that it knows.
type world struct {
	t    *testing.T
	dir  string
	opts Options
	key  ssh.PublicKey // of the user
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, dir: dir, opts: Options{
		KnownHosts:  []string{filepath.Join(dir, "known_hosts")},
		SSHConfig:   filepath.Join(dir, "ssh_config"),
		Binaries:    build(0),
		DialTimeout: 3 * time.Second,
	}}
	w.key = writeKey(t, filepath.Join(dir, "id"), "")
	w.config("Match all\n  IdentityAgent none\n  IdentityFile %s\n", filepath.Join(dir, "id"))
	return w
}

func (w *world) fleet() *Fleet {
	f := New(w.opts)
	w.t.Cleanup(f.Close)
	return f
}

// config puts lines at the beginning of the user's ssh configuration, where they
// count most.
func (w *world) config(format string, args ...any) {
	w.t.Helper()
	before, _ := os.ReadFile(w.opts.SSHConfig)
	if err := os.WriteFile(w.opts.SSHConfig, append(fmt.Appendf(nil, format, args...), before...), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) knownHosts() string {
	b, _ := os.ReadFile(w.opts.KnownHosts[0])
	return string(b)
}

func (w *world) know(addr string, key ssh.PublicKey) {
	host, port, _ := net.SplitHostPort(addr)
	line := fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(key))
	if err := os.WriteFile(w.opts.KnownHosts[0], []byte(w.knownHosts()+line), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// machine is a host with a real sshd on a loopback port, a home directory and
// an engine's socket of its own.
type machine struct {
	node otto.Node
	home string
	addr string
	key  ssh.PublicKey
	sshd *os.Process
	log  *syncBuffer // of sshd
}

// signal reaches the SSH server.
func (m machine) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := m.sshd.Signal(s); err != nil {
		t.Fatal(err)
	}
}

const cluster = "home"

// us is the control plane of the enrolments of these tests.
var us = wire.Authority{Cluster: cluster, Warrant: wire.Warrant{ClusterID: "c1", Epoch: 5, Process: "p"}}

func (m machine) nodeDir() string { return filepath.Join(m.home, ".local/share/otto", cluster) }

func (w *world) machine(id string, options ...string) machine {
	w.t.Helper()
	m := w.stranger(id, options...)
	w.know(m.addr, m.key)
	return m
}

// stranger is a machine whose host key is not known.
func (w *world) stranger(id string, options ...string) machine {
	w.t.Helper()
	sshd := "/usr/sbin/sshd"
	if _, err := os.Stat(sshd); err != nil {
		w.t.Skip("LEFT OUT: there is no /usr/sbin/sshd here (apt-get install openssh-server)")
	}
	dir := w.t.TempDir()
	m := machine{home: filepath.Join(dir, "home of "+id), addr: freeAddr(w.t)}
	m.key = writeKey(w.t, filepath.Join(dir, "hostkey"), "")
	if err := os.Mkdir(m.home, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "authorized_keys"), ssh.MarshalAuthorizedKey(w.key), 0o600); err != nil {
		w.t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(m.addr)
	config := fmt.Sprintf(
		"ListenAddress 127.0.0.1\nPort %s\nHostKey %s/hostkey\nAuthorizedKeysFile %[2]s/authorized_keys\n"+
			"LogLevel VERBOSE\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\nSubsystem sftp internal-sftp\nSetEnv \"HOME=%s\"\n%s\n",
		port,
		dir,
		m.home,
		strings.Join(options, "\n"),
	)
	if err := os.WriteFile(filepath.Join(dir, "sshd_config"), []byte(config), 0o600); err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	log := &syncBuffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	m.sshd, m.log = cmd.Process, log
	w.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Process.Signal(syscall.SIGCONT)
		cmd.Wait()
		if w.t.Failed() {
			w.t.Logf("sshd of %s:\n%s", id, log.String())
		}
		if err := service.Stop(m.nodeDir()); err != nil {
			w.t.Error(err)
		}
	})
	eventually(w.t, "sshd listens", func() bool { return dials(m.addr) })
	socket := filepath.Join(shortDir(w.t), "docker.sock")
	engine, err := net.Listen("unix", socket)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { engine.Close() })
	m.node = otto.Node{ID: id, Host: "host-" + id, DockerURL: "unix://" + socket}
	w.alias(m.node.Host, m.addr)
	return m
}

func (w *world) alias(host, addr string) {
	name, port, _ := net.SplitHostPort(addr)
	w.config("Host %s\n  HostName %s\n  Port %s\n", host, name, port)
}

// shortDir is for sockets, whose paths may have 107 characters only.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "otto") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func enrolment(node, broker string) wire.Enrolment {
	return wire.Enrolment{
		Cluster: cluster, ClusterID: "c1", NodeID: node, Brokers: []string{broker}, ClientID: node + "-secret",
		ControlKey: make(ed25519.PublicKey, ed25519.PublicKeySize), DockerURL: "unix:///var/run/docker.sock",
	}
}

// state is what a machine has of the cluster.
type state struct {
	Pid       int
	Running   string
	Agents    []string
	Enrolment wire.Enrolment
}

func (m machine) state(t *testing.T) state {
	t.Helper()
	var s state
	dirs, _ := filepath.Glob(filepath.Join(m.nodeDir(), "agents", "*", agentName))
	for _, d := range dirs {
		s.Agents = append(s.Agents, agentHash(d))
	}
	slices.Sort(s.Agents)
	if b, err := os.ReadFile(filepath.Join(m.nodeDir(), "agent.pid")); err == nil {
		first, _, _ := strings.Cut(string(b), "\n")
		pid, _ := strconv.Atoi(first)
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if s.Running = agentHash(exe); s.Running != "" {
			s.Pid = pid
		}
	}
	b, err := os.ReadFile(filepath.Join(m.nodeDir(), "agent.json"))
	if errors.Is(err, os.ErrNotExist) {
		return s
	}
	if err == nil {
		err = json.Unmarshal(b, &s.Enrolment)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writeKey(t *testing.T, path, passphrase string) ssh.PublicKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "test")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "test", []byte(passphrase))
	}
	if err == nil {
		err = os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func dials(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		c.Close()
	}
	return err == nil
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// serve accepts connections for the length of a test.
func serve(t *testing.T, handle func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			open.Go(func() { handle(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		open.Wait()
	})
	return l.Addr().String()
}

// cable is a link to a server that breaks, by cut or after a number of bytes
// from the client; 0 is never.
type cable struct {
	addr  string
	limit atomic.Int64
	mu    sync.Mutex
	conns []net.Conn
}

func newCable(t *testing.T, to string) *cable {
	c := &cable{}
	c.addr = serve(t, func(from net.Conn) {
		server, err := net.Dial("tcp", to)
		if err != nil {
			from.Close()
			return
		}
		c.mu.Lock()
		c.conns = append(c.conns, from, server)
		c.mu.Unlock()
		var both sync.WaitGroup
		both.Go(func() { relay(from, server) })
		both.Go(func() {
			if limit := c.limit.Load(); limit > 0 {
				io.CopyN(server, from, limit)
			} else {
				io.Copy(server, from)
			}
			from.Close()
			server.Close()
		})
		both.Wait()
	})
	return c
}

func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
)

// taking is a control plane that keeps what it is asked for.
type taking struct {
	canned
	mu      sync.Mutex
	applied []otto.Wanted
	by      string
	changes []otto.Change
}

func (p *taking) Plan(context.Context, otto.Wanted) (otto.Plan, error) {
	return otto.Plan{ID: "3f9c", Changes: p.changes, Revision: p.view.Revision}, nil
}

func (p *taking) Apply(ctx context.Context, w otto.Wanted, _ uint64, dry bool) ([]otto.Change, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !dry {
		p.applied, p.by = append(p.applied, w), otto.By(ctx)
	}
	return p.changes, nil
}

// taken is what was applied.
func (p *taking) taken() []otto.Wanted {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.applied)
}

func (p *taking) asker() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.by
}

// afar serves p to other machines, and makes it context home of a user with a token.
func afar(t *testing.T, p api.Plane, role api.Role) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"c1"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := api.OpenTokens(filepath.Join(t.TempDir(), "tokens.json"))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := tokens.Add("laptop", role, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := api.NewServer(p, nil, "", cancel)
	s.Tokens = tokens
	r := api.NewRemote(s, api.RemoteOptions{
		TLS: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		Log: slog.New(slog.DiscardHandler),
	})
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx, l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	access := api.Access{ClusterID: "c1", Cluster: "home", Authorities: ca, Name: "laptop", Role: role, Secret: secret}
	if err := keepContext("home", api.Context{Address: l.Addr().String(), Access: access}); err != nil {
		t.Fatal(err)
	}
}

// laptop is a directory with an otto.yaml and what else is given, in which otto is run.
func laptop(t *testing.T, files map[string]string) func(args ...string) (code int, said string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(args ...string) (int, string) {
		var out bytes.Buffer
		code := Main("test", append([]string{"--context", "home"}, args...), strings.NewReader(""), &out, &out)
		return code, out.String()
	}
}

func atHome() *taking {
	p := &taking{changes: []otto.Change{{Kind: "add", Noun: "service", Name: "web"}}}
	p.view = otto.Cluster{Name: "home", Revision: 7, Nodes: []otto.NodeStatus{
		{Node: otto.Node{ID: "n1", Host: "10.0.0.1", IdentityFile: "/home/eve/.ssh/home"}, State: otto.NodeReady, Current: true},
	}}
	return p
}

const fromLaptop = `name: home
nodes: [{id: n1, host: 10.0.0.1, identity_file: key-of-this-machine}]
services:
  web:
    image: redis:${TAG}
    env_file: web.env
    secrets: [password]
secrets: {password: {file: password.txt}}
`

// What the file refers to is read where the command runs and goes with it; keys for SSH stay.
func TestFileIsAppliedFromAnotherMachine(t *testing.T) {
	p := atHome()
	afar(t, p, api.Operate)
	t.Setenv("TAG", "7")
	otto := laptop(t, map[string]string{
		"otto.yaml": fromLaptop, "web.env": "COLOUR=blue\n", "password.txt": "hunter2", "key-of-this-machine": "",
	})
	code, said := otto("plan")
	if code != exitChange || !strings.Contains(said, "+ service web") || !strings.Contains(said, afarNote) {
		t.Errorf("plan: %d\n%s", code, said)
	}
	if code, said := otto("apply"); code != exitUsage || !strings.Contains(said, "this needs a yes") || len(p.taken()) > 0 {
		t.Errorf("nobody has agreed: %d\n%s", code, said)
	}
	if code, said := otto("apply", "--plan", "other"); code != exitFailed || !strings.Contains(said, "look at `otto plan`") {
		t.Errorf("another plan: %d\n%s", code, said)
	}
	code, said = otto("apply", "--yes")
	if code != exitOK || !strings.Contains(said, "home is up") || strings.Contains(said, "hunter2") {
		t.Fatalf("apply: %d\n%s", code, said)
	}
	if len(p.taken()) != 1 || p.asker() != "token laptop" {
		t.Fatalf("applied %d times, by %q", len(p.taken()), p.asker())
	}
	w := p.taken()[0]
	if got := w.Services[0].Spec; got.Image != "redis:7" || got.Environment["COLOUR"] != "blue" {
		t.Errorf("the service is %v", got)
	}
	if got := w.Nodes[0].IdentityFile; got != "/home/eve/.ssh/home" {
		t.Errorf("the key for n1 is %q", got)
	}
	found := false
	for _, content := range w.Contents.Plain() {
		found = found || string(content) == "hunter2"
	}
	if !found {
		t.Error("the secret has not come")
	}
	entries, err := os.ReadDir(".")
	if err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == ".otto" }) {
		t.Errorf("a directory of a cluster was made here: %v", err)
	}
}

// What cannot be done from there is said with its place, before anything is asked for.
func TestWhatIsOfThisMachineIsNotAppliedElsewhere(t *testing.T) {
	const base = "name: home\nnodes: [{id: n1, host: localhost}, {id: n2, host: 10.0.0.2}]\n"
	for _, x := range []struct{ name, yaml, want string }{
		{
			"in place", base + "services:\n  web:\n    image: redis\n    node: n1\n    volumes:\n      - ./site:/site:ro\n",
			`otto.yaml:8:9: "./site" is used in place`,
		},
		{
			"data", base + "services:\n  web:\n    image: redis\n    node: n2\n    volumes:\n      - ./site:/site\n",
			`otto.yaml:8:9: "./site" is data`,
		},
		{
			"build", base + "services:\n  web:\n    build: ./site\n    node: n2\n",
			"otto.yaml:5:12: the image of service web is built where the control plane is",
		},
		{"another cluster", "name: work\nnodes: [{id: n1, host: 10.0.0.1}]\n", `is of cluster "work", and context home is cluster "home"`},
		{"a mistake", base + "services:\n  web:\n    imag: redis\n", "otto.yaml:5:5: "},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := atHome()
			afar(t, p, api.Operate)
			otto := laptop(t, map[string]string{"otto.yaml": x.yaml, "site/Dockerfile": "FROM scratch\n"})
			for _, args := range [][]string{{"plan"}, {"apply", "--yes"}} {
				if code, said := otto(args...); code == exitOK || code == exitChange && args[0] == "plan" ||
					!strings.Contains(said, x.want) || len(p.taken()) > 0 {
					t.Errorf("%v: %d, applied %d times\n%s", args, code, len(p.taken()), said)
				}
			}
		})
	}
}

func TestWhoOnlyLooksAppliesNothing(t *testing.T) {
	p := atHome()
	afar(t, p, api.Look)
	otto := laptop(t, map[string]string{"otto.yaml": "name: home\nnodes: [{id: n1, host: 10.0.0.1}]\n"})
	if code, said := otto("apply", "--yes"); code != exitFailed || !strings.Contains(said, "is for look, and this needs operate") ||
		len(p.taken()) > 0 {
		t.Errorf("%d\n%s", code, said)
	}
}

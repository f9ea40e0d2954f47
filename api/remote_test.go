package api

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

const clusterID = "c1"

// authority draws a certificate that proves to be a server called clusterID by itself.
func authority(t testing.TB) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{clusterID}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// far is an API for other machines, until the test ends.
type far struct {
	plane   *plane
	tokens  *Tokens
	remote  *Remote
	address string
	ca      string
}

func serveFar(t testing.TB, with func(*Remote)) *far {
	t.Helper()
	tokens, err := OpenTokens(filepath.Join(t.TempDir(), "tokens.json"))
	if err != nil {
		t.Fatal(err)
	}
	cert, ca := authority(t)
	f := &far{plane: newPlane(), tokens: tokens, ca: ca}
	ctx, cancel := context.WithCancel(context.Background())
	s := NewServer(f.plane, f.plane, "", cancel)
	s.Tokens, s.Authorities = tokens, func() string { return ca }
	f.remote = NewRemote(s, RemoteOptions{
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Names: []string{"host.local"},
		Log: slog.New(slog.DiscardHandler),
	})
	if with != nil {
		with(f.remote)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = l.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.remote.Run(ctx, l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f
}

// client has a new token.
func (f *far) client(t testing.TB, name string, role Role) *Client {
	t.Helper()
	secret, err := f.tokens.Add(name, role, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return f.with(t, secret)
}

func (f *far) with(t testing.TB, secret string) *Client {
	t.Helper()
	c, err := Context{f.address, Access{ClusterID: clusterID, Authorities: f.ca, Secret: secret}}.Client("me")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// What each role may, by its effect: a request that is refused reaches nobody.
func TestRolesMayWhatTheyMay(t *testing.T) {
	f := serveFar(t, nil)
	clients := map[Role]*Client{"": f.with(t, "wrong"), Look: f.client(t, "eye", Look), Operate: f.client(t, "hand", Operate)}
	for _, route := range f.remote.server.routes() {
		method, path, _ := strings.Cut(route.pattern, " ")
		path = strings.NewReplacer("{id}", "web", "{volume}", "v", "{name}", "eye").Replace(path)
		for role, c := range clients {
			f.plane.mu.Lock()
			f.plane.calls = nil
			f.plane.mu.Unlock()
			req, err := http.NewRequestWithContext(t.Context(), method, c.base+path, strings.NewReader(`{"nodes":[{"id":"n1"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+c.secret)
			resp, err := c.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var text []byte
			if resp.StatusCode >= http.StatusBadRequest || route.form != formEvents { // those do not end
				text, _ = io.ReadAll(resp.Body)
			}
			resp.Body.Close()
			want := http.StatusForbidden
			switch {
			case role == "":
				want = http.StatusUnauthorized
			case role.may(route.role):
				want = 0
			}
			refused := resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized
			if want == 0 && refused || want != 0 && resp.StatusCode != want {
				t.Errorf("%s for %q: %s %s", route.pattern, role, resp.Status, text)
			}
			f.plane.mu.Lock()
			if want != 0 && len(f.plane.calls) > 0 {
				t.Errorf("%s for %q was refused and done: %v", route.pattern, role, f.plane.calls)
			}
			f.plane.mu.Unlock()
		}
	}
	if len(f.tokens.List()) != 2 {
		t.Error("the tokens have changed")
	}
}

func TestNothingChangesByGET(t *testing.T) {
	for _, r := range NewServer(newPlane(), newPlane(), "", nil).routes() {
		if strings.HasPrefix(r.pattern, "GET ") && r.role == Operate {
			t.Errorf("%s is an act", r.pattern)
		}
	}
}

func TestWhoLooksSeesNoSecrets(t *testing.T) {
	f := serveFar(t, nil)
	f.plane.become(&otto.Cluster{Name: "home", Services: []otto.ServiceStatus{{Service: otto.Service{
		Name: "web", Spec: otto.ContainerSpec{
			Environment: map[string]string{"TOKEN": "hunter2"}, Command: []string{"serve", "--password=hunter2"},
			Labels: map[string]string{"a": "hunter2"},
		},
	}, Instances: []otto.PlacedInstance{{InstanceStatus: otto.InstanceStatus{Name: "web", LogTail: []string{"hunter2"}}}}}}})
	for role, sees := range map[Role]bool{Look: false, Operate: true} {
		c, err := f.client(t, string(role), role).Cluster(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(fmt.Sprint(c), "hunter2"); got != sees || c.Services[0].Name != "web" {
			t.Errorf("%s sees it: %t\n%+v", role, got, c)
		}
	}
}

func TestWhatAWebPageSendsIsRefused(t *testing.T) {
	f := serveFar(t, nil)
	secret, err := f.tokens.Add("eye", Look, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := f.with(t, secret)
	for _, x := range []struct {
		name, header, value, host string
		status                    int
	}{
		{name: "nothing of the kind", status: http.StatusOK},
		{name: "this machine's name", host: "host.local", status: http.StatusOK},
		{name: "another origin", header: "Origin", value: "https://example.com", status: http.StatusForbidden},
		{name: "no origin", header: "Origin", value: "null", status: http.StatusForbidden},
		{name: "a browser", header: "Sec-Fetch-Site", value: "cross-site", status: http.StatusForbidden},
		{name: "a name made to mean this machine", host: "rebound.example.com:443", status: http.StatusMisdirectedRequest},
	} {
		t.Run(x.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+"/v1/cluster", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = x.host
			req.Header.Set("Authorization", "Bearer "+secret)
			if x.header != "" {
				req.Header.Set(x.header, x.value)
			}
			resp, err := c.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != x.status {
				t.Error(resp.Status)
			}
		})
	}
}

func TestRemovedTokenEndsWhatIsUnderWay(t *testing.T) {
	f := serveFar(t, nil)
	c := f.client(t, "eye", Look)
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- c.Watch(t.Context(), func(*otto.Cluster) bool { close(began); return true })
	}()
	<-began
	if err := f.tokens.Remove("eye"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("it goes on")
	}
	if _, err := c.Cluster(t.Context()); err == nil || !strings.Contains(err.Error(), "the token is not known") {
		t.Error(err)
	}
}

func TestForeignControlPlaneGetsNoToken(t *testing.T) {
	f := serveFar(t, nil)
	_, f.ca = authority(t) // what the client trusts is another cluster's
	if _, err := f.with(t, "secret").Cluster(t.Context()); err == nil || !strings.Contains(err.Error(), "is not this cluster's control plane") {
		t.Error(err)
	}
	if list := f.remote.Complaints(); len(list) > 0 {
		t.Errorf("it was asked: %+v", list)
	}
}

func TestStrangersAreBounded(t *testing.T) {
	f := serveFar(t, func(r *Remote) { r.part = 100 * time.Millisecond })
	t.Run("connections", func(t *testing.T) {
		for range maxConnsFrom + 5 {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		until(t, func() bool { return complains(f, "connections") })
	})
	c := f.client(t, "hand", Operate)
	until(t, func() bool { _, err := c.Cluster(t.Context()); return err == nil }) // the others are gone
	t.Run("requests of one token", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		for range maxBusy - 4 { // connections are bounded as well
			wg.Go(func() { _ = c.Watch(ctx, func(*otto.Cluster) bool { return true }) })
		}
		for i := range 8 {
			_, _, _, end := f.tokens.begin(ctx, c.secret)
			if end == nil {
				t.Fatal(i)
			}
			defer end()
		}
		until(t, func() bool {
			_, err := c.Cluster(ctx)
			return err != nil && strings.Contains(err.Error(), "too many requests")
		})
	})
	t.Run("a question that does not end", func(t *testing.T) {
		conn := f.dial(t, c)
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/plan HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n{", c.secret)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Error(resp.Status)
		}
	})
	t.Run("a question that is too large", func(t *testing.T) {
		var w otto.Wanted
		w.Nodes = []otto.Node{{ID: strings.Repeat("n", maxBody)}}
		if _, err := c.Plan(t.Context(), w); err == nil {
			t.Error("it was taken")
		}
	})
	t.Run("a header that is too large", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+"/v1/cluster", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X", strings.Repeat("x", 2*maxHeader))
		if resp, err := c.http.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Error(resp.Status)
			}
		}
	})
	t.Run("a reader that does not read", func(t *testing.T) {
		big := &otto.Cluster{Name: strings.Repeat("x", 4<<20)} // which is in each batch
		conn := f.dial(t, c)
		defer conn.Close()
		f.plane.become(big)
		fmt.Fprintf(conn, "GET /v1/changes HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n", c.secret)
		until(t, func() bool { return f.busy("hand") == 1 })
		until(t, func() bool {
			next := *big
			f.plane.become(&next)
			return f.busy("hand") == 0
		})
	})
}

// dial connects as soon as those that have been closed are not counted any more.
func (f *far) dial(t *testing.T, c *Client) (conn *tls.Conn) {
	t.Helper()
	until(t, func() (ok bool) {
		var err error
		conn, err = tls.Dial("tcp", f.address, c.http.Transport.(*http.Transport).TLSClientConfig)
		return err == nil
	})
	return conn
}

func (f *far) busy(name string) int {
	f.tokens.mu.Lock()
	defer f.tokens.mu.Unlock()
	if u := f.tokens.ends[name]; u != nil {
		return u.busy
	}
	return 0
}

func complains(f *far, of string) bool {
	for _, c := range f.remote.Complaints() {
		if strings.Contains(c.What, of) {
			return true
		}
	}
	return false
}

func until(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come to hold")
		}
	}
}

func TestTokensAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	tokens, err := OpenTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := tokens.Add("eye", Look, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		name string
		role Role
	}{{"eye", Look}, {"Eye", Look}, {"", Look}, {"hand", Owner}, {"hand", ""}} {
		if _, err := tokens.Add(bad.name, bad.role, time.Now()); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	again, err := OpenTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	token, _, _, end := again.begin(t.Context(), secret)
	if end == nil || token.Name != "eye" || token.Role != Look {
		t.Fatalf("%+v", token)
	}
	end()
	if list := again.List(); len(list) != 1 || list[0].Hash != (Token{}.Hash) {
		t.Errorf("%+v", list)
	}
	if err := again.Remove("hand"); err == nil {
		t.Error("a token that is not there was removed")
	}
}

func TestInvitationIsReadAsItWasWritten(t *testing.T) {
	a := Access{ClusterID: "c", Cluster: "home", Authorities: "pem", Name: "eye", Role: Look, Secret: "s"}
	text, err := a.Invite()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadInvite(" " + text + "\n"); err != nil || got != a {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "otto1-", text[:len(text)-5], "eye", text + "!"} {
		if _, err := ReadInvite(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// Whatever a stranger sends, the plane hears nothing of it.
func FuzzStranger(f *testing.F) {
	tokens, err := OpenTokens(filepath.Join(f.TempDir(), "tokens.json"))
	if err != nil {
		f.Fatal(err)
	}
	p := newPlane()
	s := NewServer(p, p, "", func() { f.Error("exit") })
	s.Tokens = tokens
	h := NewRemote(s, RemoteOptions{Log: slog.New(slog.DiscardHandler)}).http.Handler
	f.Add("POST", "/v1/stop", "127.0.0.1", "", "{}")
	f.Add("GET", "/v1/changes", "127.0.0.1", "Bearer x", "")
	f.Add("PUT", "/v1/tokens/a?role=operate", "[::1]:1", "Bearer ", "")
	f.Fuzz(func(t *testing.T, method, path, host, authorization, body string) {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(fmt.Sprintf(
			"%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s",
			method, path, host, authorization, len(body), body))))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code < 400 || len(p.calls) > 0 {
			t.Errorf("%d, %v", w.Code, p.calls)
		}
	})
}

package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

// planted is a spec with a secret in each place that a user can put one.
func planted() (otto.Service, []string) {
	var all []string
	secret := func(where string) string {
		s := fmt.Sprintf("h%dnter2-%s", len(all), where)
		all = append(all, s)
		return s
	}
	return otto.Service{
		Name:  "web",
		Probe: &otto.Probe{Exec: []string{"check", "--key", secret("probe")}, HTTP: &otto.HTTPProbe{Port: 80, Path: "/health?token=" + secret("query")}},
		Spec: otto.ContainerSpec{
			Image:       "nginx:alpine",
			Environment: map[string]string{"KEY": secret("env"), "URL": "postgres://joe:" + secret("url") + "@db/x", "SHORT": "abc", "PEM": "line one\n" + secret("pem-line-two") + "\n", "ODD": secret(`quote"and\slash<`)},
			Labels:      map[string]string{"traefik.auth": secret("label")},
			Command:     []string{"serve", "--password=" + secret("option"), "-p" + secret("short"), "--user", secret("after")},
			Entrypoint:  []string{"sh", "-c", "PASSWORD=" + secret("inline") + " exec nginx"},
			Healthcheck: &otto.Healthcheck{Test: []string{"CMD", "curl", "http://u:" + secret("health") + "@localhost"}},
			Logging:     &otto.Logging{Driver: "splunk", Options: map[string]string{"splunk-token": secret("log")}},
		},
	}, all
}

func check(t *testing.T, what, text string, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		if i := strings.Index(text, s); i >= 0 {
			t.Errorf("%s has %s: ...%s", what, s, text[max(0, i-40):i+len(s)])
		}
	}
}

func TestNoSecretOfASpecIsLeftInIt(t *testing.T) {
	s, secrets := planted()
	view := Cluster(otto.Cluster{
		Nodes:    []otto.NodeStatus{{Node: otto.Node{ID: "pi", Labels: map[string]string{"a": "h99nter2"}}}},
		Services: []otto.ServiceStatus{{Service: s, Instances: []otto.PlacedInstance{{InstanceStatus: otto.InstanceStatus{LogTail: []string{"h99nter2"}}}}}},
	})
	asg := Assignment(otto.Assignment{Node: "pi", Warrant: []byte("h99nter2"), Instances: []otto.Instance{{Name: "web", Spec: s.Spec, Probe: s.Probe}}})
	for what, v := range map[string]any{"the view": view, "the assignment": asg} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		check(t, what, string(b), append(secrets, "h99nter2", "abc"))
		for _, kept := range []string{"nginx:alpine", `"KEY"`, `"traefik.auth"`, "--password=", "--user", "splunk-token", `"SHORT"`} {
			if !strings.Contains(string(b), kept) {
				t.Errorf("%s has lost %s", what, kept)
			}
		}
	}
	if again, _ := planted(); !cmp.Equal(again, s) {
		t.Error("the original was changed")
	}
}

func TestNoKnownSecretIsLeftInAnyText(t *testing.T) {
	service, secrets := planted()
	var s Secrets
	s.AddServices([]otto.Service{service})
	s.Public("web")
	var log strings.Builder
	for _, secret := range secrets {
		js, _ := json.Marshal(map[string]string{"msg": "failed with " + secret, "password": "zyx"})
		fmt.Fprintf(&log, "plain %s\n%s\nquoted %q\n", secret, js, secret)
	}
	log.WriteString(`{"msg":"dial amqp://joe:otherpass1@host/","n":12345678901234567890}` + "\n")
	log.WriteString("password=otherpass2 Authorization: Bearer otherpass3 token: \"otherpass4\"\n")
	log.WriteString("-----BEGIN EC PRIVATE KEY-----\notherpass5\n-----END EC PRIVATE KEY-----\nthe service web is fine\n")
	got := string(s.Text([]byte(log.String())))
	check(t, "the log", got, append(secrets, "otherpass", "zyx", "h4nter2-quote", "h5nter2-quote"))
	for _, kept := range []string{"the service web is fine", "failed with", "12345678901234567890", "amqp://[redacted]@host/"} {
		if !strings.Contains(got, kept) {
			t.Errorf("lost %s in\n%s", kept, got)
		}
	}
	b, err := s.JSON(map[string]any{"said": secrets, "api_key": "zyx", "count": 3})
	check(t, "the JSON", string(b), append(secrets, "zyx"))
	if err != nil || !strings.Contains(string(b), `"count": 3`) {
		t.Errorf("%v: %s", err, b)
	}
}

func TestCommonWordsAreNotLookedFor(t *testing.T) {
	var s Secrets
	s.Add("info", "true", "80", "8080", "abc", "", "postgres")
	s.Public("postgres")
	const text = "level=info true 80 8080 abc postgres\n"
	if got := string(s.Text([]byte(text))); got != text {
		t.Errorf("got %q", got)
	}
}

func TestLogsStayReadable(t *testing.T) {
	var s Secrets
	const text = "time=2025-06-01T12:00:00Z level=INFO msg=\"agent starts\" node=pi\nno newline at the end"
	if got := string(s.Text([]byte(text))); got != text {
		t.Errorf("got %q", got)
	}
}

func TestWhatIsInABundleDoesNothingToATerminal(t *testing.T) {
	var s Secrets
	text := s.Text([]byte("\x1b]0;owned\x07 a line\r\n{\"message\":\"\u009b31mred\"}\n"))
	if want := "?]0;owned? a line\n{\"message\":\"?31mred\"}\n"; string(text) != want {
		t.Errorf("got %q, want %q", text, want)
	}
	b, err := s.JSON(map[string]string{"message": "\u009b31mred"})
	if want := "{\n  \"message\": \"?31mred\"\n}\n"; err != nil || string(b) != want {
		t.Errorf("got %q, want %q (%v)", b, want, err)
	}
}

func FuzzSecretsAreTakenOut(f *testing.F) {
	f.Add(`quo"ted`, "before ", " after")
	f.Add("two\nlines that are long enough", `{"a":"`, `"}`)
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		secret = "~" + strings.ToValidUTF8(strings.TrimSpace(secret), "") + "~unlikely~"
		if strings.Contains(before+after, "~") || strings.Contains(secret, "\n") || strings.Contains(secret, "\r") {
			return
		}
		var s Secrets
		s.Add(secret)
		if got := s.Text([]byte(before + secret + after)); bytes.Contains(got, []byte(secret)) {
			t.Errorf("%q is in %q", secret, got)
		}
	})
}

// unpack returns the files of a bundle.
func unpack(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	gz, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil || h.Mode != 0o600 {
			t.Errorf("%s: mode %o, %v", h.Name, h.Mode, err)
		}
		files[h.Name] = string(b)
	}
}

func TestBundleIsBoundedAndNotesWhatIsMissing(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out, "b", time.Unix(0, 0))
	w.Add("hunter2")
	long := strings.Repeat("a line of a log\n", MaxFile/16+1) + "the end\n"
	w.left = 3 * MaxFile
	for i := range 5 {
		w.Text(fmt.Sprintf("log%d", i), []byte(long))
	}
	w.JSON("v.json", map[string]int{"a": 1})
	w.Note("n1", errors.New("no answer to hunter2\nat all"))
	w.Note("n2", nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files := unpack(t, &out)
	size := 0
	for _, content := range files {
		size += len(content)
	}
	if size > 3*MaxFile+1000 || len(files["b/log0"]) != MaxFile || !strings.HasSuffix(files["b/log0"], "the end\n") {
		t.Errorf("%d bytes in all, %d in log0", size, len(files["b/log0"]))
	}
	if notes := files["b/notes.txt"]; !strings.Contains(notes, "n1: no answer to [redacted]; at all\n") || strings.Contains(notes, "n2") || !strings.Contains(notes, "log0: only the last") {
		t.Errorf("notes: %.300s", notes)
	}
}

func TestTailBeginsWithAWholeLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("one\ntwo\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int64]string{100: "one\ntwo\nthree\n", 8: "three\n", 12: "two\nthree\n"} {
		if got, err := Tail(path, n); err != nil || string(got) != want {
			t.Errorf("%d: %q, %v", n, got, err)
		}
	}
}

func TestFilesAreListedWithoutTheirContent(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := string(Files(dir))
	if !strings.Contains(got, "-rw-------            7 ") || !strings.Contains(got, " key\n") || strings.Contains(got, "hunter2") {
		t.Errorf("got %s", got)
	}
}

func TestNodeTellsNoSecret(t *testing.T) {
	service, secrets := planted()
	var s Secrets
	s.AddSpec(service.Spec)
	s.AddProbe(service.Probe)
	dir := t.TempDir()
	log := filepath.Join(dir, "agent.log")
	if err := os.WriteFile(log, []byte("tried "+strings.Join(secrets, " ")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := Node{
		Assignment: &otto.Assignment{Instances: []otto.Instance{{Name: "web", Spec: service.Spec, Probe: service.Probe}}},
		Containers: []otto.Container{{Name: "web", Error: "exec " + secrets[0], Ailment: "it printed something"}},
		Notes:      []string{secrets[1]},
	}
	n.Gather(&s, dir, log)
	b, err := n.Encode(&s)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "the node", string(b), append(secrets, "it printed something"))
	var back Node
	if err := json.Unmarshal(b, &back); err != nil || back.Assignment.Instances[0].Name != "web" || !strings.HasPrefix(back.Log, "tried [redacted]") {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestContentsOfSecretsAreLookedFor(t *testing.T) {
	var s Secrets
	s.AddContents(otto.NewContents(map[string][]byte{"a": []byte("hunter2\n"), "b": []byte("[server]\npassword hunter3-long\n")}))
	got := string(s.Text([]byte("log in with hunter2 failed\nbad line: password hunter3-long\n")))
	if strings.Contains(got, "hunter2") || strings.Contains(got, "hunter3") {
		t.Errorf("left: %s", got)
	}
	if a := Assignment(otto.Assignment{Sealed: []byte("x")}); a.Sealed != nil {
		t.Error("the bundle contains sealed secrets")
	}
}

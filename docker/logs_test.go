package docker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/logs"
)

// logFrame is a line as an engine sends it.
func logFrame(stream byte, text string) string {
	header := make([]byte, 8)
	header[0] = stream
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return string(header) + text
}

func readLog(ctx context.Context, r *Runtime, w logs.Window) (got []string, err error) {
	err = r.ReadLog(ctx, "x", w, func(l logs.Line) error {
		got = append(got, fmt.Sprintf("%s %s %s", l.Time.Format("05.999"), l.Stream, l.Text))
		return nil
	})
	return got, err
}

func TestLogIsReadAsAsked(t *testing.T) {
	var query string
	inspected := `{"Id": "x", "Config": {}, "HostConfig": {"LogConfig": {"Type": "json-file"}}}`
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{
		"GET /containers/x/json": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, inspected) },
		"GET /containers/x/logs": func(w http.ResponseWriter, r *http.Request) {
			query = r.URL.RawQuery
			fmt.Fprint(w, logFrame(1, "2026-05-01T12:00:01.5Z a\n")+logFrame(2, "2026-05-01T12:00:02Z b\n"))
		},
	}}
	r := fake(t, f)
	w := logs.Window{Since: time.Date(2026, 5, 1, 14, 0, 0, 5, time.FixedZone("", 7200)), Tail: new(7)}
	got, err := readLog(t.Context(), r, w)
	if diff := cmp.Diff([]string{"01.5 stdout a", "02 stderr b"}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if want := "since=1777636800.000000005&stderr=1&stdout=1&tail=7&timestamps=1"; query != want {
		t.Errorf("asked for %s, want %s", query, want)
	}
	inspected = `{"Id": "x", "Config": {}, "HostConfig": {"LogConfig": {"Type": "none"}}}`
	if _, err := readLog(t.Context(), r, w); err == nil || !strings.Contains(err.Error(), "driver none") {
		t.Errorf("of a driver that keeps nothing: %v", err)
	}
	f.handlers["GET /containers/x/json"] = nil
	if got, err := readLog(t.Context(), r, w); err != nil || got != nil {
		t.Errorf("of a container that is gone: %v, %v", got, err)
	}
}

// TestFollowedLogEndsWithItsReader: a log that is silent keeps nobody.
func TestFollowedLogEndsWithItsReader(t *testing.T) {
	ended := make(chan struct{})
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{
		"GET /containers/x/json": says(`{"Id": "x", "Config": {}, "HostConfig": {}}`),
		"GET /containers/x/logs": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, logFrame(1, "2026-05-01T12:00:01Z a\n"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			close(ended)
		},
	}}
	ctx, cancel := context.WithCancel(t.Context())
	err := fake(t, f).ReadLog(ctx, "x", logs.Window{Follow: true}, func(logs.Line) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-ended
}

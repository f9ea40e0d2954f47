package api

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestHistoryIsAskedAsWritten(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := newPlane()
	p.events = []otto.Event{
		{Seq: 1, Time: at.Add(-time.Hour), Service: "web", Message: "before"},
		{Seq: 2, Time: at.Add(time.Minute), Service: "web", Message: "in it"},
		{Seq: 3, Time: at.Add(time.Minute), Service: "db", Message: "of another one"},
	}
	s := NewServer(p, p, "", func() {})
	ask := func(path string) (int, string) {
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	if code, text := ask("/v1/history?node=a"); code != 422 || !strings.Contains(text, "no history") {
		t.Errorf("%d %s", code, text)
	}
	var got otto.HistoryQuery
	s.Past = func(q otto.HistoryQuery) (otto.History, error) {
		got = q
		return otto.History{Service: q.Service, Since: q.Since, Until: q.Until}, nil
	}
	code, text := ask("/v1/history?service=a/b&metric=cpu&metric=memory&since=2026-06-01T12:00:00Z" +
		"&until=2026-06-01T13:00:00Z&resolution=1m&limit=7")
	want := otto.HistoryQuery{
		Service: "a/b", Metrics: []string{"cpu", "memory"}, Since: at, Until: at.Add(time.Hour),
		Resolution: time.Minute, Limit: 7,
	}
	if diff := cmp.Diff(want, got); diff != "" || code != 200 {
		t.Errorf("%d %s %s", code, text, diff)
	}
	if _, text := ask("/v1/history?service=web&since=2026-06-01T12:00:00Z&until=2026-06-01T13:00:00Z"); !strings.Contains(
		text, "in it") || strings.Contains(text, "before") || strings.Contains(text, "another") {
		t.Errorf("events: %s", text)
	}
	for _, bad := range []string{
		"since=yesterday", "until=1", "resolution=x", "limit=0", "limit=x", strings.Repeat("metric=a&", 101),
	} {
		if code, text := ask("/v1/history?node=a&" + bad); code != 400 || strings.Count(text, "\n") != 1 {
			t.Errorf("%s: %d %s", bad, code, text)
		}
	}
}

func TestClientAsksForHistory(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 5, time.UTC)
	want := otto.HistoryQuery{Node: "a", Metrics: []string{"x y"}, Since: at, Until: at, Resolution: time.Second, Limit: 3}
	got, err := historyQuery(queryOf(want))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

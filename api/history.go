package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/otto-edge/otto"
)

// maxMetrics is how many metrics may be named in a question.
const maxMetrics = 100

func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	q, err := historyQuery(r.URL.Query())
	if err != nil {
		http.Error(w, fmt.Sprintf("bad request: %v", err), http.StatusBadRequest)
		return
	}
	if s.Past == nil {
		answerError(w, errors.New("this control plane keeps no history"))
		return
	}
	h, err := s.Past(q)
	if answerError(w, err) {
		return
	}
	events, _ := s.plane.Events(0)
	h.AddEvents(events)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(h)
}

func historyQuery(from url.Values) (q otto.HistoryQuery, err error) {
	q.Node, q.Service, q.Metrics = from.Get("node"), from.Get("service"), from["metric"]
	if len(q.Metrics) > maxMetrics {
		return q, fmt.Errorf("%d metrics: name %d at most", len(q.Metrics), maxMetrics)
	}
	for name, into := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if text := from.Get(name); text != "" {
			if *into, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return q, fmt.Errorf("%s %q is no time such as 2025-06-01T12:00:00Z", name, text)
			}
		}
	}
	if text := from.Get("resolution"); text != "" {
		if q.Resolution, err = time.ParseDuration(text); err != nil {
			return q, fmt.Errorf("resolution %q: write 1s, 1m or 10m", text)
		}
	}
	if text := from.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 {
			return q, fmt.Errorf("limit %q is no number of points", text)
		}
	}
	return q, nil
}

// History returns what was kept of a node or a service, or the first page of it.
func (c *Client) History(ctx context.Context, q otto.HistoryQuery) (h otto.History, err error) {
	return h, c.do(ctx, http.MethodGet, "/v1/history?"+queryOf(q).Encode(), nil, &h)
}

func queryOf(q otto.HistoryQuery) url.Values {
	v := url.Values{"metric": q.Metrics}
	set := func(name, value string, given bool) {
		if given {
			v.Set(name, value)
		}
	}
	set("node", q.Node, q.Node != "")
	set("service", q.Service, q.Service != "")
	set("since", q.Since.UTC().Format(time.RFC3339Nano), !q.Since.IsZero())
	set("until", q.Until.UTC().Format(time.RFC3339Nano), !q.Until.IsZero())
	set("resolution", q.Resolution.String(), q.Resolution != 0)
	set("limit", strconv.Itoa(q.Limit), q.Limit != 0)
	return v
}

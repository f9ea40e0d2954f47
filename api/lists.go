package api

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/otto-edge/otto"
)

// maxPage is how many items a page has at most, and has if nothing else is asked for.
const maxPage = 1000

// paging is how a page is asked for.
//
//nolint:gochecknoglobals // a table
var paging = []param{
	{name: "after", does: "only those behind the one of this name: the next of the page before"},
	{name: "limit", does: fmt.Sprintf("so many at most, up to %d", maxPage)},
}

// page is a part of a list.
type page[T any] struct {
	Items []T `json:"items"`
	// Next is what the next page is after; empty if this is the last one.
	Next string `json:"next,omitempty"`
}

// pageOf returns the page of a list that a query asks for, of what fits.
func pageOf[T any](q url.Values, list []T, name func(T) string, fits func(T) bool) (p page[T], err error) {
	limit, err := limitOf(q, maxPage)
	if err != nil {
		return p, err
	}
	if after := q.Get("after"); after != "" {
		i := slices.IndexFunc(list, func(v T) bool { return name(v) == after })
		if i < 0 {
			return p, fmt.Errorf("after: there is no %q any more: begin again", after)
		}
		list = list[i+1:]
	}
	p.Items = []T{}
	for _, v := range list {
		if !fits(v) {
			continue
		}
		if len(p.Items) == limit {
			p.Next = name(p.Items[limit-1])
			break
		}
		p.Items = append(p.Items, v)
	}
	return p, nil
}

// limitOf is how many items a query asks for: most, if it does not say.
func limitOf(q url.Values, most int) (int, error) {
	text := q.Get("limit")
	if text == "" {
		return most, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("limit %q is no number from 1 on", text)
	}
	return min(n, most), nil
}

// isOneOf reports whether a query has no such parameter, or one of values.
func isOneOf(q url.Values, param string, values ...string) bool {
	want := q.Get(param)
	return want == "" || slices.Contains(values, want)
}

func (s *Server) nodeList(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p, err := pageOf(q, s.shown(r.Context()).Nodes, func(n otto.NodeStatus) string { return n.ID },
		func(n otto.NodeStatus) bool { return isOneOf(q, "state", string(n.State)) })
	answerPage(w, p, err)
}

func (s *Server) serviceList(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p, err := pageOf(q, s.shown(r.Context()).Services, func(v otto.ServiceStatus) string { return v.Name },
		func(v otto.ServiceStatus) bool {
			var nodes, states []string
			for _, i := range v.Instances {
				nodes, states = append(nodes, i.Node), append(states, string(i.State))
			}
			stack, _, _ := strings.Cut(v.Name, "/")
			return isOneOf(q, "stack", stack) && isOneOf(q, "node", nodes...) && isOneOf(q, "state", states...)
		})
	answerPage(w, p, err)
}

func answerPage[T any](w http.ResponseWriter, p page[T], err error) {
	if err != nil {
		http.Error(w, fmt.Sprintf("bad request: %v", err), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(p)
}

// shown is the view as who asks may see it.
func (s *Server) shown(ctx context.Context) *otto.Cluster {
	return visible(ctx, s.plane.Cluster())
}

//go:embed openapi.json
var openAPIDocument []byte

func openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPIDocument)
}

package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/logs"
	"github.com/otto-edge/otto/shell"
)

// Role is what somebody may do; each may do what those before it may.
type Role string

// The roles.
const (
	// Look is to see how the cluster is, without what may be secret: environments,
	// arguments, labels and logs.
	Look Role = "look"
	// Operate is to act on nodes and services. Who may start containers and run commands
	// in them has the machines.
	Operate Role = "operate"
	// Owner is who has the cluster's directory: for keys, backups and the end of the
	// cluster. Nobody has it from another machine.
	Owner Role = "owner"
)

// may reports whether a role includes another.
func (r Role) may(needed Role) bool {
	rank := map[Role]int{Look: 1, Operate: 2, Owner: 3}
	return rank[needed] > 0 && rank[r] >= rank[needed]
}

// route is one thing that the API does.
type route struct {
	pattern string // method and path
	role    Role   // who may
	does    string
	query   []param
	asks    any  // a value of the type of the body; nil if there is none
	answers any  // likewise; nil if there is nothing to say
	form    form // formJSON if it is empty
	handle  http.HandlerFunc
	lasts   bool // the answer or the question may take as long as it likes
}

// param is something that a question may say behind its path.
type param struct {
	name string
	does string
	flag bool // it needs no value
}

// form is how an answer is written, where that is not one value of JSON.
type form string

const (
	formJSON   form = "application/json"
	formLines  form = "application/jsonl"        // one value of JSON a line
	formEvents form = "text/event-stream"        // server-sent events
	formBytes  form = "application/octet-stream" // a file
	formText   form = "text/plain"
	formFrames form = "otto-exec" // the connection is frames of package shell from then on
)

type roleKey struct{}

// roleOf is who asks: over the socket the owner.
func roleOf(ctx context.Context) Role {
	if role, ok := ctx.Value(roleKey{}).(Role); ok {
		return role
	}
	return Owner
}

// routes is everything there is.
func (s *Server) routes() []route {
	return slices.Concat(s.looks(), s.acts(), s.ownersActs())
}

// looks change nothing.
func (s *Server) looks() []route {
	return []route{
		{
			pattern: "GET /v1/cluster", role: Look, does: "everything known, with an ETag",
			answers: otto.Cluster{}, handle: s.cluster,
		},
		{
			pattern: "GET /v1/changes", role: Look, lasts: true,
			does: "everything known, and then what changes, in batches of events: names (of all nodes and services, in order; " +
				"what it does not name is gone), node (a NodeStatus), service (a ServiceStatus) and, last in each batch and with " +
				"its id, cluster (a Cluster without nodes and services). With that id as Last-Event-ID it goes on from there",
			answers: otto.Cluster{}, form: formEvents, handle: s.changes,
		},
		{
			pattern: "GET /v1/nodes", role: Look, does: "the nodes, in the order of otto.yaml, as a page of them",
			query: append([]param{{name: "state", does: "only those in it"}}, paging...), answers: page[otto.NodeStatus]{}, handle: s.nodeList,
		},
		{
			pattern: "GET /v1/services", role: Look, does: "the services, in the order of otto.yaml, as a page of them",
			query: append([]param{
				{name: "stack", does: "only those of it"},
				{name: "node", does: "only those with an instance on it"},
				{name: "state", does: "only those with an instance in it"},
			}, paging...),
			answers: page[otto.ServiceStatus]{}, handle: s.serviceList,
		},
		{
			pattern: "GET /v1/events", role: Look, lasts: true, does: "the events, the oldest first",
			query: []param{
				{name: "after", does: "only those with a greater number"},
				{name: "kind", does: "only those of it"},
				{name: "node", does: "only those of it"},
				{name: "service", does: "only those of it"},
				{name: "limit", does: "so many at most"},
				{name: "follow", does: "also those to come", flag: true},
			},
			answers: otto.Event{}, form: formLines, handle: s.events,
		},
		{
			pattern: "GET /v1/history", role: Look, does: "what was kept of a node or a service; the next page is since its next",
			query: []param{
				{name: "node", does: "the node"},
				{name: "service", does: "or the service"},
				{name: "metric", does: "may be several; all if there is none"},
				{name: "since", does: "time as in 2025-06-01T12:00:00Z"},
				{name: "until", does: "likewise"},
				{name: "resolution", does: "1s, 1m or 10m"},
				{name: "limit", does: "so many points at most"},
			},
			answers: otto.History{}, handle: s.history,
		},
		{
			pattern: "GET /v1/services/{id}/explanation", role: Look, does: "why a service is where it is",
			answers: otto.Explanation{}, handle: explanation(s.plane.ExplainService),
		},
		{
			pattern: "GET /v1/nodes/{id}/explanation", role: Look, does: "why a node is as it is",
			answers: otto.Explanation{}, handle: explanation(s.plane.ExplainNode),
		},
		{pattern: "GET /v1/openapi.json", role: Look, does: "all this, as OpenAPI 3.1", handle: openAPI, answers: map[string]any{}},
	}
}

// acts are what may be done from another machine.
func (s *Server) acts() []route {
	return []route{
		{
			pattern: "POST /v1/plan", role: Operate, does: "what would change if this were applied",
			asks: wantedBody{}, answers: otto.Plan{}, handle: s.plan,
		},
		{
			pattern: "PUT /v1/wanted", role: Operate, does: "replaces what is wanted, and answers the changes",
			query: []param{
				{name: "base", does: "the revision that it replaces; another one is a conflict"},
				{name: "dry", does: "only tells them", flag: true},
			},
			asks: wantedBody{}, answers: []otto.Change{}, handle: s.apply,
		},
		{
			pattern: "POST /v1/folders/lacking", role: Operate,
			does: "which of these lists of files, by their keys, the control plane has no files of",
			asks: map[string][]byte{}, answers: []string{}, handle: s.lackFolders,
		},
		{
			pattern: "PUT /v1/folders", role: Operate, lasts: true, does: "the files of one of them, as a pack of package folder",
			asks: []byte{}, handle: s.putFolder,
		},
		{
			pattern: "POST /v1/services/{id}/restart", role: Operate, does: "restarts its instances one after the other",
			handle: s.restart,
		},
		{
			pattern: "POST /v1/services/{id}/refresh", role: Operate,
			does: "makes its containers anew from what its image is in the registry", handle: s.refresh,
		},
		{
			pattern: "POST /v1/services/{id}/accept-data", role: Operate,
			does: "has it go on with what is there of the data that it waits for", handle: s.acceptData,
		},
		{
			pattern: "POST /v1/services/{id}/move", role: Operate, does: "moves an instance",
			query: []param{
				{name: "to", does: "the node; the best one if there is none"},
				{name: "advised", does: "where that is advised", flag: true},
			},
			answers: otto.Decision{}, handle: s.move,
		},
		{
			pattern: "PUT /v1/nodes/{id}/intent", role: Operate, does: "what a person wants of a node",
			asks: otto.Intent{}, handle: s.intend,
		},
		{
			pattern: "POST /v1/nodes/{id}/volumes/{volume}/adopt", role: Operate,
			does: "makes a volume of a node the cluster's, whoever made it", handle: s.adoptVolume,
		},
		{
			pattern: "POST /v1/adopt", role: Operate,
			does: "makes what it names of a Compose project the cluster's, before its stack is wanted",
			asks: otto.Adoption{}, handle: s.adopt,
		},
		{
			pattern: "POST /v1/release", role: Operate,
			does: "begins to give a stack back to Compose; over when that is not wanted any more",
			asks: otto.ReleaseRequest{}, handle: s.release,
		},
		{
			pattern: "POST /v1/logs", role: Operate, lasts: true, does: "logs, as they come",
			asks: logs.Query{}, answers: logs.Entry{}, form: formLines, handle: s.logs,
		},
		{
			pattern: "POST /v1/exec", role: Operate, lasts: true,
			does: "runs a command in a container: the connection is its frames from then on",
			asks: shell.Query{}, answers: []byte{}, form: formFrames,
			handle: func(w http.ResponseWriter, r *http.Request) { s.attach(w, r, "exec", s.nodes.Exec) },
		},
		{
			pattern: "POST /v1/run", role: Operate, lasts: true,
			does: "likewise in a container that is made for it and removed afterwards",
			asks: shell.Query{}, answers: []byte{}, form: formFrames,
			handle: func(w http.ResponseWriter, r *http.Request) { s.attach(w, r, "run", s.nodes.Once) },
		},
	}
}

// ownersActs are for who has the cluster's directory.
func (s *Server) ownersActs() []route {
	return []route{
		{
			pattern: "POST /v1/stop", role: Owner, lasts: true, does: "stops all services and agents; answers when done",
			handle: s.stop,
		},
		{
			pattern: "POST /v1/uninstall", role: Owner, lasts: true, does: "the same, and takes Otto off every node",
			query: []param{{name: "volumes", does: "with its volumes", flag: true}}, handle: s.uninstall,
		},
		{
			pattern: "POST /v1/nodes/{id}/machine", role: Owner,
			does: "the machine that it was is off for good, and it is another one", handle: s.acceptMachine,
		},
		{pattern: "POST /v1/nodes/{id}/rekey", role: Owner, does: "gives a node a new key", handle: s.rekey},
		{pattern: "DELETE /v1/nodes/{id}", role: Owner, does: "takes a node out of the cluster at once", handle: s.remove},
		{
			pattern: "POST /v1/rotate", role: Owner, does: "renews all keys of the cluster",
			query: []param{{name: "compromised", does: "those of before end at once", flag: true}}, handle: s.rotate,
		},
		{
			pattern: "GET /v1/backup", role: Owner, lasts: true, does: "everything kept, as a backup's file",
			answers: []byte{}, form: formBytes, handle: s.backup,
		},
		{
			pattern: "GET /v1/tokens", role: Owner, does: "the tokens for the API from other machines, without their secrets",
			answers: []Token{}, handle: s.listTokens,
		},
		{
			pattern: "PUT /v1/tokens/{name}", role: Owner, does: "makes a token, and answers its secret for this once",
			query: []param{{name: "role", does: "look or operate"}}, answers: Access{}, handle: s.addToken,
		},
		{
			pattern: "DELETE /v1/tokens/{name}", role: Owner, does: "ends a token, and what is under way with it",
			handle: s.removeToken,
		},
		{
			pattern: "POST /v1/lead", role: Owner, does: "makes a control plane that has stepped down decide again",
			handle: s.lead,
		},
		{
			pattern: "GET /v1/process", role: Owner, does: "the control plane as a process", answers: Process{},
			handle: s.process,
		},
		{
			pattern: "GET /v1/goroutines", role: Owner, does: "what each of its goroutines does",
			answers: []byte{}, form: formText, handle: s.goroutines,
		},
		{pattern: "POST /v1/exit", role: Owner, does: "ends the control plane", handle: s.leave},
	}
}

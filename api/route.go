package api

import (
	"context"
	"net/http"
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
	handle  http.HandlerFunc
	lasts   bool // the answer or the question may take as long as it likes
}

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
	return []route{
		{"GET /v1/cluster", Look, "everything known, as otto.Cluster, with an ETag; with ?watch again after every change, one JSON a line", s.cluster, true},
		{"GET /v1/events", Look, "the events numbered above ?after=N, one JSON a line; with &follow also those to come", s.events, true},
		{"GET /v1/history", Look, "what was kept of ?node=ID or ?service=NAME, as otto.History; also metric (several), since, until, " +
			"resolution and limit as otto.HistoryQuery has them; the next page is since its next", s.history, false},
		{"GET /v1/services/{id}/explanation", Look, "why a service is where it is, as otto.Explanation", explanation(s.plane.ExplainService), false},
		{"GET /v1/nodes/{id}/explanation", Look, "why a node is as it is, likewise", explanation(s.plane.ExplainNode), false},

		{"POST /v1/plan", Operate, "what would change if this otto.Wanted were applied, as otto.Plan", s.plan, false},
		{"PUT /v1/wanted", Operate, "replaces what is wanted if its revision is ?base=N; answers the changes; with &dry only tells them", s.apply, false},
		{"POST /v1/folders/lacking", Operate, "which of these lists of files, by their keys, the control plane has no files of", s.lackFolders, false},
		{"PUT /v1/folders", Operate, "the files of one of them, as a pack of package folder", s.putFolder, true},
		{"POST /v1/services/{id}/restart", Operate, "restarts its instances one after the other", s.restart, false},
		{"POST /v1/services/{id}/refresh", Operate, "makes its containers anew from what its image is in the registry", s.refresh, false},
		{"POST /v1/services/{id}/accept-data", Operate, "has it go on with what is there of the data that it waits for", s.acceptData, false},
		{"POST /v1/services/{id}/move", Operate, "moves an instance ?to=ID; with &advised where that is advised; answers an otto.Decision", s.move, false},
		{"PUT /v1/nodes/{id}/intent", Operate, "what a person wants of a node, as otto.Intent", s.intend, false},
		{"POST /v1/nodes/{id}/volumes/{volume}/adopt", Operate, "makes a volume of a node the cluster's, whoever made it", s.adoptVolume, false},
		{"POST /v1/logs", Operate, "the logs that a logs.Query asks for, one logs.Entry a line, as they come", s.logs, true},
		{"POST /v1/exec", Operate, "runs the command of a shell.Query: the connection is its frames from then on", func(w http.ResponseWriter, r *http.Request) {
			s.attach(w, r, s.nodes.Exec)
		}, true},
		{"POST /v1/run", Operate, "likewise in a container that is made for it and removed afterwards", func(w http.ResponseWriter, r *http.Request) {
			s.attach(w, r, s.nodes.Once)
		}, true},

		{"POST /v1/stop", Owner, "stops all services and agents; answers when done", s.stop, true},
		{"POST /v1/uninstall", Owner, "the same, and takes Otto off every node; with ?volumes its volumes too", s.uninstall, true},
		{"POST /v1/nodes/{id}/machine", Owner, "the machine that it was is off for good, and it is another one", s.acceptMachine, false},
		{"POST /v1/nodes/{id}/rekey", Owner, "gives a node a new key", s.rekey, false},
		{"DELETE /v1/nodes/{id}", Owner, "takes a node out of the cluster at once", s.remove, false},
		{"POST /v1/rotate", Owner, "renews all keys of the cluster; with ?compromised those of before end at once", s.rotate, false},
		{"GET /v1/backup", Owner, "everything kept, as a backup's file", s.backup, true},
		{"GET /v1/tokens", Owner, "the tokens for the API from other machines, without their secrets", s.listTokens, false},
		{"PUT /v1/tokens/{name}", Owner, "makes a token of ?role=look or operate; answers it as Access, its secret for this once", s.addToken, false},
		{"DELETE /v1/tokens/{name}", Owner, "ends a token, and what is under way with it", s.removeToken, false},
		{"POST /v1/lead", Owner, "makes a control plane that has stepped down decide again", s.lead, false},
		{"GET /v1/process", Owner, "the control plane as a process, as Process", s.process, false},
		{"GET /v1/goroutines", Owner, "what each of its goroutines does, as text", s.goroutines, false},
		{"POST /v1/exit", Owner, "ends the control plane", s.leave, false},
	}
}

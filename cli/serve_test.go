package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
)

// canned is a control plane that answers what a script has prepared, and says
// what it is asked for.
type canned struct {
	api.Plane // nothing else is asked
	plan      otto.Plan
	view      otto.Cluster
	err       error
}

func (c canned) Plan(context.Context, otto.Wanted) (otto.Plan, error) { return c.plan, c.err }
func (c canned) Rotate(context.Context, bool) error                   { return c.err }
func (c canned) Restart(context.Context, string) error                { return c.err }
func (c canned) Refresh(context.Context, string) error                { return c.err }
func (c canned) AcceptData(context.Context, string) error             { return c.err }
func (c canned) Adopt(context.Context, otto.Adoption) error           { return c.err }
func (c canned) Release(context.Context, otto.ReleaseRequest) error   { return c.err }
func (c canned) AdoptVolume(context.Context, string, string) error    { return c.err }

// Move says what it was asked for by where the service goes.
func (c canned) Move(_ context.Context, name, to string, advised bool) (otto.Decision, error) {
	switch {
	case advised && to == "":
		to = "advised"
	case to == "":
		to = "best"
	}
	predicted := []otto.Prediction{{Requirement: "node.cpu < 80% for 30s", Of: name, Value: 20, Unit: otto.UnitPercent}}
	return otto.Decision{Outcome: otto.OutcomeDo, Action: otto.ActionMigrate, Service: name, Instance: name, Node: "n1", To: to, Outage: 2 * time.Second, Predicted: predicted}, c.err
}

func (c canned) Cluster() *otto.Cluster                 { return &c.view }
func (c canned) Next() (*otto.Cluster, <-chan struct{}) { return &c.view, nil }

// serve answers for the cluster in the current directory: serve PLAN VIEW [ERROR].
// It ends with the script, or when it is called again.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	var c canned
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &c.plan))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &c.view))
	if len(args) > 2 {
		c.err = fmt.Errorf("%s", args[2])
	}
	l, err := api.Listen(context.Background(), api.Socket(ts.MkAbs(".otto")))
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	s := api.NewServer(c, nil, "", cancel)
	s.Tokens, err = api.OpenTokens(ts.MkAbs(".otto/tokens.json"))
	ts.Check(err)
	s.Authorities = func() string { return "none" }
	wg.Go(func() { _ = s.Run(ctx, l) })
	ts.Defer(func() { cancel(); wg.Wait() })
}

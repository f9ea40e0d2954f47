package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bundle"
	"github.com/otto-edge/otto/wire"
)

const collectWithin = 8 * time.Second

// collect prints what a maintainer needs to know of this node, without secrets.
// What cannot be had is noted in it.
func collect(ctx context.Context, dir string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, collectWithin)
	defer cancel()
	var n bundle.Node
	var secrets bundle.Secrets
	note := func(err error) {
		if err != nil {
			n.Notes = append(n.Notes, err.Error())
		}
	}
	e, err := readEnrolment(dir)
	note(err)
	secrets.Add(e.Password, e.ClientID)
	if e.TLS != nil {
		secrets.Add(e.TLS.Key)
	}
	secrets.Add(base64.StdEncoding.EncodeToString(e.SealKey), base64.StdEncoding.EncodeToString(e.FormerSealKey))
	n.Assignment, err = heldAssignment(dir, e)
	note(err)
	if n.Assignment != nil {
		*n.Assignment, err = wire.Unseal(*n.Assignment, e.SealKey, e.FormerSealKey)
		note(err)
		secrets.AddContents(n.Assignment.Contents)
		for _, i := range n.Assignment.Instances {
			secrets.AddSpec(i.Spec)
			secrets.AddProbe(i.Probe)
			secrets.Public(i.Name, i.Service, i.Spec.Image)
		}
	}
	n.Containers, err = containersOf(ctx, dir)
	note(err)
	n.Gather(&secrets, dir, filepath.Join(dir, "agent.log"))
	b, err := n.Encode(&secrets)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", b)
	return err
}

// heldAssignment is what the agent acts on, nil if it never got one.
func heldAssignment(dir string, e wire.Enrolment) (*otto.Assignment, error) {
	b, err := os.ReadFile(filepath.Join(stateDir(dir), "assignment.json"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := e.OpenStored(b)
	if err != nil {
		return nil, err
	}
	return &a, nil
}

func containersOf(ctx context.Context, dir string) ([]otto.Container, error) {
	rt, err := runtimeOf(ctx, dir)
	if rt == nil {
		return nil, err
	}
	defer rt.Close()
	return rt.Containers(ctx)
}

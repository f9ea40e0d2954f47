package config

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func policyNames() []string { return []string{"ours", "none"} }

func TestPolicyGoesBeforeWhatTheClusterHas(t *testing.T) {
	p, err := parsePolicy("mine.yaml", []byte("policy: none\ndecisions: {cooldown: 2m, per_cluster: 3}\nscheduler: {weights: {heat: 0, spread: 2}}\n"), policyNames(), noEnv)
	if err != nil || p.Name != "none" {
		t.Fatalf("%+v, %v", p, err)
	}
	cluster := otto.Wanted{
		Revision:  7,
		Decisions: otto.Decisions{Mode: otto.DecideAdvise, Cooldown: time.Minute, Settle: 10 * time.Second},
		Scheduler: otto.Scheduler{Weights: map[string]float64{"heat": 5, "cpu": 4}},
	}
	want := otto.Wanted{
		Revision:  7,
		Decisions: otto.Decisions{Mode: otto.DecideAdvise, Cooldown: 2 * time.Minute, Settle: 10 * time.Second, PerCluster: 3},
		Scheduler: otto.Scheduler{Weights: map[string]float64{"heat": 0, "cpu": 4, "spread": 2}},
	}
	if diff := cmp.Diff(want, p.Over(cluster)); diff != "" {
		t.Error(diff)
	}
	if cluster.Scheduler.Weights["heat"] != 5 {
		t.Error("the cluster's own weights have changed")
	}
	if diff := cmp.Diff(cluster, Policy{}.Over(cluster)); diff != "" {
		t.Errorf("by an empty file: %s", diff)
	}
}

func TestBadPoliciesAreRefusedWithTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"policy: our":                                "mine.yaml:1:9: ",
		"decisions:\n  settle: soon":                 "mine.yaml:2:11: ",
		"scheduler: {weights: {cpu: -1}}":            "mine.yaml:1:28: ",
		"scheduler: {weights: {beauty: 1}}":          "mine.yaml:1:23: ",
		"policy: ours\nnodes: [{id: a}]":             "mine.yaml:2:1: ",
		"decisions: [1":                              "mine.yaml:1:",
		"policy: ours\npolicy: none":                 "mine.yaml:2:1: ",
		"decisions: {cooldown: 1s, return_after: x}": "mine.yaml:1:41: ",
	} {
		if _, err := parsePolicy("mine.yaml", []byte(text), policyNames(), noEnv); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it at %s", text, err, want)
		}
	}
	missing := t.TempDir() + "/none.yaml"
	if _, err := LoadPolicy(missing, policyNames(), os.LookupEnv); err == nil || !strings.Contains(err.Error(), "there is no such file") {
		t.Error(err)
	}
}

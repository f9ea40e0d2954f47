package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestProbes(t *testing.T) {
	for keys, want := range map[string]otto.Probe{
		`http: :8080/healthz`:                {HTTP: &otto.HTTPProbe{Port: 8080, Path: "/healthz"}},
		`http: ":80"`:                        {HTTP: &otto.HTTPProbe{Port: 80}},
		`http: ":80/a?b=c"`:                  {HTTP: &otto.HTTPProbe{Port: 80, Path: "/a?b=c"}},
		`http: {port: 8080, path: /healthz}`: {HTTP: &otto.HTTPProbe{Port: 8080, Path: "/healthz"}},
		`tcp: 6379`:                          {TCP: 6379},
		`exec: pg_isready -U "the user"`:     {Exec: []string{"pg_isready", "-U", "the user"}},
		`{exec: [redis-cli, ping], tcp: }`:   {Exec: []string{"redis-cli", "ping"}},
		`{tcp: 1, interval: 1m, timeout: 1s, retries: 2, start_period: 30s}`: {TCP: 1, Interval: time.Minute, Timeout: time.Second, Retries: 2, StartPeriod: 30 * time.Second},
	} {
		t.Run(keys, func(t *testing.T) {
			if keys[0] != '{' {
				keys = "\n      " + keys
			}
			s := parse(t, "services:\n  web:\n    image: nginx\n    probe: "+keys+"\n").Wanted.Services[0]
			if diff := cmp.Diff(&want, s.Probe); diff != "" {
				t.Error(diff)
			}
			if bare := (otto.ContainerSpec{Image: "nginx"}); s.Spec.Hash() != bare.Hash() {
				t.Error("the probe changes what the container is made from")
			}
		})
	}
}

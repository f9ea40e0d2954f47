package notify

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

func TestFailuresAreSaidWithoutTheAddress(t *testing.T) {
	const secret = "hunter2"
	answers := func(status int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Location", "/?"+secret)
			w.WriteHeader(status)
		}))
		t.Cleanup(s.Close)
		return s.URL + "/" + secret
	}
	for want, to := range map[string]otto.Notify{
		"":                                     {Webhook: answers(204), Command: []string{"true"}},
		"webhook: it answers with status 500":  {Webhook: answers(500)},
		"webhook: it answers with status 302":  {Webhook: answers(302)},
		"connection refused":                   {Webhook: "http://127.0.0.1:1/" + secret},
		"webhook: its address is not one":      {Webhook: "http://%/" + secret},
		"command false: exit status 1":         {Command: []string{"false"}},
		"exit status 2: ls: cannot access '*'": {Command: []string{"ls", "*"}},
		"no-such-program":                      {Command: []string{"no-such-program"}},
	} {
		err := Send(t.Context(), to, []byte("{}"))
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("got %v, want %q", err, want)
		case err != nil && strings.Contains(err.Error(), secret):
			t.Errorf("it shows a secret: %v", err)
		}
	}
}

func TestCommandEndsWithTheControlPlane(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Send(ctx, otto.Notify{Command: []string{"sleep", "1000"}}, nil); err == nil {
		t.Error("it has run to its end")
	}
}

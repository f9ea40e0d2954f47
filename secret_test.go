package otto_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

func TestSecretIsShownByNothing(t *testing.T) {
	const planted = "hunter2"
	s := otto.NewSecret([]byte(planted))
	type outer struct {
		Shown  otto.Secret
		hidden otto.Secret // of which formatters ask no method
		List   []otto.Secret
		Map    otto.Contents
	}
	o := outer{s, s, []otto.Secret{s}, otto.Contents{"a": s}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", s, &s, o)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("secret", "s", s, "p", &s, "o", o, "err", errors.Join(fmt.Errorf("with %v", s)))
	}
	if err := json.NewEncoder(&out).Encode([]any{s, &s, o, otto.Wanted{Contents: o.Map}, otto.Assignment{Contents: o.Map}}); err != nil {
		t.Fatal(err)
	}
	out.WriteString(s.String())
	for _, form := range []string{planted, fmt.Sprintf("%x", planted), fmt.Sprintf("%X", planted), fmt.Sprint([]byte(planted)), "aHVudGVyMg"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q is in:\n%s", form, out.String())
		}
	}
	if got := string(s.Plain()); got != planted || o.hidden.Len() != len(planted) {
		t.Errorf("its plain text is %q", got)
	}
	var back otto.Secret
	if b, err := json.Marshal(s); err != nil || json.Unmarshal(b, &back) == nil {
		t.Errorf("what is redacted is taken for a secret (%v)", err)
	}
}

package wire

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestTextOfNodesIsHarmlessForATerminal(t *testing.T) {
	events := `{"node_id":"n1","boot_id":"b","events":[{"seq":1,"kind":"\u001b[31mnode-removed","message":"a\r\u001B]0;x\u0007\u009b2J\nb\t\"\\\\u001b"}]}`
	e, err := DecodeNodeEvents("n1", []byte(events))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.Events[0].Kind, "?[31mnode-removed"; got != want {
		t.Errorf("kind %q, want %q", got, want)
	}
	if got, want := e.Events[0].Message, "a??]0;x??2J\nb\t\"\\\\u001b"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	r, err := DecodeReport("n1", []byte(`{"node_id":"n1","problem":"x\u202egnp`+"\u009b\x7f"+`"}`))
	if err != nil || r.Problem != "x?gnp??" {
		t.Errorf("%q, %v", r.Problem, err)
	}
}

func FuzzPlainText(f *testing.F) {
	f.Add([]byte(`{"a":"\u001b[2J\\u001b\r\n","b":["\ud83d\ude00","ä€"]}`))
	f.Add([]byte("{\r\n\"a\": 0}\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after any
		if json.Unmarshal(b, &before) != nil {
			return
		}
		if err := json.Unmarshal(plainText(b), &after); err != nil {
			t.Fatalf("%s becomes %s: %v", b, plainText(b), err)
		}
		var look func(v any)
		look = func(v any) {
			switch v := v.(type) {
			case string:
				if strings.ContainsFunc(v, terminal) {
					t.Errorf("%q is left", v)
				}
			case []any:
				for _, e := range v {
					look(e)
				}
			case map[string]any:
				for k, e := range v {
					look(k)
					look(e)
				}
			}
		}
		look(after)
	})
}

// TestWhatANodeSaysOverSSHMovesNoTerminal is about what is printed in a restore.
func TestWhatANodeSaysOverSSHMovesNoTerminal(t *testing.T) {
	l, err := DecodeLook([]byte(`{"containers":[{"name":"web\u001b[2J","image":"x\u009b31m"}],"volumes":["a\rb"],"assignment":"AAEC"}`))
	if err != nil {
		t.Fatal(err)
	}
	if c := l.Containers[0]; c.Name != "web?[2J" || c.Image != "x?31m" || l.Volumes[0] != "a?b" || len(l.Assignment) != 3 {
		t.Errorf("%+v", l)
	}
}

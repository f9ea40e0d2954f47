package show

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/logs"
)

func TestNothingThatAContainerWritesMovesTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain \t text, ünï":         "plain \t text, ünï",
		"\x1b[31mred\x1b[0m":         "\x1b[31mred\x1b[0m\x1b[0m",
		"\x1b[38;5;1mleft on":        "\x1b[38;5;1mleft on\x1b[0m",
		"\x1b[2J\x1b[Hgone":          "gone",
		"\x1b[?25lhidden":            "hidden",
		"\x1b]0;title\atext":         "text",
		"\x1b]52;c;c2VjcmV0\x1b\\x":  "x",
		"\x1bP+q544e\x1b\\x":         "x",
		"\x1bc reset":                " reset",
		"\x1b(0 charset":             " charset",
		"\x1b[31":                    "",
		"\x1b[3\x1b[2Jx":             "x",
		"\x1b":                       "",
		"50%\r100%\r":                "50% 100%",
		"bell\a back\b del\x7f":      "bell back del",
		"\u009b2Jc1\u0085":           "2Jc1",
		"\u202egnp.exe":              "gnp.exe",
		"bad \xff\x9b2J":             "bad \uFFFD\uFFFD2J",
		"\x1b[>4;2m no colour":       " no colour",
		"\x1b[31;\x00m broken off":   "m broken off",
		"\x1b]8;;http://x\x1b\\link": "link",
	} {
		if got := Clean(in, true); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	if got := Clean("\x1b[31mred\x1b[0m", false); got != "red" {
		t.Errorf("without colours: %q", got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m\x1b]0;t\a\r\u009b", true)
	f.Fuzz(func(t *testing.T, in string, colour bool) {
		out := Clean(in, colour)
		if !utf8.ValidString(out) {
			t.Fatalf("%q is no UTF-8", out)
		}
		for rest := out; rest != ""; {
			if strings.HasPrefix(rest, "\x1b[") && colour {
				i := strings.IndexByte(rest, 'm')
				if i < 0 || strings.Trim(rest[2:i], "0123456789;:") != "" {
					t.Fatalf("%q has another sequence than colours", out)
				}
				rest = rest[i+1:]
				continue
			}
			r, size := utf8.DecodeRuneInString(rest)
			if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 {
				t.Fatalf("%q has a control character", out)
			}
			rest = rest[size:]
		}
	})
}

func entries() []logs.Entry {
	at := time.Date(2026, 5, 1, 12, 0, 0, 5000, time.UTC)
	return []logs.Entry{
		{Time: at, Node: "n1", Instance: "web", Container: "1", Text: "\x1b[31mred\x1b[2J"},
		{
			Time:      at,
			Node:      "n2",
			Instance:  "web-2",
			Container: "2",
			Name:      "web-2.kept",
			Text:      "bad \uFFFD",
			Raw:       []byte("bad \xff\r"),
		},
		{Time: at, Node: "n2", Instance: "web-2", Container: "2", Mark: logs.MarkLeftOut, Lines: 1234567, Text: "many"},
		{Time: at, Node: "n1", Mark: logs.MarkTrouble, Text: "n1 cannot be read"},
	}
}

func printed(t *testing.T, p Printer) (out, marks string) {
	t.Helper()
	var o, m bytes.Buffer
	p.Out, p.Marks = &o, &m
	for _, e := range entries() {
		if err := p.Print(e); err != nil {
			t.Fatal(err)
		}
	}
	return o.String(), m.String()
}

func TestPipeGetsLinesAsTheyAre(t *testing.T) {
	out, marks := printed(t, Printer{Bare: true})
	if want := "\x1b[31mred\x1b[2J\nbad \xff\r\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if want := "otto: web-2@n2: ... 1,234,567 lines left out\notto: n1 cannot be read\n"; marks != want {
		t.Errorf("got %q, want %q", marks, want)
	}
}

func TestTerminalSaysWhoseLinesAre(t *testing.T) {
	out, marks := printed(t, Printer{Terminal: true})
	want := "web@n1 | red\nweb-2.kept@n2 | bad \uFFFD\nweb-2@n2      | -- ... 1,234,567 lines left out\n-- n1 cannot be read\n"
	if diff := cmp.Diff(want, out); diff != "" || marks != "" {
		t.Error(diff, marks)
	}
	out, _ = printed(t, Printer{Terminal: true, Colour: true, Times: true})
	if line, _, _ := strings.Cut(out, "\n"); !strings.HasPrefix(line, "2026-05-01T12:00:00.000005Z \x1b[") ||
		!strings.HasSuffix(line, "\x1b[31mred\x1b[0m") {
		t.Errorf("got %q", line)
	}
}

func TestObjectsHaveEverything(t *testing.T) {
	out, marks := printed(t, Printer{JSON: true, Terminal: true, Colour: true})
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 4 || marks != "" ||
		lines[0] != `{"time":"2026-05-01T12:00:00.000005Z","node":"n1","instance":"web","container":"1","text":"\u001b[31mred\u001b[2J"}` {
		t.Errorf("got %s and %s", out, marks)
	}
}

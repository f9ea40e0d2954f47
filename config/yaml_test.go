package config

import "testing"

// TestFileIsReadAsComposeReadsIt has forms of YAML that readers disagree about.
func TestFileIsReadAsComposeReadsIt(t *testing.T) {
	for _, test := range []struct{ name, user, want string }{
		{"a tab in a plain value", "a\tb", "a\tb"},
		{"a line break in quotes", "\"one\n      two\"", "one two"},
		{"the same with Windows' ends of lines", "\"one\r\n      two\"\r", "one two"},
		{"a block with an indentation indicator, and a blank line", "|2-\n      root\n", "root"},
		{"a folded block", ">-\n      one\n      two", "one two"},
		{"an anchor", "&who root", "root"},
		{"a tag", "!!str 1", "1"},
	} {
		f, err := Parse("otto.yaml", []byte("services:\n  web:\n    image: nginx\n    user: "+test.user+"\n"), "/",
			noEnv)
		if err != nil || f.Wanted.Services[0].Spec.User != test.want {
			t.Errorf("%s: %v, %+v", test.name, err, f)
		}
	}
}

package broker

import "testing"

func TestRedact(t *testing.T) {
	tests := map[string]string{
		`1.2.3.4:5 - mid:7 - "a" - a User "owner"`:                                 `1.2.3.4:5 - mid:7 - (id) - a User "owner"`,
		`1.2.3.4:5 - mid:7 - "a\"b" - old "1.2.3.4:6 - mid:8 - \"a\\\"b\"" "a\"b"`: `1.2.3.4:5 - mid:7 - (id) - old "1.2.3.4:6 - mid:8 - (id)" (id)`,
		`1.2.3.4:5 - mid:7 - unable to connect`:                                    `1.2.3.4:5 - mid:7 - unable to connect`,
		`Store is "full"`:                                                          `Store is "full"`,
	}
	for line, want := range tests {
		if got := redact(line); got != want {
			t.Errorf("%s\nbecomes %s\n   want %s", line, got, want)
		}
	}
}

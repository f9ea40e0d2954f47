package otto

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// Secret is a text that nobody is to see: in logs, errors, JSON and whatever else formats
// values it is RedactedSecret. Only Plain gives it away. The zero value is empty.
type Secret struct {
	hidden *hidden
}

// hidden is two pointers away: what formats an unexported field asks no method of it, and
// prints what one pointer leads to.
type hidden struct{ plain *[]byte }

// RedactedSecret stands where a Secret is.
const RedactedSecret = "[redacted]"

// NewSecret hides a text.
func NewSecret(plain []byte) Secret { return Secret{&hidden{&plain}} }

// Plain is the text itself. Whoever asks for it sees to it that it goes no further.
func (s Secret) Plain() []byte {
	if s.hidden == nil {
		return nil
	}
	return *s.hidden.plain
}

// Len is its length in bytes.
func (s Secret) Len() int { return len(s.Plain()) }

// String implements fmt.Stringer.
func (Secret) String() string { return RedactedSecret }

// Format implements fmt.Formatter, for each verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(RedactedSecret)) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(RedactedSecret) }

// MarshalJSON implements json.Marshaler. Who stores or sends a secret takes Plain.
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal(RedactedSecret) }

// UnmarshalJSON implements json.Unmarshaler: what was written by MarshalJSON is lost, and
// nothing else is taken for it.
func (*Secret) UnmarshalJSON([]byte) error {
	return errors.New("a secret is not read from where it is redacted")
}

// Contents are the contents of files and the values of secret variables, by their keys:
// see ContainerSpec.Needs.
type Contents map[string]Secret

// Plain is all of it, to be stored or sent.
func (c Contents) Plain() map[string][]byte {
	if c == nil {
		return nil
	}
	plain := make(map[string][]byte, len(c))
	for id, s := range c {
		plain[id] = s.Plain()
	}
	return plain
}

// NewContents hides contents that were stored or sent.
func NewContents(plain map[string][]byte) Contents {
	if plain == nil {
		return nil
	}
	c := make(Contents, len(plain))
	for id, b := range plain {
		c[id] = NewSecret(b)
	}
	return c
}

// Lack says which content that a spec needs is not there; empty if none is missing.
func (c Contents) Lack(spec ContainerSpec) string {
	for key, what := range spec.Needs() {
		if _, there := c[key]; !there {
			return "its " + what + " has not come from the control plane in a form that this node can open"
		}
	}
	return ""
}

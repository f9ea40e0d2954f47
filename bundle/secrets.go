package bundle

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/otto-edge/otto/wire"
)

// Secrets are texts that must not be in a bundle, wherever they turn up: a program
// prints its environment, an engine quotes a command in an error. What is too short
// or too common to be found without ruining the rest is not looked for; where it
// stands as a value it is taken out by its place.
type Secrets struct {
	known    map[string]bool
	public   map[string]bool
	replacer *strings.Replacer // nil after a change
}

const (
	leastSecret = 4 // bytes
	leastNumber = 6 // digits
	leastLine   = 12
)

// Add notes values. Each line of a long one counts too, as in a key file, and the
// password of a URL.
func (s *Secrets) Add(values ...string) {
	if s.known == nil {
		s.known = map[string]bool{}
	}
	s.replacer = nil
	for _, v := range values {
		v = strings.TrimSpace(v)
		if worth(v) {
			s.known[v] = true
		}
		for _, m := range userinfo.FindAllStringSubmatch(v, -1) {
			if _, password, ok := strings.Cut(m[2], ":"); ok {
				s.Add(password)
				if plain, err := url.PathUnescape(password); err == nil && plain != password {
					s.Add(plain)
				}
			}
		}
		if lines := strings.Split(v, "\n"); len(lines) > 1 {
			for _, l := range lines {
				if l = strings.TrimSpace(l); len(l) >= leastLine {
					s.known[l] = true
				}
			}
		}
	}
}

// Public says that names are no secrets, although a value may be the same: a
// variable often names another service.
func (s *Secrets) Public(names ...string) {
	if s.public == nil {
		s.public = map[string]bool{}
	}
	s.replacer = nil
	for _, n := range names {
		s.public[n] = true
	}
}

func worth(v string) bool {
	switch strings.ToLower(v) {
	case "true", "false", "none", "null", "info", "debug", "warn", "warning", "error", "production", "development", "localhost", "always", "never":
		return false
	}
	digits := strings.Trim(v, "0123456789.") == ""
	return len(v) >= leastSecret && (!digits || len(v) >= leastNumber)
}

// replace takes out what is known, the longest first, in each way it may be written.
func (s *Secrets) replace(text string) string {
	if s.replacer == nil {
		var list []string
		for v := range s.known {
			if !s.public[v] {
				list = append(list, spellings(v)...)
			}
		}
		slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) })
		pairs := make([]string, 0, 2*len(list))
		for _, v := range list {
			pairs = append(pairs, v, Redacted)
		}
		s.replacer = strings.NewReplacer(pairs...)
	}
	return s.replacer.Replace(text)
}

// literally takes out of JSON what is known with a backslash in it: who put it there as it is
// made another string of it.
func (s *Secrets) literally(text string) string {
	for v := range s.known {
		if strings.Contains(v, `\`) && !s.public[v] {
			text = strings.ReplaceAll(text, v, Redacted)
		}
	}
	return text
}

// spellings are a text as it is, in JSON, in Go's quotes and in a URL.
func spellings(v string) []string {
	list := []string{v, strings.Trim(strconv.Quote(v), `"`), url.QueryEscape(v), url.PathEscape(v)}
	if b, err := json.Marshal(v); err == nil {
		list = append(list, strings.Trim(string(b), `"`))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// What looks like a secret although nobody told us of it.
var (
	userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([^/\s@"'\\]+)@`)
	named    = regexp.MustCompile(`(?i)((?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|credentials?)[a-z0-9_-]*\\?["']?\s*[=:]\s*\\?["']?)[^\s"',;&\\]+`)
	bearer   = regexp.MustCompile(`(?i)\b(bearer|basic) +[A-Za-z0-9+/._~=-]{8,}`)
	pemKey   = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`)
)

// scrub takes out of a text what is known and what looks like a secret.
func (s *Secrets) scrub(text string) string {
	text = pemKey.ReplaceAllString(text, Redacted)
	text = s.replace(text)
	text = userinfo.ReplaceAllString(text, "${1}"+Redacted+"@")
	text = named.ReplaceAllString(text, "${1}"+Redacted)
	return bearer.ReplaceAllString(text, "${1} "+Redacted)
}

// Text scrubs text of any form, and makes it harmless for the terminal of whoever looks
// through it. Lines that are JSON stay JSON.
func (s *Secrets) Text(b []byte) []byte {
	var out bytes.Buffer
	text := pemKey.ReplaceAllString(strings.ToValidUTF8(string(b), "?"), Redacted)
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "{") {
			if v, err := parse([]byte(line)); err == nil {
				if scrubbed, err := json.Marshal(s.value(v)); err == nil {
					out.WriteString(wire.Plain(s.literally(string(scrubbed))) + "\n")
					continue
				}
			}
		}
		out.WriteString(wire.Plain(s.scrub(line)))
	}
	return out.Bytes()
}

// JSON is a value as indented JSON with its strings scrubbed.
func (s *Secrets) JSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if v, err = parse(b); err != nil {
		return nil, err
	}
	b, err = json.MarshalIndent(s.value(v), "", "  ")
	return []byte(wire.Plain(s.literally(string(b))) + "\n"), err
}

func parse(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // figures stay as they are
	err = d.Decode(&v)
	return v, err
}

func (s *Secrets) value(v any) any {
	switch v := v.(type) {
	case string:
		return s.scrub(v)
	case []any:
		for i := range v {
			v[i] = s.value(v[i])
		}
	case map[string]any:
		for key, inner := range v {
			if text, ok := inner.(string); ok && text != "" && secretKey(key) {
				v[key] = Redacted
				continue
			}
			v[key] = s.value(inner)
		}
	}
	return v
}

func secretKey(key string) bool {
	key = strings.ToLower(strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return r
	}, key))
	for _, word := range []string{"password", "passwd", "secret", "token", "apikey", "privatekey", "credential"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

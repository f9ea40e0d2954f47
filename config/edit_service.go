package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// SetReplicas returns the content of an otto.yaml with another number of replicas
// of a service. All other lines stay as they are.
func SetReplicas(data []byte, service string, n int) ([]byte, error) {
	lines := strings.SplitAfter(string(data), "\n")
	at, err := findService(lines, service)
	if err != nil {
		return nil, err
	}
	number := regexp.MustCompile(`^(\s*(?:- )?(?:replicas|scale):\s*)["']?[0-9]+["']?(\s*(?:#.*)?\r?\n?)$`)
	for i := at.start; i < at.end; i++ {
		if keyIndent(lines[i]) == at.keys && number.MatchString(lines[i]) {
			lines[i] = number.ReplaceAllString(lines[i], "${1}"+strconv.Itoa(n)+"${2}")
			return []byte(strings.Join(lines, "")), nil
		}
	}
	if !strings.HasSuffix(lines[at.start], "\n") {
		lines[at.start] += "\n"
	}
	lines = slices.Insert(lines, at.start+1, strings.Repeat(" ", at.keys)+"replicas: "+strconv.Itoa(n)+"\n")
	return []byte(strings.Join(lines, "")), nil
}

// RemoveService returns the content of an otto.yaml without a service. All other
// lines stay as they are.
func RemoveService(data []byte, service string) ([]byte, error) {
	lines := strings.SplitAfter(string(data), "\n")
	at, err := findService(lines, service)
	if err != nil {
		return nil, err
	}
	return []byte(strings.Join(slices.Delete(lines, at.start, at.end), "")), nil
}

// serviceLines is where a service is in a file, and how far its keys are indented.
type serviceLines struct {
	span
	keys int
}

var (
	servicesLine = regexp.MustCompile(`^services:\s*(#.*)?$`)
	namedItem    = regexp.MustCompile(`^(\s*)- name:\s*["']?([a-z0-9_-]+)["']?\s*(#.*)?$`)
	nameLine     = regexp.MustCompile(`^(\s*)name:\s*["']?([a-z0-9_-]+)["']?\s*(#.*)?$`)
	mappedItem   = regexp.MustCompile(`^(\s+)["']?([a-z0-9_-]+)["']?:\s*(#.*)?$`)
)

// keyIndent is the column at which the key of a line begins, behind a dash.
func keyIndent(line string) int {
	rest := strings.TrimLeft(line, " ")
	n := len(line) - len(rest)
	if strings.HasPrefix(rest, "- ") {
		return n + 2
	}
	return n
}

// findService finds a service that is written with a key a line, in a list or in
// a mapping of services.
func findService(lines []string, service string) (found serviceLines, err error) {
	top := slices.IndexFunc(lines, func(l string) bool { return servicesLine.MatchString(strings.TrimRight(l, "\r\n")) })
	if top < 0 {
		return found, errors.New("its services are not written with one key a line: edit it by hand")
	}
	indent, named := -1, false
	for i := top + 1; i < len(lines); i++ {
		text := strings.TrimRight(lines[i], "\r\n")
		if trimmed := strings.TrimSpace(text); trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue // belongs to a service only if more of it follows
		}
		here := len(text) - len(strings.TrimLeft(text, " "))
		dash := strings.HasPrefix(text[here:], "- ")
		switch {
		case here == 0 && !dash:
			return found, found.orMissing(service, named)
		case indent < 0 || here == indent:
			if named {
				return found, nil
			}
			indent = here
			found = serviceLines{span{i, i + 1}, here + 2}
			if m := mappedItem.FindStringSubmatch(text); m != nil && !dash {
				named, found.keys = m[2] == service, 0 // known by its first key
			} else if m := namedItem.FindStringSubmatch(text); m != nil {
				named = m[2] == service
			}
		default:
			found.end = i + 1
			if found.keys == 0 {
				found.keys = here
			}
			if m := nameLine.FindStringSubmatch(text); m != nil && here == found.keys && strings.HasPrefix(strings.TrimLeft(lines[found.start], " "), "- ") {
				named = named || m[2] == service
			}
		}
	}
	return found, found.orMissing(service, named)
}

func (s serviceLines) orMissing(service string, named bool) error {
	if named && s.keys > 0 {
		return nil
	}
	if stack, short, ok := strings.Cut(service, "/"); ok {
		return fmt.Errorf("%s is in the Compose file of stack %s: change %s there, and run `otto apply`", service, stack, short)
	}
	return fmt.Errorf("its services have no %s with lines of its own: edit it by hand", service)
}

package tui

import (
	"fmt"
	"strings"
)

// foot is the last line: what is being typed, what was done, or some keys.
func (m *Model) foot() []entry {
	switch {
	case m.input.mode == 'm':
		return []entry{{line: line{
			{"move " + some(m.input.of, "service") + " to (empty for the best node): ", strong}, {m.input.text + "_", normal},
		}}}
	case m.input.mode != 0:
		return []entry{{line: line{{string(m.input.mode) + m.input.text + "_", strong}}}}
	case m.message != "":
		return []entry{{line: text(m.message, warn)}}
	case m.ask != nil:
		return nil
	case m.page != nil && m.page.log:
		return []entry{{line: text("esc back  / filter  s follow  w wrap  p previous  ? help", dim)}}
	case m.page != nil:
		return []entry{{line: text("esc back  / filter  w wrap  ? help", dim)}}
	}
	keys := "? help  enter open  l logs  s shell  w why  m move  / filter  : jump  q quit"
	var chosen []string
	if nodes, services := m.marks(); len(nodes)+len(services) > 0 {
		chosen = append(chosen, fmt.Sprintf("%d marked", len(nodes)+len(services)))
	}
	if m.stack != "" {
		chosen = append(chosen, "stack "+m.stack)
	}
	if m.filter != "" {
		chosen = append(chosen, "/"+m.filter)
	}
	if m.sort != sortFile {
		chosen = append(chosen, "sorted by "+sortNames()[m.sort])
	}
	if len(chosen) == 0 {
		return []entry{{line: text(keys, dim)}}
	}
	return []entry{{line: line{{strings.Join(chosen, ", ") + "  ", warn}, {"esc back  " + keys, dim}}}}
}

func sortNames() map[sortKey]string {
	return map[sortKey]string{
		sortName: "name", sortCPU: "CPU", sortMemory: "memory", sortState: "state", sortNode: "node",
		sortRequirement: "requirement",
	}
}

func (m *Model) help() *page {
	var b strings.Builder
	b.WriteString(helpText)
	for i, s := range m.Index.stacks() {
		if i == 0 {
			b.WriteString("\nStacks\n")
		}
		if i < 9 {
			fmt.Fprintf(&b, "  %-14s %s\n", fmt.Sprint(i+1), s)
		}
	}
	return newPage("Help", b.String())
}

const helpText = `up down j k    select; also pgup pgdown, g and G for the first and the last
enter          open: a description, or the services of a stack
left right     fold and unfold a stack
esc            back
/TEXT  /!TEXT  only what has TEXT in its name, state or node; only what has not
:NAME          go to a node, a stack or a service; also :trouble, :nodes,
               :services, :events, :top and :quit
0 to 9         all, or one stack alone
N C M S O L    sort by name, CPU, memory, state, node, nearness to a limit;
               again: the other way round; once more: as in otto.yaml
d  w  l        describe; why it is where and as it is; logs
y              all that is known of it, as YAML
s  m           a shell in a service's container; move the service
c  u  D        cordon, uncordon, drain a node
space          mark: m moves all services that are marked, and c, u, D are
               for all nodes that are; of a stack all services
q  Ctrl-C      leave
mouse          click selects, and opens what is selected; the wheel moves;
               with shift the terminal marks text as usual
in logs        / filter, s follow, w wrap, p the log of the run before and back
!  >  *  »     in trouble; selected; marked; marked and selected
▮ ▯ x - ? ·    of a day: well, partly, down, stopped, not known, not kept
`

package tui

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// effect is what a key asks for beside another screen: what takes time, or the terminal.
type effect struct {
	do   deed
	name string // of a service, a stack or a node
	node bool   // it is a node's
	// previous is of a log: that of before the present run.
	previous bool
	acts     acts
}

type deed int

// The deeds.
const (
	doNothing deed = iota
	doQuit
	doDescribe
	doYAML
	doWhy
	doLogs
	doShell
	doPlanMove // explain services, to ask whether they are to be moved
	doAct
)

// input is a line that is being typed; mode says what for.
type input struct {
	mode rune // '/', ':' or, for where a service is moved to, 'm'; 0 for none
	text string
	of   []string // the services
}

// Press does what a key says. Keys are named as bubbletea names them.
func (m *Model) Press(key string) effect {
	m.message = ""
	switch {
	case key == "ctrl+c":
		return effect{do: doQuit}
	case m.ask != nil:
		return m.answer(key)
	case m.input.mode != 0:
		return m.typed(key)
	case m.page != nil && m.page.log && key == "p":
		return effect{do: doLogs, name: m.page.of, previous: !m.page.previous}
	case m.page != nil && m.turned(key):
		return effect{}
	}
	if m.moved(key) || m.chosen(key) {
		return effect{}
	}
	return m.asked(key)
}

// typed takes a key of a line that is being typed.
func (m *Model) typed(key string) effect {
	in := &m.input
	switch key {
	case "esc":
		if in.mode == '/' {
			m.setFilter("")
		}
		*in = input{}
	case "enter":
		done := *in
		*in = input{}
		return m.entered(done)
	case "backspace":
		if in.text == "" {
			*in = input{}
			return effect{}
		}
		_, n := utf8.DecodeLastRuneInString(in.text)
		in.text = in.text[:len(in.text)-n]
	case "ctrl+u", "ctrl+w":
		in.text = ""
	case "space":
		in.text += " "
	default:
		if utf8.RuneCountInString(key) == 1 && len(in.text) < 200 {
			in.text += plain(key)
		}
	}
	if in.mode == '/' {
		m.setFilter(in.text)
	}
	return effect{}
}

func (m *Model) setFilter(s string) {
	if m.page != nil {
		m.page.filter = s
		return
	}
	m.filter = s
}

// entered ends a line that was typed.
func (m *Model) entered(in input) effect {
	switch in.mode {
	case ':':
		return m.jump(strings.TrimSpace(in.text))
	case 'm':
		e := effect{do: doPlanMove}
		for _, name := range in.of {
			e.acts = append(e.acts, Act{Verb: Move, Name: name, To: strings.TrimSpace(in.text)})
		}
		return e
	}
	return effect{}
}

// jump goes to a view, or to a node, a stack or a service by its name or how that begins.
func (m *Model) jump(to string) effect {
	views := map[string]view{
		"top": viewTop, "trouble": viewTrouble, "nodes": viewNodes, "services": viewServices, "events": viewEvents,
	}
	switch v, ok := views[to]; {
	case to == "":
	case to == "q" || to == "quit":
		return effect{do: doQuit}
	case to == "help":
		m.page = m.help()
	case ok:
		m.leave()
		m.view = v
	default:
		m.jumpTo(to)
	}
	return effect{}
}

func (m *Model) jumpTo(name string) {
	var exact, begins []item
	take := func(of item) {
		switch {
		case of.name == name:
			exact = append(exact, of)
		case strings.HasPrefix(of.name, name) || strings.Contains(of.name, "/"+name):
			begins = append(begins, of)
		}
	}
	for _, g := range m.Index.groups {
		take(itemOf(g.row))
		for _, r := range g.members {
			if r.name == name || !strings.HasPrefix(g.row.name, name) { // else the stack is meant
				take(itemOf(r))
			}
		}
	}
	for _, n := range m.Index.nodes {
		take(item{kindNode, n.ID})
	}
	found := append(exact, begins...)
	switch {
	case len(found) == 0:
		m.message = fmt.Sprintf("nothing is called %q", name)
		return
	case len(exact) == 0 && len(begins) > 1:
		m.message = fmt.Sprintf("%q may be %s or %s", name, begins[0].name, begins[1].name)
		return
	}
	m.leave()
	m.selected = found[0]
	if m.selected.kind == kindNode {
		if !slices.Contains(m.items(m.height), m.selected) {
			m.view = viewNodes
		}
		return
	}
	if stack, _, ok := strings.Cut(m.selected.name, "/"); ok {
		m.unfold(stack, true)
	}
}

// leave goes back to all there is.
func (m *Model) leave() {
	m.page, m.view, m.filter, m.stack = nil, viewTop, "", ""
}

// moved moves what is selected.
func (m *Model) moved(key string) bool {
	step := map[string]int{
		"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -10, "ctrl+b": -10, "pgdown": 10, "ctrl+f": 10,
		"home": -1 << 20, "g": -1 << 20, "end": 1 << 20, "G": 1 << 20,
	}[key]
	if step == 0 {
		return false
	}
	m.step(step)
	return true
}

func (m *Model) step(by int) {
	list := m.items(m.height)
	if len(list) == 0 {
		return
	}
	at := slices.Index(list, m.current(m.height))
	m.selected = list[max(0, min(at+by, len(list)-1))]
}

// chosen changes what is shown.
func (m *Model) chosen(key string) bool {
	switch key {
	case "esc":
		m.back()
	case "/", ":":
		m.input = input{mode: rune(key[0])}
		if key == "/" {
			m.input.text = m.filter
		}
	case "?":
		m.page = m.help()
	case "right":
		return m.fold(true)
	case "left":
		return m.fold(false)
	case "enter":
		return m.opened()
	case "space":
		m.mark()
	default:
		return m.sorted(key) || m.numbered(key)
	}
	return true
}

// back takes away the last thing that was chosen.
func (m *Model) back() {
	switch {
	case m.page != nil:
		m.page = nil
	case len(m.marked) > 0:
		m.marked = nil
	case m.filter != "":
		m.filter = ""
	case m.stack != "":
		m.stack = ""
	default:
		m.view = viewTop
	}
}

// opened opens what has no description: a stack, and lines that stand for others.
func (m *Model) opened() bool {
	switch of := m.current(m.height); of.kind {
	case kindStack:
		m.unfold(of.name, !m.unfolded[of.name])
	case kindMoreNodes:
		m.view = viewNodes
	case kindMoreTrouble:
		m.view = viewTrouble
	default:
		return false
	}
	return true
}

func (m *Model) fold(open bool) bool {
	of := m.current(m.height)
	stack := of.name
	if of.kind == kindService {
		var inOne bool
		if stack, _, inOne = strings.Cut(of.name, "/"); !inOne || open {
			return true
		}
		m.selected = item{kindStack, stack}
	} else if of.kind != kindStack {
		return true
	}
	m.unfold(stack, open)
	return true
}

func (m *Model) unfold(stack string, open bool) {
	next := map[string]bool{}
	for s, is := range m.unfolded {
		next[s] = is
	}
	next[stack] = open
	m.unfolded = next
}

// sorted takes the keys that sort. The same one again turns the order round, and once more
// gives that of the file back.
func (m *Model) sorted(key string) bool {
	switch k := sortKey(key); k {
	case sortName, sortCPU, sortMemory, sortState, sortNode, sortRequirement:
		switch {
		case m.sort != k:
			m.sort, m.reverse = k, false
		case !m.reverse:
			m.reverse = true
		default:
			m.sort, m.reverse = sortFile, false
		}
		return true
	}
	return false
}

// numbered shows one stack alone, or with 0 all there is.
func (m *Model) numbered(key string) bool {
	if len(key) != 1 || key[0] < '0' || key[0] > '9' {
		return false
	}
	n := int(key[0] - '0')
	stacks := m.Index.stacks()
	switch {
	case n == 0:
		m.stack = ""
	case n > len(stacks):
		m.message = fmt.Sprintf("there is no stack %d", n)
	default:
		m.stack = stacks[n-1]
		m.selected = item{kindStack, m.stack}
	}
	return true
}

// pageRoom is how many lines of a page there are on the screen.
func (m *Model) pageRoom() int { return max(m.height-len(m.foot())-2, 1) }

// turned takes the keys of a page.
func (m *Model) turned(key string) bool {
	p := m.page
	room := m.pageRoom()
	switch key {
	case "up", "k":
		p.turn(-1, m.width, room)
	case "down", "j", "enter":
		p.turn(1, m.width, room)
	case "pgup", "ctrl+b":
		p.turn(-room, m.width, room)
	case "pgdown", "ctrl+f", "space":
		p.turn(room, m.width, room)
	case "home", "g":
		p.turn(-1<<20, m.width, room)
	case "end", "G":
		p.turn(1<<20, m.width, room)
	case "esc", "q", "left":
		m.page = nil
	case "/":
		m.input = input{mode: '/', text: p.filter}
	case "w":
		p.wrap = !p.wrap
	case "s":
		if p.log {
			p.offset, p.follow = p.first(len(p.shown(m.width)), room), !p.follow
		}
	case ":", "?":
		return false
	}
	return true
}

// click selects what is clicked at, and opens what is selected.
func (m *Model) click(on item) effect {
	switch {
	case m.ask != nil || m.page != nil || m.input.mode != 0 || on.kind == kindNone:
		return effect{}
	case on == m.current(m.height):
		return m.Press("enter")
	}
	m.selected, m.message = on, ""
	return effect{}
}

// wheel turns a page, or moves what is selected.
func (m *Model) wheel(by int) {
	switch {
	case m.ask != nil:
	case m.page != nil:
		m.page.turn(by, m.width, m.pageRoom())
	default:
		m.step(by)
	}
}

// target is the name of what is selected.
func (m *Model) target() (name string, node bool) {
	of := m.current(m.height)
	if of.kind == kindTrouble {
		of = m.troubleOf(of)
	}
	switch of.kind {
	case kindNode:
		return of.name, true
	case kindService, kindStack:
		return of.name, false
	}
	return "", false
}

// troubleOf is what a line of trouble is about.
func (m *Model) troubleOf(line item) item {
	for _, t := range m.Index.trouble {
		if t.item() == line {
			return t.of
		}
	}
	return item{}
}

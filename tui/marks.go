package tui

import "maps"

// mark marks what is selected, or takes its mark away. That of a stack is that of all of
// its services. What is done next is done with all that is marked.
func (m *Model) mark() {
	of := m.current(m.height)
	if of.kind == kindTrouble {
		of = m.troubleOf(of)
	}
	list := []item{of}
	switch of.kind {
	case kindNode, kindService:
	case kindStack:
		list = nil
		for _, g := range m.Index.groups {
			if g.members != nil && g.row.stack == of.name {
				for _, name := range g.row.members {
					list = append(list, item{kindService, name})
				}
			}
		}
	default:
		m.message = "select a node or a service to mark it"
		return
	}
	marked := maps.Clone(m.marked)
	if marked == nil {
		marked = map[item]bool{}
	}
	all := m.allMarked(list)
	for _, i := range list {
		if delete(marked, i); !all {
			marked[i] = true
		}
	}
	m.marked = marked
}

func (m *Model) allMarked(list []item) bool {
	for _, i := range list {
		if !m.marked[i] {
			return false
		}
	}
	return len(list) > 0
}

// marks are what is marked and still there, in the order of the file.
func (m *Model) marks() (nodes, services []string) {
	if len(m.marked) == 0 {
		return nil, nil
	}
	for _, n := range m.Index.nodes {
		if m.marked[item{kindNode, n.ID}] {
			nodes = append(nodes, n.ID)
		}
	}
	for _, s := range m.Index.Cluster.Services {
		if m.marked[item{kindService, s.Name}] {
			services = append(services, s.Name)
		}
	}
	return nodes, services
}

// isMarked reports whether a line is, which for a stack is that all of its services are.
func (m *Model) isMarked(of item, members []string) bool {
	if len(m.marked) == 0 || of.kind != kindStack {
		return m.marked[of]
	}
	list := make([]item, 0, len(members))
	for _, name := range members {
		list = append(list, item{kindService, name})
	}
	return m.allMarked(list)
}

// answer ends a question, or turns its plan where that is longer than the screen.
func (m *Model) answer(key string) effect {
	if m.ask.turn(key, m.height-1) {
		return effect{}
	}
	done := m.ask.acts
	m.ask = nil
	if key == "y" || key == "Y" {
		m.marked, m.message = nil, done.String()+" ..."
		return effect{do: doAct, acts: done}
	}
	m.message = "left as it is"
	return effect{}
}

// asked takes the keys that ask the control plane for something.
func (m *Model) asked(key string) effect {
	name, node := m.target()
	deeds := map[string]deed{"enter": doDescribe, "d": doDescribe, "y": doYAML, "w": doWhy, "l": doLogs, "s": doShell}
	verbs := map[string]string{"c": Cordon, "u": Uncordon, "D": Drain, "m": Move}
	do, looks := deeds[key]
	verb, does := verbs[key]
	stack := m.current(m.height).kind == kindStack
	nodes, services := m.marks()
	switch {
	case key == "q":
		return effect{do: doQuit}
	case !looks && !does:
	case m.readOnly && (does || do == doShell):
		m.message = "this is for looking only (--read-only)"
	case does && len(nodes)+len(services) > 0:
		m.askOf(verb, nodes, services)
	case name == "":
		m.message = "select a node or a service first"
	case stack && (does || do == doWhy || do == doShell):
		m.message = "select a service of the stack: enter unfolds it, space marks all of it"
	case looks && do == doShell && node:
		m.message = "select a service: the shell is in its container"
	case looks:
		return effect{do: do, name: name, node: node}
	case node:
		m.askOf(verb, []string{name}, nil)
	default:
		m.askOf(verb, nil, []string{name})
	}
	return effect{}
}

// askOf asks whether something is to be done with nodes or services, or where services go.
func (m *Model) askOf(verb string, nodes, services []string) {
	noneOf := func(kind string) bool { // what is marked
		if len(m.marked) > 0 {
			m.message = "no " + kind + " is marked; esc forgets what is"
		}
		return len(m.marked) > 0
	}
	switch {
	case verb == Move && len(services) == 0 && noneOf("service"), verb != Move && len(nodes) == 0 && noneOf("node"):
	case verb == Move && len(services) == 0:
		m.message = "select a service to move it; D empties a node"
	case verb == Move:
		m.input = input{mode: 'm', of: services}
	case len(nodes) == 0:
		m.message = "select a node to " + verb + " it"
	default:
		var list acts
		for _, n := range nodes {
			list = append(list, Act{Verb: verb, Name: n})
		}
		m.ask = &question{acts: list, plan: planOf(m.Index.Cluster, list)}
	}
}

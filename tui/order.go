package tui

import (
	"cmp"
	"slices"
	"strings"
)

// sortKey is what lists are sorted by; its key is that with shift.
type sortKey string

// The sort keys. Without one the order is that of otto.yaml.
const (
	sortFile        sortKey = ""
	sortName        sortKey = "N"
	sortCPU         sortKey = "C"
	sortMemory      sortKey = "M"
	sortState       sortKey = "S"
	sortNode        sortKey = "O"
	sortRequirement sortKey = "L" // by how near the nearest limit is
)

// troubleRows is the trouble that passes the filter.
func (m *Model) troubleRows() (list []trouble) {
	if m.filter == "" {
		return m.Index.trouble
	}
	for _, t := range m.Index.trouble {
		if m.passes(t.name, t.what, t.why) {
			list = append(list, t)
		}
	}
	return list
}

// nodeRows are the nodes that pass the filter, in the order in which they are shown: if
// there are more than so many, those that are not well come first.
func (m *Model) nodeRows(most int) []nodeRow {
	rows := make([]nodeRow, 0, len(m.Index.nodes))
	for _, n := range m.Index.nodes {
		if m.passes(n.ID, n.state, "") {
			rows = append(rows, n)
		}
	}
	if m.sort == sortFile {
		if len(rows) > most {
			slices.SortStableFunc(rows, func(a, b nodeRow) int { return cmp.Compare(b.style, a.style) })
		}
		return rows
	}
	m.order(func(sign int) {
		slices.SortStableFunc(rows, func(a, b nodeRow) int { return sign * m.compareNodes(a, b) })
	})
	return rows
}

func (m *Model) order(do func(sign int)) {
	if m.reverse {
		do(-1)
		return
	}
	do(1)
}

func (m *Model) compareNodes(a, b nodeRow) int {
	var aCPU, bCPU, aMemory, bMemory float64
	if a.Sample != nil {
		aCPU, aMemory = a.Sample.CPUPercent, a.Sample.MemoryPercent()
	}
	if b.Sample != nil {
		bCPU, bMemory = b.Sample.CPUPercent, b.Sample.MemoryPercent()
	}
	switch m.sort {
	case sortCPU:
		return cmp.Compare(bCPU, aCPU)
	case sortMemory:
		return cmp.Compare(bMemory, aMemory)
	case sortState:
		return cmp.Compare(b.style, a.style)
	case sortName, sortNode:
		return cmp.Compare(a.ID, b.ID)
	}
	return 0
}

// compareServices compares services, or stacks: what is most worth looking at comes first.
func (m *Model) compareServices(a, b serviceRow) int {
	switch m.sort {
	case sortName:
		return cmp.Compare(a.name, b.name)
	case sortCPU:
		return cmp.Compare(b.cpu, a.cpu)
	case sortMemory:
		return cmp.Compare(b.memory, a.memory)
	case sortState:
		return cmp.Compare(b.rank, a.rank)
	case sortNode:
		return cmp.Compare(a.place, b.place)
	case sortRequirement:
		return cmp.Compare(b.nearest.use, a.nearest.use)
	}
	return 0
}

// passes reports whether something is to be shown, by its name, state and place.
func (m *Model) passes(name, state, place string) bool {
	if m.filter == "" {
		return true
	}
	want, inverse := strings.CutPrefix(strings.ToLower(m.filter), "!")
	has := strings.Contains(strings.ToLower(name+" "+state+" "+place), want)
	return has != inverse || want == ""
}

// serviceRows are services and stacks in the order in which they are shown. With a filter
// stacks are unfolded.
func (m *Model) serviceRows() (list []serviceRow) {
	groups := m.Index.groups
	if m.sort != sortFile {
		groups = slices.Clone(groups)
		m.order(func(sign int) {
			slices.SortStableFunc(groups, func(a, b group) int { return sign * m.compareServices(a.row, b.row) })
		})
	}
	for _, g := range groups {
		if m.stack != "" && g.row.stack != m.stack {
			continue
		}
		if g.members == nil {
			if m.passes(g.row.name, g.row.state, g.row.place) {
				list = append(list, g.row)
			}
			continue
		}
		list = append(list, m.stackRows(g)...)
	}
	return list
}

// stackRows are a stack and those of its services that are shown.
func (m *Model) stackRows(g group) []serviceRow {
	members := g.members
	if m.filter != "" {
		members = nil
		for _, r := range g.members {
			if m.passes(r.name, r.state, r.place) {
				members = append(members, r)
			}
		}
		if len(members) == 0 {
			return nil
		}
	}
	if !m.isOpen(g.row.stack) {
		return []serviceRow{g.row}
	}
	if m.sort != sortFile {
		members = slices.Clone(members)
		m.order(func(sign int) {
			slices.SortStableFunc(members, func(a, b serviceRow) int { return sign * m.compareServices(a, b) })
		})
	}
	return append([]serviceRow{g.row}, members...)
}

func (m *Model) isOpen(stack string) bool {
	return m.unfolded[stack] || m.filter != "" || m.stack != ""
}

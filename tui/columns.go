package tui

// column is a column of a table.
type column struct {
	head     string
	min, max int
	right    bool // its cells are at its right end
	// leaves is when it leaves if the screen is too narrow for all of them: 1 first; 0 never.
	leaves int
	// grows is when it gets what is left of the screen, up to its max: 1 first.
	grows int
}

// cell draws itself into so many columns of the screen.
type cell func(width int) line

func word(s string, in style) cell { return func(int) line { return text(s, in) } }

// gutter is in front of each row of a table: what is selected, and what is in trouble, can
// be seen there without colours.
const gutter = 1

// widths are those of the columns on a screen; 0 is that of one that has left.
func widths(cols []column, screen int) []int {
	list := make([]int, len(cols))
	for i, c := range cols {
		list[i] = c.min
	}
	for used(list) > screen {
		next := -1
		for i, c := range cols {
			if list[i] > 0 && c.leaves > 0 && (next < 0 || c.leaves < cols[next].leaves) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		list[next] = 0
	}
	for turn := 1; turn <= len(cols); turn++ {
		grow(cols, list, turn, screen)
	}
	return list
}

// used is how wide a table is, with its gutter and a space between columns.
func used(list []int) int {
	n := gutter - 1
	for _, w := range list {
		if w > 0 {
			n += w + 1
		}
	}
	return n
}

// grow gives what is left to the columns whose turn it is, one after the other.
func grow(cols []column, list []int, turn, screen int) {
	for more := true; more; {
		more = false
		for i, c := range cols {
			if c.grows == turn && list[i] > 0 && list[i] < c.max && used(list) < screen {
				list[i]++
				more = true
			}
		}
	}
}

// header is the line of the names of columns.
func header(cols []column, list []int) line {
	l := line{{" ", normal}}
	for i, c := range cols {
		if list[i] == 0 {
			continue
		}
		head := text(c.head, dim)
		if c.right {
			l = append(l, head.fitRight(list[i])...)
		} else {
			l = append(l, head.fit(list[i])...)
		}
		l = append(l, span{" ", normal})
	}
	return l[:len(l)-1]
}

// row is a line of a table; sign is in its gutter.
func row(cols []column, list []int, sign span, cells []cell) line {
	l := line{sign}
	for i, c := range cols {
		w := list[i]
		if w == 0 {
			continue
		}
		if content := cells[i](w); c.right {
			l = append(l, content.fitRight(w)...)
		} else {
			l = append(l, content.fit(w)...)
		}
		l = append(l, span{" ", normal})
	}
	return l[:len(l)-1]
}

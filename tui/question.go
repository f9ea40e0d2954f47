package tui

import "fmt"

// question is what would be done, with its plan, and waits for a yes.
type question struct {
	acts   acts
	plan   []string
	offset int // of the first line of the plan on the screen
}

// around are the lines of a question that are not its plan.
const around = 4

// entries are the question and as much of its plan as has room. What is asked stays.
func (q *question) entries(height int) []entry {
	list := []entry{{line: text(q.acts.String()+"?", strong)}, {}}
	shown := q.shown(height)
	for _, l := range shown {
		list = append(list, entry{line: text("  "+clean(l), normal)})
	}
	end := text("  y does it, any other key leaves all as it is", warn)
	if n := len(q.plan) - len(shown); n > 0 {
		end = text(fmt.Sprintf("  %d more lines: up, down; y does it, any other key leaves all as it is", n), warn)
	}
	if height < around {
		return append(list[:1], entry{line: end})
	}
	return append(list, entry{}, entry{line: end})
}

// shown is the part of the plan that has room.
func (q *question) shown(height int) []string {
	room := max(height-around, 0)
	from := max(0, min(q.offset, len(q.plan)-room))
	return q.plan[from:min(from+room, len(q.plan))]
}

// turn moves the plan on, if it has more lines than fit and that is what the key is for.
func (q *question) turn(key string, height int) bool {
	room := max(height-around, 1)
	by := map[string]int{
		"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -room, "pgdown": room, "space": room, "home": -len(q.plan), "end": len(q.plan),
	}[key]
	if by == 0 || len(q.plan) <= room {
		return false
	}
	q.offset = max(0, min(q.offset+by, len(q.plan)-room))
	return true
}

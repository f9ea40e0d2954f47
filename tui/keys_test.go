package tui

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/otto-edge/otto"
)

// press presses keys, which are separated by spaces, and returns what the last one asks for.
func press(m *Model, keys string) (e effect) {
	for _, k := range strings.Fields(keys) {
		e = m.Press(k)
	}
	return e
}

func small() *Model {
	m := model(homeCluster())
	m.width, m.height = 80, 24
	return m
}

func TestKeysSelect(t *testing.T) {
	for keys, want := range map[string]item{
		"j":                       {kindTrouble, "api violated latency p < ms for s clear s -> migrate"},
		"j k":                     {kindTrouble, "rpi-02 lostsilent, and nas cannot reach it either"},
		"g down down down":        {kindNode, "mini-pc"},
		"G":                       {kindService, "exporter"},
		"G up up up up":           {kindStack, "immich"},
		"G k k k k enter j":       {kindService, "immich/server"},
		"G k k k k right j left":  {kindStack, "immich"},
		"G k k k k enter enter j": {kindService, "api"},
		": d b enter":             {kindService, "db"},
		": n a s enter":           {kindNode, "nas"},
		": i m m enter j":         {kindService, "api"},
		": c a c h e enter":       {kindService, "immich/cache"},
		"/ e x p enter":           {kindService, "exporter"},
		"/ e x p esc G":           {kindService, "exporter"},
		"/ r u n n i n g enter G": {kindService, "exporter"},
		"/ ! n a s enter G":       {kindService, "exporter"},
		"1 j":                     {kindService, "immich/server"},
		"1 0 j":                   {kindService, "api"},
		"pgdown pgdown":           {kindService, "exporter"},
		"C g j j j":               {kindNode, "mini-pc"},
		"C C G":                   {kindService, "api"},
		"N N N G":                 {kindService, "exporter"},
		"L g j j j j j j j":       {kindService, "api"},
	} {
		m := small()
		press(m, keys)
		got := m.current(m.height)
		if got != want {
			t.Errorf("%s: %+v, want %+v\n%s", keys, got, want, m.Screen(80, 24))
		}
	}
}

func TestKeysAsk(t *testing.T) {
	for keys, want := range map[string]effect{
		"q":                           {do: doQuit},
		"ctrl+c":                      {do: doQuit},
		": q enter":                   {do: doQuit},
		"/ q ctrl+c":                  {do: doQuit},
		"? q q":                       {do: doQuit},
		"enter":                       {do: doDescribe, name: "rpi-02", node: true},
		"j w":                         {do: doWhy, name: "api"},
		"G l":                         {do: doLogs, name: "exporter"},
		": i m m i c h enter l":       {do: doLogs, name: "immich"},
		": i m m i c h enter d":       {do: doDescribe, name: "immich"},
		": i m m i c h enter w":       {},
		": i m m i c h enter":         {},
		": n o t h i n g enter":       {},
		"x":                           {},
		"j y":                         {do: doYAML, name: "api"},
		"y":                           {do: doYAML, name: "rpi-02", node: true},
		": e v e n t s enter l":       {},
		": n o d e s enter G l":       {do: doLogs, name: "nas", node: true},
		": t r o u b l e enter d":     {do: doDescribe, name: "rpi-02", node: true},
		": s e r v i c e s enter j d": {do: doDescribe, name: "api"},
		"j s":                         {do: doShell, name: "api"},
		"s":                           {},
		"c n":                         {},
		"c y":                         {do: doAct, acts: acts{Act{Verb: Cordon, Name: "rpi-02"}}},
		"u Y":                         {do: doAct, acts: acts{Act{Verb: Uncordon, Name: "rpi-02"}}},
		"D y":                         {do: doAct, acts: acts{Act{Verb: Drain, Name: "rpi-02"}}},
		"D ctrl+c":                    {do: doQuit},
		"G c y":                       {do: doYAML, name: "exporter"},
		"m y":                         {do: doYAML, name: "rpi-02", node: true},
		"G m esc y":                   {do: doYAML, name: "exporter"},
		"G m enter":                   {do: doPlanMove, acts: acts{Act{Verb: Move, Name: "exporter"}}},
		"G m n a s enter": {
			do: doPlanMove, acts: acts{Act{Verb: Move, Name: "exporter", To: "nas"}},
		},
	} {
		if got := press(small(), keys); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", keys, got, want)
		}
	}
}

// TestKeysChooseWhatIsShown compares with what must and must not be on the screen.
func TestKeysChooseWhatIsShown(t *testing.T) {
	for _, tt := range []struct{ keys, has, hasNot string }{
		{"/ n a s", "/nas_", "exporter "},
		{"/ n a s enter", "  server", "exporter "},
		{"/ n a s enter esc", "web ", "  server"},
		{"/ ! n a s enter", "exporter ", "immich"},
		{"/ x backspace backspace", "web ", "/_"},
		{"/ x ctrl+u", "/_", "/x"},
		{"1", "stack immich", "exporter"},
		{"1 esc", "exporter", "stack immich"},
		{"7", "there is no stack 7", "stack immich"},
		{"7 j", "exporter", "there is no stack"},
		{"? G", "1              immich", "SERVICE"},
		{"? esc", "SERVICE", "left right"},
		{": e v e n t s enter", "web is running", "SERVICE"},
		{": e v e n t s enter esc", "SERVICE", "web is running"},
		{": a enter", "api", "nothing is called"},
		{": n enter", "\"n\" may be", "nothing is called"},
		{": z z enter", "nothing is called \"zz\"", "may be"},
		{"M", "sorted by memory", "sorted by CPU"},
		{"? / S t a c k s enter", "Stacks", "Ctrl-C"},
	} {
		m := small()
		if tt.keys == ": n enter" {
			m.Index = NewIndex(largeCluster(3, 3))
		}
		m.Events = events()
		press(m, tt.keys)
		if s := m.Screen(80, 24).String(); !strings.Contains(s, tt.has) || strings.Contains(s, tt.hasNot) {
			t.Errorf("%s: want %q and not %q\n%s", tt.keys, tt.has, tt.hasNot, s)
		}
	}
}

// TestMoreNodesAndTroubleAreOpened: the lines for those that are left lead to all of them.
func TestMoreNodesAndTroubleAreOpened(t *testing.T) {
	m := model(largeCluster(50, 10))
	m.width, m.height = 80, 24
	press(m, "g j j j j j enter")
	if s := m.Screen(80, 24).String(); m.view != viewNodes || !strings.Contains(s, "node-20") {
		t.Errorf("view %d\n%s", m.view, s)
	}
	press(m, "G")
	if s := m.Screen(80, 24).String(); !strings.Contains(s, ">node-49") {
		t.Error(s)
	}
	m = model(largeCluster(2, 10))
	for i := range m.Index.Cluster.Services {
		m.Index.Cluster.Services[i].Instances[0].State = otto.InstanceFailed
	}
	m.Index = NewIndex(m.Index.Cluster)
	m.width, m.height = 80, 24
	press(m, "g j j j enter G")
	if s := m.Screen(80, 24).String(); m.view != viewTrouble || strings.Count(s, "failed on") != 10 {
		t.Errorf("view %d\n%s", m.view, s)
	}
}

// TestWhatIsSelectedStays while others come, go and change their order; and when it has gone
// itself the first thing is.
func TestWhatIsSelectedStays(t *testing.T) {
	m := small()
	press(m, ": w e b enter")
	c := homeCluster()
	c.Services = append([]otto.ServiceStatus{service("new", "nas", 1, 1)}, c.Services...)
	m.Index = NewIndex(c)
	if got := m.current(24); got != (item{kindService, "web"}) {
		t.Errorf("%+v is selected", got)
	}
	m.Index = NewIndex(&otto.Cluster{Services: c.Services[:1]})
	if got := m.current(24); got != (item{kindService, "new"}) {
		t.Errorf("%+v is selected", got)
	}
	m.Index = NewIndex(&otto.Cluster{})
	if e := press(m, "j enter l w d"); e.do != doNothing {
		t.Errorf("of nothing %+v is asked", e)
	}
}

// TestNoKeyBreaksTheScreen presses whatever there is, at whatever size, while the cluster
// changes.
func TestNoKeyBreaksTheScreen(t *testing.T) {
	keys := strings.Fields("up down left right pgup pgdown home end enter esc space backspace tab / : ? ! q d w l s c u " +
		"D m y n N C M S O L 0 1 2 9 j k g G i a f1 é 界 ctrl+u trouble nodes")
	clusters := []*Index{
		NewIndex(homeCluster()), NewIndex(&otto.Cluster{}), NewIndex(largeCluster(7, 40)),
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		m := small()
		p := &program{ctx: t.Context(), source: &fakeSource{}, model: m, send: func(tea.Msg) {}}
		var done []string
		for range 40 {
			key := keys[r.IntN(len(keys))]
			done = append(done, key)
			m.Index = clusters[r.IntN(len(clusters))]
			m.width, m.height = 1+r.IntN(130), 1+r.IntN(60)
			if e := m.Press(key); e.do != doQuit {
				p.effect(e)
			}
			p.endPage()
			s := m.Screen(m.width, m.height)
			if len(s.lines) != m.height {
				t.Fatalf("%s at %dx%d: %d lines", done, m.width, m.height, len(s.lines))
			}
			for _, l := range s.lines {
				if l.line.width() != m.width {
					t.Fatalf("%s at %dx%d: %q is %d wide", done, m.width, m.height, l.line, l.line.width())
				}
			}
		}
		m.page = nil
		p.endPage()
		if err := p.pages.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPageTurns(t *testing.T) {
	m := small()
	var content strings.Builder
	for i := range 100 {
		fmt.Fprintf(&content, "line %d %s\n", i, strings.Repeat("x", 100))
	}
	m.page = newPage("Title", content.String())
	for _, tt := range []struct{ keys, first string }{
		{"", "line 0 "},
		{"j j k", "line 1 "},
		{"space", "line 22 "},
		{"pgup pgup", "line 0 "},
		{"G", "line 79 "},
		{"G G j", "line 79 "},
		{"g", "line 0 "},
		{"/ 9 9 enter", "line 99 "},
	} {
		press(m, tt.keys)
		s := m.Screen(80, 24)
		if got := s.lines[2].line.String(); !strings.HasPrefix(got, " "+tt.first) {
			t.Errorf("%s: %q comes first, not %q", tt.keys, got, tt.first)
		}
	}
	press(m, "/ ctrl+u enter w g")
	if s := m.Screen(80, 24).lines[3].line.String(); !strings.HasPrefix(s, " xxx") {
		t.Errorf("a long line is not wrapped: %q", s)
	}
	if press(m, "q"); m.page != nil {
		t.Error("q does not close the page")
	}
}

// TestLogFollows its end until somebody looks back, and again from the end on.
func TestLogFollows(t *testing.T) {
	m := small()
	m.page = &page{title: "Logs", log: true, follow: true}
	add := func(from, n int) {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprint("line ", from+i, "\x1b[31m"))
		}
		m.page.add(list)
	}
	last := func() string { return strings.TrimSpace(m.Screen(80, 24).lines[22].line.String()) }
	add(0, 100)
	if got := last(); got != "line 99" {
		t.Errorf("the last line is %q", got)
	}
	press(m, "k")
	add(100, 10)
	if got := last(); got != "line 98" {
		t.Errorf("after looking back the last line is %q", got)
	}
	press(m, "G")
	add(110, maxLines)
	if got := last(); got != fmt.Sprint("line ", maxLines+109) || len(m.page.lines) != maxLines {
		t.Errorf("the last line is %q of %d", got, len(m.page.lines))
	}
	press(m, "s")
	add(maxLines+110, 10)
	if got := last(); got != fmt.Sprint("line ", maxLines+109) {
		t.Errorf("it follows although it should not: %q", got)
	}
}

// TestYAMLIsWhatIsKnown of the one that is asked for, or of all of a stack.
func TestYAMLIsWhatIsKnown(t *testing.T) {
	x := NewIndex(homeCluster())
	for name, want := range map[string]int{"immich": 4, "api": 1, "gone": 0} {
		text, err := x.yaml(t.Context(), name, false)
		if got := strings.Count("\n"+text, "\nname: "+name); got != want || (want == 0) != (err != nil) {
			t.Errorf("%s: %d of them, %v\n%s", name, got, err, text)
		}
	}
	if text, err := x.yaml(t.Context(), "rpi-02", true); err != nil || !strings.HasPrefix(text, "id: rpi-02\n") {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestPagesAreFilled with what the control plane answers, while they are open.
func TestPagesAreFilled(t *testing.T) {
	f := &fakeSource{}
	messages := make(chan tea.Msg, 10)
	p := &program{ctx: t.Context(), source: f, model: small(), send: func(m tea.Msg) { messages <- m }}
	key := func(k string) { p.Update(tea.KeyPressMsg{Code: []rune(k)[0], Text: k}) }
	key("d")
	p.Update(<-messages)
	if s := p.model.Screen(80, 24).String(); !strings.Contains(s, "name    rpi-02") || strings.Contains(s, "\x1b") {
		t.Error(s)
	}
	key("q")
	key("w")
	late := <-messages
	key("q")
	p.Update(late)
	if p.model.page != nil {
		t.Error("an answer opens a page that was left")
	}
	key("w")
	p.Update(<-messages)
	if s := p.model.Screen(80, 24).String(); !strings.Contains(s, "it cannot be told") {
		t.Error(s)
	}
	key("q")
	key("l")
	p.Update(<-messages)
	if s := p.model.Screen(80, 24).String(); !strings.Contains(s, " one\n two\n") {
		t.Error(s)
	}
	key("p")
	for !strings.Contains(p.model.Screen(80, 24).String(), " before\n") {
		p.Update(<-messages)
	}
	key("p")
	for !strings.Contains(p.model.Screen(80, 24).String(), " one\n two\n") {
		p.Update(<-messages)
	}
	want := []string{"logs rpi-02", "previous logs rpi-02", "logs rpi-02"}
	if !slices.Equal(f.asked[len(f.asked)-3:], want) {
		t.Errorf("asked %q", f.asked)
	}
	key("q") // which ends the log
	if err := p.pages.Wait(); err != nil {
		t.Error(err)
	}
}

// TestReadOnlyChangesNothing, whatever is pressed.
func TestReadOnlyChangesNothing(t *testing.T) {
	for _, keys := range []string{"c y", "u y", "D y", "G m enter y", "G s", "j s", "j m n a s enter y"} {
		m := small()
		m.readOnly = true
		for _, k := range strings.Fields(keys) {
			switch e := m.Press(k); e.do {
			case doAct, doPlanMove, doShell:
				t.Errorf("%s: %+v", keys, e)
			}
		}
		if m.ask != nil {
			t.Errorf("%s asks %v", keys, m.ask)
		}
	}
}

// TestActsShowTheirPlanAndAsk, and say what has come of it.
func TestActsShowTheirPlanAndAsk(t *testing.T) {
	c := homeCluster()
	c.Services[3].Node, c.Services[3].Failover = "nas", otto.FailoverStay
	for _, tt := range []struct{ name, keys, asked, said string }{
		{"ask-drain", ": n a s enter D", "intend nas true true", "otto node drain nas: done"},
		{"ask-cordon", ": n a s enter c", "intend nas true false", "otto node cordon nas: done"},
		{"ask-uncordon", ": n a s enter u", "intend nas false false", "otto node uncordon nas: done"},
		{"ask-cordon-failed", ": m i n enter c", "intend mini-pc true false", " another one decides"},
		{
			"ask-drain-marked", ": n a s enter space : r p i - 0 1 enter space D", "intend nas true true",
			"otto node drain 2 nodes (rpi-01, nas): done",
		},
		{
			"ask-cordon-marked-failed", ": m i n enter space : n a s enter space c", "intend nas true false",
			"otto node cordon mini-pc: the control plane has stepped down:",
		},
		{
			"ask-move-marked",
			": i m m i c h enter space : w e b enter space space space G space m n a s enter",
			"move exporter to \"nas\"",
			"otto service move 6 services (immich/server, ",
		},
		{"ask-move", ": w e b enter m n a s enter", "move web to \"nas\"", "web goes from rpi-01 to nas"},
		{"ask-move-anywhere", ": w e b enter m enter", "move web to \"\"", "web goes from rpi-01 to nas"},
		{"ask-move-failed", ": a p i enter m enter", "explain api", "it cannot be told"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeSource{}
			messages := make(chan tea.Msg, 10)
			p := &program{ctx: t.Context(), source: f, model: model(c), send: func(m tea.Msg) { messages <- m }}
			p.model.width, p.model.height = 80, 24
			key := func(k string) { p.effect(p.model.Press(k)) }
			for _, k := range strings.Fields(tt.keys) {
				key(k)
			}
			if strings.HasPrefix(tt.name, "ask-move") {
				p.Update(<-messages)
			}
			golden(t, tt.name, p.model.Screen(80, 24).String())
			if p.model.ask != nil {
				for _, a := range f.asked {
					if !strings.HasPrefix(a, "explain") {
						t.Errorf("before a yes it is asked: %s", a)
					}
				}
				key("y")
				p.Update(<-messages)
			}
			if got := f.asked[len(f.asked)-1]; got != tt.asked {
				t.Errorf("asked %q, not %q", got, tt.asked)
			}
			if s := p.model.Screen(80, 24).String(); !strings.Contains(s, tt.said) {
				t.Errorf("no %q\n%s", tt.said, s)
			}
		})
	}
}

// TestMarks: acts are for all that is marked and of their kind, and for that alone.
func TestMarks(t *testing.T) {
	for keys, want := range map[string]effect{
		"G space g m enter":               {do: doPlanMove, acts: acts{{Verb: Move, Name: "exporter"}}},
		"G space k space m enter":         {do: doPlanMove, acts: acts{{Verb: Move, Name: "db"}, {Verb: Move, Name: "exporter"}}},
		"G space k space space m enter":   {do: doPlanMove, acts: acts{{Verb: Move, Name: "exporter"}}},
		"G space esc k m enter":           {do: doPlanMove, acts: acts{{Verb: Move, Name: "db"}}},
		"j space G m enter":               {do: doPlanMove, acts: acts{{Verb: Move, Name: "api"}}}, // its trouble
		": n a s enter space G space c y": {do: doAct, acts: acts{{Verb: Cordon, Name: "nas"}}},
		"G space c":                       {},
		": n a s enter space G m":         {},
		": n a s enter space G l":         {do: doLogs, name: "exporter"},
		": i m m i c h enter space enter j space m enter": {do: doPlanMove, acts: acts{
			{Verb: Move, Name: "immich/db"}, {Verb: Move, Name: "immich/cache"}, {Verb: Move, Name: "immich/learning"},
		}},
		": i m m i c h enter space space k": {},
	} {
		m := small()
		if got := press(m, keys); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", keys, got, want)
		}
		if want.do == doAct && len(m.marked) > 0 {
			t.Errorf("%s: what was done leaves %v marked", keys, m.marked)
		}
	}
	m := small()
	press(m, "G space k space")
	m.Index = NewIndex(&otto.Cluster{Services: m.Index.Cluster.Services[6:7]})
	press(m, "m enter")
	if _, services := m.marks(); !reflect.DeepEqual(services, []string{"db"}) {
		t.Errorf("what is gone stays marked: %v", services)
	}
}

// TestLongPlanTurns: all of a plan can be seen before it is answered, on whatever screen.
func TestLongPlanTurns(t *testing.T) {
	for _, height := range []int{7, 10, 24} {
		m := model(largeCluster(1, 100))
		m.width, m.height = 80, height
		press(m, ": n o d e s enter D")
		seen := map[string]bool{}
		for range 200 {
			lines := strings.Split(m.Screen(80, height).String(), "\n")
			if !strings.Contains(lines[len(lines)-2]+lines[len(lines)-3], "y does it") {
				t.Fatalf("at %d lines it does not ask\n%s", height, strings.Join(lines, "\n"))
			}
			for _, l := range lines {
				seen[l] = strings.Contains(l, "svc-") || seen[l]
			}
			press(m, "down")
		}
		n := 0
		for _, is := range seen {
			if is {
				n++
			}
		}
		if n != 100 {
			t.Errorf("at %d lines %d of 100 services are seen", height, n)
		}
		if e := press(m, "pgup up y"); e.do != doAct {
			t.Errorf("at %d lines y asks for %+v", height, e)
		}
	}
	m := small()
	if press(m, ": n a s enter D down"); m.ask != nil {
		t.Error("a key that turns nothing does not leave all as it is")
	}
}

// TestMouse selects by a click, opens by another one and turns the wheel.
func TestMouse(t *testing.T) {
	p := &program{ctx: t.Context(), source: &fakeSource{}, model: small(), send: func(tea.Msg) {}}
	p.View()
	click := func(y int) {
		p.Update(tea.MouseClickMsg{X: 3, Y: y, Button: tea.MouseLeft})
		p.View()
	}
	click(10)
	if got := p.model.current(24); got != (item{kindStack, "immich"}) {
		t.Fatalf("%+v is selected", got)
	}
	click(10)
	if !p.model.unfolded["immich"] {
		t.Error("the second click does not unfold")
	}
	click(0)
	click(200)
	click(12)
	click(12)
	if p.model.page == nil || p.model.page.title != "immich/db" {
		t.Errorf("page %+v", p.model.page)
	}
	click(13)
	p.model.Press("esc")
	p.Update(tea.MouseWheelMsg{Button: tea.MouseWheelDown})
	if got := p.model.current(24); got != (item{kindService, "api"}) {
		t.Errorf("%+v is selected", got)
	}
	p.Update(tea.MouseWheelMsg{Button: tea.MouseWheelUp})
	if got := p.model.current(24); got != (item{kindService, "immich/db"}) {
		t.Errorf("%+v is selected", got)
	}
	if err := p.pages.Wait(); err != nil {
		t.Error(err)
	}
}

package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
)

// Source is what a program asks: a control plane, or what one has left.
type Source interface {
	// Watch calls take with each state, until take returns false or no more comes.
	Watch(ctx context.Context, take func(*otto.Cluster) bool) error
	// Last is the state that was known last, without a control plane.
	Last() (*otto.Cluster, error)
	// Events calls take with each event above a number, and with those to come.
	Events(ctx context.Context, after uint64, take func(otto.Event) bool) error
	Past(ctx context.Context, q otto.HistoryQuery) (otto.History, error)
	// Describe and Why are what commands print about a node, a service or a stack.
	Describe(ctx context.Context, name string, node bool) (string, error)
	Why(ctx context.Context, name string, node bool) (string, error)
	// Logs writes the log of a name, and what comes, until ctx ends; or with previous what
	// was written before the present run.
	Logs(ctx context.Context, name string, previous bool, w io.Writer) error
	// Explain is Why of a service, for the plan of a move.
	Explain(ctx context.Context, service string) (otto.Explanation, error)
	Intend(ctx context.Context, node string, intent otto.Intent) error
	Move(ctx context.Context, service, to string) (otto.Decision, error)
	// Shell is a command that takes the terminal over, for as long as it runs.
	Shell(ctx context.Context, service string) Command
}

// Command is what takes the terminal over.
type Command interface {
	Run() error
	SetStdin(io.Reader)
	SetStdout(io.Writer)
	SetStderr(io.Writer)
}

// Options are how a program runs.
type Options struct {
	Source   Source
	Cluster  *otto.Cluster // to begin with
	Away     string        // why no control plane has given it; empty if one has
	In       io.Reader
	Out      io.Writer
	ReadOnly bool
	NoColour bool
	// Environment is what the terminal says of itself; nil means that of the process.
	Environment []string
	// Width and Height are those of a terminal that cannot say it.
	Width, Height int
}

// The pace of a program.
const (
	redraws   = 20 // a second, at most, for what changes by itself
	pace      = time.Second / redraws
	ahead     = 4           // of them that do not wait for that
	frames    = 60          // a second, in which what is to be drawn is looked at
	tick      = time.Second // the clock, and ages
	retry     = time.Second // after a control plane was away
	maxEvents = 500         // that are kept

	wheelLines = 3
)

// Run shows a cluster until a person leaves.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	now := time.Now()
	m := &Model{
		Index: NewIndex(o.Cluster), Now: now, Received: now, Away: o.Away,
		Trends: map[string]Trend{}, Days: map[string][]otto.Span{},
		choice: choice{readOnly: o.ReadOnly},
	}
	p := &program{ctx: ctx, source: o.Source, model: m}
	settings := []tea.ProgramOption{
		tea.WithContext(ctx), tea.WithInput(o.In), tea.WithOutput(o.Out), tea.WithFPS(frames), tea.WithoutSignalHandler(),
	}
	if o.Environment != nil {
		settings = append(settings, tea.WithEnvironment(o.Environment))
	}
	if o.Width > 0 {
		settings = append(settings, tea.WithWindowSize(o.Width, o.Height))
	}
	if o.NoColour {
		settings = append(settings, tea.WithColorProfile(colorprofile.Ascii))
	}
	t := tea.NewProgram(p, settings...)
	p.send = t.Send
	var feeds errgroup.Group
	f := feed{source: o.Source, send: t.Send}
	for _, run := range []func(context.Context){
		f.states, f.events, f.clock, func(ctx context.Context) { f.past(ctx, &p.wanted) },
	} {
		feeds.Go(func() error { run(ctx); return nil })
	}
	_, err := t.Run()
	left := ctx.Err() != nil // a signal has ended it
	cancel()
	_ = feeds.Wait()
	_ = p.pages.Wait()
	if left {
		return nil
	}
	return err
}

// What feeds send to a program.
type (
	stateMsg struct {
		index *Index
		at    time.Time
	}
	awayMsg struct {
		why  string
		last *Index // nil if nothing newer is known
	}
	eventsMsg []otto.Event
	clockMsg  time.Time
	pastMsg   struct {
		trends map[string]Trend
		days   map[string][]otto.Span
	}
	pageMsg struct {
		number  int
		content string
	}
	planMsg struct {
		number int
		question
	}
	doneMsg struct {
		act  string
		said string
		err  error
	}
	logMsg struct {
		number int
		lines  []string
		left   int
	}
)

// program is the shell around a Model, for bubbletea.
type program struct {
	ctx    context.Context //nolint:containedctx // bubbletea has none to hand on
	source Source
	model  *Model
	send   func(tea.Msg)
	wanted atomic.Pointer[Screen]
	pages  errgroup.Group
	number int                // of the last page
	cancel context.CancelFunc // ends what fills it
}

// Init implements tea.Model.
func (p *program) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (p *program) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	m := p.model
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		cmd := p.effect(m.Press(msg.String()))
		p.endPage()
		return p, cmd
	case tea.MouseClickMsg:
		if s := p.wanted.Load(); s != nil && msg.Button == tea.MouseLeft {
			return p, p.effect(m.click(s.at(msg.Y)))
		}
	case tea.MouseWheelMsg:
		switch msg.Button {
		case tea.MouseWheelUp:
			m.wheel(-wheelLines)
		case tea.MouseWheelDown:
			m.wheel(wheelLines)
		}
	case stateMsg:
		m.Index, m.Received, m.Away = msg.index, msg.at, ""
	case awayMsg:
		m.Away = msg.why
		if msg.last != nil {
			m.Index = msg.last
		}
	case clockMsg:
		m.Now = time.Time(msg)
	case eventsMsg:
		m.Events = append(m.Events, msg...)
		m.Events = append([]otto.Event(nil), m.Events[max(0, len(m.Events)-maxEvents):]...)
	case pastMsg:
		for name, t := range msg.trends {
			m.Trends[name] = t
		}
		for name, d := range msg.days {
			m.Days[name] = d
		}
	case pageMsg:
		if m.page != nil && m.page.number == msg.number {
			m.page.lines = newPage("", msg.content).lines
		}
	case planMsg:
		if m.page != nil && m.page.number == msg.number {
			m.page, m.ask = nil, &msg.question
		}
	case doneMsg:
		p.done(msg)
	case logMsg:
		if m.page != nil && m.page.number == msg.number {
			m.page.left += msg.left
			m.page.add(msg.lines)
		}
	}
	return p, nil
}

// View implements tea.Model.
func (p *program) View() tea.View {
	if p.model.width == 0 { // the terminal has not said yet how large it is
		return tea.View{AltScreen: true}
	}
	s := p.model.Screen(p.model.width, p.model.height)
	p.wanted.Store(&s)
	v := tea.NewView(s.Render())
	v.AltScreen = true
	v.MouseMode = tea.MouseModeCellMotion
	return v
}

// effect starts what a key has asked for.
func (p *program) effect(e effect) tea.Cmd {
	switch e.do {
	case doQuit:
		return tea.Quit
	case doDescribe:
		p.open(e.name, "", p.source.Describe, e)
	case doYAML:
		p.open(e.name+" as YAML", "", p.model.Index.yaml, e)
	case doWhy:
		p.open("Why "+e.name, "", p.source.Why, e)
	case doLogs:
		p.logs(e.name, e.previous)
	case doShell:
		return tea.Exec(p.source.Shell(p.ctx, e.name), func(err error) tea.Msg {
			return doneMsg{act: "otto exec " + e.name, err: err}
		})
	case doPlanMove:
		p.planMove(e.acts)
	case doAct:
		p.act(e.acts)
	}
	return nil
}

// planMove asks whether services are to be moved, once it is known where they could go.
func (p *program) planMove(all acts) {
	ctx, number := p.newPage(all.String())
	p.pages.Go(func() error {
		var plan []string
		for i, a := range all {
			e, err := p.explain(ctx, a.Name)
			if err != nil {
				if len(all) > 1 {
					err = fmt.Errorf("%s: %w", a.Name, err)
				}
				p.send(pageMsg{number, err.Error()})
				return nil
			}
			if i > 0 {
				plan = append(plan, "")
			}
			plan = append(plan, planOfMove(e, a)...)
		}
		if all[0].To == "" {
			plan = append(plan, "", "The control plane takes the best node at which all requirements are foreseen to hold.")
		}
		p.send(planMsg{number, question{acts: all, plan: plan}})
		return nil
	})
}

func (p *program) explain(ctx context.Context, service string) (otto.Explanation, error) {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	return p.source.Explain(ctx, service)
}

// act does what was answered with yes, one after the other. It goes on when the person does
// something else, and with the others where one of them is refused.
func (p *program) act(all acts) {
	p.pages.Go(func() error {
		done := doneMsg{act: all.String(), said: all.String() + ": done"}
		var failed []error
		for _, a := range all {
			said, err := p.actOne(a)
			if err != nil && len(all) > 1 {
				err = fmt.Errorf("%s: %w", a, err)
			}
			if failed = append(failed, err); err == nil && said != "" && len(all) == 1 {
				done.said = said
			}
		}
		done.err = errors.Join(failed...)
		p.send(done)
		return nil
	})
}

// actOne does it and returns what is to be said of that, if it is more than that it is done.
func (p *program) actOne(a Act) (said string, err error) {
	ctx, cancel := context.WithTimeout(p.ctx, asking)
	defer cancel()
	if a.Verb != Move {
		return "", p.source.Intend(ctx, a.Name, a.intent())
	}
	d, err := p.source.Move(ctx, a.Name, a.To)
	return began(d), err
}

// done says what has come of an act: what went wrong has a page to itself.
func (p *program) done(d doneMsg) {
	p.model.message = d.said
	if d.err != nil {
		p.newPage(d.act)
		p.model.page.lines, p.model.page.wrap = newPage("", d.err.Error()).lines, true
		p.model.message = ""
	}
}

// asking is how long an answer may take.
const asking = 20 * time.Second

// open shows a page and fills it when the answer has come.
func (p *program) open(title, wait string, ask func(context.Context, string, bool) (string, error), e effect) {
	ctx, number := p.newPage(title)
	p.model.page.lines = []string{wait}
	p.pages.Go(func() error {
		ctx, cancel := context.WithTimeout(ctx, asking)
		defer cancel()
		content, err := ask(ctx, e.name, e.node)
		if err != nil {
			content = err.Error()
		}
		p.send(pageMsg{number, content})
		return nil
	})
}

func (p *program) newPage(title string) (context.Context, int) {
	if p.cancel != nil {
		p.cancel()
	}
	ctx, cancel := context.WithCancel(p.ctx)
	p.number++
	p.cancel = cancel
	p.model.page = &page{title: title, number: p.number}
	return ctx, p.number
}

// endPage ends what fills a page that was left.
func (p *program) endPage() {
	if p.cancel != nil && (p.model.page == nil || p.model.page.number != p.number) {
		p.cancel()
		p.cancel = nil
	}
}

// logs shows a log and what comes, or the one before.
func (p *program) logs(name string, previous bool) {
	title := "Logs of " + name
	if previous {
		title = "Previous logs of " + name
	}
	ctx, number := p.newPage(title)
	page := p.model.page
	page.log, page.follow, page.of, page.previous = true, true, name, previous
	lines := newLines()
	p.pages.Go(func() error {
		err := p.source.Logs(ctx, name, previous, lines)
		if err == nil {
			err = io.EOF
		}
		lines.end(err)
		return nil
	})
	p.pages.Go(func() error {
		lines.forward(ctx, func(list []string, left int) { p.send(logMsg{number, list, left}) })
		return nil
	})
}

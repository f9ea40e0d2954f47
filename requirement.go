package otto

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Requirement is something that must hold while a service runs, such as
// "latency p95 < 150ms over 30s for 30s -> migrate". One of a node, or of all
// nodes, is about the node itself.
type Requirement struct {
	Metric    string `json:"metric"`    // of Metrics, or an MQTTMetric
	Aggregate string `json:"aggregate"` // of the samples in the window
	// Over is the window; 0 means the newest sample, with AggregateLast.
	Over     time.Duration `json:"over_ns,omitempty"`
	Operator string        `json:"operator"` // between the measured value and the limit, if all is well: <, <=, > or >=
	Limit    float64       `json:"limit"`    // in Unit
	Unit     Unit          `json:"unit,omitempty"`
	// OfLimit says that the user wrote "of limit": the service must have one.
	OfLimit bool `json:"of_limit,omitempty"`
	// OfReserve says that it is a share of what the service reserves, which it must
	// do; it may be over 100 %.
	OfReserve bool `json:"of_reserve,omitempty"`
	// Clear is the value that ends a violation; on the good side of Limit.
	Clear float64 `json:"clear"`
	// For is how long it must be over its limit, without a break, to be violated.
	For      time.Duration `json:"for_ns"`
	Severity string        `json:"severity"`
	Action   string        `json:"action"`
	Notify   *Notify       `json:"notify,omitempty"`
	// At is where it stood in the file when it was applied, as file:line:column.
	At string `json:"at,omitempty"`
}

// Notify is who else is told of a violation, and of its end. Each is given the
// verdict as JSON: in the body of a POST, on standard input.
type Notify struct {
	Webhook string   `json:"webhook,omitempty"`
	Command []string `json:"command,omitempty"` // on the machine of the control plane, without a shell
}

// Aggregates of a window, beside percentiles, which are written p1 to p99.
const (
	AggregateLast  = "last"
	AggregateAvg   = "avg"
	AggregateMin   = "min"
	AggregateMax   = "max"
	AggregateRate  = "rate"  // of a counter, each second
	AggregateCount = "count" // by how much a counter has risen
)

// Percentile is the p of an aggregate such as p95.
func Percentile(aggregate string) (p int, ok bool) {
	digits, ok := strings.CutPrefix(aggregate, "p")
	if !ok || digits == "" || digits[0] == '0' || digits[0] == '+' {
		return 0, false
	}
	p, err := strconv.Atoi(digits)
	return p, err == nil && p >= 1 && p <= 99
}

// What a violated requirement leads to.
const (
	ActionEvent   = "event"
	ActionNotify  = "notify"  // a message on otto/requirements/, and Notify
	ActionRestart = "restart" // the instance
	ActionMigrate = "migrate" // the instance, or of a node's services the one whose leaving helps most
	ActionCordon  = "cordon"  // the node takes nothing new
)

// Severities of a requirement.
const (
	SeverityInfo     = "info"
	SeverityWarning  = "warning"
	SeverityCritical = "critical"
)

// Defaults of a requirement.
const (
	// DefaultFor is also the least time for which a violation must be over
	// before it has ended.
	DefaultFor = 10 * time.Second
	// MaxOver is the longest window for which samples are kept.
	MaxOver = 24 * time.Hour
	// clearDistance is how far the clear threshold is from the limit if the user
	// does not say.
	clearDistance = 0.1
)

// DefaultClear is a tenth of the limit on its good side, or for a share that must
// be high a tenth of what is missing to 100 %.
func (r Requirement) DefaultClear() float64 {
	distance := clearDistance * math.Abs(r.Limit)
	switch {
	case r.below():
		return r.Limit - distance
	case r.Unit == UnitPercent:
		return r.Limit + clearDistance*(100-r.Limit)
	}
	return r.Limit + distance
}

// ClearFor is how long the value must have been clear before a violation has ended.
func (r Requirement) ClearFor() time.Duration { return max(r.For, DefaultFor) }

// Holds reports whether a value is as required.
func (r Requirement) Holds(value float64) bool { return r.holds(value, r.Limit) }

// HoldsScaled is Holds for a part of the window of a count: the limit is as much
// smaller.
func (r Requirement) HoldsScaled(value, part float64) bool { return r.holds(value, r.Limit*part) }

func (r Requirement) holds(value, limit float64) bool {
	switch r.Operator {
	case "<":
		return value < limit
	case "<=":
		return value <= limit
	case ">":
		return value > limit
	default:
		return value >= limit
	}
}

// Clears reports whether a value, or that of a part of a count's window, is good
// enough to end a violation.
func (r Requirement) Clears(value, part float64) bool {
	if r.below() {
		return value <= r.Clear*part && r.holds(value, r.Limit*part)
	}
	return value >= r.Clear*part && r.holds(value, r.Limit*part)
}

// Margin is how far a value is from the limit, in its unit: negative if it is
// on the bad side.
func (r Requirement) Margin(value float64) float64 {
	if r.below() {
		return r.Limit - value
	}
	return value - r.Limit
}

// below reports whether less is better.
func (r Requirement) below() bool { return strings.HasPrefix(r.Operator, "<") }

// String is the requirement's short form, which reads back as the same but for
// its severity and whom it notifies.
func (r Requirement) String() string {
	var b strings.Builder
	b.WriteString(r.Metric)
	if r.Aggregate != r.DefaultAggregate() {
		b.WriteString(" " + r.Aggregate)
	}
	b.WriteString(" " + r.Operator + " " + r.Unit.Format(r.Limit))
	if r.OfLimit {
		b.WriteString(" of limit")
	}
	if r.OfReserve {
		b.WriteString(" of reserve")
	}
	if r.Over > 0 {
		b.WriteString(" over " + ShortDuration(r.Over))
	}
	b.WriteString(" for " + ShortDuration(r.For))
	if r.Clear != r.DefaultClear() {
		b.WriteString(" clear " + r.Unit.Format(r.Clear))
	}
	if r.Action != ActionEvent {
		b.WriteString(" -> " + r.Action)
	}
	return b.String()
}

// DefaultAggregate is the one that is meant if none is named.
func (r Requirement) DefaultAggregate() string {
	m, _ := FindMetric(r.Metric)
	switch {
	case r.Over == 0:
		return AggregateLast
	case m.Counter && m.Unit == UnitBytes:
		return AggregateRate
	case m.Counter:
		return AggregateCount
	}
	return AggregateAvg
}

// ShortDuration writes a duration as a user would: it leaves out what Duration.String adds in zeros.
func ShortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// RequirementState is where a requirement is between kept and violated.
type RequirementState string

// The states of a requirement.
const (
	RequirementOK       RequirementState = "ok"
	RequirementPending  RequirementState = "pending"  // over its limit, not for long enough yet
	RequirementViolated RequirementState = "violated" // over its limit for long enough
	RequirementClearing RequirementState = "clearing" // violated, and clear for a while, not for long enough yet
	RequirementUnknown  RequirementState = "unknown"  // there are no data to judge by
)

// Verdict is how it stands with a requirement of one instance or one node.
type Verdict struct {
	Requirement Requirement      `json:"requirement"`
	Service     string           `json:"service,omitempty"`  // empty for a requirement of a node
	Instance    string           `json:"instance,omitempty"` // likewise
	Node        string           `json:"node"`               // that is measured, or that the instance is on
	State       RequirementState `json:"state"`
	Since       time.Time        `json:"since"` // of the state
	// Violated is since when it is violated, through all clearing and lack of data.
	Violated time.Time `json:"violated,omitzero"`
	// Value is what was measured, absent without data; Margin its distance from
	// the limit, negative when it is over it.
	Value  *float64 `json:"value,omitempty"`
	Margin *float64 `json:"margin,omitempty"`
	Reason string   `json:"reason,omitempty"`
	// Evaluated is when this was found.
	Evaluated time.Time `json:"evaluated"`
}

// Acts reports whether the requirement's action is called for: it is violated
// now, by data that are there.
func (v Verdict) Acts() bool { return v.State == RequirementViolated }

// Standing reports whether a violation has begun and not ended: also while it is
// clearing, and while there are no data.
func (v Verdict) Standing() bool { return !v.Violated.IsZero() }

// Unit is what a metric is measured in.
type Unit string

// The units. What a user writes in milliseconds or megabytes is kept in these.
const (
	UnitNone           Unit = ""
	UnitPercent        Unit = "%"
	UnitCelsius        Unit = "C"
	UnitSeconds        Unit = "s"
	UnitBytes          Unit = "B"
	UnitPerSecond      Unit = "/s"
	UnitBytesPerSecond Unit = "B/s"
)

// PerSecond is the unit of a counter's rate.
func (u Unit) PerSecond() Unit {
	if u == UnitBytes {
		return UnitBytesPerSecond
	}
	return UnitPerSecond
}

// Scales are the spellings of a unit, each with what it stands for, the largest first.
func (u Unit) Scales() []Scale {
	switch u {
	case UnitSeconds:
		return []Scale{{"h", 3600}, {"m", 60}, {"s", 1}, {"ms", 0.001}}
	case UnitBytes:
		return []Scale{{"GB", GB}, {"MB", MB}, {"KB", 1 << 10}, {"B", 1}}
	case UnitBytesPerSecond:
		return []Scale{{"GB/s", GB}, {"MB/s", MB}, {"KB/s", 1 << 10}, {"B/s", 1}}
	default:
		return []Scale{{string(u), 1}}
	}
}

// Scale is one spelling of a unit.
type Scale struct {
	Name string
	Size float64 // in the unit
}

// Value is what the number written with this scale means.
func (s Scale) Value(number float64) float64 {
	if s.Size < 1 {
		return number / math.Round(1/s.Size) // 150 ms are 0.15 s, and not almost
	}
	return number * s.Size
}

// Format writes a value so that it reads back as the same, in the largest scale
// that makes it neither long nor less than one.
func (u Unit) Format(value float64) string {
	scales := u.Scales()
	for _, s := range scales {
		number := value / s.Size
		text := strconv.FormatFloat(math.Round(number*1000)/1000, 'f', -1, 64)
		read, _ := strconv.ParseFloat(text, 64)
		if s.Value(read) == value && math.Abs(number) >= 1 {
			return text + s.Name
		}
	}
	base := scales[0]
	for _, s := range scales {
		if s.Size == 1 {
			base = s
		}
	}
	return strconv.FormatFloat(value, 'f', -1, 64) + base.Name
}

// Show writes a measured value for people, to three digits or so.
func (u Unit) Show(value float64) string {
	scales := u.Scales()
	s := scales[len(scales)-1]
	for _, candidate := range scales {
		if candidate.Size != 3600 && candidate.Size != 60 && math.Abs(value) >= candidate.Size {
			s = candidate
			break
		}
	}
	number := value / s.Size
	switch magnitude := math.Abs(number); {
	case magnitude >= 100:
		return fmt.Sprintf("%.0f%s", number, s.Name)
	case magnitude >= 10:
		return trimZeros(fmt.Sprintf("%.1f", number)) + s.Name
	default:
		return trimZeros(fmt.Sprintf("%.2f", number)) + s.Name
	}
}

func trimZeros(s string) string { return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") }

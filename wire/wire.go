// Package wire is Otto's protocol: the topics, the messages and their encoding,
// and the signature on an assignment. The control plane and the agents meet
// only here. It is pure: bytes come in, values go out, and back.
//
// The two metrics messages are a public contract with subscribers of the first
// prototype, written in metrics.go. All other messages are Otto's own; they may
// grow fields, and a decoder ignores fields that it does not know.
//
// Everything that comes from the network is checked on decoding: a message
// names its node twice, in the topic and in the content, and the two must agree.
package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// MaxMessage is the largest message that Otto publishes or reads, in bytes. The
// embedded broker's payload limit is the same.
const MaxMessage = 256 << 10

// Root is the first level of every topic.
const Root = "otto"

// Topics that do not depend on a node.
const (
	TopicControlStatus = Root + "/control/status"
	TopicEvents        = Root + "/events"
)

// Kind is the last part of a node's topic.
type Kind string

// The kinds of messages from and to a node.
const (
	KindNodeMetrics      Kind = "metrics/node"
	KindContainerMetrics Kind = "metrics/containers"
	KindHeartbeat        Kind = "heartbeat"
	KindStatus           Kind = "status"
	KindInstances        Kind = "instances"
	KindAnswer           Kind = "answer"
	KindEvents           Kind = "events"
	// The control plane sends these, all of them signed.
	KindAssignment Kind = "assignment"
	KindLease      Kind = "lease"
	KindQuestion   Kind = "question"
)

// ReportKinds are what a node publishes.
func ReportKinds() []Kind {
	return []Kind{
		KindNodeMetrics,
		KindContainerMetrics,
		KindHeartbeat,
		KindStatus,
		KindInstances,
		KindAnswer,
		KindEvents,
	}
}

// OrderKinds are what the control plane sends to a node.
func OrderKinds() []Kind { return []Kind{KindAssignment, KindLease, KindQuestion} }

// NodeTopic is the topic of a kind of message of a node.
func NodeTopic(node string, kind Kind) string { return Root + "/nodes/" + node + "/" + string(kind) }

// NodeFilter matches the topic of a kind of message of all nodes.
func NodeFilter(kind Kind) string { return NodeTopic("+", kind) }

// ServiceTopic is the topic of a service's summary.
func ServiceTopic(service string) string { return Root + serviceLevels(service) }

// serviceLevels are the levels of a topic that name a service. One of a stack has two
// names, so that a filter for single services does not change its meaning. A dot, which
// brokers and subscribers turn into another level, is written as in an address.
func serviceLevels(service string) string {
	if stack, name, ok := strings.Cut(service, "/"); ok {
		return "/stacks/" + stack + "/services/" + strings.ReplaceAll(name, ".", "%2E")
	}
	return "/services/" + service
}

// RequirementTopic is where verdicts on a service's requirement are published,
// or without a service those on a node's.
func RequirementTopic(service, node string) string {
	if service != "" {
		return Root + "/requirements" + serviceLevels(service)
	}
	return Root + "/requirements/nodes/" + node
}

// ParseNodeTopic is the inverse of NodeTopic. ok is false for every other topic.
func ParseNodeTopic(topic string) (node string, kind Kind, ok bool) {
	rest, ok := strings.CutPrefix(topic, Root+"/nodes/")
	if !ok {
		return "", "", false
	}
	node, k, ok := strings.Cut(rest, "/")
	if !ok || !ValidID(node) {
		return "", "", false
	}
	kind = Kind(k)
	if slices.Contains(ReportKinds(), kind) || slices.Contains(OrderKinds(), kind) {
		return node, kind, true
	}
	return "", "", false
}

// Sampled reports whether what is said on a topic is what a node measures: the next message
// says it anew.
func Sampled(topic string) bool {
	_, kind, ok := ParseNodeTopic(topic)
	return ok && (kind == KindNodeMetrics || kind == KindContainerMetrics)
}

// ValidID reports whether s can be a node's id or a cluster's name: 1 to 63 of
// a-z, 0-9, "-" and "_". No dots: brokers and subscribers turn them into levels.
func ValidID(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// ValidService reports whether s can be a service's name: an id, or in a stack its name
// and what Compose takes for one of a service.
func ValidService(s string) bool {
	stack, name, ok := strings.Cut(s, "/")
	if !ok {
		return ValidID(s)
	}
	if !ValidID(stack) || name == "" || len(name) > 63 {
		return false
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

// Heartbeat says that an agent lives. It is small, because it is frequent.
type Heartbeat struct {
	BootID string `json:"boot_id"`
	Seq    uint64 `json:"seq"`
	UpMS   int64  `json:"up_ms"` // since the agent started, monotonic
	// Machine is this boot of the machine, as Machine.String has it: another agent of the
	// node that runs elsewhere, from a copied disk, has another one.
	Machine string `json:"machine,omitempty"`
}

// Status is a node's birth message, and with Online false its last will.
type Status struct {
	NodeID    string         `json:"node_id"`
	Online    bool           `json:"online"`
	BootID    string         `json:"boot_id"` // drawn at each start of the agent
	Session   uint64         `json:"session"` // counts connections since the start
	Timestamp time.Time      `json:"timestamp,omitzero"`
	Facts     otto.NodeFacts `json:"facts,omitzero"`
	// SealKey is the name of the key that opens what is sealed for the node, see
	// SealKeyName; empty for agents of builds before there was that.
	SealKey string `json:"seal_key,omitempty"`
	// Folders says that the agent takes in files that are brought to it. Those of builds
	// before there was that do not, and none for an engine on another machine.
	Folders bool `json:"folders,omitempty"`
	// Seeds says the same of the data of projects.
	Seeds bool `json:"seeds,omitempty"`
}

// Report is what really runs on a node.
type Report struct {
	NodeID   string        `json:"node_id"`
	BootID   string        `json:"boot_id"`
	Seq      uint64        `json:"seq"`      // counts the reports of a boot: one that comes late is of no use
	Revision otto.Revision `json:"revision"` // of the assignment in force
	Warrant  []byte        `json:"warrant"`  // of it
	// Settled says that there is nothing left to do for this revision.
	Settled bool        `json:"settled"`
	Engine  otto.Engine `json:"engine"`
	Problem string      `json:"problem,omitempty"` // of the agent itself, such as a refused assignment
	// Strays are instances that are not wanted here and still run.
	Strays []string `json:"strays,omitempty"`
	// Images are names of images that are there, as the engine has them.
	Images []string `json:"images,omitempty"`
	// ImageBytes are their sizes, in the same order; 0 is not known.
	ImageBytes []int64 `json:"image_bytes,omitempty"`
	// Volumes are the named volumes of the cluster that are there; nil if that is not
	// known, or not said.
	Volumes []string `json:"volumes,omitzero"`
	// Devices say of each path in the assignment whether it is there.
	Devices map[string]bool `json:"devices,omitempty"`
	// Lacks are the keys of files that its instances need and that are not there.
	Lacks []string `json:"lacks,omitempty"`
	// Unseeded are the volumes that its instances wait for, and that are to begin with the
	// data of a project.
	Unseeded []string `json:"unseeded,omitempty"`
	// Data is with what services have run there, and what is wrong with that now.
	Data      []otto.Data           `json:"data,omitempty"`
	Instances []otto.InstanceStatus `json:"instances"`
}

// Answer is what a node found when it was asked to reach another one.
type Answer struct {
	NodeID   string `json:"node_id"` // who answers
	Question string `json:"question"`
	Reached  bool   `json:"reached"`
	Works    bool   `json:"works,omitempty"` // a program of it answered, and not its kernel alone
	Error    string `json:"error,omitempty"` // why that is not so
}

// Found is what of the other one answered.
func (a Answer) Found() otto.Reply {
	switch {
	case a.Reached && a.Works:
		return otto.ReplyProgram
	case a.Reached:
		return otto.ReplyKernel
	}
	return otto.ReplyNone
}

// NodeEvents are the last events of a node. The message is retained, so that
// they are not lost on a control plane that is away.
type NodeEvents struct {
	NodeID string      `json:"node_id"`
	BootID string      `json:"boot_id"`
	Events []NodeEvent `json:"events"` // oldest first
}

// NodeEvent is something that an agent has noticed or done without being told.
type NodeEvent struct {
	Seq     uint64 `json:"seq"`   // counts from the agent's start
	UpMS    int64  `json:"up_ms"` // when, on the clock of Heartbeat.UpMS
	Kind    string `json:"kind"`
	Service string `json:"service,omitempty"`
	Message string `json:"message"`
}

// ControlStatus is the control plane's birth message and, with Online false,
// its last will.
type ControlStatus struct {
	ClusterID string `json:"cluster_id"`
	Online    bool   `json:"online"`
	Epoch     uint64 `json:"epoch"`
	Warrant   []byte `json:"warrant,omitempty"` // see SignWarrant
}

// ServiceSummary is one service in a few words, for dashboards and home
// automation.
type ServiceSummary struct {
	Service string   `json:"service"`
	State   string   `json:"state"` // running when all of its instances are up, else the worst one's state
	Nodes   []string `json:"nodes"`
	Up      int      `json:"up"`
	Wanted  int      `json:"wanted"`
	Error   string   `json:"error"`
}

// Encode is the JSON of a message of this package, of an otto.Event or of an otto.Verdict.
func Encode(message any) ([]byte, error) {
	b, err := json.Marshal(message)
	if err == nil && len(b) > MaxMessage {
		err = fmt.Errorf("a message of %d KiB is larger than the limit of %d KiB", len(b)>>10, MaxMessage>>10)
	}
	return b, err
}

// maxMachine bounds what the control plane keeps of a machine's boot: the kernel's
// name for it has 36 bytes, and the agent's for the hardware 16.
const maxMachine = 64

// DecodeHeartbeat reads a heartbeat.
func DecodeHeartbeat(b []byte) (Heartbeat, error) {
	var h Heartbeat
	err := decode(b, &h)
	switch {
	case err != nil:
	case h.BootID == "":
		err = errors.New("heartbeat without boot_id")
	case len(h.Machine) > maxMachine:
		err = fmt.Errorf("the name of a machine's boot has %d bytes", len(h.Machine))
	}
	return h, err
}

// DecodeStatus reads the status of node.
func DecodeStatus(node string, b []byte) (Status, error) {
	var s Status
	err := decode(b, &s)
	if err == nil && s.NodeID != node {
		err = fmt.Errorf("status of %q on the topic of %q", s.NodeID, node)
	}
	return s, err
}

// DecodeReport reads what runs on node.
func DecodeReport(node string, b []byte) (Report, error) {
	var r Report
	err := decode(b, &r)
	if err == nil && r.NodeID != node {
		err = fmt.Errorf("report of %q on the topic of %q", r.NodeID, node)
	}
	return r, err
}

// DecodeAnswer reads what node found.
func DecodeAnswer(node string, b []byte) (Answer, error) {
	var a Answer
	err := decode(b, &a)
	if err == nil && a.NodeID != node {
		err = fmt.Errorf("answer of %q on the topic of %q", a.NodeID, node)
	}
	return a, err
}

// DecodeNodeEvents reads the events of node.
func DecodeNodeEvents(node string, b []byte) (NodeEvents, error) {
	var e NodeEvents
	err := decode(b, &e)
	if err == nil && e.NodeID != node {
		err = fmt.Errorf("events of %q on the topic of %q", e.NodeID, node)
	}
	return e, err
}

// DecodeControlStatus reads the control plane's status.
func DecodeControlStatus(b []byte) (ControlStatus, error) {
	var s ControlStatus
	err := decode(b, &s)
	return s, err
}

func decode(b []byte, into any) error {
	if len(b) > MaxMessage {
		return fmt.Errorf("message of %d bytes is over the limit of %d", len(b), MaxMessage)
	}
	return Unmarshal(b, into)
}

// NodePermissions are the topics that a node may publish to and subscribe to:
// its own reports, what it is sent, and the control plane's status.
func NodePermissions(node string) (publish, subscribe []string) {
	for _, k := range ReportKinds() {
		publish = append(publish, NodeTopic(node, k))
	}
	for _, k := range OrderKinds() {
		subscribe = append(subscribe, NodeTopic(node, k))
	}
	return publish, append(subscribe, TopicControlStatus)
}

// MetricsFilters match the two metrics topics of all nodes, the public contract.
func MetricsFilters() []string {
	return []string{NodeTopic("+", "metrics/#")}
}

// PublicFilters match everything that is there to be read: all but assignments,
// which hold the environments of services.
func PublicFilters() []string {
	filters := []string{
		TopicControlStatus,
		TopicEvents,
		ServiceTopic("+"),
		ServiceTopic("+/+"),
		RequirementTopic("+", ""),
		RequirementTopic("+/+", ""),
		RequirementTopic("", "+"),
	}
	for _, k := range []Kind{KindHeartbeat, KindStatus, KindInstances, KindEvents} {
		filters = append(filters, NodeFilter(k))
	}
	return append(filters, MetricsFilters()...)
}

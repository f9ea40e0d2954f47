package config

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"

	"github.com/otto-edge/otto"
)

// service is a service as it is being read, with the places of what is checked
// against other services.
type service struct {
	otto.Service
	pos       // of its name
	nodeAt    pos
	portsAt   []pos    // of each of Spec.Ports
	mountsAt  []pos    // of each of Spec.Mounts
	relative  []string // relative paths that it mounts
	written   []string // those that it mounts writable
	dependsAt []pos    // of each of DependsOn
	fixed     []string // volumes of its project that it mounts and that never move

	statelessAt *pos // of stateful: false
	leased      bool // it is under a lease because of another one of its stack
	probeAt     pos
	replicasAt  *pos // where their number is given
	orderAt     *pos // where start-first is asked for
	placed      placed
	apart       bool // of a stack: it is placed by itself
	xAt         pos  // of x-otto

	requirements []requirement

	engine          otto.Options
	containerNameAt pos
	networks        []attachment
	files           []fileUse
	links           []link
	borrows         []borrowing
	profiles        []string
	restartPolicy   string // of deploy, which overrides restart
	labelFiles      []envFile

	secretVariables []secretVariable

	build building

	environment map[string]*string // nil: to be taken from the environment, where there is none
	envFiles    []envFile
}

// minMemory is the least that Docker accepts as a limit.
const minMemory = 6 << 20

const maxReplicas = 100

func readService(r *reader, at pos, v value, o object[service], name string) service {
	s := service{Service: otto.Service{Name: name}, pos: at}
	if o.read(r, v, &s) && name != "" {
		r.validServiceName(at, name)
	}
	if s.replicasAt == nil {
		s.Replicas = 1
	}
	s.Spec.Environment = r.mergeEnvironment(s)
	r.readLabelFiles(&s)
	s.Spec.Restart = cmp.Or(s.restartPolicy, s.Spec.Restart)
	s.setOptions()
	return s
}

func (r *reader) validServiceName(at pos, name string) bool {
	if r.stack { // Compose's loader has seen to the rest
		if len(name) > 63 {
			r.reject(at, "write at most 63 characters", "%.80q is too long for the name of a host", name)
		}
		return len(name) <= 63
	}
	if len(name) == 1 {
		r.reject(at, "write at least two characters", "%q is too short for a name of containers", name)
		return false
	}
	return r.validID(at, name)
}

func serviceObject(named bool) object[service] {
	o := object[service]{
		noun:     "a service",
		keys:     map[string]key[service]{},
		required: map[string]string{"image": "image: nginx:alpine"},
		later:    composeKeys[types.ServiceConfig](),
		idle:     []string{"attach", "develop"},
	}
	maps.Copy(o.keys, wholeKeys())
	maps.Copy(o.keys, placementKeys())
	maps.Copy(o.keys, containerKeys())
	maps.Copy(o.keys, isolationKeys())
	maps.Copy(o.keys, engineKeys())
	maps.Copy(o.keys, networkKeys())
	maps.Copy(o.keys, serviceFileKeys())
	if named {
		o.required["name"] = "name: web"
		o.keys["name"] = key[service]{
			"Name of the service and of its containers.",
			id("web").schema,
			func(r *reader, v value, s *service) {
				s.pos = v.pos
				if name, ok := text("a name such as web").read(r, v); ok {
					r.validServiceName(v.pos, name)
					s.Name = name // also an invalid one, so that others find it
				}
			},
		}
	}
	return o
}

// wholeKeys are those that concern the service as a whole.
func wholeKeys() map[string]key[service] {
	cpu := func(s *service) *float64 { return &s.Spec.Resources.CPU }
	memory := func(s *service) *int64 { return &s.Spec.Resources.MemoryBytes }
	reserveCPU := func(s *service) *float64 { return &s.Reserve.CPU }
	reserveMemory := func(s *service) *int64 { return &s.Reserve.MemoryBytes }

	resources := object[service]{noun: "resources", keys: map[string]key[service]{
		"cpu":    given("Processor cores at most.", noneOr(cores()), cpu),
		"memory": given("Memory at most, such as 256m.", limit(), memory),
		"reserve": nested(
			"What a node must have free for each container.",
			object[service]{noun: "reserve", keys: map[string]key[service]{
				"cpu":    given("Processor cores, such as 0.5.", cores(), reserveCPU),
				"memory": given("Memory, such as 256m.", size(1), reserveMemory),
			}},
		),
	}}
	limits := object[service]{noun: "limits", later: composeKeys[types.Resource](), keys: map[string]key[service]{
		"cpus":   given("Processor cores at most.", noneOr(cores()), cpu),
		"memory": given("Memory at most, such as 256m.", limit(), memory),
		"pids":   pidsLimitKey(),
	}}
	reservations := object[service]{
		noun:  "reservations",
		later: composeKeys[types.Resource](),
		keys: map[string]key[service]{
			"cpus":   given("Processor cores, such as 0.5.", noneOr(cores()), reserveCPU),
			"memory": given("Memory, such as 256m.", size(0), reserveMemory),
			"devices": {"Devices of a driver, such as GPUs.", deviceRequests().schema, func(r *reader, v value, s *service) {
				list, _ := deviceRequests().read(r, v)
				s.engine.DeviceRequests = append(s.engine.DeviceRequests, list...)
			}},
		},
	}
	deployResources := object[service]{
		noun:  "resources",
		later: composeKeys[types.Resources](),
		keys: map[string]key[service]{
			"limits":       nested("Limits of each container.", limits),
			"reservations": nested("What a node must have free for each container.", reservations),
		},
	}
	deploy := object[service]{
		noun:  "deploy",
		later: composeKeys[types.DeployConfig](),
		idle:  []string{"labels", "endpoint_mode", "rollback_config"},
		keys: map[string]key[service]{
			"mode":           modeKey(),
			"placement":      deployPlacementKey(),
			"restart_policy": deployRestartKey(),
			"update_config": nested(
				"As update, in Compose's form.",
				object[service]{
					noun:  "update_config",
					later: composeKeys[types.UpdateConfig](),
					keys:  updateKeys("failure_action"),
				},
			),
			"replicas":  replicasKey("Number of containers."),
			"resources": nested("As resources, in Compose's form.", deployResources),
		},
	}
	return map[string]key[service]{
		"node": {
			"Id of the node that is its home; without it Otto chooses.",
			schema{"type": "string"},
			func(r *reader, v value, s *service) {
				s.nodeAt = v.pos
				s.Node, _ = text("the id of a node").read(r, v)
			},
		},
		"replicas":   replicasKey("Number of containers, 1 by default."),
		"scale":      replicasKey("As replicas, in Compose's form."),
		"depends_on": dependsOnKey(),
		"failover": as("move or stay when its node is lost; a service with a home stays, one without moves.",
			choice(otto.FailoverMove, otto.FailoverStay), func(s *service) *string { return &s.Failover }),
		"rejoin": as("keep (default) or home: whether it goes back when its home is back.",
			choice(otto.RejoinKeep, otto.RejoinHome), func(s *service) *string { return &s.Rejoin }),
		"data": as("disposable: it may start anew on another node without its data.",
			choice(otto.DataDisposable), func(s *service) *string { return &s.Data }),
		"secret_environment": secretEnvironmentKey(),
		"stateful": {
			"Whether there must never be two of it; a service with volumes always is.",
			schema{"type": "boolean"},
			func(r *reader, v value, s *service) {
				var ok bool
				if s.Spec.Exclusive, ok = boolean().read(r, v); ok && !s.Spec.Exclusive {
					s.statelessAt = &v.pos
				}
			},
		},
		"probe":  probeKey(),
		"update": nested("How a new version comes.", object[service]{noun: "update", keys: updateKeys("on_failure")}),
		"requirements": requirementsKey(
			"What must hold while it runs, such as latency p95 < 150ms over 30s -> migrate.",
			ofService,
			func(s *service) *[]requirement { return &s.requirements },
		),
		"decisions": decisionsOf(),
		"resources": nested("Limits of each container.", resources),
		"cpus":      given("As resources.cpu, in Compose's form.", noneOr(cores()), cpu),
		"mem_limit": given("As resources.memory, in Compose's form.", limit(), memory),
		"deploy":    nested("Compose's form of mode, placement, replicas and resources.", deploy),
	}
}

func replicasKey(doc string) key[service] {
	k := given(doc, integer(0, maxReplicas), func(s *service) *int { return &s.Replicas })
	read := k.read
	k.read = func(r *reader, v value, s *service) {
		s.replicasAt = &v.pos
		read(r, v, s)
	}
	return k
}

// limit is a size that the engine accepts as one; 0 means none.
func limit() form[int64] {
	f := size(minMemory)
	return form[int64]{f.schema, func(r *reader, v value) (int64, bool) {
		if n, ok := size(0).read(&reader{}, v); ok && n == 0 {
			return 0, true
		}
		return f.read(r, v)
	}}
}

// noneOr is a number of which 0 means none.
func noneOr(f form[float64]) form[float64] {
	return form[float64]{f.schema, func(r *reader, v value) (float64, bool) {
		if n, err := strconv.ParseFloat(v.text, 64); v.kind == scalar && err == nil && n == 0 {
			return 0, true
		}
		return f.read(r, v)
	}}
}

// deployRestartKey reads Compose's other form of restart, of which Compose itself takes
// the condition and the number of attempts.
func deployRestartKey() key[service] {
	type policy struct {
		condition string
		attempts  int
	}
	o := object[policy]{
		noun:  "restart_policy",
		later: composeKeys[types.RestartPolicy](),
		idle:  []string{"delay", "window"},
		keys: map[string]key[policy]{
			"condition": as("none, on-failure or any.", choice("none", "on-failure", "any"),
				func(p *policy) *string { return &p.condition }),
			"max_attempts": as("Starts at most.", integer(0, 999_999), func(p *policy) *int { return &p.attempts }),
		},
	}
	return key[service]{"As restart, in Compose's form.", o.schema(), func(r *reader, v value, s *service) {
		p := policy{condition: "any"}
		if !o.read(r, v, &p) {
			return
		}
		s.restartPolicy = map[string]string{"none": "no", "on-failure": "on-failure", "any": "always"}[p.condition]
		if p.condition == "on-failure" && p.attempts > 0 {
			s.restartPolicy += ":" + strconv.Itoa(p.attempts)
		}
	}}
}

// nested is a key whose own keys set fields of the same thing.
func nested[T any](doc string, o object[T]) key[T] {
	return key[T]{doc, o.schema(), func(r *reader, v value, into *T) { o.read(r, v, into) }}
}

// containerKeys are those that say what runs in a container.
func containerKeys() map[string]key[service] {
	return map[string]key[service]{
		"image": as("Image to run.", image(), func(s *service) *string { return &s.Spec.Image }),
		"build": buildKey(),
		"pull_policy": {
			"When to pull: missing (default), always or never; build goes with the key build.",
			schema{"enum": []string{"missing", "always", "never", "if_not_present", "build"}},
			readPullPolicy,
		},
		"command": as("Command instead of the image's.", command(),
			func(s *service) *[]string { return &s.Spec.Command }),
		"entrypoint": {
			"Entrypoint instead of the image's; an empty one takes it away.",
			command().schema,
			func(r *reader, v value, s *service) {
				words, ok := command().read(r, v)
				s.Spec.Entrypoint, s.Spec.NoEntrypoint = words, ok && len(words) == 0
			},
		},
		"label_file": as("Files with labels of the container.", oneOrMore(fileOfVariables()),
			func(s *service) *[]envFile { return &s.labelFiles }),
		"profiles": as("Names of which one must be in COMPOSE_PROFILES for the service to be there.",
			listOf(text("a name")), func(s *service) *[]string { return &s.profiles }),
		"environment": environmentKey(),
		"env_file":    envFileKey(),
		"labels": as("Labels of the containers.", labels(),
			func(s *service) *map[string]string { return &s.Spec.Labels }),
		"ports":        portsKey(),
		"volumes":      volumeMountsKey(),
		"volumes_from": volumesFromKey(),
		"tmpfs":        as("Directories in memory.", oneOrMore(tmpfs()), func(s *service) *[]string { return &s.Spec.Tmpfs }),
		"restart": as("no, always, on-failure[:N] or unless-stopped (default).",
			checked(`"no", always, on-failure, on-failure:5 or unless-stopped`, isRestart),
			func(s *service) *string { return &s.Spec.Restart }),
		"healthcheck": as("How the engine finds out whether a container works.", healthcheck(),
			func(s *service) **otto.Healthcheck { return &s.Spec.Healthcheck }),
		"logging": as("Where the output goes, json-file with 3 files of 10 MB by default.", logging(),
			func(s *service) **otto.Logging { return &s.Spec.Logging }),
		"stop_grace_period": {
			"How long a container may take to stop, 10s by default; 0s kills it at once.",
			schema{"type": "string"},
			func(r *reader, v value, s *service) {
				var ok bool
				s.Spec.StopGrace, ok = duration(0, 24*time.Hour).read(r, v)
				s.Spec.StopAtOnce = ok && s.Spec.StopGrace == 0
			},
		},
		"stop_signal": as("Signal that asks a container to stop.", checked("a signal such as SIGINT", isSignal),
			func(s *service) *string { return &s.Spec.StopSignal }),
		"user": as("User in the container, as name, uid or uid:gid.", text(`a user such as "1000:1000"`),
			func(s *service) *string { return &s.Spec.User }),
		"working_dir": as("Directory to start in.", checked("an absolute path such as /app", isAbs),
			func(s *service) *string { return &s.Spec.WorkingDir }),
	}
}

func image() form[string] {
	f := text("an image such as nginx:alpine")
	return form[string]{schema{"type": "string"}, func(r *reader, v value) (string, bool) {
		name, ok := f.read(r, v)
		if !ok {
			return "", false
		}
		if _, err := reference.ParseNormalizedNamed(name); err != nil {
			why := strings.TrimPrefix(strings.TrimPrefix(err.Error(), reference.ErrReferenceInvalidFormat.Error()),
				": ")
			if why != "" {
				why = ", " + why
			}
			r.reject(v.pos, "write [registry/]name[:tag] such as nginx:alpine", "%.60q is not an image%s", name, why)
			return "", false
		}
		return name, true
	}}
}

func readPullPolicy(r *reader, v value, s *service) {
	if v.kind == scalar {
		switch p := v.text; {
		case p == types.PullPolicyIfNotPresent:
			s.Spec.PullPolicy = otto.PullMissing
			return
		case p == types.PullPolicyBuild:
			s.build.always = v.pos
			return
		case p == types.PullPolicyRefresh,
			p == "daily",
			p == "weekly",
			strings.HasPrefix(p, "every_"):
			r.reject(v.pos, "write missing, always or never", "Compose's pull_policy %.40s is not supported yet", p)
			return
		}
	}
	s.Spec.PullPolicy, _ = choice(otto.PullMissing, otto.PullAlways, otto.PullNever).read(r, v)
}

var restartPolicy = regexp.MustCompile(`^(no|always|unless-stopped|on-failure(:[0-9]{1,6})?)$`)

func isRestart(s string) bool { return restartPolicy.MatchString(s) }

func isSignal(s string) bool {
	return regexp.MustCompile(`^(SIG)?[A-Z][A-Z0-9]*([+-][0-9]+)?$|^[1-9][0-9]?$`).MatchString(s)
}

func isAbs(p string) bool { return strings.HasPrefix(p, "/") }

func dependsOnKey() key[service] {
	condition := choice(otto.ServiceStarted, otto.ServiceHealthy, otto.ServiceCompleted)
	required := key[otto.Dependency]{
		"Whether to wait for it even if it has failed, true by default; false: it need not be there, either.",
		boolean().schema,
		func(r *reader, v value, d *otto.Dependency) {
			needed, ok := boolean().read(r, v)
			d.Optional = ok && !needed
		},
	}
	o := object[otto.Dependency]{noun: "a dependency", keys: map[string]key[otto.Dependency]{
		"condition": as("What it must have reached.", condition,
			func(d *otto.Dependency) *string { return &d.Condition }),
		"restart": as(
			"In a stack: whether it is restarted after Otto has restarted or replaced the other one.",
			boolean(),
			func(d *otto.Dependency) *bool {
				return &d.Restart
			},
		),
		"required": required,
	}}
	s := oneOf(listOf(text("")).schema,
		schema{"type": "object", "additionalProperties": oneOf(o.schema(), schema{"type": "null"})})
	return key[service]{"Services that start before this one.", s, func(r *reader, v value, into *service) {
		add := func(at pos, d otto.Dependency) {
			if slices.ContainsFunc(into.DependsOn, func(o otto.Dependency) bool { return o.Service == d.Service }) {
				r.reject(at, "take it out", "%.60q is here already", d.Service)
				return
			}
			into.DependsOn = append(into.DependsOn, d)
			into.dependsAt = append(into.dependsAt, at)
		}
		switch v.kind {
		case list:
			for _, item := range v.items {
				if name, ok := text("the name of a service").read(r, item); ok {
					add(item.pos, otto.Dependency{Service: name, Condition: otto.ServiceStarted})
				}
			}
		case mapping:
			for _, f := range v.fields {
				d := otto.Dependency{Service: f.name, Condition: otto.ServiceStarted}
				if f.kind == null || o.read(r, f.value, &d) {
					add(f.pos, d)
				}
			}
		default:
			r.wants(v, list, "one service an item, after a dash")
		}
	}}
}

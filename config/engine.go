package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/otto-edge/otto"
)

// engineKeys are those that Otto passes to the engine as they are.
func engineKeys() map[string]key[service] {
	port := checked("a port such as 80, 53/udp or 3000-3005", isExposed)
	path := checked("a path such as /dev/sda", isAbs)
	return map[string]key[service]{
		"container_name": {
			"Name of the container instead of the service's.",
			schema{"type": "string"},
			func(r *reader, v value, s *service) {
				s.containerNameAt = v.pos
				s.Spec.ContainerName, _ = checked("a name of letters, digits, _ . and -", isVolumeName).read(r, v)
			},
		},
		"expose": {
			"Ports for other containers, which they reach anyway.",
			oneOrMore(port).schema,
			func(r *reader, v value, s *service) {
				list, _ := oneOrMore(port).read(r, v)
				s.Spec.Expose = exposed(list)
			},
		},

		"hostname": option("Name of the host inside the container.", text("a name"),
			func(o *otto.Options) *string { return &o.Hostname }),
		"domainname": option("Domain of the host inside the container.", text("a domain"),
			func(o *otto.Options) *string { return &o.Domainname }),
		"mac_address": option("Address of its network card.", checked("02:42:ac:11:65:43", isMAC),
			func(o *otto.Options) *string { return &o.MACAddress }),
		"tty": option("Whether it has a terminal.", boolean(), func(o *otto.Options) *bool { return &o.TTY }),
		"stdin_open": option("Whether its input stays open.", boolean(),
			func(o *otto.Options) *bool { return &o.StdinOpen }),

		"privileged": option("Whether it may do everything on its node.", boolean(),
			func(o *otto.Options) *bool { return &o.Privileged }),
		"security_opt": {"Options such as no-new-privileges:true.", listOf(text("")).schema, readSecurityOpt},
		"group_add": option("Further groups of its user.", listOf(text("a group")),
			func(o *otto.Options) *[]string { return &o.GroupAdd }),
		"userns_mode": option("User namespace: host for the node's.", text("host"),
			func(o *otto.Options) *string { return &o.UsernsMode }),
		"pid": {
			"Process namespace: host for the node's.",
			schema{"type": "string"},
			namespaceOf("pid", func(o *otto.Options) *string { return &o.PIDMode }),
		},
		"ipc": {
			"IPC namespace: host, private, shareable or none.",
			schema{"type": "string"},
			namespaceOf("ipc", func(o *otto.Options) *string { return &o.IPCMode }),
		},
		"uts": option("UTS namespace: host for the node's.", text("host"),
			func(o *otto.Options) *string { return &o.UTSMode }),
		"cgroup": option("Cgroup namespace: host or private.", choice("host", "private"),
			func(o *otto.Options) *string { return &o.Cgroup }),
		"cgroup_parent": option("Cgroup to be in.", text("a cgroup"), func(o *otto.Options) *string {
			return &o.CgroupParent
		}),
		"runtime": option("Runtime of the engine, such as nvidia.", text("a runtime"),
			func(o *otto.Options) *string { return &o.Runtime }),
		"isolation": option("Windows' isolation.", text("default"),
			func(o *otto.Options) *string { return &o.Isolation }),
		"init": option("Whether an init runs first in it.", pointer(boolean()),
			func(o *otto.Options) **bool { return &o.Init }),
		"umask": option("Permissions that new files do not get, in octal.", pointer(umask()),
			func(o *otto.Options) **uint32 { return &o.Umask }),
		"sysctls": option("Parameters of the kernel.", pairs(),
			func(o *otto.Options) *map[string]string { return &o.Sysctls }),
		"storage_opt": option("Options of the storage driver.", pairs(),
			func(o *otto.Options) *map[string]string { return &o.StorageOpt }),
		"annotations": option("Annotations for the runtime.", pairs(),
			func(o *otto.Options) *map[string]string { return &o.Annotations }),
		"dns": option("Name servers.", oneOrMore(checked("an address such as 192.0.2.53", isAddress)),
			func(o *otto.Options) *[]string { return &o.DNS }),
		"dns_search": option("Domains in which names are looked for.", oneOrMore(text("a domain")),
			func(o *otto.Options) *[]string { return &o.DNSSearch }),
		"dns_opt": option("Options of resolv.conf.", listOf(text("an option")),
			func(o *otto.Options) *[]string { return &o.DNSOptions }),

		"cpu_shares": option("Weight for the processor, 1024 by default.", integer64(0, math.MaxInt64),
			func(o *otto.Options) *int64 { return &o.CPUShares }),
		"cpu_period": option("Period of the processor's quota, in microseconds.", micros(),
			func(o *otto.Options) *int64 { return &o.CPUPeriod }),
		"cpu_quota": option("Quota in each period, in microseconds.", micros(),
			func(o *otto.Options) *int64 { return &o.CPUQuota }),
		"cpu_rt_period": option("Real-time period, in microseconds.", micros(),
			func(o *otto.Options) *int64 { return &o.CPURealtimePeriod }),
		"cpu_rt_runtime": option("Real-time runtime, in microseconds.", micros(),
			func(o *otto.Options) *int64 { return &o.CPURealtimeRuntime }),
		"cpuset": option("Processors to run on, such as 0-2.", text("0-2 or 0,1"),
			func(o *otto.Options) *string { return &o.CPUSet }),
		"cpu_count": option("Windows' number of processors.", integer64(0, math.MaxInt64),
			func(o *otto.Options) *int64 { return &o.CPUCount }),
		"cpu_percent": option("Windows' share of the processors.", integer64(0, 100),
			func(o *otto.Options) *int64 { return &o.CPUPercent }),
		"mem_reservation": option("Memory it should keep to when the node runs short.", size(0),
			func(o *otto.Options) *int64 { return &o.MemoryReservation }),
		"memswap_limit": option("Memory and swap together; -1 means no limit.", sizeOrNone(),
			func(o *otto.Options) *int64 { return &o.MemorySwap }),
		"mem_swappiness": option("How readily it is swapped, from 0 to 100.", pointer(integer64(0, 100)),
			func(o *otto.Options) **int64 { return &o.MemorySwappiness }),
		"oom_kill_disable": option("Whether it is not killed for want of memory.", boolean(),
			func(o *otto.Options) *bool { return &o.OOMKillDisable }),
		"oom_score_adj": option("How likely it is killed for want of memory.", integer(-1000, 1000),
			func(o *otto.Options) *int { return &o.OOMScoreAdj }),
		"pids_limit": pidsLimitKey(),
		"shm_size": option("Size of /dev/shm, such as 256m.", size(0),
			func(o *otto.Options) *int64 { return &o.ShmBytes }),
		"ulimits": option("Limits of its processes, such as nofile.", ulimits(),
			func(o *otto.Options) *[]otto.Ulimit { return &o.Ulimits }),
		"blkio_config": option("Weights and limits of block devices.", blockIO(path),
			func(o *otto.Options) **otto.BlockIO { return &o.BlockIO }),
		"device_cgroup_rules": option(
			"Rules of devices, such as c 188:* rmw.",
			listOf(text("a rule")),
			func(o *otto.Options) *[]string {
				return &o.DeviceCgroupRules
			},
		),
		"gpus": {"GPUs: all, or a list of requests.", oneOf(schema{"const": "all"}, deviceRequests().schema), readGPUs},
	}
}

// option is a key that becomes one of the engine's options.
func option[V any](doc string, f form[V], of func(*otto.Options) *V) key[service] {
	return as(doc, f, func(s *service) *V { return of(&s.engine) })
}

func pidsLimitKey() key[service] {
	return given("Processes at most; -1 means no limit.", integer64(-1, math.MaxInt32),
		func(s *service) *int64 { return &s.engine.PIDsLimit })
}

// setOptions keeps the engine's options of a service that has any. Lists and
// mappings without content ask for nothing, so that a spec is the same without them.
func (s *service) setOptions() {
	if b, err := json.Marshal(s.engine); err == nil && !bytes.Equal(b, []byte("{}")) {
		s.Spec.Engine = &s.engine
	}
}

func pointer[V any](f form[V]) form[*V] {
	return form[*V]{f.schema, func(r *reader, v value) (*V, bool) {
		got, ok := f.read(r, v)
		return &got, ok
	}}
}

func integer64(least, most int) form[int64] {
	f := integer(least, most)
	return form[int64]{f.schema, func(r *reader, v value) (int64, bool) {
		n, ok := f.read(r, v)
		return int64(n), ok
	}}
}

// micros is a number of microseconds, or a duration.
func micros() form[int64] {
	return form[int64]{oneOfKinds("integer", "string"), func(r *reader, v value) (int64, bool) {
		if n, err := strconv.ParseInt(v.text, 10, 64); v.kind == scalar && err == nil && n >= 0 {
			return n, true
		}
		d, ok := duration(0, time.Hour).read(r, v)
		return d.Microseconds(), ok
	}}
}

// umask is a number as YAML has it: in octal if it begins with 0.
func umask() form[uint32] {
	return form[uint32]{oneOfKinds("string", "integer"), func(r *reader, v value) (uint32, bool) {
		n, err := strconv.ParseUint(v.text, 0, 32)
		if !r.wants(v, scalar, "0022") || err != nil {
			r.reject(v.pos, "write it in octal, such as 0022", "%.60q are no permissions", v.text)
			return 0, false
		}
		return uint32(n), true
	}}
}

func sizeOrNone() form[int64] {
	f := size(0)
	return form[int64]{f.schema, func(r *reader, v value) (int64, bool) {
		if v.kind == scalar && v.text == "-1" {
			return -1, true
		}
		return f.read(r, v)
	}}
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func isMAC(s string) bool {
	return regexp.MustCompile(`^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$`).MatchString(s)
}

func isExposed(s string) bool {
	m := regexp.MustCompile(`^(\d{1,5})(?:-(\d{1,5}))?(?:/(?i:tcp|udp|sctp))?$`).FindStringSubmatch(s)
	if m == nil || !isPort(m[1]) {
		return false
	}
	first, _ := strconv.Atoi(m[1])
	last, _ := strconv.Atoi(cmp.Or(m[2], m[1]))
	return isPort(cmp.Or(m[2], m[1])) && first <= last && last-first < maxPorts
}

// exposed are ports with their protocols, ranges written out, each once and in order.
func exposed(list []string) (ports []string) {
	for _, entry := range list {
		numbers, protocol, _ := strings.Cut(strings.ToLower(entry), "/")
		from, to, _ := strings.Cut(numbers, "-")
		first, _ := strconv.Atoi(from)
		last, _ := strconv.Atoi(cmp.Or(to, from))
		for p := first; p <= last; p++ {
			ports = append(ports, strconv.Itoa(p)+"/"+cmp.Or(protocol, "tcp"))
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// readSecurityOpt reads the file of a seccomp profile, as Compose does.
func readSecurityOpt(r *reader, v value, s *service) {
	list, _ := listOf(text("an option such as no-new-privileges:true")).read(r, v)
	for _, opt := range list {
		name, profile, _ := strings.Cut(strings.Replace(opt, "seccomp:", "seccomp=", 1), "=")
		if name == "seccomp" && profile != "unconfined" && profile != "builtin" {
			data, err := readFile(r.path(profile))
			var compact bytes.Buffer
			if err == nil {
				err = json.Compact(&compact, data)
			}
			if err != nil {
				r.reject(v.pos, "name a profile in JSON, relative to this file", "seccomp profile %.60q: %s", profile,
					reason(err))
				continue
			}
			opt = "seccomp=" + compact.String()
		}
		s.engine.SecurityOpt = append(s.engine.SecurityOpt, opt)
	}
}

// namespaceOf reads the namespace of the node, of another service or of a container.
func namespaceOf(name string, of func(*otto.Options) *string) func(*reader, value, *service) {
	return func(r *reader, v value, s *service) {
		mode, ok := text("host").read(r, v)
		if !ok {
			return
		}
		s.lends(v.pos, name, mode)
		*of(&s.engine) = mode
	}
}

// ulimits are one limit or two for each name.
func ulimits() form[[]otto.Ulimit] {
	limit := integer64(-1, math.MaxInt64)
	o := object[otto.Ulimit]{noun: "a limit", keys: map[string]key[otto.Ulimit]{
		"soft": as("What is in force.", limit, func(u *otto.Ulimit) *int64 { return &u.Soft }),
		"hard": as("What it can be raised to.", limit, func(u *otto.Ulimit) *int64 { return &u.Hard }),
	}, required: map[string]string{"soft": "soft: 1024", "hard": "hard: 2048"}}
	s := schema{"type": "object", "additionalProperties": oneOf(limit.schema, o.schema())}
	return form[[]otto.Ulimit]{s, func(r *reader, v value) ([]otto.Ulimit, bool) {
		if !r.wants(v, mapping, "nofile: 65536, or nofile with soft and hard") {
			return nil, false
		}
		var list []otto.Ulimit
		for _, f := range v.fields {
			u := otto.Ulimit{Name: f.name}
			if f.kind == mapping {
				if !o.read(r, f.value, &u) {
					continue
				}
			} else if n, ok := limit.read(r, f.value); ok {
				u.Soft, u.Hard = n, n
			}
			list = append(list, u)
		}
		slices.SortFunc(list, func(a, b otto.Ulimit) int { return strings.Compare(a.Name, b.Name) })
		return list, true
	}}
}

func blockIO(path form[string]) form[*otto.BlockIO] {
	type rates = []otto.DeviceRate
	type block = otto.BlockIO
	rate := func(name string, f form[int64]) form[rates] {
		one := object[otto.DeviceRate]{noun: "a device", keys: map[string]key[otto.DeviceRate]{
			"path": as("Path on the node.", path, func(d *otto.DeviceRate) *string { return &d.Path }),
			name: {"How much.", f.schema, func(r *reader, v value, d *otto.DeviceRate) {
				n, _ := f.read(r, v)
				d.Rate = uint64(n)
			}},
		}, required: map[string]string{"path": "path: /dev/sda"}}
		return listOf(one.one())
	}
	weight, bytes, count := integer64(0, 1000), size(0), integer64(0, math.MaxInt64)
	o := object[block]{noun: "blkio_config", keys: map[string]key[block]{
		"weight": {"Weight among containers, from 10 to 1000.", weight.schema, func(r *reader, v value, b *block) {
			n, _ := weight.read(r, v)
			b.Weight = uint16(n)
		}},
		"weight_device": as("Weights by device.", rate("weight", weight),
			func(b *block) *rates { return &b.WeightDevices }),
		"device_read_bps": as("Bytes read a second.", rate("rate", bytes), func(b *block) *rates { return &b.ReadBps }),
		"device_write_bps": as("Bytes written a second.", rate("rate", bytes),
			func(b *block) *rates { return &b.WriteBps }),
		"device_read_iops":  as("Reads a second.", rate("rate", count), func(b *block) *rates { return &b.ReadIOps }),
		"device_write_iops": as("Writes a second.", rate("rate", count), func(b *block) *rates { return &b.WriteIOps }),
	}}
	return pointer(o.one())
}

// deviceRequests are what a driver of the engine is asked for. Without a number and
// ids it is asked for all.
func deviceRequests() form[[]otto.DeviceRequest] {
	type request = otto.DeviceRequest
	words := listOf(text("a word"))
	o := object[request]{
		noun:  "a request for devices",
		later: composeKeys[types.DeviceRequest](),
		keys: map[string]key[request]{
			"driver": as("Driver, such as nvidia.", text("nvidia"), func(d *request) *string { return &d.Driver }),
			"count": {"How many, or all.", oneOfKinds("integer", "string"), func(r *reader, v value, d *request) {
				if v.kind == scalar && strings.EqualFold(v.text, "all") {
					d.Count = -1
					return
				}
				d.Count, _ = integer(-1, math.MaxInt32).read(r, v)
			}},
			"device_ids": as("Which ones.", words, func(d *request) *[]string { return &d.IDs }),
			"capabilities": as("What they must be able to do, such as gpu.", words,
				func(d *request) *[]string { return &d.Capabilities }),
			"options": as("Options of the driver.", pairs(), func(d *request) *map[string]string { return &d.Options }),
		},
	}
	one := form[request]{o.schema(), func(r *reader, v value) (request, bool) {
		var d request
		ok := o.read(r, v, &d)
		if d.Count == 0 && len(d.IDs) == 0 {
			d.Count = -1
		}
		return d, ok
	}}
	return listOf(one)
}

// readDevices reads devices of the node, and those that a driver knows by a name of CDI,
// the Container Device Interface, such as nvidia.com/gpu=all.
func readDevices(r *reader, v value, s *service) {
	named := otto.DeviceRequest{Driver: "cdi"}
	byPath := slices.DeleteFunc(slices.Clone(v.items), func(item value) bool {
		name := item.text
		for _, f := range item.fields { // which Compose's loader has made of it
			if f.name == "source" || f.name == "target" && f.text != name {
				name = f.text
			}
		}
		cdi := isCDI(name)
		if cdi {
			named.IDs = append(named.IDs, name)
		}
		return cdi
	})
	v.items = byPath
	s.Spec.Devices, _ = listOf(device()).read(r, v)
	if len(named.IDs) > 0 {
		s.engine.DeviceRequests = append(s.engine.DeviceRequests, named)
	}
}

func isCDI(name string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_-]*=[A-Za-z0-9][A-Za-z0-9_.:-]*$`).MatchString(name)
}

func readGPUs(r *reader, v value, s *service) {
	requests := []otto.DeviceRequest{{Count: -1}}
	if v.kind != scalar || v.text != "all" {
		requests, _ = deviceRequests().read(r, v)
	}
	for _, d := range requests {
		if !slices.Contains(d.Capabilities, "gpu") {
			d.Capabilities = append(d.Capabilities, "gpu")
		}
		s.engine.DeviceRequests = append(s.engine.DeviceRequests, d)
	}
}

package config

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/otto-edge/otto"
)

func volumeMountsKey() key[service] {
	long := mountObject()
	s := listOf(form[int]{schema: oneOf(schema{"type": "string"}, long.schema())}).schema
	return key[service]{
		"Volumes and directories of the node, such as data:/var/lib/data.",
		s,
		func(r *reader, v value, into *service) {
			if !r.wants(v, list, "one volume an item, such as - data:/data") {
				return
			}
			for _, item := range v.items {
				var m otto.Mount
				var ok bool
				if item.kind == mapping {
					ok = long.read(r, item, &m) && m.Type != "" && m.Target != ""
				} else {
					m, ok = readShortMount(r, item)
				}
				if ok && r.checkMount(item.pos, &m) {
					into.Spec.Mounts = append(into.Spec.Mounts, m)
					into.mountsAt = append(into.mountsAt, item.pos)
				}
			}
		},
	}
}

// readShortMount reads [source:]target[:options].
func readShortMount(r *reader, v value) (otto.Mount, bool) {
	const example = "data:/data or /srv/data:/data:ro"
	spec, ok := text(example).read(r, v)
	if !ok {
		return otto.Mount{}, false
	}
	parsed, err := format.ParseVolume(spec)
	if err != nil {
		r.reject(v.pos, "write "+example, "%.60q is not a volume", spec)
		return otto.Mount{}, false
	}
	if parts := strings.Split(spec, ":"); len(parts) == 3 && parts[1] == parsed.Target &&
		!r.mountOptions(v.pos, parts[2]) {
		return otto.Mount{}, false
	}
	m := otto.Mount{Type: parsed.Type, Source: parsed.Source, Target: parsed.Target, ReadOnly: parsed.ReadOnly}
	if parsed.Bind != nil {
		m.Propagation, m.SELinux, m.Recursive = parsed.Bind.Propagation, parsed.Bind.SELinux, parsed.Bind.Recursive
	}
	if parsed.Volume != nil {
		m.NoCopy = parsed.Volume.NoCopy
	}
	return m, true
}

// mountOptions names the options that the library would leave out in silence.
func (r *reader) mountOptions(at pos, options string) bool {
	harmless := []string{
		"ro", "rw", "nocopy", types.SELinuxShared, types.SELinuxPrivate,
		"cached", "delegated", "consistent", // these three mean something on macOS only
	}
	for _, o := range strings.Split(options, ",") {
		switch {
		case slices.Contains(harmless, o), slices.Contains(format.Propagations, o):
		default:
			r.reject(at, "write ro, rw or nocopy", "a volume has no option %.60q", o)
			return false
		}
	}
	return true
}

func (r *reader) checkMount(at pos, m *otto.Mount) bool {
	switch {
	case !isAbs(m.Target) || path.Clean(m.Target) == "/":
		r.reject(at, "write an absolute path in the container, such as /data", "%.60q cannot be the target of a volume",
			m.Target)
	case m.Type == otto.MountVolume && m.Source != "" && !isVolumeName(m.Source):
		r.reject(at, "write a name of letters, digits, _ . and -, or a path that begins with / or ./",
			"%.60q is not the name of a volume", m.Source)
	case m.Type == otto.MountBind && !slices.Contains([]string{"/", ".", "~"}, m.Source[:min(len(m.Source), 1)]):
		r.reject(at, "write source as a path such as /srv/data", "%.60q is not a path of the node", m.Source)
	case m.Type == otto.MountTmpfs && m.Source != "":
		r.reject(at, "take it out", "a tmpfs has no source")
	default:
		return true
	}
	return false
}

var volumeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]+$`)

func isVolumeName(s string) bool { return volumeName.MatchString(s) }

func mountObject() object[otto.Mount] {
	type mount = otto.Mount
	recursive := choice("enabled", "disabled", "writable", "readonly")
	bind := object[mount]{noun: "bind", later: composeKeys[types.ServiceVolumeBind](), keys: map[string]key[mount]{
		"propagation": as("How mounts below it propagate.", choice(format.Propagations...),
			func(m *mount) *string { return &m.Propagation }),
		"create_host_path": {
			"Whether to make the directory if it is missing, true by default.",
			boolean().schema,
			func(r *reader, v value, m *mount) {
				create, ok := boolean().read(r, v)
				m.MustExist = ok && !create
			},
		},
		"selinux": as("z or Z: how it is labelled where SELinux is.", choice(types.SELinuxShared, types.SELinuxPrivate),
			func(m *mount) *string { return &m.SELinux }),
		"recursive": {
			"Whether mounts below it come too: enabled (default), disabled, writable or readonly.",
			recursive.schema,
			func(r *reader, v value, m *mount) {
				if m.Recursive, _ = recursive.read(r, v); m.Recursive == "enabled" {
					m.Recursive = ""
				}
			},
		},
	}}
	volume := object[mount]{
		noun:  "volume",
		later: composeKeys[types.ServiceVolumeVolume](),
		keys: map[string]key[mount]{
			"nocopy": as("Whether to leave a new volume empty.", boolean(), func(m *mount) *bool { return &m.NoCopy }),
			"subpath": as("Directory in the volume that is mounted instead of all of it.", text("a path"),
				func(m *mount) *string { return &m.Subpath }),
			"labels": as("Labels of the volume.", labels(), func(m *mount) *map[string]string { return &m.Labels }),
		},
	}
	files := object[mount]{noun: "image", later: composeKeys[types.ServiceVolumeImage](), keys: map[string]key[mount]{
		"subpath": as("Directory in the image that is mounted instead of all of it.", text("a path"),
			func(m *mount) *string { return &m.Subpath }),
	}}
	tmpfs := object[mount]{noun: "tmpfs", keys: map[string]key[mount]{
		"size": as("Bytes at most, such as 64m.", size(0), func(m *mount) *int64 { return &m.SizeBytes }),
		"mode": as("Permissions in octal, such as 1777.", octal(), func(m *mount) *uint32 { return &m.Mode }),
	}}
	return object[mount]{
		noun: "a volume",
		keys: map[string]key[mount]{
			"type": as("volume, bind, tmpfs or image.",
				choice(otto.MountVolume, otto.MountBind, otto.MountTmpfs, otto.MountImage),
				func(m *mount) *string { return &m.Type }),
			"source": as("Name of the volume, or path on the node.", text("a name or a path"),
				func(m *mount) *string { return &m.Source }),
			"target": as("Path in the container.", text("a path such as /data"),
				func(m *mount) *string { return &m.Target }),
			"read_only": as("Whether the container may only read it.", boolean(),
				func(m *mount) *bool { return &m.ReadOnly }),
			"bind":   nested("Options of a bind.", bind),
			"volume": nested("Options of a volume.", volume),
			"tmpfs":  nested("Options of a tmpfs.", tmpfs),
			"image":  nested("Options of an image.", files),
		},
		required: map[string]string{"type": "type: volume", "target": "target: /data"},
		later:    composeKeys[types.ServiceVolumeConfig](),
		idle:     []string{"consistency"}, // means something on macOS only
	}
}

// octal is permissions as chmod has them.
func octal() form[uint32] {
	return form[uint32]{oneOfKinds("string", "integer"), func(r *reader, v value) (uint32, bool) {
		mode, ok := text("1777").read(r, v)
		if !ok {
			return 0, false
		}
		n, err := strconv.ParseUint(strings.TrimPrefix(mode, "0o"), 8, 12)
		if err != nil {
			r.reject(v.pos, "write them in octal, such as 1777", "%.60q are no permissions", mode)
		}
		return uint32(n), err == nil
	}}
}

// tmpfs is a path, and options after a colon.
func tmpfs() form[string] {
	return checked("/run or /run:size=64m", func(s string) bool {
		target, _, _ := strings.Cut(s, ":")
		return isAbs(target) && path.Clean(target) != "/"
	})
}

package examine

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// logLimit reports whether containers that ask for nothing have bounded logs: by
// the driver, or by the options of json-file in daemon.json or on dockerd's
// command line. It is nil if that cannot be found out.
func (m machine) logLimit(driver string) *bool {
	yes, no := true, false
	switch driver {
	case "local", "none", "journald": // journald has bounds of its own
		return &yes
	case "json-file":
	default:
		return nil
	}
	args := m.dockerd()
	file := "/etc/docker/daemon.json"
	for i, a := range args {
		name, value, inline := strings.Cut(a, "=")
		if !inline && i+1 < len(args) {
			value = args[i+1]
		}
		switch name {
		case "--config-file":
			file = value
		case "--log-opt":
			if strings.HasPrefix(value, "max-size=") {
				return &yes
			}
		}
	}
	var daemon struct {
		LogOpts map[string]any `json:"log-opts"`
	}
	b, err := os.ReadFile(m.path(file))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &no
	case err != nil || json.Unmarshal(b, &daemon) != nil:
		return nil
	case daemon.LogOpts["max-size"] != nil:
		return &yes
	}
	return &no
}

// dockerd are the arguments of the one dockerd that runs.
func (m machine) dockerd() (args []string) {
	for _, path := range m.glob("/proc/[0-9]*/comm") {
		if comm, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(comm)) != "dockerd" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || args != nil {
			return nil
		}
		args = strings.Split(string(b), "\x00")
	}
	return args
}

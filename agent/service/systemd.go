package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	systemctlWithin = time.Minute
	managerWithin   = 5 * time.Second // for a user's systemd to come up once lingering is on
)

// unit is the systemd unit that keeps the agent of one node directory: of the
// system for root, of the user otherwise.
type unit struct {
	cluster string
	user    bool
	file    string
	runtime string // XDG_RUNTIME_DIR of the user
}

func unitOf(dir string) unit {
	u := unit{cluster: filepath.Base(dir), user: os.Geteuid() != 0}
	if !u.user {
		u.file = filepath.Join("/etc/systemd/system", u.name())
		return u
	}
	u.runtime = filepath.Join("/run/user", strconv.Itoa(os.Getuid()))
	if config, err := os.UserConfigDir(); err == nil {
		u.file = filepath.Join(config, "systemd", "user", u.name())
	}
	return u
}

func (u unit) name() string { return "otto-agent-" + u.cluster + ".service" }

func (u unit) installed() bool { return u.file != "" && exists(u.file) }

// usable reports whether systemd can keep an agent running here after the user
// has logged out.
func (u unit) usable() bool {
	if !booted() || u.file == "" {
		return false
	}
	return !u.user || u.lingers() && u.managerHasGroups()
}

// booted is sd_booted(3): systemd is this machine's init.
func booted() bool { return exists("/run/systemd/system") }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lingers switches lingering on if it is not and the user may.
func (u unit) lingers() bool {
	me, err := user.Current()
	if err != nil {
		return false
	}
	if !exists(filepath.Join("/var/lib/systemd/linger", me.Username)) {
		ctx, cancel := context.WithTimeout(context.Background(), systemctlWithin)
		defer cancel()
		if exec.CommandContext(ctx, "loginctl", "--no-ask-password", "enable-linger").Run() != nil {
			return false
		}
	}
	deadline := time.Now().Add(managerWithin)
	for !exists(filepath.Join(u.runtime, "systemd", "private")) {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pollEvery)
	}
	return true
}

// managerHasGroups reports whether the user's systemd has all groups that the
// user has by now. One that was started before "usermod -aG docker" has not, and
// neither would its agent.
func (u unit) managerHasGroups() bool {
	ctx, cancel := context.WithTimeout(context.Background(), systemctlWithin)
	defer cancel()
	manager := fmt.Sprintf("user@%d.service", os.Getuid())
	pid, err := exec.CommandContext(ctx, "systemctl", "show", "--value", "-p", "MainPID", manager).Output()
	if err != nil {
		return false
	}
	status, err := os.ReadFile(filepath.Join("/proc", string(bytes.TrimSpace(pid)), "status"))
	if err != nil {
		return false
	}
	mine, err := os.Getgroups()
	return err == nil && hasGroups(string(status), mine)
}

// hasGroups reports whether the process with the given /proc/PID/status is in
// all of the groups.
func hasGroups(status string, groups []int) bool {
	var has []string
	for line := range strings.Lines(status) {
		if key, value, _ := strings.Cut(line, ":"); key == "Groups" || key == "Gid" {
			has = append(has, strings.Fields(value)...)
		}
	}
	return !slices.ContainsFunc(groups, func(g int) bool { return !slices.Contains(has, strconv.Itoa(g)) })
}

// start installs the unit for the binary exe, for every boot, and starts it.
func (u unit) start(exe, dir string) error {
	if err := os.MkdirAll(filepath.Dir(u.file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(u.file, []byte(u.text(exe, dir, os.Getenv("HOME"))), 0o644); err != nil {
		return err
	}
	err := errors.Join(u.ctl("enable"), u.ctl("restart"))
	if err != nil {
		// The agent is then started without systemd; two ways at once must not be.
		err = errors.Join(err, u.remove())
	}
	return err
}

func (u unit) remove() error {
	if !u.installed() {
		return nil
	}
	if err := errors.Join(u.ctl("stop"), u.ctl("disable")); err != nil {
		return err
	}
	if err := os.Remove(u.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return u.systemctl("daemon-reload")
}

// ctl is systemctl VERB of the unit, as the file of the unit is now.
func (u unit) ctl(verb string) error {
	if err := u.systemctl("daemon-reload"); err != nil {
		return err
	}
	return u.systemctl(verb, u.name())
}

func (u unit) systemctl(args ...string) error {
	if !booted() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), systemctlWithin)
	defer cancel()
	if u.user {
		args = append([]string{"--user"}, args...)
	}
	cmd := exec.CommandContext(ctx, "systemctl", args...)
	if u.user {
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+u.runtime)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// text is the unit's file. StartLimitIntervalSec=0: never give up. HOME, which
// system units do not have, is where the engine's registry credentials are. LimitCORE=0:
// the agent's memory holds secrets.
func (u unit) text(exe, dir, home string) string {
	target, rights := "multi-user.target", rightsOfRoot
	if u.user {
		target, rights = "default.target", ""
	}
	return fmt.Sprintf(`[Unit]
Description=Otto agent of cluster %s
Documentation=https://github.com/otto-edge/otto
After=network.target docker.service
StartLimitIntervalSec=0

[Service]
ExecStart=%s run --dir %s
Environment=%s
StandardOutput=append:%s
StandardError=inherit
UMask=0077
LimitCORE=0
%sRestart=always
RestartSec=2
TimeoutStopSec=15

[Install]
WantedBy=%s
`, u.cluster, quote(exe), quote(strings.ReplaceAll(dir, "$", "$$")),
		quote("HOME="+home), strings.ReplaceAll(filepath.Join(dir, logFile), "%", "%%"), rights, target)
}

// rightsOfRoot are what is left of them to an agent that is root's: files of any owner, signals
// to processes of containers, and what /proc says of those. None of these lines makes a mount
// namespace, in which the agent would not see what is mounted later. For an agent that is not
// root's each but the first would take sudo away, by which it ends what must not outlast its
// lease. ADR 26 has the reasons, also for what is not here.
const rightsOfRoot = `CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID
CapabilityBoundingSet=CAP_KILL CAP_SETGID CAP_SETUID CAP_SYS_PTRACE
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallErrorNumber=EPERM
SystemCallFilter=~@clock @module @mount @raw-io @reboot @swap
`

// quote is a word of a unit's file, see systemd.syntax(7).
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, "\n", `\n`).Replace(s) + `"`
}

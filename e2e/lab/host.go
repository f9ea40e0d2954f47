package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Host is one machine of a lab. Its users are otto, who may use Docker, plain,
// who may not, and root. A method fails the test if it cannot do its work.
type Host struct {
	Name string
	IP   string
	lab  *Lab
}

// SSH runs a shell command as user otto and returns its output, trimmed.
func (h *Host) SSH(command string) string {
	h.lab.t.Helper()
	return h.lab.Run("ssh", h.Name, command)
}

// TrySSH is SSH as any user, for commands that may fail.
func (h *Host) TrySSH(user, command string) (string, error) {
	return h.lab.Try("ssh", user+"@"+h.Name, command)
}

// Docker runs a docker command on the host, over SSH.
func (h *Host) Docker(args ...string) string {
	h.lab.t.Helper()
	return h.lab.Run(append([]string{"docker", h.Name}, args...)...)
}

// TryDocker is Docker for commands that may fail.
func (h *Host) TryDocker(args ...string) (string, error) {
	return h.lab.Try(append([]string{"docker", h.Name}, args...)...)
}

// Exec runs a command as root, past network and sshd.
func (h *Host) Exec(args ...string) string {
	h.lab.t.Helper()
	return h.lab.Run(append([]string{"exec", h.Name}, args...)...)
}

// TryExec is Exec for commands that may fail.
func (h *Host) TryExec(args ...string) (string, error) {
	return h.lab.Try(append([]string{"exec", h.Name}, args...)...)
}

// Background runs a command as root on the host until stop is called, at most
// until the test ends. What it prints is dropped.
func (h *Host) Background(args ...string) (stop func()) {
	h.lab.t.Helper()
	cmd := exec.CommandContext(h.lab.t.Context(), script(), append([]string{"exec", h.Name}, args...)...)
	cmd.Env, cmd.SysProcAttr = h.lab.env, &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		h.lab.t.Fatal(err)
	}
	return func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its own group: the script and what it runs
		_ = cmd.Wait()
	}
}

// Processes are the ids of the host's processes with one of these names, as this
// machine numbers them; those in containers are not among them.
func (h *Host) Processes(names ...string) []int {
	h.lab.t.Helper()
	var pids []int
	for line := range strings.Lines(h.lab.Run("pids", h.Name)) {
		var pid int
		if _, err := fmt.Sscan(line, &pid); err != nil {
			continue
		}
		comm, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "comm"))
		if err == nil && slices.Contains(names, strings.TrimSpace(string(comm))) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Script puts a shell script onto the host's disk, in place of a program perhaps.
func (h *Host) Script(path, text string) {
	h.lab.t.Helper()
	h.Exec("sh", "-c", `printf '#!/bin/sh\n%s\n' "$2" >"$1" && chmod 755 "$1"`, "sh", path, text)
}

// Load gives the host test images, or all; see Lab.Images.
func (h *Host) Load(images ...string) {
	h.lab.t.Helper()
	h.lab.Run(append([]string{"load", h.Name}, images...)...)
}

// Kill cuts the power.
func (h *Host) Kill() { h.lab.t.Helper(); h.lab.Run("kill", h.Name) }

// Boot turns the power on again and waits for sshd and engine. The disk is as it was.
func (h *Host) Boot() { h.lab.t.Helper(); h.lab.Run("boot", h.Name) }

// Freeze stops every process, those in containers too. The kernel answers.
func (h *Host) Freeze() { h.lab.t.Helper(); h.lab.Run("freeze", h.Name) }

// Thaw ends Freeze.
func (h *Host) Thaw() { h.lab.t.Helper(); h.lab.Run("thaw", h.Name) }

// KillPrograms kills every process, those in containers too. The kernel answers until
// Kill, and Boot brings them back.
func (h *Host) KillPrograms() { h.lab.t.Helper(); h.lab.Run("killuser", h.Name) }

// Cut pulls the network cable.
func (h *Host) Cut() { h.lab.t.Helper(); h.lab.Run("cut", h.Name) }

// Heal plugs it in again.
func (h *Host) Heal() { h.lab.t.Helper(); h.lab.Run("heal", h.Name) }

// Loss drops that many percent of the packets in each direction; 0 ends it.
func (h *Host) Loss(percent float64) {
	h.lab.t.Helper()
	h.lab.Run("loss", h.Name, fmt.Sprint(percent))
}

// Rate limits the link to a rate as tc writes it, like 20mbit; "none" ends it.
func (h *Host) Rate(rate string) { h.lab.t.Helper(); h.lab.Run("rate", h.Name, rate) }

// Fill leaves no byte free on the disk.
func (h *Host) Fill() { h.lab.t.Helper(); h.lab.Run("fill", h.Name) }

// Free ends Fill.
func (h *Host) Free() { h.lab.t.Helper(); h.lab.Run("free", h.Name) }

// ReadOnly makes all home directories read-only.
func (h *Host) ReadOnly() { h.lab.t.Helper(); h.lab.Run("readonly", h.Name) }

// Writable ends ReadOnly.
func (h *Host) Writable() { h.lab.t.Helper(); h.lab.Run("writable", h.Name) }

// Cores has the host, and what its engine starts from then on, use only these
// cores of the machine, such as "0" or "0-1".
func (h *Host) Cores(list string) { h.lab.t.Helper(); h.lab.Run("cpus", h.Name, list) }

// Heat gives the host's CPU a temperature, in degrees Celsius; at boot it has 40.
func (h *Host) Heat(degrees float64) {
	h.lab.t.Helper()
	h.lab.Run("temp", h.Name, fmt.Sprint(degrees))
}

// Throttle has the kernel hold the host's CPU back, or not any more, as at boot.
func (h *Host) Throttle(on bool) {
	h.lab.t.Helper()
	state := "0"
	if on {
		state = "1"
	}
	h.lab.Run("throttle", h.Name, state)
}

// Plug gives the host a device, /dev/shm/NAME.
func (h *Host) Plug(name string) { h.lab.t.Helper(); h.lab.Run("plug", h.Name, name) }

// Unplug takes it away.
func (h *Host) Unplug(name string) { h.lab.t.Helper(); h.lab.Run("unplug", h.Name, name) }

// Rekey gives the host another host key; KnownHosts keeps the old one.
func (h *Host) Rekey() { h.lab.t.Helper(); h.lab.Run("rekey", h.Name) }

// StopEngine stops the Docker engine, and with it its containers.
func (h *Host) StopEngine() { h.lab.t.Helper(); h.lab.Run("engine", "stop", h.Name) }

// StartEngine starts a stopped engine and waits until it answers.
func (h *Host) StartEngine() { h.lab.t.Helper(); h.lab.Run("engine", "start", h.Name) }

// KillEngine kills the engine; it comes back by itself a second later.
func (h *Host) KillEngine() { h.lab.t.Helper(); h.lab.Run("engine", "kill", h.Name) }

// HangEngine makes the engine accept calls and never answer.
func (h *Host) HangEngine() { h.lab.t.Helper(); h.lab.Run("engine", "hang", h.Name) }

// ResumeEngine ends HangEngine.
func (h *Host) ResumeEngine() { h.lab.t.Helper(); h.lab.Run("engine", "resume", h.Name) }

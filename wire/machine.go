package wire

import "strings"

// Machine is a boot of a machine, as a heartbeat names it.
type Machine struct {
	Hardware string // the machine itself, whatever disk it runs; empty if it does not say
	Boot     string // differs at each boot
}

// String is HARDWARE/BOOT, or the boot alone. ParseMachine is its inverse.
func (m Machine) String() string {
	if m.Hardware == "" {
		return m.Boot
	}
	return m.Hardware + "/" + m.Boot
}

// ParseMachine reads what a heartbeat says. One without hardware is of an older agent, or
// of a machine that does not say.
func ParseMachine(s string) Machine {
	if hardware, boot, both := strings.Cut(s, "/"); both {
		return Machine{hardware, boot}
	}
	return Machine{Boot: s}
}

// Other reports whether two boots are certainly of two machines.
func (m Machine) Other(o Machine) bool {
	return m.Hardware != "" && o.Hardware != "" && m.Hardware != o.Hardware
}

// Same reports whether two boots are certainly of one machine.
func (m Machine) Same(o Machine) bool {
	return m.Boot == o.Boot || m.Hardware != "" && m.Hardware == o.Hardware
}

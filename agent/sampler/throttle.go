package sampler

import (
	"strings"

	"github.com/otto-edge/otto"
)

// Bits of a Raspberry Pi's get_throttled that are about this moment, as the
// documentation of vcgencmd has them.
const (
	underVoltage = 1 << 0
	heldBack     = 1<<1 | 1<<2 // frequency capped, throttled: for either reason
	softLimit    = 1 << 3      // of temperature
)

// throttleFiles tell whether the processor is held back. A node has some of them,
// or none.
type throttleFiles struct {
	firmware []file // a Raspberry Pi's get_throttled
	alarms   []file // of its voltage in the mainline kernel, for the last 2 s
	cooling  []file // states of the kernel's cooling by frequency; 0 is none
	counts   []file // of x86: how often a core or the package was too hot since boot

	counted bool   // they have been read before
	count   uint64 // their sum then
}

func (s *Sampler) findThrottle() throttleFiles {
	return throttleFiles{
		firmware: append(s.list("/sys/devices/platform/*/*firmware/get_throttled"), s.list("/sys/devices/platform/*firmware/get_throttled")...),
		alarms:   s.sensors("/sys/class/hwmon/hwmon*", "name", "in0_lcrit_alarm", func(name string) bool { return name == "rpi_volt" }),
		cooling: s.sensors("/sys/class/thermal/cooling_device*", "type", "cur_state", func(name string) bool {
			return strings.Contains(name, "cpufreq") || name == "Processor"
		}),
		counts: s.list("/sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"),
	}
}

// readThrottle is nil where nothing tells whether the processor is held back.
func (s *Sampler) readThrottle() *otto.Throttle {
	t := &s.node.throttle
	var found otto.Throttle
	known := false
	for i := range t.firmware {
		bits, ok := hex(s.contents(&t.firmware[i]))
		known = known || ok
		found.Voltage = found.Voltage || bits&underVoltage != 0
		found.Heat = found.Heat || bits&softLimit != 0 || bits&heldBack != 0 && bits&underVoltage == 0
	}
	for i := range t.alarms {
		alarm, ok := number(s.contents(&t.alarms[i]))
		known = known || ok
		found.Voltage = found.Voltage || alarm != 0
	}
	for i := range t.cooling {
		state, ok := number(s.contents(&t.cooling[i]))
		known = known || ok
		found.Heat = found.Heat || state != 0
	}
	if sum, ok := s.sum(t.counts); ok {
		known = true
		found.Heat = found.Heat || t.counted && sum > t.count
		t.count, t.counted = sum, true
	}
	if !known {
		return nil
	}
	return &found
}

// sum adds the numbers in files up; false unless all of them can be read.
func (s *Sampler) sum(files []file) (total uint64, ok bool) {
	for i := range files {
		n, ok := number(s.contents(&files[i]))
		if !ok {
			return 0, false
		}
		total += n
	}
	return total, len(files) > 0
}

func (t *throttleFiles) close(files *opener) {
	for _, list := range [][]file{t.firmware, t.alarms, t.cooling, t.counts} {
		for i := range list {
			files.close(&list[i])
		}
	}
}

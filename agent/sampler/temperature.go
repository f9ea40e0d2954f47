package sampler

import (
	"os"
	"path/filepath"
	"strings"
)

// findZones lists the files with temperatures of the CPU or the SoC: thermal
// zones on boards, hwmon where there is none, as on most PCs.
func (s *Sampler) findZones() []file {
	zones := s.sensors("/sys/class/thermal/thermal_zone*", "type", "temp", isCPUSensor)
	if len(zones) == 0 {
		zones = s.sensors("/sys/class/hwmon/hwmon*", "name", "temp*_input", isCPUSensor)
	}
	return zones
}

// sensors lists files called reading in the directories that match dirs and
// whose file called name says what is meant.
func (s *Sampler) sensors(dirs, name, reading string, meant func(string) bool) []file {
	var found []file
	matches, _ := filepath.Glob(s.path(dirs)) // the pattern is good
	for _, dir := range matches {
		kind, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !meant(strings.TrimSpace(string(kind))) {
			continue
		}
		files, _ := filepath.Glob(filepath.Join(dir, reading))
		for _, f := range files {
			found = append(found, file{path: f})
		}
	}
	return found
}

// list lists the files that match a pattern.
func (s *Sampler) list(pattern string) []file {
	var found []file
	matches, _ := filepath.Glob(s.path(pattern)) // the pattern is good
	for _, m := range matches {
		found = append(found, file{path: m})
	}
	return found
}

// isCPUSensor knows the names by which drivers call the CPU or the SoC, such as
// cpu-thermal (Raspberry Pi), soc_thermal (Rockchip), x86_pkg_temp (Intel).
func isCPUSensor(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"cpu", "soc", "pkg", "core", "k10temp", "zenpower"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// readTemperature is the hottest, in degrees Celsius; nil if there is none.
func (s *Sampler) readTemperature() *float64 {
	var hottest *float64
	for i := range s.node.zones {
		milli, ok := number(s.contents(&s.node.zones[i]))
		if !ok {
			continue
		}
		if t := float64(milli) / 1000; hottest == nil || t > *hottest {
			hottest = &t
		}
	}
	return hottest
}

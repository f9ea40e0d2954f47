package main

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hardware names this machine, whatever disk it has booted from: by the serial number
// that boards have, else by the address of a built-in network card. It is empty if there
// is neither, as in most virtual machines. sys is /sys.
func hardware(sys string) string {
	serial, _ := os.ReadFile(filepath.Join(sys, "firmware/devicetree/base/serial-number"))
	name := strings.Trim(string(serial), "\x00 \n")
	if strings.Trim(name, "0") == "" {
		name = builtInAddress(sys)
	}
	if name == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// builtInAddress is the lowest address that is a network card's own for good: no USB
// stick's, which moves from one machine to another, and none that somebody has set.
func builtInAddress(sys string) string {
	cards, _ := filepath.Glob(filepath.Join(sys, "class/net/*"))
	var own []string
	for _, card := range cards {
		device, err := filepath.EvalSymlinks(filepath.Join(card, "device"))
		kind, _ := os.ReadFile(filepath.Join(card, "addr_assign_type"))
		if err != nil || strings.Contains(device, "/usb") || strings.TrimSpace(string(kind)) != "0" {
			continue
		}
		text, _ := os.ReadFile(filepath.Join(card, "address"))
		if a, err := net.ParseMAC(strings.TrimSpace(string(text))); err == nil && a[0]&0b10 == 0 && slices.Max(a) > 0 {
			own = append(own, a.String())
		}
	}
	if len(own) == 0 {
		return ""
	}
	return slices.Min(own)
}

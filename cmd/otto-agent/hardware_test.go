package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestHardwareIsTheMachinesOwn(t *testing.T) {
	card := func(sys, name, bus, kind, address string) {
		device := filepath.Join(sys, "devices", bus, name)
		dir := filepath.Join(sys, "class/net", name)
		for _, d := range []string{device, dir} {
			if err := os.MkdirAll(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		write(t, filepath.Join(dir, "addr_assign_type"), kind+"\n")
		write(t, filepath.Join(dir, "address"), address+"\n")
		if bus != "" {
			if err := os.Symlink(device, filepath.Join(dir, "device")); err != nil {
				t.Fatal(err)
			}
		}
	}
	one := t.TempDir()
	card(one, "eth0", "pci0", "0", "dc:a6:32:00:00:02")
	was := hardware(one)
	if was == "" {
		t.Fatal("a machine with a card of its own has no name")
	}
	card(one, "wlan1", "usb1", "0", "00:11:22:33:44:55")
	card(one, "veth3", "", "3", "00:00:00:00:00:01")
	card(one, "wlan0", "pci0", "3", "00:00:00:00:00:02")
	card(one, "eth9", "pci0", "0", "02:00:00:00:00:01")
	if now := hardware(one); now != was {
		t.Error("what is plugged in or set by somebody makes it another machine")
	}
	two := t.TempDir()
	card(two, "eth0", "pci0", "0", "dc:a6:32:00:00:03")
	if hardware(two) == was {
		t.Error("two machines have one name")
	}
	if hardware(t.TempDir()) != "" {
		t.Error("a machine that says nothing has a name")
	}
	serial := filepath.Join(two, "firmware/devicetree/base/serial-number")
	if err := os.MkdirAll(filepath.Dir(serial), 0o700); err != nil {
		t.Fatal(err)
	}
	bare := hardware(two)
	write(t, serial, "0000000000000000\x00")
	if hardware(two) != bare {
		t.Error("a serial number of zeros is one")
	}
	write(t, serial, "10000000a1b2c3d4\x00")
	if hardware(two) == bare {
		t.Error("a board's serial number does not count")
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

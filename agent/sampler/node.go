package sampler

import (
	"fmt"
	"time"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/otto-edge/otto"
)

// nodeFiles are the files of a node that are kept open.
type nodeFiles struct {
	ready bool
	net, load, uptime, status,
	pressureCPU, pressureMemory, pressureIO file
	zones    []file // temperatures
	throttle throttleFiles
}

// Node reads the node at now. It fails only if CPU, memory or disk cannot be
// read; CPU is 0 in the first reading.
func (s *Sampler) Node(now time.Time) (otto.NodeSample, error) {
	sample := otto.NodeSample{Time: now}
	s.node.status.path = s.path("/proc/self/status")
	times, err := s.readCPU()
	if err != nil {
		return sample, fmt.Errorf("sample CPU: %w", err)
	}
	sample.CPUPercent = times.percentSince(s.cpu)
	s.cpu = times

	memory, err := mem.VirtualMemoryWithContext(s.ctx)
	if err != nil {
		return sample, fmt.Errorf("sample memory: %w", err)
	}
	s.memory = memory.Total
	sample.MemoryTotal = memory.Total
	sample.MemoryUsed = memory.Total - min(memory.Available, memory.Total)

	usage, err := disk.UsageWithContext(s.ctx, s.disk)
	if err != nil {
		return sample, fmt.Errorf("sample disk: %w", err)
	}
	sample.DiskUsed, sample.DiskTotal = usage.Used, usage.Used+usage.Free

	s.readExtras(&sample)
	return sample, nil
}

// ensureMemory learns the node's memory, the limit of a container without one.
func (s *Sampler) ensureMemory() {
	if s.memory != 0 {
		return
	}
	if memory, err := mem.VirtualMemoryWithContext(s.ctx); err == nil {
		s.memory = memory.Total
	}
}

// readExtras reads what is not there on every node.
func (s *Sampler) readExtras(sample *otto.NodeSample) {
	n := &s.node
	if !n.ready {
		n.net.path = s.path("/proc/net/dev")
		n.load.path = s.path("/proc/loadavg")
		n.uptime.path = s.path("/proc/uptime")
		n.pressureCPU.path = s.path("/proc/pressure/cpu")
		n.pressureMemory.path = s.path("/proc/pressure/memory")
		n.pressureIO.path = s.path("/proc/pressure/io")
		n.zones, n.throttle = s.findZones(), s.findThrottle()
		n.ready = true
	}
	sample.NetRecv, sample.NetSent = netDev(s.contents(&n.net))
	if load, ok := loadAverage(s.contents(&n.load)); ok {
		sample.Load = &otto.Load{One: load[0], Five: load[1], Fifteen: load[2]}
	}
	sample.Uptime, _ = decimal(s.contents(&n.uptime))
	sample.Pressure = s.readPressure()
	sample.Temperature = s.readTemperature()
	sample.Throttle = s.readThrottle()
}

// contents is nil if the file cannot be read.
func (s *Sampler) contents(f *file) []byte {
	b, err := s.files.read(f)
	if err != nil {
		return nil
	}
	return b
}

// readPressure is nil on a kernel without PSI, or with it switched off.
func (s *Sampler) readPressure() *otto.Pressure {
	var p otto.Pressure
	n := &s.node
	var ok bool
	if p.CPU, ok = pressure(s.contents(&n.pressureCPU)); !ok {
		return nil
	}
	p.Memory, _ = pressure(s.contents(&n.pressureMemory))
	p.IO, _ = pressure(s.contents(&n.pressureIO))
	return &p
}

func (n *nodeFiles) close(files *opener) {
	for _, f := range []*file{&n.net, &n.load, &n.uptime, &n.status, &n.pressureCPU, &n.pressureMemory, &n.pressureIO} {
		files.close(f)
	}
	for i := range n.zones {
		files.close(&n.zones[i])
	}
	n.throttle.close(files)
}

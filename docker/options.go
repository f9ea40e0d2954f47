package docker

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"

	"github.com/otto-edge/otto"
)

// pass gives a container the options that Otto does nothing else with.
func pass(o otto.Options, config *container.Config, host *container.HostConfig) error {
	config.Hostname, config.Domainname = o.Hostname, o.Domainname
	config.Tty, config.OpenStdin = o.TTY, o.StdinOpen

	host.Privileged = o.Privileged
	host.SecurityOpt, host.MaskedPaths, host.ReadonlyPaths = securityOptions(o.SecurityOpt)
	host.GroupAdd = o.GroupAdd
	host.UsernsMode = container.UsernsMode(o.UsernsMode)
	host.PidMode = container.PidMode(o.PIDMode)
	host.IpcMode = container.IpcMode(o.IPCMode)
	host.UTSMode = container.UTSMode(o.UTSMode)
	host.CgroupnsMode = container.CgroupnsMode(o.Cgroup)
	host.CgroupParent = o.CgroupParent
	host.Runtime = o.Runtime
	host.Isolation = container.Isolation(o.Isolation)
	host.Init = o.Init
	host.Umask = o.Umask
	host.Sysctls = o.Sysctls
	host.StorageOpt = o.StorageOpt
	host.Annotations = o.Annotations
	host.DNSSearch, host.DNSOptions = o.DNSSearch, o.DNSOptions
	for _, server := range o.DNS {
		addr, err := netip.ParseAddr(server)
		if err != nil {
			return fmt.Errorf("dns %q is not an IP address", server)
		}
		host.DNS = append(host.DNS, addr)
	}

	host.CPUShares = o.CPUShares
	host.CPUPeriod, host.CPUQuota = o.CPUPeriod, o.CPUQuota
	host.CPURealtimePeriod, host.CPURealtimeRuntime = o.CPURealtimePeriod, o.CPURealtimeRuntime
	host.CpusetCpus = o.CPUSet
	host.CPUCount, host.CPUPercent = o.CPUCount, o.CPUPercent
	host.MemoryReservation, host.MemorySwap = o.MemoryReservation, o.MemorySwap
	host.MemorySwappiness = o.MemorySwappiness
	host.OomScoreAdj = o.OOMScoreAdj
	if o.OOMKillDisable {
		host.OomKillDisable = &o.OOMKillDisable
	}
	if o.PIDsLimit != 0 {
		host.PidsLimit = &o.PIDsLimit
	}
	host.ShmSize = o.ShmBytes
	for _, u := range o.Ulimits {
		host.Ulimits = append(host.Ulimits, &container.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	host.DeviceCgroupRules = o.DeviceCgroupRules
	for _, d := range o.DeviceRequests {
		request := container.DeviceRequest{Driver: d.Driver, Count: d.Count, DeviceIDs: d.IDs, Options: d.Options}
		if len(d.Capabilities) > 0 {
			request.Capabilities = [][]string{d.Capabilities}
		}
		host.DeviceRequests = append(host.DeviceRequests, request)
	}
	if b := o.BlockIO; b != nil {
		host.BlkioWeight = b.Weight
		for _, w := range b.WeightDevices {
			host.BlkioWeightDevice = append(host.BlkioWeightDevice,
				&blkiodev.WeightDevice{Path: w.Path, Weight: uint16(w.Rate)})
		}
		host.BlkioDeviceReadBps, host.BlkioDeviceWriteBps = throttles(b.ReadBps), throttles(b.WriteBps)
		host.BlkioDeviceReadIOps, host.BlkioDeviceWriteIOps = throttles(b.ReadIOps), throttles(b.WriteIOps)
	}
	return nil
}

// securityOptions are Docker's, and what systempaths=unconfined means, which the
// engine itself does not know.
func securityOptions(wanted []string) (options, masked, readonly []string) {
	if i := slices.IndexFunc(wanted,
		func(o string) bool { return strings.Replace(o, ":", "=", 1) == "systempaths=unconfined" }); i >= 0 {
		return slices.Delete(slices.Clone(wanted), i, i+1), []string{}, []string{}
	}
	return wanted, nil, nil
}

func throttles(rates []otto.DeviceRate) (list []*blkiodev.ThrottleDevice) {
	for _, r := range rates {
		list = append(list, &blkiodev.ThrottleDevice{Path: r.Path, Rate: r.Rate})
	}
	return list
}

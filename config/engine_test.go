package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestEngineKeysMeanWhatComposeMeans(t *testing.T) {
	engine := func(o otto.Options) otto.ContainerSpec { return otto.ContainerSpec{Engine: &o} }
	for keys, want := range map[string]otto.ContainerSpec{
		"container_name: app_db":                             {ContainerName: "app_db"},
		`expose: ["80", 53/UDP, "3000-3001", 80]`:            {Expose: []string{"3000/tcp", "3001/tcp", "53/udp", "80/tcp"}},
		"hostname: h\ndomainname: d.lan":                     engine(otto.Options{Hostname: "h", Domainname: "d.lan"}),
		"mac_address: 02:42:ac:11:65:43":                     engine(otto.Options{MACAddress: "02:42:ac:11:65:43"}),
		"tty: true\nstdin_open: true\nprivileged: true":      engine(otto.Options{TTY: true, StdinOpen: true, Privileged: true}),
		"tty: false\nprivileged: false\nsecurity_opt: []":    {},
		"security_opt: [no-new-privileges:true]":             engine(otto.Options{SecurityOpt: []string{"no-new-privileges:true"}}),
		"group_add: [video, 44]\nuserns_mode: host":          engine(otto.Options{GroupAdd: []string{"video", "44"}, UsernsMode: "host"}),
		"pid: host\nipc: shareable\nuts: host\ncgroup: host": engine(otto.Options{PIDMode: "host", IPCMode: "shareable", UTSMode: "host", Cgroup: "host"}),
		"cgroup_parent: m\nruntime: nvidia\nisolation: x":    engine(otto.Options{CgroupParent: "m", Runtime: "nvidia", Isolation: "x"}),
		"init: true":                          engine(otto.Options{Init: new(true)}),
		"init: false":                         engine(otto.Options{Init: new(false)}),
		"umask: 0o27":                         engine(otto.Options{Umask: new(uint32(0o27))}),
		"umask: 027":                          engine(otto.Options{Umask: new(uint32(0o27))}),
		"umask: 23":                           engine(otto.Options{Umask: new(uint32(23))}),
		"sysctls: [net.core.somaxconn=1024]":  engine(otto.Options{Sysctls: map[string]string{"net.core.somaxconn": "1024"}}),
		"sysctls: {net.core.somaxconn: 1024}": engine(otto.Options{Sysctls: map[string]string{"net.core.somaxconn": "1024"}}),
		"storage_opt: {size: 1G}\nannotations: [a=b]":        engine(otto.Options{StorageOpt: map[string]string{"size": "1G"}, Annotations: map[string]string{"a": "b"}}),
		"dns: 9.9.9.9\ndns_search: [lan]\ndns_opt: [use-vc]": engine(otto.Options{DNS: []string{"9.9.9.9"}, DNSSearch: []string{"lan"}, DNSOptions: []string{"use-vc"}}),
		"cpu_shares: 73\ncpu_quota: 50000\ncpu_period: 20ms": engine(otto.Options{CPUShares: 73, CPUQuota: 50000, CPUPeriod: 20000}),
		"cpu_rt_runtime: '400ms'\ncpu_rt_period: '1400us'":   engine(otto.Options{CPURealtimeRuntime: 400000, CPURealtimePeriod: 1400}),
		"cpuset: 0,1\ncpu_count: 2\ncpu_percent: 50":         engine(otto.Options{CPUSet: "0,1", CPUCount: 2, CPUPercent: 50}),
		"mem_reservation: 64m\nmemswap_limit: -1":            engine(otto.Options{MemoryReservation: 64 << 20, MemorySwap: -1}),
		"mem_swappiness: 0\noom_kill_disable: true":          engine(otto.Options{MemorySwappiness: new(int64(0)), OOMKillDisable: true}),
		"oom_score_adj: -500\npids_limit: 100":               engine(otto.Options{OOMScoreAdj: -500, PIDsLimit: 100}),
		"deploy: {resources: {limits: {pids: 7}}}":           engine(otto.Options{PIDsLimit: 7}),
		"shm_size: 2gb": engine(otto.Options{ShmBytes: 2 << 30}),
		"ulimits: {nproc: 65535, nofile: {soft: 1, hard: 2}}": engine(otto.Options{Ulimits: []otto.Ulimit{
			{Name: "nofile", Soft: 1, Hard: 2}, {Name: "nproc", Soft: 65535, Hard: 65535},
		}}),
		"blkio_config: {weight: 300, weight_device: [{path: /dev/sda, weight: 400}], device_read_bps: [{path: /dev/sdb, rate: 12mb}], device_write_iops: [{path: /dev/sdb, rate: 30}]}": engine(otto.Options{BlockIO: &otto.BlockIO{
			Weight: 300, WeightDevices: []otto.DeviceRate{{Path: "/dev/sda", Rate: 400}},
			ReadBps: []otto.DeviceRate{{Path: "/dev/sdb", Rate: 12 << 20}}, WriteIOps: []otto.DeviceRate{{Path: "/dev/sdb", Rate: 30}},
		}}),
		"device_cgroup_rules: ['c 188:* rmw']": engine(otto.Options{DeviceCgroupRules: []string{"c 188:* rmw"}}),
		"gpus: all":                            engine(otto.Options{DeviceRequests: []otto.DeviceRequest{{Count: -1, Capabilities: []string{"gpu"}}}}),
		"gpus: [{driver: nvidia, count: 2}]":   engine(otto.Options{DeviceRequests: []otto.DeviceRequest{{Driver: "nvidia", Count: 2, Capabilities: []string{"gpu"}}}}),
		"gpus: all\ndevices: [nvidia.com/gpu=0, amd.com/gpu=all, /dev/kvm]\ndeploy: {resources: {reservations: {devices: [{capabilities: [tpu]}]}}}": {
			Devices: []otto.Device{{Host: "/dev/kvm", Container: "/dev/kvm", Permissions: "rwm"}},
			Engine: &otto.Options{DeviceRequests: []otto.DeviceRequest{
				{Count: -1, Capabilities: []string{"gpu"}}, {Driver: "cdi", IDs: []string{"nvidia.com/gpu=0", "amd.com/gpu=all"}}, {Count: -1, Capabilities: []string{"tpu"}},
			}},
		},
		"deploy: {resources: {reservations: {devices: [{driver: nvidia, device_ids: ['0'], capabilities: [gpu]}]}}}": engine(otto.Options{
			DeviceRequests: []otto.DeviceRequest{{Driver: "nvidia", IDs: []string{"0"}, Capabilities: []string{"gpu"}}},
		}),
		"deploy: {restart_policy: {condition: on-failure, max_attempts: 3, delay: 5s}}": {Restart: "on-failure:3"},
		"restart: always\ndeploy: {restart_policy: {condition: none}}":                  {Restart: "no"},
		"deploy: {labels: {a: b}, endpoint_mode: vip}\nattach: false\ndevelop: {}":      {},
		"command: []\nentrypoint: ''":                                                   {NoEntrypoint: true},
		"stop_grace_period: 0s":                                                         {StopAtOnce: true},
		"mem_limit: 0\ncpus: 0":                                                         {},
		"user: ${NOT_SET:-}\nplatform: ${NOT_SET:-}\nrestart: ${NOT_SET:-}":             {},
		"network_mode: container:vpn":                                                   {NetworkMode: "container:vpn"},
		"external_links: [redis, old_db:db]":                                            {Links: []string{"redis:redis", "old_db:db"}},
		`volumes: ["/srv:/srv:ro,z", "data:/d:Z"]`: {Mounts: []otto.Mount{
			{Type: "bind", Source: "/srv", Target: "/srv", ReadOnly: true, SELinux: "z"}, {Type: "volume", Source: "data", Target: "/d", SELinux: "Z"},
		}},
		`volumes: [{type: bind, source: /a, target: /a, bind: {propagation: rslave, selinux: z, recursive: disabled}}, {type: volume, source: vol, target: /v, volume: {subpath: x}, consistency: cached}]`: {Mounts: []otto.Mount{
			{Type: "bind", Source: "/a", Target: "/a", Propagation: "rslave", SELinux: "z", Recursive: "disabled"}, {Type: "volume", Source: "vol", Target: "/v", Subpath: "x"},
		}},
		"volumes: [{type: image, source: alpine, target: /i, image: {subpath: etc}}]": {Mounts: []otto.Mount{{Type: "image", Source: "alpine", Target: "/i", Subpath: "etc"}}},
		`ports: [{target: 53, published: "53", protocol: UDP}, "0.0.0.0:80:80", "[::]:80:80"]`: {Ports: []otto.Port{
			{Host: 53, Container: 53, Protocol: "udp"}, {HostIP: "0.0.0.0", Host: 80, Container: 80, Protocol: "tcp"}, {HostIP: "::", Host: 80, Container: 80, Protocol: "tcp"},
		}},
	} {
		t.Run(keys, func(t *testing.T) {
			want.Image = "nginx"
			if diff := cmp.Diff(want, spec(t, keys)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSeccompProfileIsReadWhereTheFileIs(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.json"), []byte("{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Parse("otto.yaml",
		[]byte("services: {web: {image: nginx, security_opt: ['seccomp:p.json', 'seccomp=unconfined']}}"), dir, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`seccomp={"defaultAction":"SCMP_ACT_ALLOW"}`, "seccomp=unconfined"}
	if diff := cmp.Diff(want, f.Wanted.Services[0].Spec.Engine.SecurityOpt); diff != "" {
		t.Error(diff)
	}
	if _, err = Parse("otto.yaml", []byte("services: {web: {image: nginx, security_opt: ['seccomp:none.json']}}"), dir,
		noEnv); err == nil {
		t.Error("a profile that is not there was accepted")
	}
}

func TestVolumesAndNetworksOfTheFile(t *testing.T) {
	f := parse(t, `
name: home
services:
  db: {image: postgres, container_name: app_db, networks: {back: {aliases: [sql], ipv4_address: 172.28.0.5, priority: 1}, default: }, volumes: ["data:/d", "films:/f:ro", "own:/o"]}
  web: {image: nginx, networks: [proxy], links: ["db:database"], depends_on: []}
  plain: {image: nginx, networks: [default]}
networks:
  back: {internal: true, ipam: {config: [{subnet: 172.28.0.0/16}]}}
  proxy: {external: true, name: traefik}
volumes:
  data: {external: true, name: home_data}
  films: {driver: local, driver_opts: {type: nfs, o: "addr=192.0.2.5,ro", device: ":/films"}, labels: [a=b]}
`)
	got := map[string]otto.ContainerSpec{}
	for _, s := range f.Wanted.Services {
		s.Spec.Image = ""
		got[s.Name] = s.Spec
	}
	want := map[string]otto.ContainerSpec{
		"db": {
			ContainerName: "app_db",
			Networks: []otto.Network{
				{
					Name:     "home_back",
					Aliases:  []string{"sql"},
					IPv4:     "172.28.0.5",
					Internal: true,
					IPAM:     &otto.IPAM{Pools: []otto.IPPool{{Subnet: "172.28.0.0/16"}}},
				},
				{},
			},
			Mounts: []otto.Mount{
				{Type: "volume", Source: "home_data", Target: "/d", External: true},
				{
					Type:       "volume",
					Source:     "films",
					Target:     "/f",
					ReadOnly:   true,
					DriverOpts: map[string]string{"type": "nfs", "o": "addr=192.0.2.5,ro", "device": ":/films"},
					Labels:     map[string]string{"a": "b"},
				},
				{Type: "volume", Source: "own", Target: "/o"},
			},
		},
		"web":   {Networks: []otto.Network{{Name: "traefik", External: true}}, Links: []string{"app_db:database"}},
		"plain": {},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]otto.Dependency{{Service: "db", Condition: "service_started"}},
		f.Wanted.Services[1].DependsOn); diff != "" {
		t.Error("a link starts nothing before:", diff)
	}
}

func TestServicesOfProfilesAreLeftOut(t *testing.T) {
	const text = "services:\n  web: {image: nginx}\n  debug: {image: busybox, profiles: [debug, all]}\n"
	for profiles, want := range map[string]string{"": "web", "x,debug": "web debug", "*": "web debug"} {
		f, err := Parse("otto.yaml", []byte(text), "/",
			func(name string) (string, bool) { return profiles, name == "COMPOSE_PROFILES" })
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range f.Wanted.Services {
			names = append(names, s.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: got %s, want %s", profiles, got, want)
		}
	}
}

func TestNoneOfAServiceMayBeWanted(t *testing.T) {
	f := parse(t, "services: {off: {image: nginx, deploy: {replicas: 0}}}")
	if names := f.Wanted.InstanceNames(f.Wanted.Services[0]); len(names) != 0 {
		t.Errorf("got %v", names)
	}
}

package docker

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"github.com/otto-edge/otto"
)

func TestOptionsOfTheEngineArePassedAsComposePassesThem(t *testing.T) {
	inst := otto.Instance{Name: "web", Service: "web", Spec: otto.ContainerSpec{
		Image:        "nginx",
		Expose:       []string{"80/tcp"},
		NoEntrypoint: true,
		StopAtOnce:   true,
		Links:        []string{"db:database"},
		Mounts: []otto.Mount{
			{Type: otto.MountBind, Source: "/a", Target: "/a", SELinux: "z"},
			{Type: otto.MountBind, Source: "/b", Target: "/b", Recursive: "disabled"},
			{
				Type:       otto.MountVolume,
				Source:     "nfs",
				Target:     "/nfs",
				DriverOpts: map[string]string{"type": "nfs"},
				Subpath:    "x",
			},
			{Type: otto.MountImage, Source: "alpine", Target: "/i", Subpath: "etc"},
		},
		Engine: &otto.Options{
			Hostname:   "h",
			Domainname: "d",
			MACAddress: "02:42:ac:11:65:43",
			TTY:        true,
			StdinOpen:  true,
			Privileged: true,
			SecurityOpt: []string{
				"no-new-privileges:true",
				"systempaths=unconfined",
			},
			GroupAdd:     []string{"44"},
			UsernsMode:   "host",
			PIDMode:      "host",
			IPCMode:      "shareable",
			UTSMode:      "host",
			Cgroup:       "private",
			CgroupParent: "m",
			Runtime:      "nvidia",
			Isolation:    "default",
			Init:         new(false),
			Umask:        new(uint32(0o27)),
			Sysctls:      map[string]string{"a": "1"},
			StorageOpt:   map[string]string{"size": "1G"},
			Annotations:  map[string]string{"b": "2"},
			DNS: []string{
				"9.9.9.9",
			},
			DNSSearch:          []string{"lan"},
			DNSOptions:         []string{"use-vc"},
			CPUShares:          1,
			CPUPeriod:          2,
			CPUQuota:           3,
			CPURealtimePeriod:  4,
			CPURealtimeRuntime: 5,
			CPUSet:             "0",
			CPUCount:           6,
			CPUPercent:         7,
			MemoryReservation:  8,
			MemorySwap:         -1,
			MemorySwappiness:   new(int64(0)),
			OOMKillDisable:     true,
			OOMScoreAdj:        -5,
			PIDsLimit:          9,
			ShmBytes:           10,
			Ulimits:            []otto.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}},
			BlockIO: &otto.BlockIO{
				Weight:        300,
				WeightDevices: []otto.DeviceRate{{Path: "/dev/a", Rate: 11}},
				WriteIOps:     []otto.DeviceRate{{Path: "/dev/b", Rate: 12}},
			},
			DeviceCgroupRules: []string{
				"c 188:* rmw",
			},
			DeviceRequests: []otto.DeviceRequest{{Driver: "nvidia", Count: -1, Capabilities: []string{"gpu"}}},
		},
	}}
	got, err := createOptions(home, inst, "web")
	if err != nil {
		t.Fatal(err)
	}
	config := container.Config{
		Image:        "nginx",
		Entrypoint:   []string{},
		StopTimeout:  new(0),
		ExposedPorts: network.PortSet{network.MustParsePort("80/tcp"): {}},
		Hostname:     "h",
		Domainname:   "d",
		Tty:          true,
		OpenStdin:    true,
		Labels:       got.Config.Labels,
	}
	host := container.HostConfig{
		Binds:         []string{"/a:/a:rw,z"},
		RestartPolicy: container.RestartPolicy{Name: "no"},
		LogConfig:     got.HostConfig.LogConfig,
		NetworkMode:   "home",
		Mounts: []mount.Mount{
			{
				Type:        "bind",
				Source:      "/b",
				Target:      "/b",
				BindOptions: &mount.BindOptions{NonRecursive: true, CreateMountpoint: true},
			},
			{Type: "volume", Source: "nfs", Target: "/nfs", VolumeOptions: &mount.VolumeOptions{
				Subpath:      "x",
				Labels:       home.Labels(),
				DriverConfig: &mount.Driver{Name: "local", Options: map[string]string{"type": "nfs"}},
			}},
			{Type: "image", Source: "alpine", Target: "/i", ImageOptions: &mount.ImageOptions{Subpath: "etc"}},
		},
		Privileged:    true,
		SecurityOpt:   []string{"no-new-privileges:true"},
		MaskedPaths:   []string{},
		ReadonlyPaths: []string{},
		GroupAdd:      []string{"44"},
		UsernsMode:    "host",
		PidMode:       "host",
		IpcMode:       "shareable",
		UTSMode:       "host",
		CgroupnsMode:  "private",
		Runtime:       "nvidia",
		Isolation:     "default",
		Init:          new(false),
		Umask:         new(uint32(0o27)),
		Sysctls:       map[string]string{"a": "1"},
		StorageOpt:    map[string]string{"size": "1G"},
		Annotations: map[string]string{
			"b": "2",
		},
		DNS:         []netip.Addr{netip.MustParseAddr("9.9.9.9")},
		DNSSearch:   []string{"lan"},
		DNSOptions:  []string{"use-vc"},
		OomScoreAdj: -5,
		ShmSize:     10,
		Resources: container.Resources{
			CgroupParent:       "m",
			CPUShares:          1,
			CPUPeriod:          2,
			CPUQuota:           3,
			CPURealtimePeriod:  4,
			CPURealtimeRuntime: 5,
			CpusetCpus:         "0",
			CPUCount:           6,
			CPUPercent:         7,
			MemoryReservation:  8,
			MemorySwap:         -1,
			MemorySwappiness:   new(int64(0)),
			OomKillDisable:     new(true),
			PidsLimit:          new(int64(9)),
			Ulimits:            []*container.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}},
			BlkioWeight:        300,
			BlkioWeightDevice: []*blkiodev.WeightDevice{
				{Path: "/dev/a", Weight: 11},
			},
			BlkioDeviceWriteIOps: []*blkiodev.ThrottleDevice{{Path: "/dev/b", Rate: 12}},
			DeviceCgroupRules: []string{
				"c 188:* rmw",
			},
			DeviceRequests: []container.DeviceRequest{{Driver: "nvidia", Count: -1, Capabilities: [][]string{{"gpu"}}}},
		},
	}
	compare := cmpopts.EquateComparable(netip.Addr{}, network.Port{})
	if diff := cmp.Diff(&config, got.Config, compare); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&host, got.HostConfig, compare); diff != "" {
		t.Error(diff)
	}
	end := got.NetworkingConfig.EndpointsConfig["home"]
	if end.MacAddress.String() != "02:42:ac:11:65:43" || !slices.Equal(end.Links, []string{"db:database"}) {
		t.Errorf("got %+v", end)
	}
}

func TestNamesOfContainersAndTheirAliases(t *testing.T) {
	for _, tc := range []struct {
		inst    otto.Instance
		name    string
		aliases string
	}{
		{otto.Instance{Name: "web", Service: "web"}, "web", "web"},
		{otto.Instance{Name: "web-2", Service: "web"}, "web-2", "web web-2"},
		{otto.Instance{Name: "web", Service: "web", StartFirst: true}, "web", ""},
		{otto.Instance{Name: "web", Service: "web", Spec: otto.ContainerSpec{ContainerName: "app_web"}}, "app_web", "web app_web"},
		{otto.Instance{Name: "shop/web", Service: "shop/web"}, "shop-web-1", "web shop-web-1"},
		{otto.Instance{Name: "shop/web-2", Service: "shop/web", StartFirst: true}, "shop-web-2", "web"},
	} {
		end, err := endpoint(tc.inst, otto.Network{})
		if name := tc.inst.ContainerName(); err != nil || name != tc.name ||
			strings.Join(end.Aliases, " ") != tc.aliases {
			t.Errorf("%s: got %s, %v, %v; want %s, %s", tc.inst.Name, name, end.Aliases, err, tc.name, tc.aliases)
		}
	}
}

// engineOfNetworks makes networks and connects to them, and tells what it was asked for.
func engineOfNetworks(existing string, asked *[]string) *fakeEngine {
	made := map[string]bool{}
	note := func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Name           string
			Internal       bool
			Labels         map[string]string
			EndpointConfig struct{ Aliases []string }
		}
		b, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(b, &body)
		*asked = append(*asked,
			strings.TrimPrefix(r.URL.Path, "/v1.41")+" "+body.Name+strings.Join(body.EndpointConfig.Aliases, ","))
		made[body.Name] = true
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"Id": "1"}`))
	}
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{
		"POST /networks/create":             note,
		"POST /networks/home_front/connect": note,
		"POST /containers/create":           note,
		"DELETE /containers/1": func(w http.ResponseWriter, _ *http.Request) {
			*asked = append(*asked, "removed")
			w.WriteHeader(http.StatusNoContent)
		},
	}}
	if existing != "" {
		f.handlers["GET /networks/home_back"] = says(existing)
	}
	return f
}

func TestContainerGetsAllItsNetworks(t *testing.T) {
	inst := otto.Instance{
		Name:    "web",
		Service: "web",
		Spec: otto.ContainerSpec{Image: "nginx", Networks: []otto.Network{
			{Name: "home_back", Internal: true}, {Name: "home_front", Aliases: []string{"www"}},
		}},
	}
	var asked []string
	if _, err := fake(t, engineOfNetworks("", &asked)).Create(t.Context(), inst, "web"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/networks/create home_back",
		"/networks/create home_front",
		"/containers/create ",
		"/networks/home_front/connect web,www",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

func TestContainerThatCannotHaveAllItsNetworksIsNotLeftThere(t *testing.T) {
	inst := otto.Instance{
		Name:    "web",
		Service: "web",
		Spec:    otto.ContainerSpec{Image: "nginx", Networks: []otto.Network{{Name: "home_back"}, {Name: "home_none"}}},
	}
	var asked []string
	if _, err := fake(t, engineOfNetworks("", &asked)).Create(t.Context(), inst, "web"); err == nil {
		t.Fatal("no error")
	}
	if asked[len(asked)-1] != "removed" {
		t.Errorf("got %v", asked)
	}
}

func TestContainerWithoutAllItsNetworksIsNotTheWantedOne(t *testing.T) {
	in := container.InspectResponse{
		State:           &container.State{Status: "created"},
		Config:          &container.Config{Labels: map[string]string{otto.LabelSpec: "abc", labelNetworks: "2"}},
		NetworkSettings: &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{"home_back": {}}},
	}
	if c := containerOf(in); c.SpecHash != "" {
		t.Error("it would be started with one network of two")
	}
	in.NetworkSettings.Networks["home_front"] = &network.EndpointSettings{}
	if c := containerOf(in); c.SpecHash != "abc" {
		t.Errorf("got %+v", c)
	}
}

func TestForeignNetworkIsUsedOnlyIfExternal(t *testing.T) {
	const foreign = `{"Name": "home_back", "Id": "1", "Labels": {}}`
	for external, want := range map[bool]string{true: "", false: "that is not this cluster"} {
		inst := otto.Instance{
			Name:    "web",
			Service: "web",
			Spec: otto.ContainerSpec{
				Image:    "nginx",
				Networks: []otto.Network{{Name: "home_back", External: external}},
			},
		}
		_, err := fake(t, engineOfNetworks(foreign, new([]string))).Create(t.Context(), inst, "web")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("external %v: got %v", external, err)
		}
	}
}

func TestExternalVolumeThatIsNotThereIsNotMade(t *testing.T) {
	inst := otto.Instance{
		Name:    "db",
		Service: "db",
		Spec: otto.ContainerSpec{
			Image:  "x",
			Mounts: []otto.Mount{{Type: otto.MountVolume, Source: "home_data", Target: "/d", External: true}},
		},
	}
	for there, want := range map[bool]string{true: "/networks/create home /containers/create ", false: "/networks/create home"} {
		var asked []string
		f := engineOfNetworks("", &asked)
		if there {
			f.handlers["GET /volumes/home_data"] = says(`{"Name": "home_data"}`)
		}
		_, err := fake(t, f).Create(t.Context(), inst, "db")
		if got := strings.Join(asked, " "); (err == nil) != there || got != want {
			t.Errorf("there %v: %q, %v", there, got, err)
		}
	}
}

package docker

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

func TestSpecBecomesWhatTheEngineIsAskedFor(t *testing.T) {
	inst := otto.Instance{Name: "web-2", Service: "web", Spec: otto.ContainerSpec{
		Image:       "nginx:alpine",
		Command:     []string{"-g"},
		Entrypoint:  []string{"nginx"},
		Environment: map[string]string{"B": "2", "A": "1=1"},
		Labels:      map[string]string{"mine": "yes", otto.LabelCluster: "forged"},
		Ports: []otto.Port{
			{Host: 8080, Container: 80, Protocol: "tcp"},
			{HostIP: "127.0.0.1", Container: 80, Protocol: "tcp"},
			{Host: 53, Container: 53, Protocol: "udp"},
		},
		Mounts: []otto.Mount{
			{Type: otto.MountBind, Source: "/etc/x", Target: "/x", ReadOnly: true, Propagation: "rslave"},
			{Type: otto.MountBind, Source: "/must", Target: "/must", ReadOnly: true, MustExist: true},
			{Type: otto.MountTmpfs, Target: "/tmp", SizeBytes: 1 << 20, Mode: 0o1777},
		},
		Tmpfs:       []string{"/run:size=64m", "/cache"},
		Resources:   otto.Resources{CPU: 0.5, MemoryBytes: 64 << 20},
		Healthcheck: &otto.Healthcheck{Test: []string{"CMD", "true"}, Interval: time.Second, Retries: 2},
		StopGrace:   1500 * time.Millisecond,
		StopSignal:  "SIGQUIT",
		User:        "1000",
		WorkingDir:  "/srv",
		Devices:     []otto.Device{{Host: "/dev/ttyUSB0", Container: "/dev/tty0", Permissions: "rw"}},
		CapAdd:      []string{"NET_ADMIN"},
		CapDrop:     []string{"ALL"},
		ReadOnly:    true,
		ExtraHosts:  []string{"nas:10.0.0.2"},
	}}
	got, err := createOptions(home, inst, "web-2.new")
	if err != nil {
		t.Fatal(err)
	}
	http, dns := network.MustParsePort("80/tcp"), network.MustParsePort("53/udp")
	want := client.ContainerCreateOptions{
		Name: "web-2.new",
		Config: &container.Config{
			Image:      "nginx:alpine",
			Cmd:        []string{"-g"},
			Entrypoint: []string{"nginx"},
			Env:        []string{"A=1=1", "B=2"},
			Labels: map[string]string{
				"mine":              "yes",
				otto.LabelCluster:   "home",
				otto.LabelClusterID: "c1",
				otto.LabelNode:      "n1",
				otto.LabelService:   "web",
				otto.LabelInstance:  "web-2",
				otto.LabelSpec:      inst.Spec.Hash(),
			},
			ExposedPorts: network.PortSet{http: {}, dns: {}},
			Healthcheck:  &container.HealthConfig{Test: []string{"CMD", "true"}, Interval: time.Second, Retries: 2},
			StopSignal:   "SIGQUIT",
			StopTimeout:  new(2),
			User:         "1000",
			WorkingDir:   "/srv",
		},
		HostConfig: &container.HostConfig{
			Binds: []string{"/etc/x:/x:ro,rslave"},
			Mounts: []mount.Mount{
				{Type: "bind", Source: "/must", Target: "/must", ReadOnly: true},
				{Type: "tmpfs", Target: "/tmp", TmpfsOptions: &mount.TmpfsOptions{SizeBytes: 1 << 20, Mode: 0o1777}},
			},
			Tmpfs: map[string]string{"/run": "size=64m", "/cache": ""},
			PortBindings: network.PortMap{
				http: {{HostPort: "8080"}, {HostIP: netip.MustParseAddr("127.0.0.1")}},
				dns:  {{HostPort: "53"}},
			},
			RestartPolicy: container.RestartPolicy{Name: "unless-stopped"},
			LogConfig: container.LogConfig{
				Type:   "json-file",
				Config: map[string]string{"max-size": "10m", "max-file": "3"},
			},
			NetworkMode:    "home",
			CapAdd:         []string{"NET_ADMIN"},
			CapDrop:        []string{"ALL"},
			ReadonlyRootfs: true,
			ExtraHosts:     []string{"nas:10.0.0.2"},
			Resources: container.Resources{
				Memory:   64 << 20,
				NanoCPUs: 5e8,
				Devices: []container.DeviceMapping{
					{PathOnHost: "/dev/ttyUSB0", PathInContainer: "/dev/tty0", CgroupPermissions: "rw"},
				},
			},
		},
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
			"home": {Aliases: []string{"web", "web-2"}},
		}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, network.Port{})); diff != "" {
		t.Error(diff)
	}
	if inst.Spec.Labels[otto.LabelCluster] != "forged" {
		t.Error("the spec's own labels were changed")
	}
}

func TestRestartPolicy(t *testing.T) {
	volume := []otto.Mount{{Type: otto.MountVolume, Source: "data", Target: "/data"}}
	for _, tc := range []struct {
		spec otto.ContainerSpec
		want container.RestartPolicy
		err  bool
	}{
		{spec: otto.ContainerSpec{}, want: container.RestartPolicy{Name: "unless-stopped"}},
		{spec: otto.ContainerSpec{Restart: "no"}, want: container.RestartPolicy{Name: "no"}},
		{spec: otto.ContainerSpec{Restart: "always"}, want: container.RestartPolicy{Name: "always"}},
		{spec: otto.ContainerSpec{Restart: "on-failure:5"}, want: container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 5}},
		{spec: otto.ContainerSpec{Restart: "always", Mounts: volume}, want: container.RestartPolicy{Name: "no"}},
		{spec: otto.ContainerSpec{Restart: "on-failure:x"}, err: true},
		{spec: otto.ContainerSpec{Restart: "sometimes"}, err: true},
	} {
		got, err := restartPolicy(tc.spec, false)
		if (err != nil) != tc.err || err == nil && got != tc.want {
			t.Errorf("%q, stateful %v: got %+v, %v; want %+v", tc.spec.Restart, tc.spec.Stateful(), got, err, tc.want)
		}
	}
}

func withMounts(mounts ...otto.Mount) otto.Instance {
	return otto.Instance{Spec: otto.ContainerSpec{Mounts: mounts}}
}

// TestDirectoryThatIsThereIsNotMade leaves the hash as it is, so that nothing is made anew
// for it.
func TestDirectoryThatIsThereIsNotMade(t *testing.T) {
	inst := withMounts(
		otto.Mount{Type: otto.MountBind, Source: "/srv/db/", Target: "/db", ReadOnly: true, Propagation: "rslave"},
		otto.Mount{Type: otto.MountBind, Source: "/srv/z", Target: "/z", SELinux: "z"},
		otto.Mount{Type: otto.MountBind, Source: "/srv/new", Target: "/new"})
	hash := inst.Spec.Hash()
	inst.Present = []string{"/srv/db", "/srv/z"}
	options, err := createOptions(home, inst, "db")
	if err != nil {
		t.Fatal(err)
	}
	want := []mount.Mount{
		{
			Type:        "bind",
			Source:      "/srv/db/",
			Target:      "/db",
			ReadOnly:    true,
			BindOptions: &mount.BindOptions{Propagation: "rslave"},
		},
	}
	if diff := cmp.Diff(want, options.HostConfig.Mounts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"/srv/z:/z:rw,z", "/srv/new:/new:rw"}, options.HostConfig.Binds); diff != "" {
		t.Error(diff)
	}
	if got := options.Config.Labels[otto.LabelSpec]; got != hash {
		t.Errorf("the hash was %s and is %s", hash, got)
	}
}

func TestNamedVolumesCarryTheClustersLabel(t *testing.T) {
	_, got := mountsOf(withMounts(otto.Mount{Type: otto.MountVolume, Source: "data", Target: "/data", NoCopy: true}),
		home)
	want := []mount.Mount{{Type: "volume", Source: "data", Target: "/data", VolumeOptions: &mount.VolumeOptions{
		NoCopy: true, Labels: map[string]string{otto.LabelCluster: "home", otto.LabelClusterID: "c1"},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNetworkModeIsHonoured(t *testing.T) {
	for _, mode := range []string{"host", "none", "bridge"} {
		got, endpoints, _ := networks("home", otto.Instance{Spec: otto.ContainerSpec{NetworkMode: mode}})
		if string(got) != mode || endpoints != nil {
			t.Errorf("%s became %s with %v", mode, got, endpoints)
		}
	}
}

func TestBadEnvironmentNameDoesNotTellTheValue(t *testing.T) {
	_, err := environment(otto.ContainerSpec{Environment: map[string]string{"": "hunter2"}}, nil)
	if err == nil || cmp.Equal(err.Error(), "") || containsSecret(err.Error()) {
		t.Errorf("got %v", err)
	}
}

func TestSecretVariablesAreInTheEnvironment(t *testing.T) {
	inst := otto.Instance{Name: "db", Service: "db", Spec: otto.ContainerSpec{
		Image:             "postgres",
		Restart:           "always",
		Environment:       map[string]string{"PGUSER": "app", "TZ": "UTC"},
		SecretEnvironment: map[string]string{"PGPASSWORD": "c0ffee"},
	}}
	if _, err := createOptions(home, inst, "db"); err == nil || !strings.Contains(err.Error(), "PGPASSWORD") {
		t.Errorf("without its secret variable: %v", err)
	}
	inst.Contents = otto.Contents{"c0ffee": otto.NewSecret([]byte("hunter2"))}
	got, err := createOptions(home, inst, "db")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"PGPASSWORD=hunter2", "PGUSER=app", "TZ=UTC"}, got.Config.Env); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if p := got.HostConfig.RestartPolicy; p.Name != container.RestartPolicyAlways {
		t.Errorf("the engine has its variables, and does not restart it: %v", p)
	}
	if len(inst.Spec.Environment) != 2 {
		t.Errorf("the spec has become %v", inst.Spec.Environment)
	}
}

func TestImagesForOtherMachinesDoNotRun(t *testing.T) {
	for _, tc := range []struct {
		node, image string
		want        bool
	}{
		{"amd64", "amd64", true},
		{"amd64", "arm64", false},
		{"arm64", "arm", true},
		{"arm", "arm64", false},
		{"amd64", "", true},
		{"riscv64", "", true},
		{"riscv64", "amd64", false},
	} {
		if got := runs(tc.node, tc.image); got != tc.want {
			t.Errorf("%s runs %s: %v", tc.node, tc.image, got)
		}
	}
}

func TestPullNeedsSpace(t *testing.T) {
	for _, tc := range []struct {
		free, download int64 // MB
		want           string
	}{
		{1024, 0, ""},
		{400, 0, "disk of the engine is nearly full: 400 MB free in /d, a pull needs 1024 MB: remove images that nothing uses (docker image prune)"},
		{2023, 400, "disk of the engine is nearly full: 2023 MB free in /d, a pull needs 2024 MB: remove images that nothing uses (docker image prune)"},
		{2024, 400, ""},
	} {
		err := disk{"/d", uint64(tc.free) << 20}.fits(tc.download << 20)
		if got := fmt.Sprint(err); tc.want != "" && got != tc.want || tc.want == "" && err != nil {
			t.Errorf("%d MB free, %d MB to download: %v", tc.free, tc.download, err)
		}
	}
	if err := (disk{}).fits(1 << 40); err != nil {
		t.Errorf("a disk that cannot be seen: %v", err)
	}
}

func TestSecretsAreBoundAndNoEngineRestartsWithoutThem(t *testing.T) {
	inst := otto.Instance{Name: "db", Service: "db", Spec: otto.ContainerSpec{Image: "postgres", Files: []otto.File{
		{Kind: otto.FileSecret, Name: "password", Target: "/run/secrets/password", Content: "c0ffee"},
		{Kind: otto.FileConfig, Name: "conf", Target: "/etc/app:1.conf", Content: "decaf"},
	}}}
	if _, err := createOptions(home, inst, "db"); err == nil {
		t.Error("a container is made without its secrets")
	}
	inst.FilePaths = []string{"/run/otto-x/hash/0", "/run/otto-x/hash/1"}
	got, err := createOptions(home, inst, "db")
	if err != nil {
		t.Fatal(err)
	}
	want := []mount.Mount{
		{Type: "bind", Source: "/run/otto-x/hash/0", Target: "/run/secrets/password", ReadOnly: true},
		{Type: "bind", Source: "/run/otto-x/hash/1", Target: "/etc/app:1.conf", ReadOnly: true},
	}
	if diff := cmp.Diff(want, got.HostConfig.Mounts); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if p := got.HostConfig.RestartPolicy; p.Name != container.RestartPolicyDisabled {
		t.Errorf("the engine restarts it: %v", p)
	}
}

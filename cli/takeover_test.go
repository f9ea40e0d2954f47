package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

// running is a project of a database and an application, as it runs.
func running() otto.Project {
	return otto.Project{
		Name: "shop",
		Containers: []otto.ProjectContainer{
			{
				ID: "1", Name: "shop-app-1", Service: "app", Number: 1, State: otto.ContainerRunning, Image: "app",
				Networks: map[string]string{"shop_default": ""},
				Labels:   map[string]string{"com.docker.compose.service": "app"},
			},
			{
				ID: "2", Name: "shop-db-1", Service: "db", Number: 1, State: otto.ContainerRunning, Image: "db",
				Mounts: []otto.ProjectMount{
					{Type: otto.MountBind, Source: "/srv/conf/", Target: "/conf"},
					{Type: otto.MountVolume, Source: "shop_data", Target: "/data/"},
				},
				Networks: map[string]string{"shop_default": "172.31.0.9"},
				Ports:    []otto.Port{{Host: 5432, Container: 5432, Protocol: "tcp"}},
			},
		},
		Volumes:  []otto.ProjectVolume{{Name: "shop_data"}},
		Networks: []otto.ProjectNetwork{{Name: "shop_default", ID: "net"}},
	}
}

// filed are the services that a file has of it, beside others.
func filed() []otto.Service {
	return []otto.Service{
		{Name: "web", Replicas: 1, Spec: otto.ContainerSpec{Image: "web"}},
		{
			Name: "shop/app", Replicas: 1,
			Spec: otto.ContainerSpec{
				Image:    "app",
				Networks: []otto.Network{{Name: "shop_default", Aliases: []string{"a"}}},
			},
		},
		{Name: "shop/db", Replicas: 1, Spec: otto.ContainerSpec{
			Image: "db",
			Mounts: []otto.Mount{
				{Type: otto.MountVolume, Source: "shop_data", Target: "/data"},
				{Type: otto.MountBind, Source: "/srv/conf", Target: "/conf"},
			},
			Networks: []otto.Network{{Name: "shop_default", IPv4: "172.31.0.9", Driver: "bridge"}},
			Ports:    []otto.Port{{Host: 5432, Container: 5432, Protocol: "tcp"}},
		}},
	}
}

func TestWhatOfAProjectIsTakenOver(t *testing.T) {
	got := takeoverOf(running(), "nas", filed(), nil)
	want := takeover{
		Stack: "shop", Node: "nas",
		Containers: []takenContainer{
			{Name: "shop-app-1", Service: "shop/app", Instance: "shop/app", Becomes: "shop-app-1", Keeps: []string{}},
			{
				Name: "shop-db-1", Service: "shop/db", Instance: "shop/db", Becomes: "shop-db-1",
				Keeps: []string{"folder /srv/conf/", "volume shop_data", "address 172.31.0.9", "port 5432"},
			},
		},
		Volumes: []string{"shop_data"}, Networks: []string{"shop_default"}, Brought: []string{},
		Left: []string{}, Notes: []string{}, Refused: []string{},
		record: otto.Adoption{
			Stack: "shop", Node: "nas", Volumes: []otto.DataRecord{{Name: "shop_data"}},
			Composed: map[string]otto.Composed{
				"shop/app": {
					Labels: map[string]string{"com.docker.compose.service": "app"},
					Spec:   filed()[1].Spec.Hash(),
				},
				"shop/db": {Spec: filed()[2].Spec.Hash()},
			},
			Taken: otto.Taken{
				Containers: []otto.TakenContainer{
					{ID: "1", Service: "shop/app", Instance: "shop/app"},
					{ID: "2", Service: "shop/db", Instance: "shop/db"},
				},
				Networks: []otto.TakenNetwork{{ID: "net", As: otto.Network{Name: "shop_default", Driver: "bridge"}}},
			},
		},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(takeover{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsNotedAndRefusedOfATakeover(t *testing.T) {
	db := func(p *otto.Project) *otto.ProjectContainer { return &p.Containers[1] }
	for name, tt := range map[string]struct {
		change        func(p *otto.Project, s []otto.Service)
		note, refused string
		left          int
	}{
		"another cluster's": {
			change:  func(p *otto.Project, _ []otto.Service) { db(p).Others = "it is of another cluster, named hb" },
			note:    "service shop/db has no container there",
			refused: "container shop-db-1 is not this cluster's to take over: it is of another cluster, named hb",
		},
		"a volume of another cluster": {
			change:  func(p *otto.Project, _ []otto.Service) { p.Volumes[0].Others = "it is of another cluster, named hb" },
			refused: "volume shop_data is not this cluster's to take over",
		},
		"a volume in use by others": {
			change:  func(p *otto.Project, _ []otto.Service) { p.Volumes[0].UsedBy = []string{"backup"} },
			refused: "volume shop_data is in use by backup as well",
		},
		"likewise, and external": {
			change: func(p *otto.Project, s []otto.Service) {
				p.Volumes[0].UsedBy, s[2].Spec.Mounts[0].External = []string{"backup"}, true
			},
		},
		"a network of another cluster": {
			change:  func(p *otto.Project, _ []otto.Service) { p.Networks[0].Others = "it is of another cluster, named hb" },
			refused: "network shop_default is not this cluster's to take over",
		},
		"the file has another volume there": {
			change:  func(_ *otto.Project, s []otto.Service) { s[2].Spec.Mounts[0].Source = "shop_new" },
			refused: "shop-db-1 has volume shop_data at /data/, and the file has volume shop_new there: its data would stay behind",
			note:    "volume shop_new is not there yet, and is made",
		},
		"the file has no volume there": {
			change:  func(_ *otto.Project, s []otto.Service) { s[2].Spec.Mounts = s[2].Spec.Mounts[1:] },
			refused: "and the file has nothing there",
		},
		"another folder": {
			change:  func(_ *otto.Project, s []otto.Service) { s[2].Spec.Mounts[1].Source = "/srv/other" },
			refused: "shop-db-1 has /srv/conf/ at /conf, and the file has bind /srv/other there",
		},
		"a copy of a folder of this machine": {
			change: func(_ *otto.Project, s []otto.Service) {
				s[2].Spec.Mounts[1] = otto.Mount{Type: otto.MountVolume, Source: "shop.conf", Target: "/conf", External: true, Seed: "./conf"}
				s[2].Seeds = otto.Seeds{"shop.conf": {Project: "/home/me/shop", Path: "conf", Name: "./conf"}}
			},
			refused: "shop-db-1 has /srv/conf/ at /conf, and would get a copy of ./conf of this machine: write the path that it has on the " +
				"node, /srv/conf:/conf",
			note: "shop/db gets a copy of ./conf of this machine",
		},
		"a copy of a folder for what has no container": {
			change: func(p *otto.Project, s []otto.Service) {
				p.Containers = p.Containers[1:]
				s[1].Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "shop.conf", Target: "/conf", External: true, Seed: "./conf"}}
				s[1].Seeds = otto.Seeds{"shop.conf": {Project: "/home/me/shop", Path: "conf", Name: "./conf"}}
			},
			refused: "service shop/app has no container there, and would begin with a copy of ./conf of this machine",
			note:    "shop/app gets a copy of ./conf of this machine",
		},
		"data without a name": {
			change: func(p *otto.Project, _ []otto.Service) {
				db(p).Mounts = append(db(p).Mounts,
					otto.ProjectMount{
						Type: otto.MountVolume, Source: "abc", Target: "/more", Nameless: true,
						Full: true,
					})
			},
			refused: "shop-db-1 keeps data at /more in a volume without a name",
		},
		"nothing without a name": {
			change: func(p *otto.Project, _ []otto.Service) {
				db(p).Mounts = append(db(p).Mounts,
					otto.ProjectMount{Type: otto.MountVolume, Source: "abc", Target: "/more", Nameless: true})
			},
			note: "gets another volume without a name at /more",
		},
		"data that had no name and has one": {
			change: func(p *otto.Project, s []otto.Service) {
				db(p).Mounts = append(db(p).Mounts,
					otto.ProjectMount{
						Type: otto.MountVolume, Source: "abc", Target: "/more", Nameless: true,
						Full: true,
					})
				s[2].Spec.Mounts = append(s[2].Spec.Mounts,
					otto.Mount{Type: otto.MountVolume, Source: "abc", Target: "/more", External: true})
			},
			note: "volume abc is not there yet, and is made",
		},
		"another image": {
			change: func(_ *otto.Project, s []otto.Service) { s[2].Spec.Image = "db:2" },
			note:   "shop-db-1 runs image db, and gets db:2",
		},
		"a newer image of the name": {
			change: func(p *otto.Project, _ []otto.Service) { db(p).ImageNow = "sha256:1" },
			note:   "shop-db-1 gets what image db means now",
		},
		"names of Compose 1": {
			change: func(p *otto.Project, _ []otto.Service) { db(p).Name = "shop_db_1" },
			note:   "container shop_db_1 is called shop-db-1 from then on",
		},
		"a job that has ended": {
			change: func(p *otto.Project, s []otto.Service) {
				p.Containers[0].State, s[1].Spec.Restart = otto.ContainerExited, "no"
			},
			note: "shop-app-1 has ended, and runs once more",
		},
		"one that was stopped": {
			change: func(p *otto.Project, _ []otto.Service) { p.Containers[0].State = otto.ContainerExited },
			note:   "shop-app-1 does not run now (exited), and is started",
		},
		"a service without a container": {
			change: func(p *otto.Project, _ []otto.Service) { p.Containers = p.Containers[1:] },
			note:   "service shop/app has no container there, and is started",
		},
		"a service that the file does not have": {
			change: func(p *otto.Project, _ []otto.Service) { p.Containers[0].Service = "former" }, left: 1,
			note: "service shop/app has no container there",
		},
		"likewise, with the data": {
			change: func(p *otto.Project, _ []otto.Service) {
				p.Containers[0].Service, p.Containers[0].Mounts = "former", db(p).Mounts
			},
			left: 1, note: "service shop/app has no container there",
			refused: "container shop-app-1, which the file does not have, runs with volume shop_data of shop/db: stop it first",
		},
		"more of a service than the file has": {
			change: func(p *otto.Project, _ []otto.Service) { p.Containers[0].Number = 2 }, left: 1,
			note: "service shop/app has no container there",
		},
		"another address": {
			change: func(_ *otto.Project, s []otto.Service) { s[2].Spec.Networks[0].IPv4 = "172.31.0.10" },
			note:   "shop-db-1 has address 172.31.0.9 in network shop_default, and gets 172.31.0.10",
		},
		"another port": {
			change: func(_ *otto.Project, s []otto.Service) { s[2].Spec.Ports = nil },
			note:   "shop-db-1 publishes port 5432, and the file does not",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := running(), filed()
			tt.change(&p, s)
			got := takeoverOf(p, "nas", s, nil)
			if notes := strings.Join(got.Notes, "\n"); !strings.Contains(notes, tt.note) || tt.note == "" &&
				notes != "" {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			if refused := strings.Join(got.Refused, "\n"); !strings.Contains(refused, tt.refused) ||
				tt.refused == "" && refused != "" {
				t.Errorf("refused %q, want %q", refused, tt.refused)
			}
			if len(got.Left) != tt.left {
				t.Errorf("left alone: %v", got.Left)
			}
		})
	}
}

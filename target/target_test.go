package target

import (
	"testing"

	"github.com/otto-edge/otto"
)

func TestWhatIsMeantByAName(t *testing.T) {
	c := &otto.Cluster{}
	for _, id := range []string{"nas", "rpi-01"} {
		c.Nodes = append(c.Nodes, otto.NodeStatus{Node: otto.Node{ID: id}})
	}
	for name, replicas := range map[string]int{"web": 2, "nas": 1, "shop/db": 1, "shop/api": 2, "blog/api": 1} {
		s := otto.ServiceStatus{Service: otto.Service{Name: name, Replicas: replicas}}
		for _, i := range (otto.Wanted{}).InstanceNames(s.Service) {
			s.Instances = append(s.Instances, otto.PlacedInstance{InstanceStatus: otto.InstanceStatus{Name: i}})
		}
		c.Services = append(c.Services, s)
	}
	for name, want := range map[string]Target{
		"web":        {Service: "web"},
		"web-2":      {Service: "web", Instance: "web-2"},
		"nas":        {Service: "nas"},
		"rpi-01":     {Node: "rpi-01"},
		"shop/db":    {Service: "shop/db"},
		"db":         {Service: "shop/db"},
		"api-2":      {Service: "shop/api", Instance: "shop/api-2"},
		"shop/api-2": {Service: "shop/api", Instance: "shop/api-2"},
	} {
		if got, err := Find(c, name); got != want || err != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"wep":    `no service or node "wep": did you mean web?`,
		"rpi-1":  `no service or node "rpi-1": did you mean rpi-01?`,
		"zzzzzz": "",
		"":       "",
	} {
		if _, err := Find(c, name); err == nil || want != "" && err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]Target{
		"shop":    {Stack: "shop"},
		"blog":    {Stack: "blog"},
		"nas":     {Service: "nas"},
		"shop/db": {Service: "shop/db"},
		"db":      {Service: "shop/db"},
	} {
		if got, err := FindAll(c, name); got != want || err != nil {
			t.Errorf("all of %s: %+v, %v", name, got, err)
		}
	}
	if got, err := Find(c, "blog"); err == nil || err.Error() != "blog is a stack: write blog/api" {
		t.Errorf("one of a stack: %+v, %v", got, err)
	}
	if _, err := FindAll(c, "bl"); err == nil {
		t.Error("a part of a name is a stack")
	}
	if _, err := Find(c, "api"); err == nil {
		t.Error("one of two is taken")
	}
	if _, err := Find(&otto.Cluster{}, "web"); err == nil ||
		err.Error() != `no service or node "web": there are none yet` {
		t.Errorf("got %v", err)
	}
}

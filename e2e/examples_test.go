package e2e_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/otto-edge/otto/e2e/lab"
)

// TestExampleStacksRun has the stacks of examples/stacks run on this machine as they are,
// with stand-ins of their images: all is up, and each finds by name what its file has it
// look for.
func TestExampleStacksRun(t *testing.T) {
	l := lab.Up(t, 1)
	l.Engine()
	l.Images()
	l.Load("otto-stand-in:1")
	c := lab.NewCluster(t, "name: not-yet\n")
	tellIfFailed(t, c)
	if err := os.CopyFS(filepath.Join(c.Dir, "stacks"), os.DirFS("../examples/stacks")); err != nil {
		t.Fatal(err)
	}
	c.Dir = filepath.Join(c.Dir, "stacks")
	t.Setenv("ZIGBEE_DEVICE", "/dev/null")
	t.Setenv("HTTP_PORT", "18080")
	var images []string
	files, err := filepath.Glob(filepath.Join(c.Dir, "*", "compose.yaml"))
	if err != nil || len(files) != 7 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^ +image: "?([^"\n]+)`).FindAllStringSubmatch(string(b), -1) {
			images = append(images, strings.ReplaceAll(m[1], "${IMMICH_VERSION:-release}", "release"))
		}
		// A machine of tests may be a container itself, which has no more rights to give.
		b = bytes.ReplaceAll(b, []byte("    privileged: true\n"), nil)
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range images {
		docker(t, "tag", "otto-stand-in:1", name)
	}
	t.Cleanup(func() {
		for _, name := range images {
			_, _ = quietly("rmi", name)
		}
	})
	c.Start()
	lab.Until(t, "all stacks are up", func() bool {
		services := c.Status().Services
		for _, s := range services {
			if len(s.Instances) != 1 || !s.Instances[0].Up() {
				return false
			}
		}
		return len(services) == 23
	})
	for _, look := range [][2]string{
		{"zigbee2mqtt", "mosquitto"},
		{"nextcloud-cron-1", "redis"},
		{"nextcloud-app-1", "db"},
		{"immich_server", "database"},
		{"paperless-webserver-1", "gotenberg"},
		{"traefik", "whoami"},
		{"sonarr", "prowlarr"},
		{"sonarr", "gluetun"},
	} {
		if out, err := quietly("exec", look[0], "wget", "-qO-", "http://"+look[1]+":8080/"); err != nil {
			t.Errorf("%s does not reach %s: %v\n%s", look[0], look[1], err, out)
		}
	}
	for _, look := range [][2]string{{"sonarr", "db"}, {"immich_server", "broker"}} { // of other stacks
		if _, err := quietly("exec", look[0], "wget", "-qO-", "http://"+look[1]+":8080/"); err == nil {
			t.Errorf("%s reaches %s", look[0], look[1])
		}
	}
	if vpn := docker(t, "inspect", "-f", "{{.Id}}", "gluetun"); docker(t, "inspect", "-f", "{{.HostConfig.NetworkMode}}", "qbittorrent") != "container:"+vpn {
		t.Error("qbittorrent is not in the network of gluetun")
	}
	if out := c.Run("apply", "--yes"); !strings.Contains(out, "Nothing would change.") {
		t.Errorf("a second apply says:\n%s", out)
	}
}

func quietly(args ...string) (string, error) {
	out, err := exec.Command("docker", args...).CombinedOutput()
	return string(out), err
}

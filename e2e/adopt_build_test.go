package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otto-edge/otto/e2e/lab"
)

// composedByHand runs a container with the labels that Compose gives it, where Compose is not there.
func composedByHand(t *testing.T, dir, service string, args ...string) {
	t.Helper()
	project := filepath.Base(dir)
	all := []string{"run", "-d", "--name", project + "-" + service + "-1", "--network", "none"}
	for key, value := range map[string]string{
		"project": project, "service": service, "container-number": "1", "oneoff": "False",
		"project.working_dir": dir, "project.config_files": filepath.Join(dir, "compose.yaml"),
	} {
		all = append(all, "--label", "com.docker.compose."+key+"="+value)
	}
	docker(t, append(all, args...)...)
}

const stubbornProject = `services:
  web:
    build: .
    network_mode: none
    restart: always
    stop_grace_period: 5s
`

// TestProjectStaysComposesUntilItIsTakenOver has a build that fails before anything is recorded, and
// the stack taken out again while its container is being stopped.
func TestProjectStaysComposesUntilItIsTakenOver(t *testing.T) {
	l := lab.Up(t, 1)
	l.Engine()
	l.Images()
	l.Load("redis:alpine")
	c := lab.NewCluster(t, "name: home\nnodes:\n  - {id: here, host: localhost}\n")
	tellIfFailed(t, c)
	c.Start()
	dir := filepath.Join(c.Dir, "shop")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// It does not end when it is asked to, so that there is time while it is being stopped.
	const dockerfile = "FROM redis:alpine\nENTRYPOINT []\nCMD [\"sh\", \"-c\", \"trap '' TERM; while true; do sleep 1; done\"]\n"
	write("compose.yaml", stubbornProject)
	write("Dockerfile", dockerfile)
	docker(t, "build", "--tag", "shop-web", dir)
	composedByHand(t, dir, "web", "--restart", "always", "--stop-timeout", "5", "shop-web")
	about := func() string {
		return docker(t, "inspect", "-f", "{{.Id}} {{.State.Running}} {{.HostConfig.RestartPolicy.Name}}", "shop-web-1")
	}
	before := about()

	write("Dockerfile", dockerfile+"RUN false\n")
	out, err := c.Try("adopt", "here", "shop", "--yes")
	if err == nil || !strings.Contains(out, "nothing was changed, as the build failed") {
		t.Errorf("its build fails: %v\n%s", err, out)
	}
	if events := c.Run("events"); strings.Contains(events, "stack-adopted") {
		t.Errorf("its build fails, and it was recorded:\n%s", events)
	}
	if text, err := os.ReadFile(filepath.Join(c.Dir, "otto.yaml")); err != nil || strings.Contains(string(text), "shop") || about() != before {
		t.Errorf("its build fails, and it is %s, before %s; otto.yaml has\n%s", about(), before, text)
	}

	write("Dockerfile", dockerfile+"ENV VERSION=2\n")
	cmd := c.Command(t.Context(), "adopt", "here", "shop", "--yes")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lab.Until(t, "its container is being stopped", func() bool { return strings.HasSuffix(about(), " true no") })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	c.Run("stack", "rm", "shop")
	lab.Until(t, "it is as it was", func() bool { return about() == before })
	if out := docker(t, "ps", "-a", "--format", "{{.Names}}"); out != "shop-web-1" {
		t.Errorf("there are %s", out)
	}
	if events := c.Run("events"); !strings.Contains(events, "container shop-web-1 is Compose's again") {
		t.Errorf("the events do not say it:\n%s", events)
	}
	docker(t, "stop", "--time", "0", "shop-web-1") // somebody does; it is nobody's but Compose's
	c.Run("cluster", "stop")
	c.Run("cluster", "start")
	if got := about(); !strings.Contains(got, "false always") {
		t.Errorf("what somebody has stopped is %s", got)
	}
	docker(t, "start", "shop-web-1")

	c.Run("adopt", "here", "shop", "--yes")
	if out := docker(t, "ps", "-a", "--format", `{{.Names}} {{.Label "otto.cluster"}}`); out != "shop-web-1 home" {
		t.Errorf("adopted, there are %s", out)
	}
}

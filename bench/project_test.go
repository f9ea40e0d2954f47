package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto/e2e/lab"
)

// BenchmarkProject100 is a whole command about a Compose project of 100 services, from the
// program's start to its end: "init" reads and checks it, "plan" also asks a control plane
// what it would change. The project is not applied, so that no container runs.
//
//	ms      by the wall, median
//	cpu-ms  CPU time of the command alone, median, which says more where others use the machine too
//
// With the otto of a former build as OTTO_FORMER both run in turn, and former-ms and
// former-cpu-ms are of that one.
func BenchmarkProject100(b *testing.B) {
	l := lab.Up(b, 1)
	yaml := nodes(l, 1, "5s")
	c := lab.NewCluster(b, strings.TrimSuffix(yaml, "services:\n"))
	c.Start()
	if err := os.WriteFile(filepath.Join(c.Dir, "compose.yaml"), project(100), 0o600); err != nil {
		b.Fatal(err)
	}
	c.Write(strings.TrimSuffix(yaml, "services:\n") + "stacks:\n  - {name: big, compose: compose.yaml}\n")
	for _, command := range []struct {
		args []string
		exit int
	}{
		{[]string{"cluster", "init"}, 0},
		{[]string{"plan"}, 1}, // something would change
	} {
		b.Run(command.args[len(command.args)-1], func(b *testing.B) {
			var wall, cpu, formerWall, formerCPU []time.Duration
			run := func(wall, cpu *[]time.Duration) {
				cmd, began := c.Command(b.Context(), command.args...), time.Now()
				if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != command.exit {
					b.Fatalf("%v: %s", cmd.ProcessState, out)
				}
				*wall = append(*wall, time.Since(began))
				*cpu = append(*cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
			}
			now := c.Path
			for b.Loop() {
				run(&wall, &cpu)
				if former := os.Getenv("OTTO_FORMER"); former != "" {
					c.Path = former
					run(&formerWall, &formerCPU)
					c.Path = now
				}
			}
			milliseconds := func(list []time.Duration) float64 { return median(list).Seconds() * 1000 }
			b.ReportMetric(milliseconds(wall), "ms")
			b.ReportMetric(milliseconds(cpu), "cpu-ms")
			if len(formerCPU) > 0 {
				b.ReportMetric(milliseconds(formerWall), "former-ms")
				b.ReportMetric(milliseconds(formerCPU), "former-cpu-ms")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// project is a Compose file of so many services, each with what services of real ones have.
func project(services int) []byte {
	var text strings.Builder
	text.WriteString("services:\n")
	for i := range services {
		fmt.Fprintf(&text, `  web%02d:
    image: nginx:${TAG:-1.27}
    ports: ["%d:80"]
    environment: {DB_HOST: db, LEVEL: "${LEVEL:-info}", N: "%d"}
    labels: {traefik.enable: "true", traefik.http.routers.web%02d.rule: "Host(x)"}
    volumes: ["data%02d:/data"]
    networks: [back]
    healthcheck: {test: [CMD, "true"], interval: 30s}
    restart: unless-stopped
`, i, 10000+i, i, i, i)
		if i > 0 {
			fmt.Fprintf(&text, "    depends_on: [web%02d]\n", i-1)
		}
	}
	text.WriteString("networks: {back: {}}\nvolumes:\n")
	for i := range services {
		fmt.Fprintf(&text, "  data%02d:\n", i)
	}
	return []byte(text.String())
}

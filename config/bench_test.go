package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkLoadStack loads a Compose project of 100 services, as plan, apply and init do.
func BenchmarkLoadStack(b *testing.B) {
	var text strings.Builder
	text.WriteString("services:\n")
	for i := range 100 {
		fmt.Fprintf(&text, `  web%02d:
    image: nginx:${TAG:-1.27}
    ports: ["%d:80"]
    environment: {DB_HOST: db, LEVEL: "${LEVEL:-info}", N: "%d"}
    labels: {traefik.enable: "true", traefik.http.routers.web%02d.rule: "Host(x)"}
    volumes: ["data%02d:/data", "./conf:/conf:ro"]
    networks: [back]
    healthcheck: {test: [CMD, "true"], interval: 30s}
    restart: unless-stopped
`, i, 10000+i, i, i, i)
		if i > 0 {
			fmt.Fprintf(&text, "    depends_on: [web%02d]\n", i-1)
		}
	}
	text.WriteString("networks: {back: {}}\nvolumes:\n")
	for i := range 100 {
		fmt.Fprintf(&text, "  data%02d:\n", i)
	}
	dir := b.TempDir()
	for name, content := range map[string]string{"compose.yaml": text.String(), "otto.yaml": "stacks: [{name: big, compose: compose.yaml}]\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := Load(filepath.Join(dir, "otto.yaml"), noEnv); err != nil {
			b.Fatal(err)
		}
	}
}

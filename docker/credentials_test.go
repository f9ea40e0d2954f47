package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
)

func TestCredentialsOfTheUsersDockerConfig(t *testing.T) {
	const hub = `"https://index.docker.io/v1/": {"auth": "bWU6aHVudGVyMg=="}` // me:hunter2
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	helper := "#!/bin/sh\nread server; [ \"$server\" = r.example.com:5000 ] || { echo credentials not found in native keychain; exit 1; }\n" +
		"echo '{\"Username\": \"<token>\", \"Secret\": \"t0k3n\"}'\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-test"), []byte(helper), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		config, image string
		want          registry.AuthConfig
		err           string
	}{
		"no config":         {image: "redis"},
		"docker hub":        {config: `{"auths": {` + hub + `}}`, image: "redis", want: registry.AuthConfig{Username: "me", Password: "hunter2", ServerAddress: dockerHub}},
		"another registry":  {config: `{"auths": {` + hub + `}}`, image: "r.example.com/redis"},
		"url as key":        {config: `{"auths": {"https://r.example.com/v1/": {"auth": "bWU6aHVudGVyMg=="}}}`, image: "r.example.com/redis", want: registry.AuthConfig{Username: "me", Password: "hunter2", ServerAddress: "r.example.com"}},
		"identity token":    {config: `{"auths": {"r.example.com": {"identitytoken": "x"}}}`, image: "r.example.com/a/b", want: registry.AuthConfig{IdentityToken: "x", ServerAddress: "r.example.com"}},
		"helper":            {config: `{"credHelpers": {"r.example.com:5000": "test"}}`, image: "r.example.com:5000/x", want: registry.AuthConfig{IdentityToken: "t0k3n", ServerAddress: "r.example.com:5000"}},
		"store knows none":  {config: `{"auths": {"https://index.docker.io/v1/": {}}, "credsStore": "test"}`, image: "redis"},
		"helper is missing": {config: `{"credsStore": "nowhere"}`, image: "redis", err: "docker-credential-nowhere"},
		"helper with path":  {config: `{"credsStore": "../evil"}`, image: "redis", err: "name only"},
		"damaged auth":      {config: `{"auths": {"r.example.com": {"auth": "?"}}}`, image: "r.example.com/x", err: "docker login"},
		"not JSON":          {config: `auths:`, image: "redis", err: "config.json"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.config != "" {
				if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(tc.config), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := credentials(t.Context(), dir, tc.image)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "hunter2") {
					t.Fatalf("got %v, want an error with %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			auth, err := authconfig.Decode(got)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, *auth); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzDecodeAuth(f *testing.F) {
	f.Add("bWU6aHVudGVyMg==", "")
	f.Fuzz(func(t *testing.T, auth, token string) {
		if got, err := decodeAuth(auth, token); err == nil && strings.Contains(got.Username, ":") {
			t.Errorf("user %q", got.Username)
		}
	})
}

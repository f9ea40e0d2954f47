package docker

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
)

// dockerHub is the key of Docker Hub's credentials, for reasons of history.
const dockerHub = "https://index.docker.io/v1/"

// configFile is what `docker login` writes.
type configFile struct {
	Auths map[string]struct {
		Auth          string `json:"auth"` // base64 of user:password
		IdentityToken string `json:"identitytoken"`
	} `json:"auths"`
	CredsStore  string            `json:"credsStore"`
	CredHelpers map[string]string `json:"credHelpers"`
}

// credentials returns what the docker config in dir has for the registry of an
// image, encoded as the engine's API wants it; "" if it has nothing.
func credentials(ctx context.Context, dir, image string) (string, error) {
	path := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var file configFile
	if err := json.Unmarshal(b, &file); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	server, err := registryOf(image)
	if err != nil {
		return "", err
	}
	auth, err := file.lookUp(ctx, server)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if auth == (registry.AuthConfig{}) {
		return "", nil
	}
	auth.ServerAddress = server
	return authconfig.Encode(auth)
}

// registryOf is the name under which the credentials for an image are kept.
func registryOf(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", image, err)
	}
	if domain := reference.Domain(named); domain != "docker.io" {
		return domain, nil
	}
	return dockerHub, nil
}

func (f configFile) lookUp(ctx context.Context, server string) (registry.AuthConfig, error) {
	if helper := f.CredHelpers[server]; helper != "" {
		return askHelper(ctx, helper, server)
	}
	for key, entry := range f.Auths {
		if hostOf(key) != hostOf(server) || entry.Auth == "" && entry.IdentityToken == "" {
			continue
		}
		return decodeAuth(entry.Auth, entry.IdentityToken)
	}
	if f.CredsStore != "" {
		return askHelper(ctx, f.CredsStore, server)
	}
	return registry.AuthConfig{}, nil
}

// hostOf leaves the host of a key such as https://registry.example.com/v1/.
func hostOf(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, _, _ := strings.Cut(key, "/")
	return host
}

func decodeAuth(auth, token string) (registry.AuthConfig, error) {
	if auth == "" {
		return registry.AuthConfig{IdentityToken: token}, nil
	}
	b, err := base64.StdEncoding.DecodeString(auth)
	user, password, ok := strings.Cut(strings.TrimRight(string(b), "\x00"), ":")
	if err != nil || !ok {
		return registry.AuthConfig{}, errors.New("an auth entry is damaged: run `docker login` again")
	}
	return registry.AuthConfig{Username: user, Password: password, IdentityToken: token}, nil
}

// askHelper runs a credential helper by the protocol of
// github.com/docker/docker-credential-helpers. Knowing nothing is no error.
func askHelper(ctx context.Context, helper, server string) (registry.AuthConfig, error) {
	if strings.ContainsRune(helper, filepath.Separator) {
		return registry.AuthConfig{}, fmt.Errorf("credential helper %q: write its name only", helper)
	}
	ctx, cancel := context.WithTimeout(ctx, shortCall)
	defer cancel()
	name := "docker-credential-" + helper
	cmd := exec.CommandContext(ctx, name, "get")
	cmd.Stdin = strings.NewReader(server)
	out, err := cmd.Output()
	if bytes.Contains(out, []byte("credentials not found")) {
		return registry.AuthConfig{}, nil
	}
	if err != nil {
		return registry.AuthConfig{}, fmt.Errorf("credential helper %s: %w", name, err)
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return registry.AuthConfig{}, fmt.Errorf("credential helper %s: its answer is not JSON", name)
	}
	if answer.Username == "<token>" {
		return registry.AuthConfig{IdentityToken: answer.Secret}, nil
	}
	return registry.AuthConfig{Username: answer.Username, Password: answer.Secret}, nil
}

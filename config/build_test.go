package config

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

// buildOf is how the docker command builds for a service, with DIR for the folder of the file.
func buildOf(t *testing.T, f *File, service string, buildx bool) (args, env []string, input string) {
	t.Helper()
	for _, b := range f.Builds {
		if slices.Contains(b.Services, service) {
			c, err := b.Command("linux/arm64", buildx)
			if err != nil {
				t.Fatal(err)
			}
			for i := range c.Args {
				c.Args[i] = strings.ReplaceAll(c.Args[i], filepath.Dir(f.Path), "DIR")
			}
			return c.Args, c.Env, c.Input
		}
	}
	t.Fatalf("nothing is built for %s", service)
	return nil, nil, ""
}

func TestBuildsAreThoseOfCompose(t *testing.T) {
	const whole = `
    build:
      context: ./web
      dockerfile: docker/Dockerfile.prod
      args: {VERSION: "1.2", EMPTY: "", TOKEN: }
      target: prod
      labels: {a: b}
      cache_from: ["type=local,src=/c"]
      cache_to: ["type=local,dest=/c"]
      no_cache_filter: [one]
      additional_contexts: {lib: ./lib, base: docker-image://alpine}
      entitlements: [network.host]
      extra_hosts: ["h:1.2.3.4"]
      network: host
      shm_size: 64m
      ulimits: {nofile: {soft: 10, hard: 20}, nproc: 5}
      secrets: [pw, {source: tls, target: key}]
      ssh: [default, "k=/key"]
      no_cache: true
      pull: true
      tags: ["x/y:2"]
      platforms: [linux/amd64, linux/arm64]
`
	const top = "secrets: {pw: {environment: PASSWORD}, tls: {file: ./tls.pem}}\n"
	files := map[string]string{
		"web/docker/Dockerfile.prod": "FROM scratch", "web/Dockerfile": "FROM scratch", "tls.pem": "x",
		".env": "TOKEN=of-the-shell\nPASSWORD=secret\n",
	}
	want := []string{
		"buildx", "build", "--load", "--progress=plain", "--tag", "NAME", "--tag", "x/y:2", "--platform", "linux/arm64",
		"--file", "DIR/web/docker/Dockerfile.prod", "--target", "prod", "--build-arg", "EMPTY=", "--build-arg",
		"TOKEN=of-the-shell",
		"--build-arg", "VERSION=1.2", "--label", "a=b", "--cache-from", "type=local,src=/c", "--add-host", "h:1.2.3.4",
		"--network", "host", "--shm-size", "67108864", "--ulimit", "nofile=10:20", "--ulimit", "nproc=5", "--no-cache",
		"--pull",
		"--cache-to", "type=local,dest=/c", "--no-cache-filter", "one", "--allow", "network.host",
		"--build-context", "base=docker-image://alpine", "--build-context", "lib=DIR/lib",
		"--secret", "id=pw,env=PASSWORD", "--secret", "id=key,src=DIR/tls.pem", "--ssh", "default", "--ssh", "k=/key",
		"DIR/web",
	}
	for name, test := range map[string]struct{ otto, compose, service, image string }{
		"in a stack": {
			"stacks: [{name: shop, compose: c.yaml}]", "services:\n  web:" + whole + top, "shop/web", "shop-web",
		},
		"in otto.yaml": {"name: home\nservices:\n  web:" + whole + top, "", "web", "home-web"},
		"with a name":  {"services:\n  web:\n    image: a/b:1" + whole + top, "", "web", "a/b:1"},
	} {
		t.Run(name, func(t *testing.T) {
			all := maps.Clone(files)
			all["otto.yaml"], all["c.yaml"] = test.otto, test.compose
			f, err := loadFiles(t, all)
			if err != nil {
				t.Fatal(err)
			}
			args, env, _ := buildOf(t, f, test.service, true)
			expect := slices.Clone(want)
			expect[slices.Index(expect, "NAME")] = test.image
			if diff := cmp.Diff(expect, args); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"BUILDX_NO_DEFAULT_ATTESTATIONS=1", "PASSWORD=secret"}, env); diff != "" {
				t.Error(diff)
			}
			spec := f.Wanted.Services[0].Spec
			if spec.Image != test.image || spec.PullPolicy != otto.PullNever {
				t.Errorf("it runs %s, pull policy %s", spec.Image, spec.PullPolicy)
			}
			if got := f.Builds[0].Platforms(); len(got) != 2 {
				t.Errorf("platforms are %v", got)
			}
			if _, err := f.Builds[0].Command("", false); err == nil ||
				!strings.Contains(err.Error(), "cache_to of a build needs docker buildx") {
				t.Errorf("without buildx: %v", err)
			}
		})
	}
}

// TestEveryKeyOfABuildIsKnown fails when Compose has another key, of which somebody has to say
// what becomes of it.
func TestEveryKeyOfABuildIsKnown(t *testing.T) {
	known := strings.Fields("context dockerfile dockerfile_inline entitlements args ssh labels cache_from cache_to no_cache no_cache_filter " +
		"additional_contexts pull extra_hosts isolation network target secrets shm_size tags ulimits platforms privileged " +
		"provenance sbom") // the last two describe an image to who pulls it
	keys := yamlKeys(reflect.TypeFor[types.BuildConfig]())
	slices.Sort(known)
	slices.Sort(keys)
	if diff := cmp.Diff(known, keys); diff != "" {
		t.Error(diff)
	}
}

func TestEnginesBuildByThemselves(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": "stacks: [{name: shop, compose: c.yaml}]", "web/Dockerfile": "FROM scratch",
		"c.yaml": "services:\n  web: {build: web}\n  inline: {build: {context: web, dockerfile_inline: FROM scratch, secrets: [s]}}\n" +
			"  git: {build: \"https://example.com/x.git#main:sub\"}\nsecrets: {s: {file: ./web/Dockerfile}}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	args, env, _ := buildOf(t, f, "shop/web", false)
	if diff := cmp.Diff([]string{
		"build", "--force-rm", "--tag", "shop-web", "--platform", "linux/arm64", "--file",
		"DIR/web/Dockerfile", "DIR/web",
	}, args); diff != "" || len(env) > 0 {
		t.Error(diff, env)
		t.Error(diff, env)
	}
	args, env, input := buildOf(t, f, "shop/inline", false)
	if input != "FROM scratch" || !slices.Contains(args, "-") || !slices.Contains(env, "DOCKER_BUILDKIT=1") {
		t.Errorf("got %q %q %q", args, env, input)
	}
	args, _, _ = buildOf(t, f, "shop/git", false)
	if got := args[len(args)-3:]; !slices.Equal(got,
		[]string{"--file", "Dockerfile", "https://example.com/x.git#main:sub"}) {
		t.Errorf("got %q", args)
	}
}

// TestWhatIsBuiltIsRunByAllOfItsName has a service without build that names what another one builds.
func TestWhatIsBuiltIsRunByAllOfItsName(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml":  "stacks: [{name: shop, compose: c.yaml}]\nservices: {alone: {image: \"app:1\"}}",
		"Dockerfile": "FROM scratch",
		"c.yaml": "services:\n  app: {image: \"app:1\", build: .}\n  worker: {image: \"app:1\"}\n  db: {image: redis}\n" +
			"  fresh: {image: \"app:1\", pull_policy: always}\n  again: {build: ., pull_policy: build}\n" +
			"  pulled: {image: r/x, build: ., pull_policy: always}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Builds) != 2 || len(f.Warnings) != 1 ||
		!strings.Contains(f.Warnings[0].Error(), "c.yaml:7:31: service pulled is not built") {
		t.Errorf("builds %v, warnings %v", f.Builds, f.Warnings)
	}
	for _, b := range f.Builds {
		f.SetBuilt(b, "sha256:"+b.Image, "linux/arm64")
	}
	got := map[string]string{}
	for _, s := range f.Wanted.Services {
		got[s.Name] = strings.TrimSpace(s.Spec.Image + " " + s.Spec.PullPolicy + " " + s.Platform)
	}
	want := map[string]string{
		"alone": "app:1", "shop/app": "sha256:app:1 never linux/arm64", "shop/worker": "sha256:app:1 never linux/arm64",
		"shop/db": "redis", "shop/fresh": "app:1 always", "shop/again": "sha256:shop-again never linux/arm64",
		"shop/pulled": "r/x always",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCannotBeBuilt(t *testing.T) {
	for service, want := range map[string]string{
		"{build: ./none}":                                                "c.yaml:2:16: service web is built from DIR/none, and there is no such folder: write the path of the folder with its Dockerfile",
		"{build: ./web}":                                                 "c.yaml:2:16: service web is built by DIR/web/Dockerfile, and there is no such file: make it, or write its name as dockerfile",
		"{build: {context: ., privileged: true}}":                        "c.yaml:2:17: docker build has no privileged steps: take privileged out of build",
		"{build: {context: ., isolation: hyperv}}":                       "c.yaml:2:17: isolation of a build is of Windows: take isolation out of build",
		"{build: {context: ., secrets: [none]}}":                         "service web refers to build secret none, which is not defined",
		"{build: {context: ., secrets: [v]}}":                            "c.yaml:2:17: variable NO_SUCH, which secret \"v\" of the build is, is not set: set it",
		"{image: x, pull_policy: build}":                                 "c.yaml:2:32: service web has nothing to build: write build, or pull_policy: missing, always or never",
		"{build: {context: ., dockerfile: web/none}}":                    "web/none, and there is no such file",
		"{build: {context: ., additional_contexts: {b: \"service:x\"}}}": "is what another service builds, which Otto does not take yet",
	} {
		_, err := loadFiles(t, map[string]string{
			"otto.yaml": "stacks: [{name: shop, compose: c.yaml}]", "Dockerfile": "FROM scratch", "web/x": "",
			"c.yaml": "services:\n  web: " + service + "\n  x: {image: x, build: .}\nsecrets: {v: {environment: NO_SUCH}}\n",
		})
		if err == nil {
			t.Errorf("%s is accepted", service)
			continue
		}
		said := err.Error()
		if i := strings.Index(said, "built "); i > 0 && strings.HasPrefix(want, "c.yaml") {
			said = strings.ReplaceAll(said, filepath.Dir(strings.Split(said, ":")[0]), "DIR")
			said = strings.TrimPrefix(said, "DIR/")
		}
		if !strings.Contains(said, want) || strings.Contains(said, "\n") {
			t.Errorf("%s\ngot  %s\nwant %s", service, said, want)
		}
	}
}

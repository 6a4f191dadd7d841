package k8s

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// dockerfile is one image: where it is described, the program it runs, and how that is built.
type dockerfile struct{ path, program, build string }

// dockerfiles of the images that the manifests name.
var dockerfiles = map[string]dockerfile{
	"metrix-coordinator": {"../docker/coordinator.Dockerfile", "coordinator", "CGO_ENABLED=0 go build"},
	"metrix-worker":      {"../docker/worker.Dockerfile", "worker", "CGO_ENABLED=0 go build"},
	"metrix-worker-gpu":  {"../docker/worker-gpu.Dockerfile", "worker", "scripts/gpu-go.sh build"},
}

func TestEveryImageHasADockerfile(t *testing.T) {
	named := map[string]bool{}
	for _, root := range []string{"base", "overlays/gpu"} {
		text, err := os.ReadFile(root + "/kustomization.yaml")
		require.NoError(t, err)
		var k types.Kustomization
		require.NoError(t, yaml.UnmarshalStrict(text, &k))
		for _, image := range k.Images {
			if name := cmp.Or(image.NewName, image.Name); name != "nats" {
				assert.Contains(t, dockerfiles, name)
				named[name] = true
			}
		}
	}
	assert.Len(t, named, len(dockerfiles), "an image that no manifest names")
}

func TestDockerfilesBuildWithTheModulesGo(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.GoVersion}}").Output()
	require.NoError(t, err)
	version := strings.Join(strings.Split(strings.TrimSpace(string(out)), ".")[:2], ".")
	for image, d := range dockerfiles {
		assert.Contains(t, read(t, d.path), "FROM golang:"+version+"-", image)
	}
}

var (
	entrypoint = regexp.MustCompile(`(?m)^ENTRYPOINT \["/usr/local/bin/([a-z]+)"\]$`)
	user       = regexp.MustCompile(`(?m)^USER (\d+):(\d+)$`)
	exposed    = regexp.MustCompile(`(?m)^EXPOSE (.+)$`)
)

// An image runs the binary of its name, as the user and on the ports of its pod.
func TestDockerfilesAgreeWithThePods(t *testing.T) {
	m := render(t, "base")
	for _, d := range dockerfiles {
		name, file := d.program, d.path
		text, pod := read(t, file), m.find(t, name)
		require.Regexp(t, entrypoint, text)
		assert.Equal(t, name, entrypoint.FindStringSubmatch(text)[1], file)
		assert.Contains(t, text, "./cmd/"+name, file)
		assert.Contains(t, text, "RUN "+d.build+" ", file)
		require.Regexp(t, user, text)
		assert.Equal(t, "65532", user.FindStringSubmatch(text)[1], file)
		assert.Equal(t, int64(65532), *pod.pod.SecurityContext.RunAsUser, name)
		require.Regexp(t, exposed, text)
		assert.Len(t, strings.Fields(exposed.FindStringSubmatch(text)[1]), len(pod.ports()), file)
		assert.FileExists(t, file+".dockerignore")
	}
}

// A binary that loads libraries at run time (purego) needs the C library's loader, with or without
// cgo: on an image without one it would not start.
func TestDockerfilesHaveTheLoaderThatTheirBinaryNeeds(t *testing.T) {
	for image, d := range dockerfiles {
		command := "github.com/metrixml/metrix/cmd/" + d.program
		deps, err := exec.Command("go", "list", "-deps", command).Output()
		require.NoError(t, err)
		if strings.Contains(string(deps), "github.com/ebitengine/purego\n") {
			assert.NotRegexp(t, `(?m)^FROM (scratch|\S*/static)`, read(t, d.path), image)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(file))
	require.NoError(t, err)
	return string(text)
}

package k8s

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/recipe"
)

// needed are the flags without which a binary cannot do its work in a cluster.
var needed = map[string][]string{
	"coordinator": {"id", "raft-addr", "peers", "nats", "data-dir", "http"},
	"worker":      {"nats", "recipe", "data", "out", "min-workers", "http"},
}

var flagName = regexp.MustCompile(`--([a-z][a-z-]*)`)

// build makes the binaries of the images and returns their folder.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir+"/", "github.com/metrixml/metrix/cmd/...").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

// flags returns the flags that the help of a command lists.
func flags(t *testing.T, dir string, command ...string) map[string]bool {
	t.Helper()
	help, err := exec.Command(filepath.Join(dir, command[0]), append(command[1:], "--help")...).CombinedOutput()
	require.NoError(t, err, "%s", help)
	found := map[string]bool{}
	for _, match := range flagName.FindAllSubmatch(help, -1) {
		found[string(match[1])] = true
	}
	require.NotEmpty(t, found, "%s", help)
	return found
}

func TestManifestsAgreeWithTheBinaries(t *testing.T) {
	dir := build(t)
	t.Run("environment", func(t *testing.T) { checkEnvironment(t, dir) })
	t.Run("data job", func(t *testing.T) { checkDataJob(t, dir) })
}

// checkEnvironment: METRIX_RAFT_ADDR stands for --raft-addr, and what the manifests set must be what
// the binaries read.
func checkEnvironment(t *testing.T, dir string) {
	for name, want := range needed {
		known := flags(t, dir, name)
		eachRoot(t, func(t *testing.T, m *manifests) {
			c := m.find(t, name).pod.Containers[0]
			set := map[string]bool{}
			for _, e := range c.Env {
				if variable, ours := strings.CutPrefix(e.Name, "METRIX_"); ours {
					set[strings.ReplaceAll(strings.ToLower(variable), "_", "-")] = true
				}
			}
			for _, arg := range append(c.Command, c.Args...) {
				if match := flagName.FindStringSubmatch(arg); match != nil {
					set[match[1]] = true
				}
			}
			for flag := range set {
				assert.True(t, known[flag], "%s has no flag --%s", name, flag)
			}
			for _, flag := range want {
				assert.True(t, set[flag], "%s is not given --%s", name, flag)
			}
		})
	}
}

// checkDataJob: the Job that makes images calls a subcommand, which must exist with these flags.
func checkDataJob(t *testing.T, dir string) {
	command := render(t, "overlays/small").jobs["data"].Spec.Template.Spec.Containers[0].Command
	require.Equal(t, []string{"metrix", "data", "synth"}, command[:3])
	known := flags(t, dir, command[:3]...)
	for _, arg := range command[3:] {
		if match := flagName.FindStringSubmatch(arg); match != nil {
			assert.True(t, known[match[1]], "metrix data synth has no flag --%s", match[1])
		}
	}
}

// Raft ids are pod names, addresses are their DNS names under the headless service, and every
// replica knows all of them.
func TestCoordinatorsKnowTheirPeersByPodName(t *testing.T) {
	eachRoot(t, func(t *testing.T, m *manifests) {
		set := m.statefulSets["coordinator"]
		port := m.find(t, "coordinator").ports()["raft"]
		env := map[string]string{}
		for _, e := range set.Spec.Template.Spec.Containers[0].Env {
			env[e.Name] = e.Value
		}
		domain := fmt.Sprintf("%s.%s.svc.cluster.local:%d", set.Spec.ServiceName, set.Namespace, port)
		var peers []string
		for i := range *set.Spec.Replicas {
			pod := fmt.Sprintf("%s-%d", set.Name, i)
			peers = append(peers, pod+"="+pod+"."+domain)
		}
		assert.Equal(t, strings.Join(peers, ","), env["METRIX_PEERS"])
		assert.Equal(t, "$(METRIX_ID)."+domain, env["METRIX_RAFT_ADDR"])
	})
}

// Coordinators and workers find NATS by the name and port of its service.
func TestNATSAddressIsItsService(t *testing.T) {
	eachRoot(t, func(t *testing.T, m *manifests) {
		want := fmt.Sprintf("nats://$(NATS_TOKEN)@%s:%d", "nats", m.services["nats"].Spec.Ports[0].Port)
		for name := range needed {
			for _, e := range m.find(t, name).pod.Containers[0].Env {
				if e.Name == "METRIX_NATS" {
					assert.Equal(t, want, e.Value, name)
				}
			}
		}
	})
}

// What a variable names is where a volume is mounted.
func TestPathsAreMounted(t *testing.T) {
	paths := map[string]bool{
		"METRIX_DATA_DIR": true, "METRIX_DATA": true, "METRIX_OUT": true, "METRIX_RECIPE": true,
		"XDG_CACHE_HOME": true, "CUDA_CACHE_PATH": true,
	}
	eachPod(t, func(t *testing.T, _ *manifests, w workload) {
		for _, c := range w.pod.Containers {
			for _, e := range c.Env {
				if !paths[e.Name] {
					continue
				}
				mounted := false
				for _, mount := range c.VolumeMounts {
					if mount.MountPath == e.Value || strings.HasPrefix(e.Value, mount.MountPath+"/") {
						mounted = true
					}
				}
				assert.True(t, mounted, "%s: nothing is mounted at %s=%s", c.Name, e.Name, e.Value)
			}
		}
	})
}

// The recipe in the ConfigMap is one that a worker accepts, with a shard for each worker.
func TestRecipesAreAccepted(t *testing.T) {
	eachRoot(t, func(t *testing.T, m *manifests) {
		text, ok := m.configMaps["recipe"].Data["recipe.yaml"]
		require.True(t, ok)
		r, err := recipe.Parse("recipe.yaml", []byte(text), nil)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, r.Batch.Shards, int(*m.jobs["worker"].Spec.Parallelism))
		assert.True(t, bytes.Contains([]byte(text), []byte("# Score:")), "a recipe says what to expect")
	})
}

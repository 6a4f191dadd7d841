package k8s

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// Every file is right by itself, patches included, before kustomize has put anything together.
func TestFilesDecodeStrictly(t *testing.T) {
	for _, root := range roots {
		for _, file := range sources(t, root) {
			base := filepath.Base(file)
			if filepath.Ext(file) != ".yaml" || base == "kustomization.yaml" || base == "recipe.yaml" {
				continue
			}
			t.Run(file, func(t *testing.T) {
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				assert.NotEmpty(t, decode(t, text).all)
			})
		}
	}
}

// What lies in a folder is what its kustomization uses: no file forgotten, none missing.
func TestKustomizationsUseExactlyTheirFiles(t *testing.T) {
	for _, root := range roots {
		t.Run(root, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, "kustomization.yaml"))
			require.NoError(t, err)
			var k types.Kustomization
			require.NoError(t, yaml.UnmarshalStrict(text, &k))

			used := map[string]bool{"kustomization.yaml": true}
			for _, r := range k.Resources {
				if !strings.Contains(r, "..") {
					used[r] = true
				}
			}
			for _, p := range k.Patches {
				if p.Path != "" {
					used[p.Path] = true
				}
			}
			for _, c := range k.ConfigMapGenerator {
				for _, f := range c.FileSources {
					used[f] = true
				}
			}
			there := map[string]bool{}
			for _, f := range sources(t, root) {
				there[filepath.Base(f)] = true
			}
			assert.Equal(t, there, used)
		})
	}
}

func TestEverythingIsInOneRestrictedNamespace(t *testing.T) {
	eachRoot(t, func(t *testing.T, m *manifests) {
		require.Len(t, m.namespaces, 1)
		for name, ns := range m.namespaces {
			assert.Equal(t, "restricted", ns.Labels["pod-security.kubernetes.io/enforce"])
			for _, object := range m.all {
				if object.GetName() != name {
					assert.Equal(t, name, object.GetNamespace(), object.GetName())
				}
			}
		}
	})
}

// Selectors are immutable: they may hold only what never changes.
func TestSelectorsMatchTheirTemplatesAndHoldOnlyStableLabels(t *testing.T) {
	eachRoot(t, func(t *testing.T, m *manifests) {
		for name, s := range m.statefulSets {
			checkSelector(t, name, s.Spec.Selector, s.Spec.Template.Labels)
			for _, spread := range s.Spec.Template.Spec.TopologySpreadConstraints {
				checkSelector(t, name, spread.LabelSelector, s.Spec.Template.Labels)
			}
		}
		for name, j := range m.jobs {
			assert.Nil(t, j.Spec.Selector, "the job controller makes the selector of %s", name)
			for _, spread := range j.Spec.Template.Spec.TopologySpreadConstraints {
				checkSelector(t, name, spread.LabelSelector, j.Spec.Template.Labels)
			}
		}
	})
}

func checkSelector(t *testing.T, name string, selector *metav1.LabelSelector, podLabels map[string]string) {
	t.Helper()
	require.NotNil(t, selector, name)
	assert.True(t, matches(t, selector, podLabels), "%s does not select its own pods", name)
	for key := range selector.MatchLabels {
		assert.Contains(t, []string{"app.kubernetes.io/name", "app.kubernetes.io/instance",
			"app.kubernetes.io/component"}, key, name)
	}
}

// matches evaluates a selector as the API server does.
func matches(t *testing.T, selector *metav1.LabelSelector, podLabels map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	require.NoError(t, err)
	return s.Matches(labels.Set(podLabels))
}

func TestBudgetsCoverWhatNeedsAQuorum(t *testing.T) {
	eachRoot(t, func(t *testing.T, m *manifests) {
		require.Contains(t, m.budgets, "coordinator")
		for name, b := range m.budgets {
			require.Contains(t, m.statefulSets, name, "a budget needs something with a scale subresource")
			assert.True(t, matches(t, b.Spec.Selector, m.statefulSets[name].Spec.Template.Labels), name)
			assert.Equal(t, 1, b.Spec.MaxUnavailable.IntValue(), name)
			require.NotNil(t, b.Spec.UnhealthyPodEvictionPolicy, name)
			assert.Equal(t, "AlwaysAllow", string(*b.Spec.UnhealthyPodEvictionPolicy), name)
		}
	})
}

func TestStatefulSetsStartTogetherUnderAHeadlessService(t *testing.T) {
	eachRoot(t, func(t *testing.T, m *manifests) {
		for name, s := range m.statefulSets {
			assert.Equal(t, "Parallel", string(s.Spec.PodManagementPolicy), name)
			assert.Equal(t, int32(1), *s.Spec.Replicas%2, "%s: an even number adds no tolerance", name)
			require.Contains(t, m.services, s.Spec.ServiceName, name)
			service := m.services[s.Spec.ServiceName]
			assert.Equal(t, "None", service.Spec.ClusterIP, name)
			assert.True(t, service.Spec.PublishNotReadyAddresses, name)
		}
		assert.NotNil(t, m.statefulSets["coordinator"].Spec.PersistentVolumeClaimRetentionPolicy)
	})
}

// exitConfiguration is the exit code of a worker whose flags or recipe are wrong.
const exitConfiguration = 64

// The ring replaces and re-forms by itself: what the Job must not do is retry what cannot succeed,
// or count a drained node against a worker.
func TestWorkerJobFailsOnlyOnWhatCannotSucceed(t *testing.T) {
	eachRoot(t, func(t *testing.T, m *manifests) {
		job := m.jobs["worker"]
		require.NotNil(t, job)
		assert.Equal(t, "Indexed", string(*job.Spec.CompletionMode))
		assert.Equal(t, *job.Spec.Completions, *job.Spec.Parallelism, "only then can it be scaled")
		assert.Positive(t, *job.Spec.Completions)
		assert.NotNil(t, job.Spec.BackoffLimitPerIndex)
		assert.Equal(t, "Never", string(job.Spec.Template.Spec.RestartPolicy))
		assert.Equal(t, "Failed", string(*job.Spec.PodReplacementPolicy))

		subdomain := job.Spec.Template.Spec.Subdomain
		require.Contains(t, m.services, subdomain)
		assert.Equal(t, "None", m.services[subdomain].Spec.ClusterIP)

		rules := job.Spec.PodFailurePolicy.Rules
		require.Len(t, rules, 2)
		assert.Equal(t, "Ignore", string(rules[0].Action))
		assert.Equal(t, "DisruptionTarget", string(rules[0].OnPodConditions[0].Type))
		assert.Equal(t, "FailJob", string(rules[1].Action))
		assert.Equal(t, []int32{exitConfiguration}, rules[1].OnExitCodes.Values)
		assert.Equal(t, job.Spec.Template.Spec.Containers[0].Name, *rules[1].OnExitCodes.ContainerName)
	})
}

func TestGPUOverlayAsksForAGPUAndItsNode(t *testing.T) {
	m := render(t, "overlays/gpu")
	pod := m.jobs["worker"].Spec.Template.Spec
	resources := pod.Containers[0].Resources
	gpus, asked := resources.Limits["nvidia.com/gpu"]
	require.True(t, asked, "a GPU is asked for in limits")
	assert.Equal(t, int64(1), gpus.Value())
	if request, set := resources.Requests["nvidia.com/gpu"]; set {
		assert.Equal(t, gpus, request, "the API server rejects a request other than the limit")
	}
	require.Len(t, pod.Tolerations, 1)
	assert.Equal(t, "nvidia.com/gpu", pod.Tolerations[0].Key)
	require.NotNil(t, pod.Affinity)
	assert.NotNil(t, pod.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
	assert.Empty(t, render(t, "base").jobs["worker"].Spec.Template.Spec.Tolerations)

	env := map[string]string{}
	for _, e := range pod.Containers[0].Env {
		env[e.Name] = e.Value
	}
	assert.Equal(t, "cuda", env["METRIX_ENGINE"], "a worker without its card must not go on on the CPU")
	assert.Equal(t, "metrix-worker-gpu:dev", pod.Containers[0].Image)
	assert.Regexp(t, `(?m)^FROM nvidia/cuda:12\S*-cudnn-runtime-`, read(t, dockerfiles["metrix-worker-gpu"].path))
}

func TestSmallOverlayIsSmall(t *testing.T) {
	m := render(t, "overlays/small")
	for _, s := range m.statefulSets {
		assert.Equal(t, int32(1), *s.Spec.Replicas, s.Name)
	}
	for _, c := range m.claims {
		assert.Equal(t, "ReadWriteOnce", string(c.Spec.AccessModes[0]), c.Name)
	}
}

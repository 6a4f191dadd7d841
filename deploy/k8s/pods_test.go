package k8s

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// eachPod runs check on every pod template of every kustomization.
func eachPod(t *testing.T, check func(t *testing.T, m *manifests, w workload)) {
	t.Helper()
	eachRoot(t, func(t *testing.T, m *manifests) {
		for _, w := range m.workloads() {
			t.Run(w.name, func(t *testing.T) { check(t, m, w) })
		}
	})
}

// containers lists a pod's containers, those of its start included.
func (w workload) containers() []corev1.Container {
	return append(append([]corev1.Container{}, w.pod.InitContainers...), w.pod.Containers...)
}

// The rules of the pod security standard "restricted", and read-only roots and no token besides.
func TestPodsKeepTheRestrictedStandard(t *testing.T) {
	eachPod(t, func(t *testing.T, _ *manifests, w workload) {
		s := w.pod.SecurityContext
		require.NotNil(t, s)
		assert.True(t, *s.RunAsNonRoot)
		assert.NotZero(t, *s.RunAsUser, "runAsNonRoot needs a number to check")
		assert.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, s.SeccompProfile.Type)
		assert.False(t, *w.pod.AutomountServiceAccountToken)
		assert.False(t, w.pod.HostNetwork || w.pod.HostPID || w.pod.HostIPC)
		for _, c := range w.containers() {
			require.NotNil(t, c.SecurityContext, c.Name)
			assert.False(t, *c.SecurityContext.AllowPrivilegeEscalation, c.Name)
			assert.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, c.Name)
			assert.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop, c.Name)
			assert.Empty(t, c.SecurityContext.Capabilities.Add, c.Name)
			assert.Nil(t, c.SecurityContext.Privileged, c.Name)
			for _, p := range c.Ports {
				assert.Zero(t, p.HostPort, c.Name)
			}
		}
		for _, v := range w.pod.Volumes {
			allowed := v.ConfigMap != nil || v.EmptyDir != nil || v.PersistentVolumeClaim != nil || v.Secret != nil
			assert.True(t, allowed, "volume %s is of a kind that restricted pods may not use", v.Name)
		}
	})
}

func TestContainersSayWhatTheyNeed(t *testing.T) {
	eachPod(t, func(t *testing.T, _ *manifests, w workload) {
		assert.NotNil(t, w.pod.TerminationGracePeriodSeconds)
		for _, c := range w.containers() {
			for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				assert.Contains(t, c.Resources.Requests, name, c.Name)
			}
			limit, ok := c.Resources.Limits[corev1.ResourceMemory]
			require.True(t, ok, "%s has no memory limit", c.Name)
			for name, request := range c.Resources.Requests {
				if limit, ok := c.Resources.Limits[name]; ok {
					assert.LessOrEqual(t, request.Cmp(limit), 0, "%s requests more %s than its limit", c.Name, name)
				}
			}
			for _, e := range c.Env {
				if e.Name != "GOMEMLIMIT" {
					continue
				}
				soft := resource.MustParse(strings.TrimSuffix(e.Value, "B"))
				assert.Negative(t, soft.Cmp(limit), "%s: the garbage collector's limit leaves no room", c.Name)
			}
		}
	})
}

func TestProbesAskAPortThatIsThere(t *testing.T) {
	eachPod(t, func(t *testing.T, _ *manifests, w workload) {
		for _, c := range w.pod.Containers {
			if len(c.Ports) == 0 {
				continue // a Job that ends by itself
			}
			ports := map[string]bool{}
			for _, p := range c.Ports {
				ports[p.Name] = true
			}
			for kind, p := range map[string]*corev1.Probe{
				"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe,
			} {
				require.NotNil(t, p, "%s has no %s probe", c.Name, kind)
				assert.True(t, ports[p.HTTPGet.Port.StrVal], "%s: no port %q", c.Name, p.HTTPGet.Port.StrVal)
			}
			assert.NotEqual(t, "/readyz", c.LivenessProbe.HTTPGet.Path,
				"a coordinator without a quorum must not be restarted for it")
		}
	})
}

// Every mount has a volume, every volume a mount, and what a volume names exists.
func TestVolumesAreThere(t *testing.T) {
	eachPod(t, func(t *testing.T, m *manifests, w workload) {
		volumes := map[string]bool{}
		for _, v := range w.pod.Volumes {
			volumes[v.Name] = false
			if v.ConfigMap != nil {
				assert.Contains(t, m.configMaps, v.ConfigMap.Name)
			}
			if v.PersistentVolumeClaim != nil {
				assert.Contains(t, m.claims, v.PersistentVolumeClaim.ClaimName)
			}
			if v.EmptyDir != nil {
				assert.NotNil(t, v.EmptyDir.SizeLimit, "%s could fill its node", v.Name)
			}
		}
		for _, c := range w.claims {
			volumes[c.Name] = false
		}
		for _, c := range w.containers() {
			for _, mount := range c.VolumeMounts {
				assert.Contains(t, volumes, mount.Name, c.Name)
				volumes[mount.Name] = true
			}
		}
		for name, used := range volumes {
			assert.True(t, used, "nothing mounts the volume %s", name)
		}
	})
}

var reference = regexp.MustCompile(`\$\(([A-Z_]+)\)`)

// $(NAME) is replaced only where NAME is defined above it; patches may move variables about.
func TestEnvironmentIsDefinedBeforeItIsUsed(t *testing.T) {
	eachPod(t, func(t *testing.T, _ *manifests, w workload) {
		for _, c := range w.containers() {
			defined := map[string]bool{}
			for _, e := range c.Env {
				for _, ref := range reference.FindAllStringSubmatch(e.Value, -1) {
					assert.True(t, defined[ref[1]], "%s: %s uses %s before it is defined", c.Name, e.Name, ref[1])
				}
				assert.False(t, defined[e.Name], "%s: %s is there twice", c.Name, e.Name)
				defined[e.Name] = true
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					assert.Equal(t, "nats-auth", e.ValueFrom.SecretKeyRef.Name, "the one Secret a user makes")
				}
			}
			for _, arg := range append(c.Command, c.Args...) {
				for _, ref := range reference.FindAllStringSubmatch(arg, -1) {
					assert.True(t, defined[ref[1]], "%s: nothing defines %s", c.Name, ref[1])
				}
			}
		}
	})
}

// An image without a tag, or with one that moves, is another image tomorrow.
func TestImagesAreTagged(t *testing.T) {
	eachPod(t, func(t *testing.T, _ *manifests, w workload) {
		for _, c := range w.containers() {
			_, tag, tagged := strings.Cut(c.Image, ":")
			assert.True(t, tagged, c.Image)
			assert.NotEqual(t, "latest", tag, c.Image)
		}
	})
}

package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// roots are the kustomizations that somebody may apply.
var roots = []string{"base", "overlays/gpu", "overlays/small"}

const namespace = "metrix"

// cluster is the server, as clients see it.
type cluster struct {
	clients *kubernetes.Clientset
	dynamic dynamic.Interface
	mapper  meta.RESTMapper
	warned  *warnings
}

// warnings collects what the server says beside its answers.
type warnings struct {
	mu   sync.Mutex
	said []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

// take returns what was said since.
func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := w.said
	w.said = nil
	return said
}

var server *cluster

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "metrix-apiserver")
	if err != nil {
		log.Fatal(err)
	}
	if server, err = connect(dir); err != nil {
		log.Fatal(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// connect starts the server and prepares what a cluster's controllers would: the namespace and its account.
func connect(dir string) (*cluster, error) {
	cfg, err := Start(dir)
	if err != nil {
		return nil, err
	}
	c := &cluster{warned: &warnings{}}
	cfg.WarningHandler = c.warned
	cfg.QPS = -1
	if c.clients, err = kubernetes.NewForConfig(cfg); err != nil {
		return nil, err
	}
	if c.dynamic, err = dynamic.NewForConfig(cfg); err != nil {
		return nil, err
	}
	kinds, err := restmapper.GetAPIGroupResources(c.clients.Discovery())
	if err != nil {
		return nil, err
	}
	c.mapper = restmapper.NewDiscoveryRESTMapper(kinds)
	text, err := os.ReadFile(filepath.Join("..", "base", "namespace.yaml"))
	if err != nil {
		return nil, err
	}
	objects, err := documents(text)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if err := c.create(o, false); err != nil {
			return nil, err
		}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	_, err = c.clients.CoreV1().ServiceAccounts(namespace).Create(context.Background(), account, metav1.CreateOptions{})
	return c, err
}

// documents decodes a stream of manifests.
func documents(text []byte) (all []*unstructured.Unstructured, err error) {
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		switch err := d.Decode(o); {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, err
		case len(o.Object) > 0:
			all = append(all, o)
		}
	}
}

// render builds a kustomization as `kubectl kustomize` does.
func render(t *testing.T, root string) []*unstructured.Unstructured {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join("..", root))
	require.NoError(t, err)
	text, err := rendered.AsYaml()
	require.NoError(t, err)
	all, err := documents(text)
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

// of returns how objects of the kind of o are reached.
func (c *cluster) of(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := o.GroupVersionKind()
	m, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	if m.Scope.Name() == meta.RESTScopeNameRoot {
		return c.dynamic.Resource(m.Resource), nil
	}
	return c.dynamic.Resource(m.Resource).Namespace(o.GetNamespace()), nil
}

// create makes an object; dry, the server does everything but keep it. Unknown fields are errors.
func (c *cluster) create(o *unstructured.Unstructured, dry bool) error {
	r, err := c.of(o)
	if err != nil {
		return err
	}
	opt := metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}
	if dry {
		opt.DryRun = []string{metav1.DryRunAll}
	}
	_, err = r.Create(context.Background(), o, opt)
	return err
}

// apply is `kubectl apply --server-side`.
func (c *cluster) apply(o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	r, err := c.of(o)
	if err != nil {
		return nil, err
	}
	return r.Apply(context.Background(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "test"})
}

// Every object of every kustomization is admitted without a warning.
func TestManifestsAreAdmitted(t *testing.T) {
	for _, root := range roots {
		t.Run(root, func(t *testing.T) {
			for _, o := range render(t, root) {
				if o.GetKind() == "Namespace" {
					continue // it is there, or nothing could be
				}
				require.NoError(t, server.create(o, true), "%s %s", o.GetKind(), o.GetName())
				require.Empty(t, server.warned.take(), "%s %s", o.GetKind(), o.GetName())
			}
		})
	}
}

// pods are those that the controllers of Jobs and StatefulSets would make.
func pods(t *testing.T, root string) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, o := range render(t, root) {
		template, found, err := unstructured.NestedMap(o.Object, "spec", "template")
		require.NoError(t, err)
		if !found {
			continue
		}
		pod := &unstructured.Unstructured{Object: template}
		pod.SetAPIVersion("v1")
		pod.SetKind("Pod")
		pod.SetNamespace(namespace)
		pod.SetName(fmt.Sprintf("%s-%s-0", strings.ReplaceAll(root, "/", "-"), o.GetName()))
		claims, _, err := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
		require.NoError(t, err)
		volumes, _, err := unstructured.NestedSlice(pod.Object, "spec", "volumes")
		require.NoError(t, err)
		for _, claim := range claims {
			name := (&unstructured.Unstructured{Object: claim.(map[string]any)}).GetName()
			volumes = append(volumes, map[string]any{"name": name, "persistentVolumeClaim": map[string]any{"claimName": name + "-" + pod.GetName()}})
		}
		require.NoError(t, unstructured.SetNestedSlice(pod.Object, volumes, "spec", "volumes"))
		all = append(all, pod)
	}
	return all
}

// The pods of all workloads are admitted under the restricted standard that the namespace enforces, and
// one that asks for more is not.
func TestPodsAreAdmitted(t *testing.T) {
	for _, root := range roots {
		all := pods(t, root)
		require.GreaterOrEqual(t, len(all), 3, root)
		for _, pod := range all {
			require.NoError(t, server.create(pod, false), pod.GetName())
			require.Empty(t, server.warned.take(), pod.GetName())
		}
		bad := all[0].DeepCopy()
		bad.SetName(bad.GetName() + "-bad")
		require.NoError(t, unstructured.SetNestedField(bad.Object, true, "spec", "hostNetwork"))
		require.ErrorContains(t, server.create(bad, false), `violates PodSecurity "restricted`)
	}
}

// What docs/kubernetes.md says of a run can be done: apply, and again without effect; more workers while it
// trains; another recipe only as another Job.
func TestRunIsAppliedAndChanged(t *testing.T) {
	ctx := t.Context()
	all := render(t, "overlays/small")
	before := map[string]map[string]any{}
	for range 2 {
		for _, o := range all {
			name := o.GetKind() + " " + o.GetName()
			applied, err := server.apply(o)
			require.NoError(t, err, name)
			require.Empty(t, server.warned.take(), name)
			applied.SetResourceVersion("") // that of a claim grows all the same
			applied.SetManagedFields(nil)
			if was, again := before[name]; again {
				require.Equal(t, was, applied.Object, "%s is as it was", name)
			}
			before[name] = applied.Object
		}
	}
	jobs := server.clients.BatchV1().Jobs(namespace)
	patch := func(text string) error {
		_, err := jobs.Patch(ctx, "worker", types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{})
		return err
	}
	require.NoError(t, patch(`{"spec":{"completions":8,"parallelism":8}}`))
	require.ErrorContains(t, patch(`{"spec":{"template":{"spec":{"subdomain":"other"}}}}`), "field is immutable")
	background := metav1.DeletePropagationBackground // as kubectl says
	require.NoError(t, jobs.Delete(ctx, "worker", metav1.DeleteOptions{PropagationPolicy: &background}))
	for _, o := range all {
		if o.GetKind() == "Job" {
			_, err := server.apply(o)
			require.NoError(t, err)
		}
	}
}

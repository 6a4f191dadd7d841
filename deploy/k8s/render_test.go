package k8s

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// roots are the kustomizations that somebody may apply.
var roots = []string{"base", "overlays/gpu", "overlays/small"}

// manifests is one rendered kustomization, by kind and name.
type manifests struct {
	namespaces   map[string]*corev1.Namespace
	configMaps   map[string]*corev1.ConfigMap
	services     map[string]*corev1.Service
	claims       map[string]*corev1.PersistentVolumeClaim
	statefulSets map[string]*appsv1.StatefulSet
	budgets      map[string]*policyv1.PodDisruptionBudget
	jobs         map[string]*batchv1.Job
	policies     map[string]*networkingv1.NetworkPolicy
	all          []metav1.Object
}

// eachRoot runs check as a subtest on every rendered kustomization.
func eachRoot(t *testing.T, check func(t *testing.T, m *manifests)) {
	t.Helper()
	for _, root := range roots {
		t.Run(root, func(t *testing.T) { check(t, render(t, root)) })
	}
}

// render builds a kustomization as `kubectl kustomize` does and decodes what comes out.
func render(t *testing.T, root string) *manifests {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), root)
	require.NoError(t, err)
	text, err := rendered.AsYaml()
	require.NoError(t, err)
	return decode(t, text)
}

// decode reads documents strictly: an unknown field or a key that is there twice is an error.
func decode(t *testing.T, text []byte) *manifests {
	t.Helper()
	m := &manifests{
		namespaces:   map[string]*corev1.Namespace{},
		configMaps:   map[string]*corev1.ConfigMap{},
		services:     map[string]*corev1.Service{},
		claims:       map[string]*corev1.PersistentVolumeClaim{},
		statefulSets: map[string]*appsv1.StatefulSet{},
		budgets:      map[string]*policyv1.PodDisruptionBudget{},
		jobs:         map[string]*batchv1.Job{},
		policies:     map[string]*networkingv1.NetworkPolicy{},
	}
	for _, doc := range documents(text) {
		var kind metav1.TypeMeta
		require.NoError(t, yaml.Unmarshal(doc, &kind))
		require.NoError(t, m.add(kind, doc), "%s", doc)
	}
	return m
}

// add decodes one document of the kind it says it is.
func (m *manifests) add(kind metav1.TypeMeta, doc []byte) error {
	switch kind.APIVersion + " " + kind.Kind {
	case "v1 Namespace":
		return put(m, m.namespaces, doc, &corev1.Namespace{})
	case "v1 ConfigMap":
		return put(m, m.configMaps, doc, &corev1.ConfigMap{})
	case "v1 Service":
		return put(m, m.services, doc, &corev1.Service{})
	case "v1 PersistentVolumeClaim":
		return put(m, m.claims, doc, &corev1.PersistentVolumeClaim{})
	case "apps/v1 StatefulSet":
		return put(m, m.statefulSets, doc, &appsv1.StatefulSet{})
	case "policy/v1 PodDisruptionBudget":
		return put(m, m.budgets, doc, &policyv1.PodDisruptionBudget{})
	case "batch/v1 Job":
		return put(m, m.jobs, doc, &batchv1.Job{})
	case "networking.k8s.io/v1 NetworkPolicy":
		return put(m, m.policies, doc, &networkingv1.NetworkPolicy{})
	default:
		return fmt.Errorf("no test knows the kind %q of %q", kind.Kind, kind.APIVersion)
	}
}

func put[T metav1.Object](m *manifests, into map[string]T, doc []byte, object T) error {
	if err := yaml.UnmarshalStrict(doc, object); err != nil {
		return err
	}
	if _, twice := into[object.GetName()]; twice {
		return fmt.Errorf("%q is there twice", object.GetName())
	}
	into[object.GetName()] = object
	m.all = append(m.all, object)
	return nil
}

// documents splits a YAML stream, leaving out documents that hold comments only.
func documents(text []byte) [][]byte {
	var docs [][]byte
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		var content any
		if yaml.Unmarshal(doc, &content) != nil || content != nil {
			docs = append(docs, doc)
		}
	}
	return docs
}

// workload is a pod template and who owns it.
type workload struct {
	name     string
	replicas int32
	labels   map[string]string
	pod      corev1.PodSpec
	claims   []corev1.PersistentVolumeClaim
}

// workloads lists everything that makes pods.
func (m *manifests) workloads() []workload {
	var list []workload
	for name, s := range m.statefulSets {
		list = append(list, workload{name, *s.Spec.Replicas, s.Spec.Template.Labels,
			s.Spec.Template.Spec, s.Spec.VolumeClaimTemplates})
	}
	for name, j := range m.jobs {
		pods := int32(1)
		if j.Spec.Parallelism != nil {
			pods = *j.Spec.Parallelism
		}
		list = append(list, workload{name, pods, j.Spec.Template.Labels, j.Spec.Template.Spec, nil})
	}
	return list
}

// ports returns the named ports of a pod.
func (w workload) ports() map[string]int32 {
	ports := map[string]int32{}
	for _, c := range w.pod.Containers {
		for _, p := range c.Ports {
			ports[p.Name] = p.ContainerPort
		}
	}
	return ports
}

// find returns the workload of a component.
func (m *manifests) find(t *testing.T, name string) workload {
	t.Helper()
	for _, w := range m.workloads() {
		if w.name == name {
			return w
		}
	}
	require.Fail(t, "no workload is called "+name)
	return workload{}
}

// sources lists the files below a kustomization's folder.
func sources(t *testing.T, root string) []string {
	t.Helper()
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Join(root, e.Name()))
	}
	return names
}

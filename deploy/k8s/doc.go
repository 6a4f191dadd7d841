// Package k8s holds the manifests of a cluster: a kustomize base that runs as it is, and overlays
// that change it. There is no code here, only tests that hold the manifests to the Kubernetes API
// types, to each other and to the flags of the binaries. docs/kubernetes.md says how to deploy.
//
//	base            NATS of three, coordinators of three, an Indexed Job of workers
//	overlays/gpu    workers with one NVIDIA GPU each
//	overlays/small  one node: one NATS, one coordinator, two workers
package k8s

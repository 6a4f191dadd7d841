// Package apiserver shows the manifests to a real Kubernetes API server: the released one with an etcd, in
// the process of the test. There is no scheduler, no controller and no node, so nothing runs; what a
// cluster would refuse at `kubectl apply`, or when it makes the pods, is refused here.
//
// It is a module of its own, for an API server brings some two hundred others: neither `go test ./...` of
// the repository nor its programs know of it. `make kube-check` runs it.
package apiserver

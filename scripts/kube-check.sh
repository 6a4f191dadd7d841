#!/usr/bin/env bash
# Shows the manifests of deploy/k8s to a real Kubernetes API server, built from its Go modules: nine minutes
# of processor time the first time, one later. Needs Go alone. What the server says of itself goes to
# bin/kube-check.log.
set -eu
cd "$(dirname "$0")/../deploy/k8s/apiserver"
bin=$PWD/../../../bin
mkdir -p "$bin"
go mod download || {
    echo "kube-check: the modules of the Kubernetes API server cannot be fetched, so the manifests were not checked" >&2
    exit 1
}
go test -c -o "$bin/kube-check.test" .
"$bin/kube-check.test" -test.v 2>"$bin/kube-check.log"

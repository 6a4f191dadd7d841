#!/usr/bin/env bash
# Shows the manifests of deploy/k8s to a real Kubernetes API server, built from its Go modules: nine minutes
# of processor time the first time, one later. Needs Go alone. What the server says of itself goes to
# bin/k8s-check.log.
set -eu
cd "$(dirname "$0")/../deploy/k8s/apiserver"
bin=$PWD/../../../bin
mkdir -p "$bin"
go mod download || {
    echo "k8s-check: the modules of the Kubernetes API server cannot be fetched, so the manifests were not checked" >&2
    exit 1
}
go test -c -o "$bin/k8s-check.test" .
"$bin/k8s-check.test" -test.v 2>"$bin/k8s-check.log"

#!/usr/bin/env bash
# Builds for NVIDIA GPUs, on a machine that needs neither CUDA nor a card: bin/metrix-gpu,
# bin/worker-gpu, and as bin/gpu-tests/*.test the tests that scripts/gpu-check.sh runs on a card. They
# need the C library of this machine or a newer one, and look for NVIDIA's libraries when they start.
set -eu
cd "$(dirname "$0")/.."

command -v "${CC:-gcc}" >/dev/null || {
    echo "gpu-build: no C compiler: run 'make setup', or apt-get install gcc libc6-dev" >&2
    exit 1
}
scripts/gpu-go.sh build -trimpath -ldflags=-s -o bin/metrix-gpu ./cmd/metrix
scripts/gpu-go.sh build -trimpath -ldflags=-s -o bin/worker-gpu ./cmd/worker
mkdir -p bin/gpu-tests
scripts/gpu-go.sh test -c -ldflags=-s -o bin/gpu-tests/cuda.test ./engine/cuda
scripts/gpu-go.sh test -c -ldflags=-s -o bin/gpu-tests/kernels.test ./engine/cuda/kernels
scripts/gpu-go.sh test -c -ldflags=-s -o bin/gpu-tests/app.test ./internal/app
echo "gpu-build: bin/metrix-gpu, bin/worker-gpu and bin/gpu-tests are built"

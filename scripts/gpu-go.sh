#!/usr/bin/env bash
# Runs a go command with the tag gpu, with the headers of the pinned toolchain and a libcuda to link
# against, on a machine that needs neither CUDA nor a card:
#
#   scripts/gpu-go.sh test ./engine/cuda
#   scripts/gpu-go.sh tool staticcheck ./engine/cuda
#
# What it builds looks for the driver, libcuda.so.1, when it starts (engine/cuda/driver).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
toolchain=$("$root/scripts/gpu-toolchain.sh")
include=$toolchain/nvidia/cuda_runtime/include

lib=$root/.gpu/lib driver=$root/engine/cuda/driver
exec 9>"$root/.gpu/lib.lock"
flock 9
if [ ! "$lib/libcuda.a" -nt "$driver/driver.c" ] || [ ! "$lib/libcuda.a" -nt "$driver/entries.h" ]; then
    sh "$driver/build.sh" "$lib"
fi
exec 9>&-

export CGO_ENABLED=1 CGO_CFLAGS="-O2 -I$include" CGO_LDFLAGS="-L$lib -ldl"
export GOFLAGS="${GOFLAGS:+$GOFLAGS }-tags=gpu"
exec go "$@"

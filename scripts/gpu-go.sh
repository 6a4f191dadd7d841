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

# The compiler's own variables instead of CGO_CFLAGS and CGO_LDFLAGS: those would make go compile
# everything that uses cgo, and thus almost everything, once more. But where the machine has a libcuda in
# the folders that gorgonia.org/cu names, only CGO_LDFLAGS comes before them.
export CGO_ENABLED=1 CPATH="$include${CPATH:+:$CPATH}" LIBRARY_PATH="$lib${LIBRARY_PATH:+:$LIBRARY_PATH}"
for folder in /usr/local/cuda*/lib* /usr/lib/x86_64-linux-gnu /opt/cuda/lib*; do
    [ -e "$folder/libcuda.so" ] && export CGO_LDFLAGS="-L$lib"
done
export GOFLAGS="${GOFLAGS:+$GOFLAGS }-tags=gpu"
exec go "$@"

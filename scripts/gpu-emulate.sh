#!/usr/bin/env bash
# Tests the CUDA engine and whole runs on it without a card: the programs are those with the tag gpu,
# NVIDIA's libraries are the emulator's (engine/cuda/emulator). Prints a count for the engine and one for
# the runs.
#
#   scripts/gpu-emulate.sh [GO TEST FLAGS...]      for example -run Conformance
set -eu -o pipefail
cd "$(dirname "$0")/.."
emulator=$PWD/.gpu/emulator
command -v "${CXX:-g++}" >/dev/null || {
    echo "gpu-emulate: no C++ compiler: apt-get install g++" >&2
    exit 1
}
scripts/gpu-toolchain.sh >/dev/null
sh engine/cuda/emulator/build.sh "$emulator"
export LD_LIBRARY_PATH="$emulator${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" METRIX_CUDA_LIBS=$emulator METRIX_CUDA_EMULATED=1

# What the tag adds. The kernels' own tests and those of the emulator are in every build.
engine=0 runs=0
scripts/gpu-go.sh run ./scripts/gotest -timeout 20m "$@" ./engine/cuda || engine=1
[ $# -gt 0 ] || scripts/gpu-go.sh run ./scripts/gotest -timeout 20m -run '^TestCUDA' ./internal/app || runs=1
[ $((engine + runs)) -eq 0 ]

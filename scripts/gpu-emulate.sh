#!/usr/bin/env bash
# Tests the CUDA engine, its kernels and whole runs on it without a card: the programs are those with the
# tag gpu, NVIDIA's libraries are the emulator's (engine/cuda/emulator). The last line is the count.
#
#   scripts/gpu-emulate.sh [GO TEST FLAGS...]      for example -run Conformance -v
set -eu
cd "$(dirname "$0")/.."
emulator=$PWD/.gpu/emulator
command -v g++ >/dev/null || {
    echo "gpu-emulate: no C++ compiler: run 'make setup', or apt-get install g++" >&2
    exit 1
}
scripts/gpu-toolchain.sh >/dev/null
sh engine/cuda/emulator/build.sh "$emulator"
export LD_LIBRARY_PATH="$emulator${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" METRIX_CUDA_LIBS=$emulator METRIX_CUDA_EMULATED=1
exec scripts/gpu-go.sh run ./scripts/gotest -timeout 10m "$@" ./engine/cuda/... ./internal/app

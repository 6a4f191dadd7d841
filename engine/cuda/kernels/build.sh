#!/bin/sh
# Compiles the kernels to PTX: build.sh TOOLCHAIN [OUTPUT]. TOOLCHAIN is the folder into which pip installed
# nvidia-cuda-nvrtc-cu12; OUTPUT is kernels.ptx beside this file unless given.
set -e
toolchain=${1:?say where the CUDA toolchain lies, see scripts/gpu-toolchain.txt}
here=$(cd "$(dirname "$0")" && pwd)
out=${2:-$here/kernels.ptx}
nvrtc=$(find "$toolchain" -name 'libnvrtc.so.12' | head -n 1)
[ -n "$nvrtc" ] || { echo "build: $toolchain holds no libnvrtc.so.12; install scripts/gpu-toolchain.txt into it" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# compute_80 has bf16; the driver translates it for every later card.
${CXX:-g++} -O1 -std=c++17 -Wall -Wextra -o "$work/compile" "$here/nvrtc/compile.cc" -ldl
LD_LIBRARY_PATH="$(dirname "$nvrtc")" "$work/compile" "$nvrtc" "$here/kernels.cu" "$here" "$work/kernels.ptx" compute_80

# nvrtc writes the version of PTX that its own release introduced, which older drivers refuse. The kernels use
# nothing newer than 8.0, of CUDA 12.0 (driver 525); the assembler holds them to the version that is written.
sed -i 's/^\.version .*/.version 8.0/' "$work/kernels.ptx"
mv "$work/kernels.ptx" "$out"

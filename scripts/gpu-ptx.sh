#!/usr/bin/env bash
# Compiles the CUDA kernels to engine/cuda/kernels/kernels.ptx with the pinned compiler, and lets the
# assembler check the result for the cards it is meant for. The same sources give the same bytes.
#
#   scripts/gpu-ptx.sh            writes the file
#   scripts/gpu-ptx.sh --check    fails if the committed file is not what the sources give
set -eu
cd "$(dirname "$0")/.."
committed=engine/cuda/kernels/kernels.ptx
toolchain=$(scripts/gpu-toolchain.sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sh engine/cuda/kernels/build.sh "$toolchain" "$work/kernels.ptx"
for card in sm_80 sm_90; do
    "$toolchain/nvidia/cuda_nvcc/bin/ptxas" -arch="$card" -v -o "$work/$card.cubin" "$work/kernels.ptx" 2>"$work/$card.log" || {
        cat "$work/$card.log" >&2
        echo "gpu-ptx: the assembler refuses the kernels for $card, see above" >&2
        exit 1
    }
    kernels=$(grep -c 'Compiling entry function' "$work/$card.log") || true
    spilling=$(grep -c -E '[1-9][0-9]* bytes spill stores' "$work/$card.log") || true
    echo "gpu-ptx: $kernels kernels assemble for $card, $spilling of them spill registers"
done

if [ "${1:-}" = --check ]; then
    cmp -s "$work/kernels.ptx" "$committed" || {
        echo "gpu-ptx: $committed is not what the sources give: run 'make ptx' and commit it" >&2
        exit 1
    }
    echo "gpu-ptx: $committed is what the sources give"
else
    cp "$work/kernels.ptx" "$committed"
    echo "gpu-ptx: wrote $committed"
fi

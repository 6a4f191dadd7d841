#!/usr/bin/env bash
# Compares what the CUDA engine and its emulator take for granted about libcuda, cuDNN and cuBLAS with
# NVIDIA's headers, and tries on NVIDIA's own libraries what needs no card: kinds of arguments of every
# function, numbers, layouts of structs, functions found, descriptions accepted. Needs g++, Go and a Python
# with pip, neither a card nor a driver; fetches 2.5 GB (scripts/gpu-abi.txt) into a folder that it deletes.
set -eu -o pipefail
cd "$(dirname "$0")/.."
toolchain=$(scripts/gpu-toolchain.sh)/nvidia
src=$PWD/engine/cuda/emulator/src
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sh engine/cuda/emulator/build.sh "$work/emulator"
scripts/gpu-go.sh test -c -o "$work/cuda.test" ./engine/cuda

# cuBLAS's headers ask for a header of CUDA's C++ library, which matters to device code alone.
mkdir -p "$work/include/nv"
printf '#define NV_IF_TARGET(...)\n#define NV_IF_ELSE_TARGET(a, b, c) c\n#define NV_PROVIDES_SM_80\n' >"$work/include/nv/target"

# signatures SOURCE FROM FLAGS... prints those of the functions that a source of the emulator defines.
signatures() {
    local source=$1 from=$2
    shift 2
    grep -oE '^(API|ENTRY\([^)]*\)) \w+\(' "$source" | grep -oE '\w+\($' | tr -d '(' | grep -v '^metrix' | sort -u |
        sed 's/.*/FUNCTION(&)/' >"$work/list.h"
    "${CXX:-g++}" -std=c++17 -w -DFROM="$from" -DLIST="\"$work/list.h\"" "$@" -o "$work/signatures" "$src/abi.cc" \
        -L"$work/emulator" -l:libcuda.so.1 -Wl,-rpath,"$work/emulator"
    "$work/signatures"
}

for set in first second; do
    sed -n "s/^$set //p" scripts/gpu-abi.txt >"$work/$set.txt"
    echo "gpu-abi: fetching $(cut -d' ' -f1 "$work/$set.txt" | tr '\n' ' ')"
    "${PYTHON:-python3}" -m pip install --disable-pip-version-check --no-input --quiet --no-deps --only-binary :all: --root-user-action ignore \
        --no-compile --no-cache-dir --require-hashes --target "$work/$set" -r "$work/$set.txt"
    include=() libraries=
    for folder in "$work/$set"/nvidia/*; do
        [ ! -d "$folder/include" ] || include+=("-I$folder/include")
        [ ! -d "$folder/lib" ] || libraries=$libraries:$folder/lib
    done
    : >"$work/numbers"
    while read -r source header; do
        signatures "$src/$source" "\"$src/$source\"" >"$work/ours"
        signatures "$src/$source" "<$header>" -D__CUDA_API_VERSION_INTERNAL "${include[@]}" \
            -I"$toolchain/cuda_runtime/include" -I"$toolchain/cuda_nvcc/include" -I"$work/include" >"$work/theirs"
        grep ' = ' "$work/theirs" >>"$work/numbers" || true
        grep -v ' = ' "$work/theirs" | diff "$work/ours" - || {
            echo "gpu-abi: $source (<) and $header (>) differ" >&2
            exit 1
        }
        echo "gpu-abi: $source: $(wc -l <"$work/ours") functions as in $header"
    done <<'LIST'
cuda.cc cuda.h
cudastreams.cc cuda.h
cudnn.cc cudnn.h
cublas.cc cublas_v2.h
LIST
    (cd engine/cuda && METRIX_CUDA_ABI=$work/numbers METRIX_CUDA_LIBS=${libraries#:} \
        "$work/cuda.test" -test.run 'NVIDIAs|TheReal' -test.v) | grep -E '^ +abi_test|^(---|ok|FAIL|PASS)|Error'
    rm -rf "${work:?}/$set"
done

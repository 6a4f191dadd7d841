#!/bin/sh
# Builds libcuda.a into a folder, against the cuda.h of an include folder; loader.c says what it is.
#
#   sh engine/cuda/loader/build.sh FOLDER INCLUDE
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1 include=$2 cc=${CC:-gcc}
mkdir -p "$out"
work=$(mktemp -d "$out/loader.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The names after cuda.h's macros: cuMemAlloc is cuMemAlloc_v2. cuInit has code of its own.
echo '#include <cuda.h>' | "$cc" -E -P -I"$include" -x c - | grep -oE '\bcu[A-Z][A-Za-z0-9_]*\(' | tr -d '(' |
    sort -u | grep -vx cuInit | sed 's/.*/FUNCTION(&)/' >"$work/functions.h"
[ "$(wc -l <"$work/functions.h")" -gt 300 ] || { echo "loader: $include/cuda.h lists hardly any functions" >&2; exit 1; }
"$cc" -O2 -fPIC -Wall -Wextra -I"$work" -c "$here/loader.c" -o "$work/loader.o"
ar rcsD "$work/libcuda.a" "$work/loader.o"
mv "$work/libcuda.a" "$out/libcuda.a"

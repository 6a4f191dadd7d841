#!/bin/sh
# Compiles the shim: build.sh OUTPUT [CFLAGS...], with $CC (gcc) and the headers of oneDNN 2.6 or newer
# (Debian: apt-get install libdnnl-dev gcc). The result runs on any processor of the architecture.
set -eu

out=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
cc=${CC:-gcc}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

flags="-O3 -fPIC -std=gnu11 -Wall -Wextra -Wno-psabi -Wno-unused-function -fno-math-errno -ffp-contract=fast -fopenmp -fvisibility=default $*"

# kernels NAME BLOCK FLAGS... compiles the kernels for one instruction set.
kernels() {
    name=$1 block=$2
    shift 2
    # shellcheck disable=SC2086
    $cc $flags "$@" -DBLOCK="$block" -DKERNELS="kernels_$name" -c "$here/kernels.c" -o "$tmp/$name.o"
}

kernels plain 8
case $($cc -dumpmachine) in
x86_64*)
    kernels avx2 8 -march=x86-64-v3
    kernels avx512 16 -march=x86-64-v4 -mprefer-vector-width=512
    flags="$flags -DMETRIX_X86"
    ;;
esac
# shellcheck disable=SC2086
$cc $flags -c "$here/shim.c" -o "$tmp/shim.o"
# The last step is a rename: whoever looks finds a whole library or none.
# shellcheck disable=SC2086
$cc $flags -shared "$tmp"/*.o -ldnnl -lm -o "$out.$$"
mv -f "$out.$$" "$out"

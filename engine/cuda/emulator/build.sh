#!/bin/sh
# Builds the emulator of libcuda, cuDNN and cuBLAS: build.sh FOLDER makes the three libraries in FOLDER. It needs
# g++ (or $CXX) and nothing of CUDA. A program finds them with LD_LIBRARY_PATH=FOLDER.
set -e
out=${1:?say where the libraries are to go}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
work=$(mktemp -d "$out/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
cxx=${CXX:-g++}
# -ffp-contract=off: a product and a sum are rounded twice unless the source says fmaf.
flags="-O2 -fPIC -std=c++17 -Wall -Wextra -Wno-unknown-pragmas -ffp-contract=off -fvisibility=hidden"

for source in fibers memory failures streams cuda cudastreams kernels; do
    $cxx $flags -fvisibility=default -c -o "$work/$source.o" "$here/src/$source.cc" &
done
${CC:-gcc} -O2 -fPIC -c -o "$work/unsupported.o" "$here/src/unsupported.c"
for library in cudnn cublas; do
    $cxx $flags -O3 -c -o "$work/$library.o" "$here/src/$library.cc" &
done
wait
cd "$work"
$cxx -shared -Wl,-soname,libcuda.so.1 -o libcuda.so.1 fibers.o memory.o failures.o streams.o cuda.o cudastreams.o kernels.o unsupported.o -lpthread
for library in cudnn:9 cublas:12; do
    name=${library%:*} file=lib${library%:*}.so.${library#*:}
    $cxx -shared -Wl,-soname,$file -Wl,-rpath,'$ORIGIN' -o $file $name.o libcuda.so.1
done
for file in libcuda.so.1 libcudnn.so.9 libcublas.so.12; do
    mv $file "$out/$file"
done

#!/bin/sh
# Builds the archive that stands in for libcuda at link time: build.sh FOLDER makes FOLDER/libcuda.a.
# Programs linked against it look for the real driver when they run, see driver.c.
set -e
out=${1:?say where libcuda.a is to go}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
${CC:-gcc} -O2 -fPIC -Wall -Wextra -c -o "$work/driver.o" "$here/driver.c"
rm -f "$out/libcuda.a"
${AR:-ar} rcsD "$out/libcuda.a" "$work/driver.o"

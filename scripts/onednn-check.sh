#!/usr/bin/env bash
# Runs the tests of engine/onednn on a oneDNN 3.x that this machine need not have installed:
#
#   scripts/onednn-check.sh                the oneDNN 3.2 of the Python package onednn-cpu-gomp
#   scripts/onednn-check.sh trixie         the one of another release of Debian (trixie is Debian 13, with 3.7)
#   scripts/onednn-check.sh trixie COMMAND runs COMMAND instead, such as a compiled benchmark
#
# Nothing is installed: packages are unpacked under bin/onednn3. The first way needs python3 with venv, the second a
# Debian with apt; both need gcc. Programs of the second run with the C library of that release.
set -eu
cd "$(dirname "$0")/.."

from=${1:-wheel}
[ $# -eq 0 ] || shift
place=$PWD/bin/onednn3/$from
shim=$place/libmetrix_onednn.so
mkdir -p "$place"

wheel() {
    [ -e "$place/lib/libdnnl.so.3" ] || {
        python3 -m venv "$place"
        "$place/bin/pip" install -q onednn-cpu-gomp==2023.2.0 onednn-devel-cpu-gomp==2023.2.0
    }
    include=$place/include lib=$place/lib
}

# release NAME unpacks packages of a Debian release, from the places that this Debian takes its own from.
release() {
    local codename root=$place/root
    [ -e "$root/usr/include/dnnl.h" ] || {
        codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
        mkdir -p "$place"/{lists/partial,cache/archives/partial,sources,packages,root}
        touch "$place/status"
        for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
            [ ! -e "$list" ] || sed "s/\b$codename\b/$1/g" "$list" >"$place/sources/$(basename "$list")"
        done
        printf '%s\n' "Dir::Etc::sourcelist \"-\";" "Dir::Etc::sourceparts \"$place/sources\";" \
            "Dir::State::lists \"$place/lists\";" "Dir::State::status \"$place/status\";" \
            "Dir::Cache \"$place/cache\";" 'APT::Sandbox::User "";' >"$place/apt.conf"
        export APT_CONFIG=$place/apt.conf
        apt-get -qq update
        (
            cd "$place/packages"
            # shellcheck disable=SC2046
            apt-get -qq download libdnnl-dev $(apt-cache depends libdnnl-dev | awk '/Depends: libdnnl/ { print $2 }') \
                libc6 libgomp1 libstdc++6 libgcc-s1
            for package in *.deb; do dpkg -x "$package" "$root"; done
        )
        unset APT_CONFIG
    }
    # oneDNN's headers alone: the compiler is this machine's.
    mkdir -p "$place/include" "$place/lib"
    cp -r "$root"/usr/include/{dnnl*,oneapi} "$place/include"
    ln -sf "$root"/usr/lib/*-linux-gnu/libdnnl.so "$place/lib/libdnnl.so"
    include=$place/include lib=$place/lib
    loader=$(echo "$root"/usr/lib*/*/ld-linux-*.so.*)
    run=("$loader" --library-path "$(dirname "$loader")")
}

run=()
if [ "$from" = wheel ]; then wheel; else release "$from"; fi
sh engine/onednn/shim/build.sh "$shim" "-I$include" "-L$lib" "-Wl,-rpath,$lib"
export METRIX_ONEDNN_SHIM=$shim

if [ $# -gt 0 ]; then
    exec "${run[@]}" "$@"
fi
go test -c -o "$place/onednn.test" ./engine/onednn
cd engine/onednn
"${run[@]}" "$place/onednn.test" -test.v >"$place/log" 2>&1 || {
    grep -vE '^=== |^ *--- (PASS|SKIP)' "$place/log" >&2
    exit 1
}
grep -m1 'on oneDNN 3\.' "$place/log" || {
    echo "onednn-check: no test ran on oneDNN 3: see $place/log" >&2
    exit 1
}
echo "onednn-check: $(grep -c -- '--- PASS' "$place/log") passed, $(grep -c -- '--- SKIP' "$place/log") skipped (a skip for each tolerance that leaves a test out)"

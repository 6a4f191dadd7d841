#!/usr/bin/env bash
# Installs the Debian packages that metrix uses and this machine lacks: a C compiler (for the race
# detector, and for the shim of the oneDNN engine), oneDNN, and OpenBLAS for the matrix products of
# the portable engine. Nothing here is fatal but a missing Go: what cannot be installed is named, and
# metrix falls back on what there is.
set -u

if ! command -v go >/dev/null; then
    echo "setup: Go is missing; install Go 1.26 or newer from https://go.dev/dl and run this again" >&2
    exit 1
fi

has_compiler() { command -v gcc >/dev/null || command -v cc >/dev/null; }

has_library() {
    { ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null | grep -q "$1"
}

has_onednn() { echo '#include <dnnl.h>' | ${CC:-gcc} -E -x c - >/dev/null 2>&1; }

wanted=()
has_compiler || wanted+=(gcc libc6-dev)
has_onednn || wanted+=(libdnnl-dev)
has_library libopenblas.so.0 || wanted+=(libopenblas0-pthread)
# METRIX_TEST_GPU=required says that the CUDA engine is to be tested too (scripts/test.sh).
if [ "${METRIX_TEST_GPU:-}" = required ]; then
    command -v g++ >/dev/null || wanted+=(g++)
    "${PYTHON:-python3}" -m pip --version >/dev/null 2>&1 || wanted+=(python3-pip)
fi
[ ${#wanted[@]} -eq 0 ] && exit 0

# as_root runs a command as root, asking for a password only where somebody can type it.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

get=(env DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq -o DPkg::Lock::Timeout=60)

# install tries the package lists as they are before it spends time on refreshing them, and the
# packages one by one before it gives up: one that this system does not have must not cost the others.
install() {
    as_root "${get[@]}" install -y --no-install-recommends "$@" && return
    as_root "${get[@]}" update
    as_root "${get[@]}" install -y --no-install-recommends "$@" && return
    local package failed=0
    for package in "$@"; do
        as_root "${get[@]}" install -y --no-install-recommends "$package" || failed=1
    done
    return $failed
}

echo "setup: installing ${wanted[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! command -v apt-get >/dev/null; then
    echo "there is no apt-get on this machine" >"$log"
elif [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    echo "not root, and there is no sudo" >"$log"
elif install "${wanted[@]}" >"$log" 2>&1; then
    exit 0
fi

echo "setup: could not install all of ${wanted[*]}: $(tail -n 1 "$log")" >&2
has_compiler || echo "setup: without a C compiler 'make test' runs without the race detector" >&2
has_onednn || echo "setup: without oneDNN training runs on the portable engine, many times slower" >&2
has_library libopenblas.so.0 || echo "setup: without OpenBLAS the portable engine multiplies in plain Go" >&2
exit 0

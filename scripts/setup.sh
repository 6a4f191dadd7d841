#!/usr/bin/env bash
# Installs the Debian packages that metrix uses and this machine lacks: a C compiler (the race
# detector needs one) and OpenBLAS (the portable engine's matrix products run on it when it is
# there). Nothing here is fatal but a missing Go: what cannot be installed is named, and metrix
# falls back on plain Go.
set -u

if ! command -v go >/dev/null; then
    echo "setup: Go is missing; install Go 1.26 or newer from https://go.dev/dl and run this again" >&2
    exit 1
fi

has_compiler() { command -v gcc >/dev/null || command -v cc >/dev/null; }

has_library() {
    { ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null | grep -q "$1"
}

wanted=()
has_compiler || wanted+=(gcc libc6-dev)
has_library libopenblas.so.0 || wanted+=(libopenblas0-pthread)
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

# install tries the package lists as they are before it spends time on refreshing them.
install() {
    local get=(env DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq -o DPkg::Lock::Timeout=60)
    as_root "${get[@]}" install -y --no-install-recommends "$@" ||
        { as_root "${get[@]}" update && as_root "${get[@]}" install -y --no-install-recommends "$@"; }
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

echo "setup: could not install ${wanted[*]}: $(tail -n 1 "$log")" >&2
has_compiler || echo "setup: without a C compiler 'make test' cannot use the race detector" >&2
has_library libopenblas.so.0 || echo "setup: without OpenBLAS training runs on plain Go, several times slower" >&2
exit 0

#!/usr/bin/env bash
# Puts the pinned parts of CUDA 12 (scripts/gpu-toolchain.txt) into a folder, unless they are there,
# and prints its path: 135 MB to fetch, 360 MB on disk, nothing outside the folder. No card, driver or
# CUDA installation is needed; pip fetches and unpacks.
#
#   scripts/gpu-toolchain.sh [FOLDER]      default .gpu/toolchain
#
# Below it lie nvidia/cuda_runtime/include, nvidia/cuda_nvrtc/lib/libnvrtc.so.12 and
# nvidia/cuda_nvcc/bin/ptxas.
set -eu
cd "$(dirname "$0")/.."
list=$PWD/scripts/gpu-toolchain.txt
folder=${1:-.gpu/toolchain}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

exec 9>"$folder.lock" # two makes at once must not unpack into one another
flock 9
if cmp -s "$list" "$folder/packages.txt"; then
    echo "$folder"
    exit 0
fi

# find_python names a Python that has pip.
find_python() {
    local python
    for python in "${PYTHON:-python3}" /usr/bin/python3; do
        "$python" -m pip --version >/dev/null 2>&1 && { echo "$python"; return 0; }
    done
    return 1
}
python=$(find_python) || {
    echo "gpu-toolchain: no Python with pip on this machine: apt-get install python3-pip, or name one in PYTHON" >&2
    exit 1
}
if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "gpu-toolchain: the pinned packages are for Linux on x86-64, this is $(uname -sm)" >&2
    exit 1
fi

echo "gpu-toolchain: fetching 135 MB into $folder" >&2
fresh=$(mktemp -d "$folder.XXXXXX")
log=$(mktemp)
trap 'rm -rf "$fresh" "$log"' EXIT
if ! timeout 900 "$python" -m pip install --disable-pip-version-check --no-input --quiet --no-deps --only-binary :all: \
    --no-compile --no-cache-dir --require-hashes --target "$fresh" -r "$list" >"$log" 2>&1; then
    echo "gpu-toolchain: pip could not fetch the CUDA packages: $(grep -v '^$' "$log" | tail -n 1)" >&2
    exit 1
fi
cp "$list" "$fresh/packages.txt"
rm -rf "$folder"
mv "$fresh" "$folder"
chmod 755 "$folder"
chmod +x "$folder/nvidia/cuda_nvcc/bin/ptxas"
echo "$folder"

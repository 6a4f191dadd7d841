#!/usr/bin/env bash
# Whole training steps on the CPU, ours (engine/onednn) and PyTorch's in turns: multi-similarity with
# embedding-level Metrix, batch 40, AdamW; ResNet-50 + 512-d at 224 pixels, and the small network with
# group norm at 64. Images per second by wall clock and by processor time (steadier where others use
# the machine too), peak memory, and at the end the ratios to the best mode of every PyTorch.
#
#   bench/cpu.sh [ROUNDS] [STEPS]     default 2 rounds of 2 timed steps; about 5 minutes on two cores
#
# PYTHONS names several Pythons, each with a PyTorch of its own, for one table:
#
#   python3 -m venv ~/torch && ~/torch/bin/pip install torch numpy
#   PYTHONS="/usr/bin/python3 $HOME/torch/bin/python" bench/cpu.sh
#
# MODES are PyTorch's memory layouts, cl (channels last) and nchw, and cl+compile or nchw+compile for
# torch.compile, which needs g++, compiles for minutes at first and is left out of PyTorch 1. NETS, PRECISIONS and
# THREADS choose less or other: NETS=conv4 bench/cpu.sh 3 20. PyTorch 1.13 has no group norm in bfloat16
# on the CPU, so there the small network fails. METRIX_ONEDNN_SHIM gives ours another oneDNN.
set -eu

rounds=${1:-2} steps=${2:-2}
nets=${NETS:-resnet50 conv4} precisions=${PRECISIONS:-f32 bf16} threads=${THREADS:-2} modes=${MODES:-cl nchw}
pythons=${PYTHONS:-${PYTHON:-/usr/bin/python3}}
root=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# shellcheck source=bench/peers/torch.sh
. "$root/bench/peers/torch.sh"
find_torch
(cd "$root" && go test -c -o "$tmp/ours" ./engine/onednn)

# record NET PRECISION WHO MODE prints and keeps a line of "wall cpu memory".
record() {
    read -r wall cpu memory || {
        echo "$1 $2 $3 $4 fails"
        return 0
    }
    printf '%-9s %-4s %-12s %-12s %8s images/s %8s images/cpu-s %6s MiB\n' "$1" "$2" "$3" "$4" "$wall" "$cpu" "$memory"
    echo "$1/$2 $3 $wall $cpu $memory" >>"$tmp/results"
}

ours() {
    (cd "$root/engine/onednn" && "$tmp/ours" -test.run '^$' -test.bench "Step/$1/$2/threads=$threads/calls=1\$" -test.benchtime "${steps}x") |
        awk '/images/ { for (i = 2; i <= NF; i++) v[$i] = $(i - 1); print v["images/s"], v["images/cpu-s"], v["peak-MiB"] }' |
        record "$1" "$2" ours ""
}

# torch NET PRECISION PYTHON MODE
torch() {
    local flags=()
    [ "$2" = bf16 ] && flags+=(--bf16)
    case $4 in *+compile) flags+=(--compile) ;; esac
    "$3" -W ignore "$root/bench/peers/resnet50_cpu.py" --net "$1" --threads "$threads" --layout "${4%+compile}" --steps "$steps" "${flags[@]}" 2>/dev/null |
        awk '{ print $1, $3, $5 }' | record "$1" "$2" "${torch_of[$3]}" "$4"
}

# can PYTHON MODE says whether that PyTorch has the mode.
can() {
    case ${torch_of[$1]}/$2 in torch-1.*/*+compile) false ;; esac
}

for net in $nets; do
    for precision in $precisions; do
        for _ in $(seq "$rounds"); do
            for python in $pythons; do
                for mode in $modes; do
                    can "$python" "$mode" || continue
                    ours "$net" "$precision"
                    torch "$net" "$precision" "$python" "$mode"
                done
            done
        done
    done
done
ratios "$tmp/results"

#!/usr/bin/env bash
# Whole training steps on the CPU, ours (engine/onednn) and PyTorch's in turns: multi-similarity with
# embedding-level Metrix, batch 40, AdamW; ResNet-50 + 512-d at 224 pixels, and the small network with
# group norm at 64. Images per second by wall clock and by processor time (steadier where others use
# the machine too), peak memory, and at the end the ratios to PyTorch's best layout.
#
#   bench/cpu.sh [ROUNDS] [STEPS]     default 2 rounds of 2 timed steps; about 5 minutes on two cores
#
# PyTorch 1.13 has no group norm in bfloat16 on the CPU, so there the small network fails.
# NETS, PRECISIONS, THREADS and PYTHON choose less or other: NETS=conv4 bench/cpu.sh 3 20
set -eu

rounds=${1:-2} steps=${2:-2}
nets=${NETS:-resnet50 conv4} precisions=${PRECISIONS:-f32 bf16} threads=${THREADS:-2} python=${PYTHON:-/usr/bin/python3}
root=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

"$python" -c 'import torch' 2>/dev/null || {
    echo "bench: PyTorch is not installed for $python: apt-get install python3-torch, or set PYTHON" >&2
    exit 1
}
(cd "$root" && go test -c -o "$tmp/ours" ./engine/onednn)

# record NET PRECISION WHO prints and keeps a line of "wall cpu memory".
record() {
    read -r wall cpu memory || {
        echo "$1 $2 $3 fails"
        return 0
    }
    printf '%-9s %-4s %-12s %8s images/s %8s images/cpu-s %6s MiB\n' "$1" "$2" "$3" "$wall" "$cpu" "$memory"
    echo "$1 $2 $3 $wall $cpu $memory" >>"$tmp/results"
}

ours() {
    "$tmp/ours" -test.run '^$' -test.bench "Step/$1/$2/threads=$threads/calls=1\$" -test.benchtime "${steps}x" |
        awk '/images/ { for (i = 2; i <= NF; i++) v[$i] = $(i - 1); print v["images/s"], v["images/cpu-s"], v["peak-MiB"] }' |
        record "$1" "$2" ours
}

torch() {
    local flags=()
    [ "$2" = bf16 ] && flags=(--bf16)
    "$python" "$root/bench/peers/resnet50_cpu.py" --net "$1" --threads "$threads" --layout "$3" --steps "$steps" "${flags[@]}" 2>/dev/null |
        awk '{ print $1, $3, $5 }' | record "$1" "$2" "torch-$3"
}

for net in $nets; do
    for precision in $precisions; do
        for _ in $(seq "$rounds"); do
            ours "$net" "$precision"
            torch "$net" "$precision" cl
            ours "$net" "$precision"
            torch "$net" "$precision" nchw
        done
    done
done

# The best of each side over all rounds: what other processes take can only slow a run down.
awk '
    { k = $1 " " $2; side = $3 == "ours" ? "ours" : "torch" }
    !((k, side) in wall) { memory[k, side] = $6 }
    { keys[k]; if ($4 > wall[k, side]) wall[k, side] = $4; if ($5 > cpu[k, side]) cpu[k, side] = $5 }
    $6 < memory[k, side] { memory[k, side] = $6 }
    END {
        print "ours / PyTorch, best of each:"
        for (k in keys)
            if ((k, "torch") in wall) printf "%-14s %.2f x images/s, %.2f x images/cpu-s, %.2f x memory\n", k,
                wall[k, "ours"] / wall[k, "torch"], cpu[k, "ours"] / cpu[k, "torch"], memory[k, "ours"] / memory[k, "torch"]
    }' "$tmp/results"

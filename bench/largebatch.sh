#!/usr/bin/env bash
# A global batch of 4 000 in the memory of a micro-batch: peak memory of the worker and images per second
# of training steps on 4 000 images with the gradient cache (micro-batches of 100), beside training on one
# micro-batch of 100, and beside 4 000 without the cache.
#
#   bench/largebatch.sh [STEPS]       default 2 steps of 4 000; about 6 minutes on two quiet cores
#
# NETS="conv4 resnet18" and CASES="recall_at_k multi_similarity,embed" choose networks and losses, the
# latter with a level of mixing after the comma. WHOLE=0 leaves out 4 000 without the cache, which takes
# 5 GiB with conv4 and 8 with resnet18. Images are generated, 64 pixels a side; the small batch takes 40
# times as many steps, so that it sees as many images. Memory is the most that was resident (VmHWM);
# "planned" is what metrix train --dry-run adds up, without the program itself and with an upper bound
# for activations. Where others use the machine, images per second are less than it can do.
set -eu

steps=${1:-2}
nets=${NETS:-conv4 resnet18} cases=${CASES:-recall_at_k multi_similarity,embed} whole=${WHOLE:-1}
root=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

(cd "$root" && go build -o "$tmp/metrix" ./cmd/metrix && sh engine/onednn/shim/build.sh "$tmp/libmetrix_onednn.so" >/dev/null)
"$tmp/metrix" data synth "$tmp/data" --classes 1000 --images 6 --side 64 --test-classes 4 >/dev/null 2>&1
cat >"$tmp/recipe.yaml" <<'RECIPE'
name: largebatch
data: {size: 64, resize: 64, augment: {scale: [0.5, 1], color: 0.2}}
model: {arch: conv4, dim: 128}
loss: {form: recall_at_k}
mix: {level: none}
batch: {classes: 1000, images: 4}
optimizer: {name: adamw, lr: 1e-4}
train: {eval_every_epochs: 0}
eval: {recall: [1]}
engine: {name: onednn, threads: 2}
RECIPE

# watch PID prints the most memory that a child of PID had resident, MiB.
watch() {
    local most=0 kib p
    while kill -0 "$1" 2>/dev/null; do
        for p in $(pgrep -P "$1"); do
            kib=$(awk '/VmHWM/ { n = $2 } END { print n + 0 }' "/proc/$p/status" 2>/dev/null) || kib=0
            [ "${kib:-0}" -le "$most" ] || most=$kib
        done
        sleep 0.2
    done
    echo $((most / 1024))
}

# number KEY FILE reads a number of our JSON.
number() { tr ',{}' '\n' <"$2" | awk -F: -v k="\"$1\"" '$1 ~ k { print $2 + 0; exit }'; }

# row NET CASE WHAT STEPS [OVERRIDE...] runs one setting and prints its line.
row() {
    local net=$1 form=${2%,*} level=none what=$3 n=$4 args=() planned peak
    [ "$form" = "$2" ] || level=${2#*,}
    shift 4
    args=("$tmp/recipe.yaml" --data "$tmp/data" --workers 1 --set "model.arch=$net" --set "loss.form=$form" --set "mix.level=$level" --set "train.steps=$n")
    for kv in "$@"; do args+=(--set "$kv"); done
    planned=$("$tmp/metrix" train "${args[@]}" --dry-run --json | tr ',{}' '\n' | awk -F: '/"memory_bytes"/ { print int($2 / 1048576) }')
    rm -rf "$tmp/run"
    "$tmp/metrix" train "${args[@]}" --out "$tmp/run" >"$tmp/log" 2>&1 &
    local pid=$!
    peak=$(watch "$pid")
    wait "$pid" || {
        tail -n 2 "$tmp/log" >&2
        return 1
    }
    printf '%-9s %-22s %-28s %6d MiB (planned %6d) %8.1f images/s\n' "$net" "$form${level:+, $level}" "$what" "$peak" "$planned" \
        "$(number images_per_second "$tmp/run/result.json")"
}

echo "$(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2-), $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg 2>/dev/null)"
for net in $nets; do
    for c in $cases; do
        row "$net" "$c" "100, one micro-batch" $((40 * steps)) batch.classes=25 batch.shards=1
        row "$net" "$c" "4000, micro-batches of 100" "$steps" batch.micro=100
        [ "$whole" = 0 ] || row "$net" "$c" "4000, without the cache" "$steps" batch.shards=40
    done
done

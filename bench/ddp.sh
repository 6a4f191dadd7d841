#!/usr/bin/env bash
# Two workers of one thread over the ring beside PyTorch's DistributedDataParallel with gloo on two
# processes of one thread, and one process of two threads each, in turns in one run: ResNet-50 + 512-d at
# 224 pixels, batch 40 in all (10 classes of 4), live batch norm, multi-similarity with embedding-level
# Metrix, AdamW.
#
#   bench/ddp.sh [ROUNDS] [STEPS]     default 2 rounds of 3 timed steps; about 8 minutes on two quiet cores
#
# PRECISIONS="f32 bf16" takes both, LAYOUTS="cl nchw" PyTorch's other memory layout too, WORLDS=2 only
# the two workers, PYTHONS other Pythons than Debian's (apt-get install python3-torch), each with its
# PyTorch: see bench/cpu.sh. LOADS says where images come from, and may name both:
#
#   memory  (default) PyTorch's are random floats in memory; ours pixels of a pack (metrix data pack) of the
#           network's size, which lies in the system's memory: no JPEG, and no augmentation on either side
#   files   both decode JPEG files of 256 pixels (libjpeg-turbo: apt-get install libturbojpeg0), cut, resize
#           and mirror at random while the step before runs: PyTorch by Pillow on a thread of each process.
#           Ours keeps what it has decoded, so keep to few steps, in which little comes twice
#
# Ours is metrix train as a user runs it: worker processes, the broker and the coordinator.
# The step before the timed ones, evaluations and checkpoints are in neither figure. The ring sums
# gradients exactly, as int64 (8 bytes a value on the way in, 4 out); gloo sums float32. Memory is that of
# all processes together up to the last timed step: the sum of their peaks.
set -eu

rounds=${1:-2} steps=${2:-3}
precisions=${PRECISIONS:-f32} layouts=${LAYOUTS:-cl} worlds=${WORLDS:-2 1}
pythons=${PYTHONS:-${PYTHON:-/usr/bin/python3}} loads=${LOADS:-memory}
root=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# shellcheck source=bench/peers/torch.sh
. "$root/bench/peers/torch.sh"
find_torch
(cd "$root" && go build -o "$tmp/metrix" ./cmd/metrix && sh engine/onednn/shim/build.sh "$tmp/libmetrix_onednn.so" >/dev/null)
"$tmp/metrix" data synth "$tmp/files" --classes 40 --images 12 --side 256 --test-classes 2 >/dev/null 2>&1
"$tmp/metrix" data pack "$tmp/files" "$tmp/memory" --side 224 >/dev/null 2>&1
declare -A data_of=(
    [memory]="{size: 224, resize: 224, store: 224, augment: {scale: [1, 1], ratio: [1, 1], flip: 0, color: 0}}"
    [files]="{size: 224, resize: 256, store: 0, decoder: turbo, augment: {scale: [0.5, 1], flip: 0.5, color: 0}}"
)
for load in $loads; do
    [ -n "${data_of[$load]-}" ] || {
        echo "bench: LOADS is \"$loads\"; it must be memory, files or both" >&2
        exit 2
    }
    cat >"$tmp/$load.yaml" <<RECIPE
name: ddp
data: ${data_of[$load]}
model: {arch: resnet50, dim: 512, norm: batch, batchnorm: live}
loss: {form: multi_similarity}
mix: {level: embed, weight: 0.4}
batch: {classes: 10, images: 4}
optimizer: {name: adamw, lr: 1e-4}
train: {eval_every_epochs: 0}
engine: {name: onednn}
RECIPE
done

# record LOAD WORLD PRECISION WHO LAYOUT prints and keeps a line of "wall cpu memory".
record() {
    read -r wall cpu memory || {
        echo "$2 workers $1 $3 $4 $5 fails"
        return 0
    }
    printf '%s x %s thread(s) %-6s %-4s %-12s %-4s %7s images/s %7s images/cpu-s %6s MiB\n' "$2" "$((2 / $2))" "$1" "$3" "$4" "$5" "$wall" "$cpu" "$memory"
    echo "$2x$((2 / $2))/$3/$1 $4 $wall $cpu $memory" >>"$tmp/results"
}

# watch PID JOURNAL follows a run of ours and prints the processor seconds of the timed steps, and the
# most that its live processes' peaks of memory added up to until then, in MiB. It starts no program
# while steps go on: that would take time from them.
watch() {
    local pid=$1 journal=$2 first='' last='' ticks done p kib most=0 line key value processes='' pause
    local -a field
    exec {pause}<> <(:)
    while kill -0 "$pid" 2>/dev/null; do
        ticks=0 kib=0 done=0
        [ ! -f "$journal" ] || while read -r line; do
            [[ $line != *'"learning_rate"'* ]] || done=$((done + 1))
        done <"$journal"
        [ "$done" -gt 0 ] && [ -n "$processes" ] || processes="$pid $(pgrep -P "$pid" | tr '\n' ' ')"
        for p in $processes; do
            { read -r line <"/proc/$p/stat"; } 2>/dev/null || continue
            read -r -a field <<<"${line##*) }"
            ticks=$((ticks + field[11] + field[12]))
            { while read -r key value _; do
                [ "$key" != VmHWM: ] || kib=$((kib + value))
            done <"/proc/$p/status"; } 2>/dev/null || true
        done
        [ -n "$last" ] || [ "$kib" -le "$most" ] || most=$kib
        [ -n "$first" ] || [ "$done" -lt 1 ] || first=$ticks
        [ -n "$last" ] || [ "$done" -le "$steps" ] || last=$ticks
        read -r -t 0.2 -u "$pause" || true
    done
    echo "$first $last $(getconf CLK_TCK) $most" | awk '{ print ($2 - $1) / $3, int($4 / 1024) }'
}

# ours LOAD WORLD PRECISION
ours() {
    local out=$tmp/run ahead=0 cpu memory
    [ "$1" = memory ] || ahead=2 # batches that are loaded before the step that needs them
    rm -rf "$out"
    "$tmp/metrix" train "$tmp/$1.yaml" --data "$tmp/$1" --out "$out" --workers "$2" \
        --set "engine.threads=$((2 / $2))" --set "engine.precision=$3" --set "batch.shards=$2" \
        --set "train.steps=$((steps + 1 + ahead))" >"$tmp/log" 2>&1 &
    read -r cpu memory < <(watch $! "$out/steps.jsonl")
    wait $! || {
        tail -n 2 "$tmp/log" >&2
        record "$1" "$2" "$3" ours "" </dev/null
        return 0
    }
    # The rate of a step is that of all steps up to it but the first.
    grep "\"step\":$((steps + 1))," "$out/steps.jsonl" | grep -o '"images_per_second":[0-9.]*' | head -n 1 | cut -d: -f2 |
        awk -v cpu="$cpu" -v memory="$memory" -v images=$((40 * steps)) '{ printf "%.2f %.2f %d\n", $1, images / cpu, memory }' |
        record "$1" "$2" "$3" ours ""
}

# torch LOAD WORLD PRECISION PYTHON LAYOUT
torch() {
    local flags=()
    [ "$1" = files ] && flags+=(--images "$tmp/files")
    [ "$3" = bf16 ] && flags+=(--bf16)
    OMP_NUM_THREADS=$((2 / $2)) "$4" -W ignore "$root/bench/peers/ddp_train.py" --world "$2" --threads "$((2 / $2))" \
        --layout "$5" --steps "$steps" "${flags[@]}" 2>/dev/null |
        awk '{ printf "%.2f %.2f %d\n", $1, $3, $5 }' | record "$1" "$2" "$3" "${torch_of[$4]}" "$5"
}

for _ in $(seq "$rounds"); do
    for precision in $precisions; do
        for world in $worlds; do
            for python in $pythons; do
                for layout in $layouts; do
                    for load in $loads; do
                        ours "$load" "$world" "$precision"
                        torch "$load" "$world" "$precision" "$python" "$layout"
                    done
                done
            done
        done
    done
done
echo "processes x threads:"
ratios "$tmp/results"

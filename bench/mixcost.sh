#!/usr/bin/env bash
# What mixing across workers costs: bytes that a worker sends in a step, counted by its ring, beside what
# metrix train --dry-run says, and the time of a step, at every level of mixing, with 2 and 4 workers of
# one thread.
#
#   bench/mixcost.sh [STEPS]          default 12; about 4 minutes on two quiet cores
#
# WORLDS="2", LEVELS="none feature", HARDEST="1", WIRES="float32" choose less. SET holds more overrides of
# the recipe below (conv4 at 64 pixels, 128-d, group norm, the paper's batch of 20 classes x 5 images in
# 20 shards, multi-similarity): SET="model.dim=64 model.width=64" bench/mixcost.sh
#
# Bytes are payload: those of the step log (sent_bytes, of rank 0) without the 64 of each frame's header,
# mean over all steps but the first. They are exact, and the same on every machine; which rows are
# partners, and so how many maps travel, follows from the run. Seconds are of the steps timed here.
set -eu

steps=${1:-12}
worlds=${WORLDS:-2 4} levels=${LEVELS:-none embed input feature} hardest=${HARDEST:-1 3} wires=${WIRES:-float32 bfloat16}
root=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

(cd "$root" && go build -o "$tmp/metrix" ./cmd/metrix)
cp "$root"/bin/libmetrix_onednn.so "$tmp" 2>/dev/null || true # the portable engine sends the same bytes
"$tmp/metrix" data synth "$tmp/data" --classes 60 --images 6 --side 64 --test-classes 4 >/dev/null 2>&1
cat >"$tmp/recipe.yaml" <<'RECIPE'
name: mixcost
data: {size: 64, resize: 64, augment: {scale: [0.5, 1], color: 0}}
model: {arch: conv4, dim: 128, norm: group, width: 32}
loss: {form: multi_similarity}
mix: {level: none, weight: 0.4}
batch: {classes: 20, images: 5, shards: 20}
optimizer: {name: adamw, lr: 1e-4}
train: {eval_every_epochs: 0}
engine: {threads: 1}
RECIPE

# row WORLD LEVEL K WIRE [OVERRIDE] runs one setting and prints its line.
row() {
    local out=$tmp/run args=(--data "$tmp/data" --workers "$1" --set "train.steps=$steps" --set "mix.level=$2" --set "mix.wire=$4")
    [ "$3" = all ] || args+=(--set "mix.hardest=$3")
    [ -z "${5:-}" ] || args+=(--set "$5")
    for kv in ${SET:-}; do args+=(--set "$kv"); done
    rm -rf "$out"
    "$tmp/metrix" train "$tmp/recipe.yaml" "${args[@]}" --dry-run --json >"$tmp/plan.json"
    "$tmp/metrix" train "$tmp/recipe.yaml" "${args[@]}" --out "$out" --json >"$tmp/report.json" 2>"$tmp/log" || {
        tail -n 2 "$tmp/log" >&2
        return 1
    }
    python3 - "$1" "$2${5:+, ${5#mix.}}" "$3" "$4" "$tmp/plan.json" "$out" <<'PYTHON'
import json, sys
world, level, k, wire, plan, out = sys.argv[1:]
plan = json.load(open(plan))
records = [json.loads(line) for line in open(out + "/steps.jsonl")]
steps = [r for r in records if "loss" in r and r["step"] > 1]
measured = sum(r["sent_bytes"] - 64 * r["sent_frames"] for r in steps) / len(steps)
exchanged = sum(t["bytes"] for t in plan["bytes_sent_per_step"] if t["collective"] == "exchange")
planned = sum(t["bytes"] for t in plan["bytes_sent_per_step"])
result = json.load(open(out + "/result.json"))
n, phases = result["steps"], result["phase_seconds"]
print("%s | %-22s | %3s | %-8s | %9.3f | %9.3f | %8.3f | %7.0f | %7.0f" % (
    world, level, k, wire, measured / 2**20, planned / 2**20, max(0, measured - planned + exchanged) / 2**20,
    1000 * result["train_seconds"] / n, 1000 * phases.get("mix", 0) / n))
PYTHON
}

echo "$(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2-), $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg 2>/dev/null); MiB a step and worker; milliseconds a step"
echo "W | level                  |   k | wire     |      sent |   planned | exchange | ms/step | ms, mix"
for world in $worlds; do
    for level in $levels; do
        case $level in
        none | embed) row "$world" "$level" all float32 ;;
        input)
            for k in $hardest; do
                row "$world" input "$k" float32
                row "$world" input "$k" float32 mix.images=fetch
            done
            ;;
        feature)
            for k in $hardest; do
                for wire in $wires; do row "$world" feature "$k" "$wire"; done
            done
            ;;
        esac
    done
done

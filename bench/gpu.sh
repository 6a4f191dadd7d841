#!/usr/bin/env bash
# Whole Metrix training steps on one GPU, ours and PyTorch's in turns on the same card: ResNet-50 + 512-d
# at 224 x 224, bfloat16, live batch norm, AdamW, multi-similarity plus its mixed form at the embedding
# and the feature level. Ours is metrix train with one worker that loads a packed data set; PyTorch
# (bench/peers/gpu_step.py, eager and torch.compile) has its images on the card and no worker around it.
# Prints images/s, their share of the card's dense bfloat16 peak and the ratios; keeps all in a folder.
#
#   bench/gpu.sh [FOLDER]       default bench/out/gpu
#
# BATCHES (100 256 512), LEVELS (embed feature), MODES (eager compile), STEPS (40) and PYTHON choose less
# or other. Needs bin/metrix-gpu ('make gpu', or carried here) and a Python with PyTorch for CUDA. For a
# dry run without a card: DEVICE=cpu SIDE=32 ENGINE=onednn BATCHES=8 STEPS=4 METRIX=bin/metrix bench/gpu.sh
set -eu -o pipefail
cd "$(dirname "$0")/.."
out=${1:-bench/out/gpu}
batches=${BATCHES:-100 256 512} levels=${LEVELS:-embed feature} modes=${MODES:-eager compile} steps=${STEPS:-40}
python=${PYTHON:-python3} metrix=${METRIX:-bin/metrix-gpu} engine=${ENGINE:-cuda} device=${DEVICE:-cuda} side=${SIDE:-224}
[ -x "$metrix" ] || { echo "bench: $metrix is not there: run 'make gpu', or carry it here" >&2; exit 1; }
"$metrix" doctor --engine "$engine" --precision bf16 --json >/dev/null || exit 1
mkdir -p "$out"
results=$out/steps.jsonl
: >"$results"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

card=cpu
[ "$device" = cpu ] || card=$(nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit --format=csv,noheader | head -n 1)
echo "$(date -u +%Y-%m-%d) $card" | tee "$out/machine.txt"

# The data: enough classes of four for the largest batch, decoded and resized once.
classes=0
for batch in $batches; do [ $((batch / 4)) -le $classes ] || classes=$((batch / 4)); done
"$metrix" data synth "$work/images" --classes $((classes + 2)) --test-classes 2 --images 8 --side $((side * 8 / 7)) >/dev/null
"$metrix" data pack "$work/images" "$work/pack" --side $((side * 8 / 7)) >/dev/null

cat >"$work/step.yaml" <<RECIPE
name: step
data: {size: $side, resize: $((side * 8 / 7)), store: $((side * 8 / 7)), augment: {scale: [0.2, 1]}}
model: {arch: resnet50, dim: 512, norm: batch, batchnorm: live}
loss: {form: multi_similarity}
mix: {level: embed, pairs: positive_negative, weight: 0.4}
batch: {classes: 16, images: 4, shards: 1}
optimizer: {name: adamw, lr: 1e-4}
train: {steps: $steps, eval_every_epochs: 0, checkpoint_every_steps: 0}
eval: {recall: [1]}
engine: {name: $engine, precision: bf16}
RECIPE

# ours BATCH LEVEL prints a line like PyTorch's. The rate is that of the last 20 steps.
ours() {
    local run=$work/$1-$2
    rm -rf "$run"
    "$metrix" train "$work/step.yaml" --data "$work/pack" --out "$run" --workers 1 --json \
        --set batch.classes=$(($1 / 4)) --set mix.level="$2" >"$run.json" 2>"$run.log" || {
        echo "{\"who\": \"ours\", \"batch\": $1, \"level\": \"$2\", \"error\": \"$(tail -n 1 "$run.log" | tr -d '"')\"}"
        return 0
    }
    "$python" - "$run.json" "$run/steps.jsonl" "$1" "$2" <<'PY'
import json, sys
result, batch = json.load(open(sys.argv[1])), int(sys.argv[3])
rates = [r["images_per_second"] for r in map(json.loads, open(sys.argv[2])) if "images_per_second" in r]
print(json.dumps({
    "who": "ours", "batch": batch, "level": sys.argv[4], "images_per_second": round(rates[-1], 1),
    "ms": round(1e3 * batch / rates[-1], 2), "phase_seconds": result["phase_seconds"],
}))
PY
}

torch() {
    "$python" bench/peers/gpu_step.py --batch "$1" --level "$2" --mode $modes --device "$device" --side "$side" --steps "$steps" 2>>"$out/torch.log" ||
        echo "{\"who\": \"torch\", \"batch\": $1, \"level\": \"$2\", \"error\": \"see torch.log\"}"
}

for batch in $batches; do
    for level in $levels; do
        ours "$batch" "$level" | tee -a "$results"
        torch "$batch" "$level" | tee -a "$results"
        ours "$batch" "$level" | tee -a "$results"
    done
done

# Best of each side; an image takes 4.09 G multiply-adds forward and twice as many back: 24.5 GFLOP.
"$python" - "$results" "$card" <<'PY' | tee "$out/summary.txt"
import json, sys
peaks = {"H100 80GB HBM3": 989, "H100 PCIe": 756, "H100 NVL": 835, "H200": 989, "A100": 312, "A10": 125, "L40S": 362, "L4": 121, "B200": 2250}
peak = next((p for name, p in peaks.items() if name in sys.argv[2]), None)
best, broken = {}, []
for r in map(json.loads, open(sys.argv[1])):
    if "error" in r:
        broken.append(r)
        continue
    key = (r["batch"], r["level"], r["who"])
    best[key] = max(best.get(key, 0), r["images_per_second"])
for (batch, level, who), rate in sorted(best.items()):
    share = f"{100 * rate * 24.5e9 / (peak * 1e12):5.1f} % of {peak} TFLOP/s" if peak else "no peak known"
    ours = best.get((batch, level, "ours"))
    ratio = "" if who == "ours" or not ours else f"   ours is {ours / rate:.2f} x"
    print(f"batch {batch:4d} {level:8s} {who:14s} {rate:9.1f} images/s {share}{ratio}")
for r in broken:
    print("fails:", r)
sys.exit(bool(broken))
PY

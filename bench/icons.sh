#!/usr/bin/env bash
# The table of docs/results.md: no mixing, input, feature and embedding level x contrastive,
# multi-similarity, proxy anchor, on the icons with recipes/icons.yaml, by metrix and by its PyTorch
# twin. First seed 1 of all cells, then seed 2; every run is kept, and the same command goes on where
# an earlier one ended.
#
#   bench/icons.sh DIR [SEEDS]        default 5 seeds; 20 minutes a seed on one core of a busy machine
#
# WHO ("ours twin"), LOSSES and LEVELS choose less, THREADS (2) and PYTHON are for both and the twin,
# OUT (bench/out/icons) is where the runs are kept.
set -eu

[ $# -ge 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
data=$1 seeds=${2:-5} threads=${THREADS:-2} python=${PYTHON:-/usr/bin/python3}
root=$(cd "$(dirname "$0")/.." && pwd)
out=${OUT:-$root/bench/out/icons}
recipe=$root/recipes/icons.yaml
mkdir -p "$out"

# ours LOSS LEVEL SEED
ours() {
    local set=()
    case $1 in
    contrastive) set=(--set loss.form=contrastive --set 'loss.params={margin: 0.5}' --set loss.reduction=nonzero) ;;
    proxy_anchor) set=(--set loss.form=proxy_anchor --set 'loss.params={}') ;;
    esac
    rm -rf "$out/run"
    "$root/bin/metrix" train "$recipe" --data "$data" --out "$out/run" --json "${set[@]}" --set "mix.level=$2" --set "seed=$3" \
        --set data.decoder=turbo --set engine.name=onednn --set "engine.threads=$threads" --workers 1
    rm -rf "$out/run"
}

# twin LOSS LEVEL SEED
twin() {
    local reduction=default
    [ "$1" = contrastive ] && reduction=nonzero
    "$python" "$root/bench/peers/icons_train.py" --data "$data" --recipe "$recipe" --json \
        --loss "$1" --reduction "$reduction" --mix "$2" --seed "$3" --threads "$threads"
}

for seed in $(seq "$seeds"); do
    for loss in ${LOSSES:-contrastive multi_similarity proxy_anchor}; do
        for level in ${LEVELS:-none input feature embed}; do
            for who in ${WHO:-ours twin}; do
                file=$out/$loss-$level-$who-s$seed.json
                [ -s "$file" ] && continue
                echo "$loss, $level, $who, seed $seed" >&2
                "$who" "$loss" "$level" "$seed" >"$out/unfinished" 2>"$out/log"
                mv "$out/unfinished" "$file"
            done
        done
    done
done
"$python" "$root/bench/peers/icons_table.py" "$out"

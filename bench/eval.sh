#!/usr/bin/env bash
# metrix eval beside faiss's exact search alone and pytorch-metric-learning's calculator, in turns in one
# run on the same threads: 60 502 random unit embeddings of 512 dimensions in 11 316 classes, the sizes
# of Stanford Online Products' test split. Ours finds Recall@1/10/100/1000, MAP@R and R-precision; faiss
# finds the 1001 nearest; the calculator finds precision at 1, MAP@R and R-precision.
#
#   bench/eval.sh [ROUNDS]            default 3 rounds; about 6 minutes on two quiet cores
#   N=10000 bench/eval.sh 1           a short run; classes in proportion
#
# THREADS chooses other cores, PEERS fewer peers (PEERS=faiss), PYTHON a Python that has them:
#
#   apt-get install python3-torch python3-venv
#   /usr/bin/python3 -m venv --system-site-packages ~/peers
#   ~/peers/bin/pip install 'numpy<2' safetensors faiss-cpu scikit-learn tqdm
#   ~/peers/bin/pip install --no-deps pytorch-metric-learning
#   PYTHON=~/peers/bin/python bench/eval.sh
#
# For each, a line of seconds and processor seconds of the search (ours: and the metrics), and the peak
# memory of the whole process. Seconds to read the file are in none. Then the figures must agree.
set -eu

rounds=${1:-3} n=${N:-60502} threads=${THREADS:-2} python=${PYTHON:-/usr/bin/python3} peers=${PEERS:-faiss pml}
root=$(cd "$(dirname "$0")/.." && pwd)
script=$root/bench/peers/eval_peers.py
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

"$python" -c 'import numpy, safetensors, faiss' 2>/dev/null || {
    echo "bench: $python has not all of numpy, safetensors and faiss: see the head of bench/eval.sh, and set PYTHON" >&2
    exit 1
}
[ -x /usr/bin/time ] || {
    echo "bench: /usr/bin/time is not installed: apt-get install time" >&2
    exit 1
}
(cd "$root" && go build -o "$tmp/metrix" ./cmd/metrix)
classes=$((n * 11316 / 60502))
"$python" "$script" make "$tmp/set" --rows "$n" --classes "$classes"
echo "$n rows of 512 in $classes classes, $threads threads"

# field NAME reads a number of our JSON, which has one key a line.
field() { awk -F'[:,]' -v k="\"$1\"" '$1 ~ k { print $2 + 0 }' "$tmp/ours.json"; }

# record WHO SECONDS CPU MIB prints and keeps one result.
record() {
    printf '%-8s %8.2f s %8.2f cpu-s %7.0f MiB\n' "$1" "$2" "$3" "$4"
    echo "$1 $2 $3 $4" >>"$tmp/results"
}

ours() {
    GOMAXPROCS=$threads /usr/bin/time -o "$tmp/time" -f '%U %S %M' \
        "$tmp/metrix" eval --embeddings "$tmp/set" --recall 1,10,100,1000 --threads "$threads" --json >"$tmp/ours.json"
    local user system peak
    read -r user system peak <"$tmp/time"
    # Processor time is of the whole process, reading included.
    record ours "$(field search_seconds)" "$(echo "$user $system" | awk '{ print $1 + $2 }')" "$(echo "$peak" | awk '{ print $1 / 1024 }')"
}

# peer WHO lets the library choose its own kernel, whatever the shell says about OpenBLAS.
peer() {
    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OMP_NUM_THREADS="$threads" OPENBLAS_NUM_THREADS="$threads" \
        "$python" -W ignore "$script" "$1" "$tmp/set" --threads "$threads" >"$tmp/$1.json" 2>"$tmp/$1.err" || {
        echo "$1 fails: $(tail -n 1 "$tmp/$1.err")"
        return 0
    }
    # shellcheck disable=SC2046
    record "$1" $("$python" -c 'import json, sys
r = json.load(open(sys.argv[1]))
print(r["seconds"], r["cpu_seconds"], r["peak_mib"])' "$tmp/$1.json")
}

for _ in $(seq "$rounds"); do
    for p in $peers; do
        ours
        peer "$p"
    done
done

for p in $peers; do
    if [ -s "$tmp/$p.json" ]; then
        "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["version"])' "$tmp/$p.json"
        "$python" "$script" check "$tmp/ours.json" "$tmp/$p.json"
    fi
done

# The best of each side over all rounds: what other processes take can only slow a run down.
awk '
    !($1 in wall) { order[++count] = $1; wall[$1] = $2; cpu[$1] = $3; memory[$1] = $4 }
    $2 < wall[$1] { wall[$1] = $2 }
    $3 < cpu[$1] { cpu[$1] = $3 }
    $4 < memory[$1] { memory[$1] = $4 }
    END {
        print "best of each, and how many times ours it takes:"
        printf "%-8s %10s %8s %10s %8s %10s %8s\n", "", "seconds", "x", "cpu-s", "x", "MiB", "x"
        for (i = 1; i <= count; i++) {
            k = order[i]
            printf "%-8s %10.2f %8.2f %10.2f %8.2f %10.0f %8.2f\n", k,
                wall[k], wall[k] / wall["ours"], cpu[k], cpu[k] / cpu["ours"], memory[k], memory[k] / memory["ours"]
        }
    }' "$tmp/results"

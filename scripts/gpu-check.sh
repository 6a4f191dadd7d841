#!/usr/bin/env bash
# Checks the CUDA engine on a machine with an NVIDIA card and leaves what it measures in one folder:
# what the machine has, the tests of engine and kernels, whole runs (200 steps beside the CPU engine, two
# workers sharing the card, 2 000 steps without a leak), the memory checker, real images, the benchmark
# beside PyTorch. Ends with a line for each: passed, failed or not run, and why; exits with 1 if one failed.
#
#   scripts/gpu-check.sh [FOLDER]      default bench/out/gpu-check
#
# With Go it builds first ('make gpu'). Without, it takes what was built elsewhere and carried here: the
# repository with bin/metrix-gpu and bin/gpu-tests. cuDNN and cuBLAS are those that METRIX_CUDA_LIBS names,
# or of the nvidia packages beside a PyTorch, or the system's.
#
#   PARTS="doctor kernels engine runs memcheck icons bench"    choose less
#   METRIX_SHARED=DIR     real images, DIR/data/icons.tgz in the layout of SOP, for icons
#   BATCHES, LEVELS, MODES, STEPS, PYTHON             as for bench/gpu.sh
set -u -o pipefail
cd "$(dirname "$0")/.."
root=$PWD
mkdir -p "${1:-bench/out/gpu-check}"
out=$(cd "${1:-bench/out/gpu-check}" && pwd)
parts=${PARTS:-doctor kernels engine runs memcheck icons bench}
summary=$out/summary.txt
card=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
[ -z "${METRIX_CUDA_EMULATED:-}" ] || card="no card: NVIDIA's libraries are emulated, no figure here is one of a GPU"
echo "$(date -u +%Y-%m-%d), ${card:-no card that nvidia-smi sees}" >"$summary"

# note PART RESULT... adds a line to the summary.
note() { printf '%-10s %s\n' "$1" "${*:2}" | tee -a "$summary"; }

# tested PACKAGE LOG ARGUMENTS... runs the tests of a package where its files lie.
tested() {
    local package=$1 log=$2
    shift 2
    (cd "$root/$package" && "$root/bin/gpu-tests/$(basename "$package").test" -test.v "$@") >"$out/$log" 2>&1
}

# outcome PART LOG CODE notes how tests ended, and the figures that they printed.
outcome() {
    local passed skipped
    passed=$(grep -c -- '--- PASS' "$out/$2")
    skipped=$(grep -c -- '--- SKIP' "$out/$2")
    if [ "$3" -eq 0 ] && [ "$passed" -gt 0 ]; then
        note "$1" "passed: $passed tests, $skipped skipped ($2)"
    elif [ "$3" -eq 0 ]; then
        note "$1" "not run: $(grep -m 1 -B 1 -- '--- SKIP' "$out/$2" | head -n 1 | sed 's/^ *//') ($2)"
    else
        note "$1" "failed: $(grep -m 1 -- '--- FAIL' "$out/$2" || tail -n 1 "$out/$2") ($2)"
    fi
    sed -n 's/.*figure: /           /p' "$out/$2" | tee -a "$summary"
}

doctor() {
    bin/metrix-gpu doctor --engine cuda --precision bf16 | tee "$out/doctor.txt"
    local code=$?
    bin/metrix-gpu doctor --engine cuda --precision bf16 --json >"$out/doctor.json" 2>/dev/null
    command -v nvidia-smi >/dev/null && nvidia-smi >"$out/nvidia-smi.txt"
    local revision
    revision=$(sed -n 's/.*"revision": "\(.\{9\}\).*/, built from \1/p' "$out/doctor.json")
    if [ $code -eq 0 ]; then note doctor "passed$revision (doctor.txt)"; else note doctor "failed: the engine cannot be used here (doctor.txt)"; fi
    return $code
}

kernels() {
    [ -n "${METRIX_CUDA_EMULATED:-}" ] || export METRIX_CUDA_CARD=1
    tested engine/cuda/kernels kernels.log -test.timeout 30m
    outcome kernels kernels.log $?
}

engine() {
    tested engine/cuda engine.log -test.timeout 30m
    outcome engine engine.log $?
}

runs() {
    tested internal/app runs.log -test.run '^TestCUDA' -test.timeout 30m
    outcome runs runs.log $?
}

memcheck() {
    local checker
    checker=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
    if [ -z "$checker" ]; then
        note memcheck "not run: no compute-sanitizer on this machine: it is part of the CUDA toolkit"
        return
    fi
    # Conformance visits every part of the engine; under the checker it takes some minutes.
    (cd engine/cuda && timeout 1800 "$checker" --tool memcheck --leak-check full --error-exitcode 9 \
        "$root/bin/gpu-tests/cuda.test" -test.run '^TestConforms' -test.timeout 30m) >"$out/memcheck.log" 2>&1
    if [ $? -eq 0 ]; then note memcheck "passed: $(grep 'ERROR SUMMARY' "$out/memcheck.log" | tail -n 1) (memcheck.log)"; else note memcheck "failed: $(tail -n 1 "$out/memcheck.log") (memcheck.log)"; fi
}

# icons_recall ENGINE IMAGES trains recipes/icons.yaml and prints the Recall@1 after the last step, in percent.
icons_recall() {
    rm -rf "$out/icons-$1"
    bin/metrix-gpu train recipes/icons.yaml --data "$2" --out "$out/icons-$1" --json --set engine.name="$1" \
        >"$out/icons-$1.json" 2>"$out/icons-$1.log" || return
    sed -n '/"final": {/,$s/.*"value": *\([0-9.]*\).*/\1/p' "$out/icons-$1.json" | awk 'NR == 1 { printf "%.1f", 100 * $1 }'
}

# icons trains on real images, on the card and on the CPU. One standard error of the Recall@1 of 1 303
# queries is 1.2 points: three points less than the CPU's is a failure.
icons() {
    local archive=${METRIX_SHARED:-}/data/icons.tgz images=$out/icons-images cpu=gorgonia card reference
    [ -f "$archive" ] || { note icons "not run: no $archive: set METRIX_SHARED"; return; }
    bin/metrix-gpu doctor --engine onednn >/dev/null 2>&1 && cpu=onednn
    rm -rf "$images"
    mkdir "$images"
    if ! tar xzf "$archive" -C "$images" || ! card=$(icons_recall cuda "$images/icons") || ! reference=$(icons_recall $cpu "$images/icons"); then
        note icons "failed: a run did not end well (icons-cuda.log, icons-$cpu.log)"
        return
    fi
    rm -rf "$images"
    if awk -v card="${card:-0}" -v reference="${reference:-100}" 'BEGIN { exit !(card >= reference - 3) }'; then
        note icons "passed: Recall@1 $card on the card, $reference on $cpu (icons-cuda.json, icons-$cpu.json)"
    else
        note icons "failed: Recall@1 $card on the card, $reference on $cpu (icons-cuda.json, icons-$cpu.json)"
    fi
}

bench() {
    if ! "${PYTHON:-python3}" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
        note bench "not run: ${PYTHON:-python3} has no PyTorch that sees the card: name one in PYTHON"
        return
    fi
    if bench/gpu.sh "$out/bench" >"$out/bench.log" 2>&1; then note bench "passed (bench)"; else note bench "failed: $(tail -n 1 "$out/bench.log") (bench.log)"; fi
    sed 's/^/           /' "$out/bench/summary.txt" 2>/dev/null | tee -a "$summary"
}

if [ -z "${METRIX_CUDA_LIBS:-}" ]; then
    METRIX_CUDA_LIBS=$("${PYTHON:-python3}" -c 'import glob, nvidia; print(":".join(glob.glob(list(nvidia.__path__)[0] + "/*/lib")))' 2>/dev/null) || METRIX_CUDA_LIBS=
    export METRIX_CUDA_LIBS
fi
if command -v go >/dev/null; then
    scripts/gpu-build.sh || exit 1
elif [ ! -x bin/metrix-gpu ] || [ ! -d bin/gpu-tests ]; then
    echo "gpu-check: neither Go nor bin/metrix-gpu and bin/gpu-tests here: build them elsewhere with 'make gpu' and carry them along" >&2
    exit 1
fi
if [[ " $parts " == *" doctor "* ]]; then
    doctor || { echo "gpu-check: nothing more can be checked without a usable card" >&2; exit 1; }
fi
for part in kernels engine runs memcheck icons bench; do
    if [[ " $parts " == *" $part "* ]]; then "$part"; else note "$part" "not run: PARTS leaves it out"; fi
done
echo
echo "gpu-check: figures and logs are in $out"
cat "$summary"
! grep -qE '^[a-z]+ +failed' "$summary"

#!/usr/bin/env bash
# What the tag gpu adds, as far as it can be tested without a card: it is vetted, the committed PTX is
# compared with its sources, engine and whole runs are tested on emulated libraries. Fetches the pinned
# toolchain if it is not there. The last line is the count.
set -u -o pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0
count='^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$'

# step NAME COMMAND... counts a check.
step() {
    local name=$1
    shift
    echo "gpu: $name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL  gpu: $name"
    fi
}

packages=(./engine/cuda/... ./internal/app ./cmd/...)
step "the toolchain is there" scripts/gpu-toolchain.sh
if [ $failed -eq 0 ]; then
    step "go vet with the tag gpu" scripts/gpu-go.sh vet "${packages[@]}"
    step "staticcheck with the tag gpu" scripts/gpu-go.sh tool staticcheck "${packages[@]}"
    step "the PTX is what the sources give" scripts/gpu-ptx.sh --check
    before=$failed
    scripts/gpu-emulate.sh | tee "$log" | grep -vE "$count" || emulated=failed
    while read -r p _ f _ s _; do
        passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    done < <(grep -E "$count" "$log")
    # What stopped it before it could count is a failure too.
    if [ "${emulated:-}" = failed ] && [ $failed -eq "$before" ]; then failed=$((failed + 1)); fi
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]

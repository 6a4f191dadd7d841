#!/usr/bin/env bash
# Runs the tests of the given packages (default all of them), under the race detector where there is a C
# compiler. With all packages, what can be tested of the CUDA engine without a card runs first
# (scripts/gpu-test.sh), if its toolchain is there or METRIX_TEST_GPU=required says that it must be. The
# last line is the count of everything.
set -u -o pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- ./...
go=${GO:-go}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
code=0

echo "0 passed, 0 failed, 0 skipped" >"$log"
if [ "$*" != ./... ]; then
    :
elif [ "${METRIX_TEST_GPU:-}" = required ] || cmp -s scripts/gpu-toolchain.txt .gpu/toolchain/packages.txt; then
    scripts/gpu-test.sh 2>&1 | tee "$log" || code=1
else
    echo "test: without the GPU part; 'make gpu-test' fetches its toolchain (135 MB) and runs it"
fi

race=
command -v gcc >/dev/null && race=-race
# The closing count waits for that of the GPU part to be added.
"$go" run ./scripts/gotest $race -timeout 20m "$@" | awk -v earlier="$(tail -n 1 "$log")" '
    NR > 1 { print line; fflush() }
    { line = $0 }
    END {
        if (line ~ /^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/) {
            split(line, own, /[^0-9]+/); split(earlier, gpu, /[^0-9]+/)
            line = (own[1] + gpu[1]) " passed, " (own[2] + gpu[2]) " failed, " (own[3] + gpu[3]) " skipped"
        }
        print line
    }' || code=1
exit $code

#!/usr/bin/env bash
# Runs every Fuzz function of the given packages for FUZZTIME each (default 10s). A new target is
# found by its name: nothing lists them.
set -u
cd "$(dirname "$0")/.." || exit 1
time=${FUZZTIME:-10s}
[ $# -gt 0 ] || set -- ./...

# targets prints "package function" lines from what 'go test -list' says.
targets() {
    go test -list '^Fuzz' "$@" |
        awk '/^Fuzz/ { name[n++] = $1 } /^ok/ { for (i = 0; i < n; i++) print $2, name[i]; n = 0 }'
}

found=$(targets "$@") || exit 1
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
while read -r package function; do
    [ -n "$package" ] || continue
    echo "fuzz: $function in $package for $time"
    go test -run '^$' -fuzz "^$function\$" -fuzztime "$time" -fuzzminimizetime 10x "$package" </dev/null 2>&1 | tee "$log"
    # Go's fuzzer now and then reports its own time-out as a failure: a real one leaves an input.
    if [ "${PIPESTATUS[0]}" -eq 0 ] || { grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log"; }; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
done <<<"$found"

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]

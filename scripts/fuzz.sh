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
while read -r package function; do
    [ -n "$package" ] || continue
    echo "fuzz: $function in $package for $time"
    if go test -run '^$' -fuzz "^$function\$" -fuzztime "$time" -fuzzminimizetime 10x "$package" </dev/null; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
done <<<"$found"

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]

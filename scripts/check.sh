#!/usr/bin/env bash
# Formatting, vet and staticcheck over the whole module. Runs all three before it fails, so that
# one run shows everything there is to mend.
set -u
cd "$(dirname "$0")/.." || exit 1
failed=0

mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.go')
unformatted=$(gofmt -l "${files[@]}")
if [ -n "$unformatted" ]; then
    echo "check: not formatted (run gofmt -w on them):" >&2
    echo "$unformatted" >&2
    failed=1
fi

# report NAME COMMAND... runs a check and says which one failed.
report() {
    local name=$1
    shift
    "$@" || { echo "check: $name found something, see above" >&2; failed=1; }
}

report "go vet" go vet ./...
report staticcheck go tool staticcheck ./...

[ $failed -eq 0 ] && echo "check: formatting, vet and staticcheck are clean"
exit $failed

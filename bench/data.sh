#!/usr/bin/env bash
# Measures how many training images a second are read, decoded, resized, cropped, flipped and
# normalised: from files with Go's decoder and with libjpeg-turbo, and from a pack; by one goroutine
# and by as many as there are cores. BENCHTIME (default 300ms) is how long each figure is measured,
# COUNT (default 5) how often, CORES (default 1 and all) the numbers of goroutines. Of the COUNT
# figures the best is shown: what the machine does when nothing else disturbs it. Columns: img/s by
# the clock, by all goroutines together; img/s/core by processor time; bytes and pieces of memory
# allocated for an image.
set -eu
cd "$(dirname "$0")/.."
all=$(nproc)
cores=${CORES:-$([ "$all" -gt 1 ] && echo "1,$all" || echo 1)}
program=$(mktemp -d)
trap 'rm -rf "$program"' EXIT
go test -c -o "$program/dataset.test" ./dataset/

echo "$(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2-), $all cores, $(go version), load $(cut -d' ' -f1 /proc/loadavg 2>/dev/null)"
cd dataset
"$program/dataset.test" -test.run '^$' -test.bench 'BenchmarkLoad|BenchmarkTrain' -test.cpu "$cores" \
    -test.benchtime "${BENCHTIME:-300ms}" -test.count "${COUNT:-5}" |
    awk '
        /without decoder|FAIL/ { print; next }
        !/^Benchmark/ { next }
        {
            name = substr($1, 10)
            if (!(name in seen)) { seen[name] = 1; order[n++] = name }
            for (i = 3; i < NF; i += 2) {
                v = $i + 0; unit = $(i + 1)
                rate = unit ~ /^img/
                if (!((name, unit) in best) || (rate ? v > best[name, unit] : v < best[name, unit])) best[name, unit] = v
            }
        }
        END {
            printf "%-30s %12s %12s %10s %10s\n", "", "img/s", "img/s/core", "B/img", "allocs/img"
            for (k = 0; k < n; k++) {
                name = order[k]
                printf "%-30s %12s %12d %10d %10d\n", name,
                    (name, "img/s") in best ? sprintf("%d", best[name, "img/s"]) : "-",
                    best[name, "img/s/core"], best[name, "B/op"], best[name, "allocs/op"]
            }
        }'

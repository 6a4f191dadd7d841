#!/usr/bin/env bash
# Measures how many training images a second are read, decoded, resized, cropped, flipped and
# normalised: from files with Go's decoder and with libjpeg-turbo, and from a pack; by one goroutine
# and by as many as there are cores. BENCHTIME (default 1s) is how long each figure is measured,
# CORES (default 1 and all) the numbers of goroutines. Columns: img/s/core goes by processor time and
# is little disturbed by other programs; img/s is what all goroutines did by the clock.
set -eu
cd "$(dirname "$0")/.."
time=${BENCHTIME:-1s}
all=$(nproc)
cores=${CORES:-$([ "$all" -gt 1 ] && echo "1,$all" || echo 1)}

echo "$(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2-), $all cores, $(go version)"
echo "load before: $(cut -d' ' -f1 /proc/loadavg 2>/dev/null)"
go test -run '^$' -bench 'BenchmarkLoad|BenchmarkTrain|BenchmarkDecode' -benchtime "$time" -cpu "$cores" ./dataset/ |
    grep -E '^Benchmark|^---|without decoder|^FAIL' | sed 's/^Benchmark//'

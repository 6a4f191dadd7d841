# What bench/cpu.sh and bench/ddp.sh share: the PyTorch of each Python in $pythons, and the last table.

declare -A torch_of # by Python: torch-VERSION

# find_torch fills torch_of, or says what is missing.
find_torch() {
    local python version
    for python in $pythons; do
        version=$("$python" -c 'import re, torch; print(re.match("[0-9.]+", torch.__version__)[0])' 2>/dev/null) || {
            echo "bench: PyTorch is not installed for $python: apt-get install python3-torch, or set PYTHONS" >&2
            exit 1
        }
        torch_of[$python]=torch-$version
        echo "$python has ${torch_of[$python]}"
    done
}

# ratios FILE prints, from lines "WHAT WHO images/s images/cpu-s MiB", the best of each side over all rounds
# and modes: what other processes take can only slow a run down.
ratios() {
    awk '
        { k = $1; side = $2 }
        !((k, side) in wall) { memory[k, side] = $5; if (!(k in known)) { known[k]; keys[++count] = k } }
        side != "ours" && !(side in peer) { peer[side]; peers[++others] = side }
        $3 > wall[k, side] { wall[k, side] = $3 }
        $4 > cpu[k, side] { cpu[k, side] = $4 }
        $5 < memory[k, side] { memory[k, side] = $5 }
        END {
            print "ours / PyTorch, best of each:"
            for (i = 1; i <= count; i++)
                for (j = 1; j <= others; j++) {
                    k = keys[i]; p = peers[j]
                    if (!((k, p) in wall) || !((k, "ours") in wall)) continue
                    printf "%-14s %-12s %8.2f / %8.2f images/s %5.2f x, %5.2f x images/cpu-s, %5d / %5d MiB %5.2f x\n", k, p,
                        wall[k, "ours"], wall[k, p], wall[k, "ours"] / wall[k, p], cpu[k, "ours"] / cpu[k, p],
                        memory[k, "ours"], memory[k, p], memory[k, "ours"] / memory[k, p]
                }
        }' "$1"
}

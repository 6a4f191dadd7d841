#!/usr/bin/env python3
"""Prints the table of docs/results.md from the runs that bench/icons.sh has kept.

    python3 bench/peers/icons_table.py bench/out/icons

A run is a file LOSS-LEVEL-WHO-sSEED.json: the --json of metrix train (ours) or of icons_train.py (twin).
"""

import glob
import json
import os
import re
import statistics
import sys

KS = (1, 2, 4, 8)
LOSSES = ("contrastive", "multi_similarity", "proxy_anchor")
LEVELS = ("none", "input", "feature", "embed")


def figures(path):
    """Recall@1, 2, 4, 8 and MAP@R of a run, in percent."""
    with open(path) as text:
        final = json.load(text)["final"]
    if "metrics" in final:
        recall = {row["k"]: row["value"] for row in final["metrics"]["recall"]}
        values = [recall[k] for k in KS] + [final["metrics"]["map_at_r"]]
    else:
        values = [final[f"recall@{k}"] for k in KS] + [final["map@r"]]
    return [100 * v for v in values]


def read(folder):
    """The figures of every (loss, level, who), one row a seed."""
    runs = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        match = re.fullmatch(r"(\w+)-(\w+)-(ours|twin)-s(\d+)\.json", os.path.basename(path))
        if match:
            runs.setdefault(match.groups()[:3], []).append(figures(path))
    return runs


def spread(values):
    mean = statistics.mean(values)
    return f"{mean:.1f} ± {statistics.stdev(values):.1f}" if len(values) > 1 else f"{mean:.1f}"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    runs = read(sys.argv[1])
    print("| loss | mixing | seeds | R@1 metrix | R@1 twin | difference | R@8 metrix | R@8 twin | MAP@R metrix | MAP@R twin |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for loss in LOSSES:
        for level in LEVELS:
            ours, twin = (list(zip(*runs.get((loss, level, who), []))) for who in ("ours", "twin"))
            if not ours or not twin:
                continue
            seeds = str(len(ours[0])) if len(ours[0]) == len(twin[0]) else f"{len(ours[0])}, {len(twin[0])}"
            apart = statistics.mean(ours[0]) - statistics.mean(twin[0])
            cells = [spread(side[column]) for column in (0, 3, 4) for side in (ours, twin)]
            cells.insert(2, f"{apart:+.1f}")
            print(f"| {loss.replace('_', ' ')} | {level} | {seeds} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

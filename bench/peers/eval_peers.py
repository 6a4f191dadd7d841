#!/usr/bin/env python3
"""What metrix eval is timed beside (bench/eval.sh): faiss's exact search, pytorch-metric-learning's calculator.

    python3 eval_peers.py make FILE --rows 60502 --classes 11316   random embeddings as safetensors
    python3 eval_peers.py faiss FILE --threads 2                   IndexFlatIP, the 1001 nearest of each
    python3 eval_peers.py pml FILE --threads 2                     AccuracyCalculator
    python3 eval_peers.py check OURS.json PEER.json                the figures agree

faiss and pml print one JSON object: seconds and processor seconds of the search or calculation alone,
the peak memory of the process, and what came out.

Packages: numpy, safetensors, faiss-cpu; for pml also torch and pytorch-metric-learning (bench/eval.sh).
"""
import argparse
import json
import resource
import sys
import time

import numpy as np

KS = [1, 10, 100, 1000]


def make(o):
    """Classes are random directions, rows their class's direction plus noise of o.noise times its length.

    Two rows of a class then have a cosine of about 1 / (1 + noise^2), rows of two classes 0 +- 1/sqrt(dim).
    """
    from safetensors.numpy import save_file

    rng = np.random.default_rng(o.seed)
    centres = rng.standard_normal((o.classes, o.dim), dtype=np.float32)
    # Two rows of every class, the rest anyhow, in random order.
    rest = rng.integers(0, o.classes, o.rows - 2 * o.classes)
    labels = rng.permutation(np.concatenate([np.arange(o.classes), np.arange(o.classes), rest])).astype(np.int64)
    x = centres[labels] + np.float32(o.noise) * rng.standard_normal((o.rows, o.dim), dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    save_file({"embeddings": x, "labels": labels}, o.file)


def read(path):
    from safetensors.numpy import load_file

    tensors = load_file(path)
    return np.ascontiguousarray(tensors["embeddings"]), tensors["labels"]


def timed(work):
    start, cpu = time.perf_counter(), time.process_time()
    out = work()
    return out, {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


def report(cost, **more):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**cost, "peak_mib": peak, **more}))


def search(o):
    import faiss

    faiss.omp_set_num_threads(o.threads)
    x, labels = read(o.file)
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    (_, found), cost = timed(lambda: index.search(x, min(KS[-1] + 1, len(x))))
    # Not timed: Recall@K of queries that have a match, each without itself.
    hit = np.empty(len(x), np.int64)
    for i in range(len(x)):
        others = found[i][found[i] != i]
        hits = np.flatnonzero(labels[others] == labels[i])
        hit[i] = hits[0] + 1 if len(hits) else len(x)
    counts = np.bincount(labels)
    queries = counts[labels] > 1
    recall = {str(k): float((hit[queries] <= k).mean()) for k in KS}
    options = faiss.get_compile_options().strip() if hasattr(faiss, "get_compile_options") else ""
    report(cost, recall=recall, version=f"faiss {faiss.__version__} ({options})")


def calculate(o):
    import faiss
    import pytorch_metric_learning
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    faiss.omp_set_num_threads(o.threads)
    torch.set_num_threads(o.threads)
    x, labels = read(o.file)
    # The fewest neighbours that its MAP@R needs: as many as the largest class has rows. Recall@10,
    # 100 and 1000 it does not know.
    calculator = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r", "r_precision"),
        k="max_bin_count",
        device=torch.device("cpu"),
    )
    x, labels = torch.from_numpy(x), torch.from_numpy(labels)
    if not hasattr(torch.Tensor, "untyped_storage"):  # torch 1.x, under a faiss that expects 2
        torch.Tensor.untyped_storage = torch.Tensor.storage
    values, cost = timed(lambda: calculator.get_accuracy(x, labels))
    report(
        cost,
        recall={"1": values["precision_at_1"]},
        map_at_r=values["mean_average_precision_at_r"],
        r_precision=values["r_precision"],
        version=f"pytorch-metric-learning {pytorch_metric_learning.__version__}, torch {torch.__version__}",
    )


def check(o):
    """Where rounding decides, one row in ten thousand may differ."""
    with open(o.ours) as f:
        ours = json.load(f)["metrics"]
    with open(o.peer) as f:
        peer = json.load(f)
    mine = {str(r["k"]): r["value"] for r in ours["recall"]}
    pairs = [(f"Recall@{k}", mine[k], v) for k, v in peer["recall"].items()]
    pairs += [(k, ours[k], peer[k]) for k in ("map_at_r", "r_precision") if k in peer]
    for name, a, b in pairs:
        if abs(a - b) > 1e-4:
            sys.exit(f"{name}: ours {a:.6f}, peer {b:.6f}")
    print("agrees: " + ", ".join(f"{name} {100 * a:.2f} / {100 * b:.2f}" for name, a, b in pairs))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("make")
    p.add_argument("file")
    p.add_argument("--rows", type=int, default=60502)
    p.add_argument("--classes", type=int, default=11316)
    p.add_argument("--dim", type=int, default=512)
    p.add_argument("--noise", type=float, default=2.5)
    p.add_argument("--seed", type=int, default=1)
    p.set_defaults(run=make)
    for name, run in [("faiss", search), ("pml", calculate)]:
        p = commands.add_parser(name)
        p.add_argument("file")
        p.add_argument("--threads", type=int, default=2)
        p.set_defaults(run=run)
    p = commands.add_parser("check")
    p.add_argument("ours")
    p.add_argument("peer")
    p.set_defaults(run=check)
    o = parser.parse_args()
    o.run(o)


if __name__ == "__main__":
    main()

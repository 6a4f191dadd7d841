#!/usr/bin/env python3
"""Times training steps of ResNet-50 in PyTorch over DistributedDataParallel with gloo (bench/ddp.sh).

Every process forwards its part of the batch of 40; the embeddings of all are gathered; each computes
multi-similarity plus embedding-level Metrix over the whole batch, from which the gradient of its own
rows is exact; DistributedDataParallel sums what reaches the weights; AdamW. One process does the same
without it. Images are random and in memory: no time goes into loading.

    apt-get install python3-torch
    python3 bench/peers/ddp_train.py --world 2 --threads 1 --layout cl --steps 3
"""
import argparse
import os
import resource
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from resnet50_cpu import BATCH, PER_CLASS, metrix_loss, resnet50


def gather(y):
    """All rows in the order of ranks; the own ones stay in the graph."""
    parts = [torch.empty_like(y) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, y.detach())
    parts[dist.get_rank()] = y
    return torch.cat(parts)


def train_step(net, opt, x, labels, o):
    opt.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=o.bf16):
        y = net(x)
    if o.world == 1:
        loss = metrix_loss(y, labels)
    else:
        # DistributedDataParallel averages gradients; each is a summand of the true one.
        loss = o.world * metrix_loss(gather(y), labels)
    loss.backward()
    opt.step()


def train(rank, o, meeting):
    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    net, side = resnet50()
    rows = BATCH // o.world
    labels = torch.arange(BATCH) // PER_CLASS
    x = torch.randn(BATCH, 3, side, side)[rank * rows : (rank + 1) * rows].clone()
    if o.layout == "cl":
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    if o.world > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=o.world)
        net = torch.nn.parallel.DistributedDataParallel(net, gradient_as_bucket_view=True)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4, foreach=True)
    for step in range(o.steps + 1):
        if step == 1:
            if o.world > 1:
                dist.barrier()
            start, cpu = time.perf_counter(), time.process_time()
        train_step(net, opt, x, labels, o)
    if o.world > 1:
        dist.barrier()
    seconds, cpu = (time.perf_counter() - start) / o.steps, (time.process_time() - cpu) / o.steps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if o.world > 1:
        totals = torch.tensor([cpu, peak])
        dist.all_reduce(totals)
        cpu, peak = totals.tolist()
    if rank == 0:
        print(f"{BATCH / seconds:.3f} images/s {BATCH / cpu:.3f} images/cpu-s {peak:.0f} MiB torch-{torch.__version__}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=int, default=2, help="processes; a divisor of 40")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--layout", choices=["nchw", "cl"], default="cl")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--steps", type=int, default=2, help="timed steps, after one that is not")
    o = parser.parse_args()
    if BATCH % o.world:
        parser.error(f"--world {o.world} does not divide {BATCH}")
    if o.world == 1:
        train(0, o, None)
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(train, (o, f"{folder}/meeting"), o.world)


if __name__ == "__main__":
    main()

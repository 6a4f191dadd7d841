#!/usr/bin/env python3
"""Times training steps of ResNet-50 in PyTorch over DistributedDataParallel with gloo (bench/ddp.sh).

Every process forwards its part of the batch of 40; the embeddings of all are gathered; each computes
multi-similarity plus embedding-level Metrix over the whole batch, from which the gradient of its own
rows is exact; DistributedDataParallel sums what reaches the weights; AdamW. One process does the same
without it. Images are random and in memory: no time goes into loading. With --images DIR they are files
below DIR instead, decoded, cropped, resized and mirrored by Pillow on a thread of the process while the
step before runs (Pillow lets go of Python's lock where it works); which images does not matter for time.

    apt-get install python3-torch
    python3 bench/peers/ddp_train.py --world 2 --threads 1 --layout cl --steps 3
"""
import argparse
import concurrent.futures
import os
import pathlib
import random
import resource
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from resnet50_cpu import BATCH, PER_CLASS, metrix_loss, resnet50


class Memory:
    """The same random images for every step."""

    def __init__(self, rank, rows, side, layout):
        x = torch.randn(BATCH, 3, side, side)[rank * rows : (rank + 1) * rows].clone()
        self.x = x.to(memory_format=torch.channels_last) if layout == "cl" else x

    def next(self):
        return self.x


class Files:
    """Images of files, prepared a batch ahead: RandomResizedCrop with shares of the area in 0.5..1, a flip."""

    MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def __init__(self, rank, rows, side, layout, folder):
        import numpy
        from PIL import Image

        self.numpy, self.image = numpy, Image
        self.paths = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
        self.random, self.rows, self.side, self.layout = random.Random(rank), rows, side, layout
        self.thread = concurrent.futures.ThreadPoolExecutor(1)
        self.ahead = self.thread.submit(self.load)

    def crop(self, path):
        image = self.image.open(path).convert("RGB")
        w, h = image.size
        area, ratio = w * h * self.random.uniform(0.5, 1), self.random.uniform(3 / 4, 4 / 3)
        cw, ch = min(w, round((area * ratio) ** 0.5)), min(h, round((area / ratio) ** 0.5))
        x, y = self.random.randint(0, w - cw), self.random.randint(0, h - ch)
        image = image.resize((self.side, self.side), self.image.BILINEAR, box=(x, y, x + cw, y + ch))
        if self.random.random() < 0.5:
            image = image.transpose(self.image.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(self.numpy.array(image))
        return ((pixels.float() / 255 - self.MEAN) / self.STD).permute(2, 0, 1)

    def load(self):
        torch.set_num_threads(1)  # of this thread
        x = torch.stack([self.crop(p) for p in self.random.sample(self.paths, self.rows)])
        return x.contiguous(memory_format=torch.channels_last if self.layout == "cl" else torch.contiguous_format)

    def next(self):
        x = self.ahead.result()
        self.ahead = self.thread.submit(self.load)
        return x


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
    images = Files(rank, rows, side, o.layout, o.images) if o.images else Memory(rank, rows, side, o.layout)
    if o.layout == "cl":
        net = net.to(memory_format=torch.channels_last)
    if o.world > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=o.world)
        net = torch.nn.parallel.DistributedDataParallel(net, gradient_as_bucket_view=True)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4, foreach=True)
    for step in range(o.steps + 1):
        if step == 1:
            if o.world > 1:
                dist.barrier()
            start, cpu = time.perf_counter(), time.process_time()
        train_step(net, opt, images.next(), labels, o)
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
    parser.add_argument("--images", help="folder of JPEG files to train on (default: random images in memory)")
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

#!/usr/bin/env python3
"""Times whole training steps in PyTorch on the CPU, to be compared with engine/onednn (bench/cpu.sh).

Multi-similarity plus embedding-level Metrix (weight 0.4, one lambda, positive-negative pairs), batch
40, AdamW; the network is ResNet-50 + 512-d at 224 pixels, or the small conv4 with group norm at 64.

    apt-get install python3-torch
    python3 bench/peers/resnet50_cpu.py --net resnet50 --threads 2 --layout cl --bf16 --steps 2

Any PyTorch will do; its version ends the line. Where its wheel brings CUDA, what merely loading it takes
counts in the memory: a process that only imports torch shows how much.
"""

import argparse
import resource
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, PER_CLASS = 40, 4


class Bottleneck(nn.Module):
    def __init__(self, inputs, planes, stride, downsample):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)
        self.downsample = None
        if downsample:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes)
            )

    def forward(self, x):
        short = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        y += short
        return F.relu(y, inplace=True)


class Embedding(nn.Module):
    """Average plus maximum pooling, a linear layer, the L2 norm."""

    def __init__(self, trunk, channels, dim):
        super().__init__()
        self.trunk, self.embedding = trunk, nn.Linear(channels, dim)

    def forward(self, x):
        x = self.trunk(x)
        return F.normalize(self.embedding(x.mean((2, 3)) + x.amax((2, 3))).float())


def resnet50(dim=512):
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for planes, count, stride in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        for i in range(count):
            layers.append(Bottleneck(inputs, planes, stride if i == 0 else 1, i == 0))
            inputs = 4 * planes
    return Embedding(nn.Sequential(*layers), inputs, dim), 224


class LastBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.GroupNorm(8, width)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)) + x, inplace=True)


def conv4(dim=128, w=32):
    def block(i, o, stride):
        return [nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.GroupNorm(8, o), nn.ReLU(True)]

    layers = block(3, w, 1) + [nn.MaxPool2d(2)] + block(w, 2 * w, 2) + block(2 * w, 4 * w, 2)
    return Embedding(nn.Sequential(*layers, LastBlock(4 * w)), 4 * w, dim), 64


def multi_similarity(s, positive, negative, beta=18.0, gamma=75.0, margin=0.77):
    """Log-sum-exp over positives and negatives of each row; 1 is added inside the logarithm."""
    zero = s.new_zeros(len(s), 1)
    pos = (-beta * (s - margin)).masked_fill(~positive, float("-inf"))
    neg = (gamma * (s - margin)).masked_fill(~negative, float("-inf"))
    return torch.logsumexp(torch.cat([pos, zero], 1), 1) / beta + torch.logsumexp(torch.cat([neg, zero], 1), 1) / gamma


def metrix_loss(x, labels, weight=0.4, lam=0.6, beta=18.0, gamma=75.0, margin=0.77):
    s = x @ x.t()
    same = labels[:, None] == labels[None, :]
    positive, negative = same & ~torch.eye(len(x), dtype=torch.bool), ~same
    clean = multi_similarity(s, positive, negative).mean()
    # Every positive p of an anchor is mixed with every negative n: lam p + (1 - lam) n.
    mixed = 0
    for a in range(len(x)):
        p, n = x[positive[a]], x[negative[a]]
        v = F.normalize((lam * p[:, None] + (1 - lam) * n[None, :]).reshape(-1, x.shape[1]))
        t = v @ x[a]
        pos = torch.log1p((lam * torch.exp(-beta * (t - margin))).sum()) / beta
        neg = torch.log1p(((1 - lam) * torch.exp(gamma * (t - margin))).sum()) / gamma
        mixed = mixed + pos + neg
    return clean + weight * mixed / len(x)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=["resnet50", "conv4"], default="resnet50")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layout", choices=["nchw", "cl"], default="cl")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--compile", action="store_true", help="the network through torch.compile (PyTorch 2, g++)")
    parser.add_argument("--steps", type=int, default=2, help="timed steps, after one that is not")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    net, side = resnet50() if o.net == "resnet50" else conv4()
    x, labels = torch.randn(BATCH, 3, side, side), torch.arange(BATCH) // PER_CLASS
    if o.layout == "cl":
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4, foreach=True)
    if o.compile:
        net = torch.compile(net)
    for step in range(o.steps + 1):
        if step == 1:
            start, cpu = time.perf_counter(), time.process_time()
        opt.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=o.bf16):
            y = net(x)
        metrix_loss(y, labels).backward()
        opt.step()
    seconds, cpu = (time.perf_counter() - start) / o.steps, (time.process_time() - cpu) / o.steps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{BATCH / seconds:.2f} images/s {BATCH / cpu:.2f} images/cpu-s {peak:.0f} peak-MiB torch-{torch.__version__}")


if __name__ == "__main__":
    main()

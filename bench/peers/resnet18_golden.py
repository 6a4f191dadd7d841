#!/usr/bin/env python3
"""Record what PyTorch computes for small networks, for engine/gorgonia's test TestAgreesWithTorch.

The networks are those of package model: torchvision's ResNet-18 and ResNet-50 made narrow, and
conv4, each with average + max pooling, a linear layer and L2 normalisation behind. Weights, images
and the gradient by the embeddings are given by a formula, so that only results are recorded:
embeddings, and the norms of the gradients and statistics. Weights and images are rounded to single
precision, the computation is in double.

    python3 bench/peers/resnet18_golden.py > engine/gorgonia/testdata/torch.json

Recorded with PyTorch 1.13.
"""
import json
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def uniform(count, number):
    """count values in [-0.5, 0.5) that depend on number."""
    i = np.arange(count, dtype=np.float64)
    v = np.sin(i * 12.9898 + number * 78.233 + 0.5) * 43758.5453
    return v - np.floor(v) - 0.5


def single(v):
    """v rounded to single precision, as doubles."""
    return torch.from_numpy(v.astype(np.float32).astype(np.float64))


class Block(nn.Module):
    """A basic block (one expansion) or a bottleneck (four)."""

    def __init__(self, norm, cin, planes, stride, bottleneck):
        super().__init__()
        out = planes * 4 if bottleneck else planes
        if bottleneck:
            shapes = [(cin, planes, 1, 1), (planes, planes, 3, stride), (planes, out, 1, 1)]
        else:
            shapes = [(cin, planes, 3, stride), (planes, planes, 3, 1)]
        self.count = len(shapes)
        for i, (a, b, k, s) in enumerate(shapes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(a, b, k, s, k // 2, bias=False))
            setattr(self, f"bn{i}", norm(b))
        self.downsample = None
        if stride != 1 or cin != out:
            self.downsample = nn.Sequential(nn.Conv2d(cin, out, 1, stride, bias=False), norm(out))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.count:
                y = F.relu(y)
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, norm, width, blocks, bottleneck):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = norm(width)
        cin = width
        for stage, count in enumerate(blocks):
            layers = []
            for i in range(count):
                planes = width << stage
                stride = 2 if stage > 0 and i == 0 else 1
                layers.append(Block(norm, cin, planes, stride, bottleneck))
                cin = planes * 4 if bottleneck else planes
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.channels = cin

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return x


class Conv4(nn.Module):
    def __init__(self, norm, width):
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 4 * width]
        for i, stride in enumerate([1, 2, 2, 1], 1):
            setattr(self, f"conv{i}", nn.Conv2d(widths[i - 1], widths[i], 3, stride, 1, bias=False))
            setattr(self, f"norm{i}", norm(widths[i]))
        self.channels = widths[4]

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.relu(self.norm2(self.conv2(x)))
        x = F.relu(self.norm3(self.conv3(x)))
        return F.relu(x + self.norm4(self.conv4(x)))


class Net(nn.Module):
    def __init__(self, trunk, dim):
        super().__init__()
        self.trunk = trunk
        self.embedding = nn.Linear(trunk.channels, dim)

    def forward(self, x):
        f = self.trunk(x)
        f = f.mean((2, 3)) + f.amax((2, 3))
        return F.normalize(self.embedding(f))


def fill(net):
    for number, (name, p) in enumerate(net.named_parameters()):
        u = uniform(p.numel(), number)
        if p.dim() > 1:
            fan_out = p.shape[0] * math.prod(p.shape[2:])
            v = u * math.sqrt(12 * 2 / fan_out)
        elif name.endswith("weight"):
            v = 1 + 0.6 * u
        else:
            v = 0.4 * u
        p.data = single(v).reshape(p.shape)
    number = 0
    for name, b in net.named_buffers():
        if name.endswith("num_batches_tracked"):
            continue
        u = uniform(b.numel(), 1000 + number)
        v = 0.4 * u if name.endswith("mean") else 1 + 0.6 * u
        b.data = single(v)
        number += 1


def frozen(net):
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eval()


def record(name, net, side, dim, mode):
    n = 4
    net.double()
    fill(net)
    net.train()
    if mode == "frozen":
        frozen(net)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = 1.0
    x = single(4 * uniform(n * 3 * side * side, 2000))
    x = x.reshape(n, 3, side, side).requires_grad_()
    d = single(2 * uniform(n * dim, 2001)).reshape(n, dim)
    y = net(x)
    y.backward(d)
    norm = lambda t: float(t.detach().double().norm())
    return {
        "name": name,
        "mode": mode,
        "output": [float(v) for v in y.detach().flatten()],
        "input_gradient": norm(x.grad),
        "gradients": {k.replace("trunk.", ""): norm(p.grad) for k, p in net.named_parameters()},
        "statistics": {
            k.replace("trunk.", ""): norm(b)
            for k, b in net.named_buffers()
            if mode == "train" and not k.endswith("num_batches_tracked")
        },
    }


def main():
    group = lambda c: nn.GroupNorm(8, c)
    dim = 8
    cases = []
    for mode in ("train", "frozen"):
        cases.append(record("resnet18", Net(ResNet(nn.BatchNorm2d, 8, [2, 2, 2, 2], False), dim), 64, dim, mode))
        cases.append(record("resnet50", Net(ResNet(nn.BatchNorm2d, 8, [3, 4, 6, 3], True), dim), 64, dim, mode))
    cases.append(record("conv4", Net(Conv4(group, 16), dim), 48, dim, "train"))
    print(json.dumps({"torch": torch.__version__, "cases": cases}, indent=1))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Records PyTorch's training steps of a ResNet-50 for engine/enginetest/testdata/resnet50.json.

Four images of 64 pixels, live batch norm, multi-similarity, AdamW, in double precision, so that the
numbers are those of the mathematics. Weights and images follow a formula of their place in the flat
block, see uniform. Of large tensors the file holds the length and the product with another such
vector, which together notice any change.

    apt-get install python3-torch python3-numpy
    python3 bench/peers/resnet50_golden.py > engine/enginetest/testdata/resnet50.json
"""

import json
import math
import sys

import numpy as np
import torch

from resnet50_cpu import multi_similarity, resnet50

ROWS, SIDE, DIM, STEPS, LR, DECAY = 4, 64, 512, 3, 1e-3, 0.01


def uniform(offset, count):
    """Numbers in [-1, 1) by a multiplicative hash of their index."""
    i = np.arange(offset, offset + count, dtype=np.uint64)
    h = (i * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(15)
    h = (h * np.uint64(2246822519)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    return h.astype(np.float64) / 2**31 - 1


def start(name, shape, offset):
    u = uniform(offset, math.prod(shape))
    if len(shape) > 1:
        value = u * math.sqrt(6 / (math.prod(shape) / shape[1]))
    elif "bn" in name and name.endswith("weight") or name.endswith("1.weight"):
        value = 1 + 0.2 * u
    else:
        value = 0.1 * u
    return torch.from_numpy(value.astype(np.float32).astype(np.float64)).reshape(shape)


def digest(tensors, salt):
    """Length of each tensor and its product with the unit vector along uniform numbers."""
    out = []
    for i, t in enumerate(tensors):
        v = uniform(salt + 1000003 * i, t.numel())
        flat = t.detach().double().reshape(-1).numpy()
        out.append([float(np.linalg.norm(flat)), float(flat @ v / np.linalg.norm(v))])
    return out


def main():
    torch.set_num_threads(2)
    net, _ = resnet50(DIM)
    net = net.double()
    names, offset = [], 0
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(start(name, p.shape, offset))
            names.append(name)
            offset += p.numel()
    x = torch.from_numpy((1.7 * uniform(1 << 31, ROWS * 3 * SIDE * SIDE)).astype(np.float32).astype(np.float64))
    x = x.reshape(ROWS, 3, SIDE, SIDE)
    labels = torch.arange(ROWS) // 2
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(ROWS, dtype=torch.bool)
    opt = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=DECAY)
    first = [p.detach().clone() for p in net.parameters()]
    record = {"torch": torch.__version__, "losses": []}
    for step in range(STEPS):
        opt.zero_grad()
        # The network normalises in the precision of autocast's output; in double nothing is lost.
        y = net.trunk(x)
        y = torch.nn.functional.normalize(net.embedding(y.mean((2, 3)) + y.amax((2, 3))))
        loss = multi_similarity((y @ y.t()), positive, ~same).mean()
        loss.backward()
        record["losses"].append(loss.item())
        if step == 0:
            record["embeddings"] = [round(v, 9) for v in y.detach().reshape(-1).tolist()]
            record["gradients"] = digest([p.grad for p in net.parameters()], 1 << 32)
        opt.step()
    record["changes"] = digest([p - q for p, q in zip(net.parameters(), first)], 1 << 33)
    record["names"] = names
    json.dump(record, sys.stdout)
    print()


if __name__ == "__main__":
    main()

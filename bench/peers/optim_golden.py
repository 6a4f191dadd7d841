#!/usr/bin/env python3
"""Records PyTorch's SGD, Adam and AdamW for optim/testdata/pytorch.json.

Five updates of 12 parameters in three groups: weights (decay), biases (none) and proxies
(learning rate times 100). The gradients of the first case are given for every step; in the second
the weights are frozen for the first two steps, as in head-only epochs.

    python3 bench/peers/optim_golden.py > optim/testdata/pytorch.json
"""
import json
import sys

import torch

LR = 1e-2
GROUPS = [(0, 6, 1.0, 0.05), (6, 9, 1.0, 0.0), (9, 12, 100.0, 0.05)]  # lo, hi, lr scale, decay
STEPS = 5


def optimizer(name, params):
    groups = [
        {"params": [p], "lr": LR * scale, "weight_decay": decay}
        for p, (_, _, scale, decay) in zip(params, GROUPS)
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=LR, momentum=0.9)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(groups, lr=LR, betas=(0.9, 0.999), eps=1e-8)


def run(name, start, grads, frozen_steps):
    params = [torch.nn.Parameter(start[lo:hi].clone()) for lo, hi, _, _ in GROUPS]
    opt = optimizer(name, params)
    after = []
    for step in range(STEPS):
        for i, (p, (lo, hi, _, _)) in enumerate(zip(params, GROUPS)):
            frozen = i == 0 and step < frozen_steps
            p.grad = None if frozen else grads[step, lo:hi].clone()
        opt.step()
        after.append(torch.cat([p.detach() for p in params]).tolist())
    return after


def main():
    torch.manual_seed(20)
    start = torch.randn(12)
    grads = torch.randn(STEPS, 12) * torch.logspace(-4, 1, 12)
    cases = [
        {"name": name, "frozen_steps": frozen, "params": run(name, start, grads, frozen)}
        for name in ("sgd", "adam", "adamw")
        for frozen in (0, 2)
    ]
    json.dump(
        {
            "torch": torch.__version__,
            "lr": LR,
            "groups": GROUPS,
            "start": start.tolist(),
            "grads": grads.tolist(),
            "cases": cases,
        },
        sys.stdout,
        indent=1,
    )
    print()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Prints losses and gradients of icons_train.py on fixed rows as JSON, for bench/losses to compare.

    python3 bench/peers/icons_losses.py | go run ./bench/losses

64 rows of 16 classes, close enough together that hinges and exponentials are at work; each loss with
each level, pair type and number of hardest negatives that it has a meaning for. Where mixes go through
the network, a linear map stands in for it.
"""

import json
import types

import numpy as np
import torch
import torch.nn.functional as F

import icons_train

DIM, CLASSES, IMAGES, PROXIES, LAMBDA = 128, 16, 4, 50, 0.37
LOSSES = (
    ("multi_similarity", "default", {"beta": 2, "gamma": 50, "margin": 0.5}),
    ("contrastive", "nonzero", {"margin": 0.5}),
    ("contrastive", "paper", {"margin": 0.5}),
    ("proxy_anchor", "default", {}),
)
# level, pairs, hardest
WAYS = (
    ("none", "positive_negative", 0),
    ("embed", "positive_negative", 0),
    ("embed", "positive_negative", 2),
    ("embed", "anchor_negative", 0),
    ("input", "positive_negative", 1),
    ("input", "anchor_negative", 1),
    ("feature", "positive_negative", 3),
)


class FixedLambda:
    """Stands for the generator: there is nothing to draw but lambda."""

    def beta(self, a, b, shape):
        return np.full(shape, LAMBDA)


class FixedRows:
    """Stands for the network: gives the clean rows first, then maps what is mixed of them."""

    def __init__(self, rows, matrix):
        self.rows, self.matrix, self.mixed = rows, matrix, None
        self.first = True

    def trunk(self, images):
        return images

    def head(self, maps):
        if self.first:
            self.first = False
            return self.rows
        self.mixed = F.normalize(maps[:, :, 0, 0] @ self.matrix)
        self.mixed.retain_grad()
        return self.mixed

    __call__ = head


def numbers(tensor):
    return tensor.detach().flatten().tolist()


def case(form, reduction, params, level, pairs, hardest, rows, proxies, matrix, labels):
    cfg = types.SimpleNamespace(
        loss=form, reduction=reduction, beta=2.0, gamma=50.0, margin=0.5, alpha=32.0, delta=0.1,
        mix=level, mix_weight=0.4, mix_alpha=2.0, mix_pairs=pairs, mix_per="step", hardest=hardest, classes=CLASSES,
    )
    network = FixedRows(rows.clone().requires_grad_(), matrix)
    proxies = proxies.clone().requires_grad_()
    images = rows[:, :, None, None].clone().requires_grad_()
    loss = icons_train.loss_of(network, proxies, images, labels, cfg, FixedLambda())
    loss.backward()
    result = {
        "Name": f"{form} {reduction}, {level}" + (f" {pairs} {hardest or 'all'}" if level != "none" else ""),
        "Form": form, "Reduction": "" if reduction == "default" else reduction, "Params": params, "Level": level,
        "AnchorNegative": pairs == "anchor_negative", "Hardest": hardest, "Lambda": LAMBDA, "Dim": DIM,
        "Labels": labels.tolist(), "Rows": numbers(rows), "Loss": loss.item(), "ByRows": numbers(network.rows.grad),
    }
    if form == "proxy_anchor":
        result.update(Proxies=numbers(proxies), ByProxies=numbers(proxies.grad))
    if network.mixed is not None:
        second = icons_train.hardest(rows @ rows.T, labels[:, None] != labels[None, :], hardest)
        first = torch.arange(len(rows))[:, None].expand_as(second)
        result.update(Mixed=numbers(network.mixed), ByMixedRows=numbers(network.mixed.grad))
        result.update(First=numbers(first), Second=numbers(second))
    return result


def main():
    torch.manual_seed(0)
    labels = torch.arange(CLASSES).repeat_interleave(IMAGES) * 3
    centre, classes = torch.randn(1, DIM), torch.randn(CLASSES, DIM)
    rows = F.normalize(centre + 0.5 * classes.repeat_interleave(IMAGES, 0) + 0.6 * torch.randn(len(labels), DIM))
    proxies = torch.randn(PROXIES, DIM) * 0.2
    matrix = torch.eye(DIM) + 0.02 * torch.randn(DIM, DIM)
    print(json.dumps([
        case(*loss, *way, rows, proxies, matrix, labels)
        for loss in LOSSES for way in WAYS
        if not (loss[0] == "proxy_anchor" and way[1] == "anchor_negative")
    ]))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Times whole Metrix training steps in PyTorch on a GPU, to be compared with engine/cuda (bench/gpu.sh).

ResNet-50 with average + maximum pooling and a 512-d unit embedding, channels_last, bfloat16 autocast,
fused AdamW, live batch norm; multi-similarity on the clean rows plus 0.4 times its mixed form:

  embed    every positive of an anchor mixed with every negative, by the Gram matrix, no row is made
  feature  feature maps of each row and its hardest negatives mixed and sent through the head

Everything is vectorised, and images wait on the card, so that this is PyTorch at its best; --input host
copies them from pinned memory at each step. The network is that of resnet50_cpu.py.

    python3 bench/peers/gpu_step.py --batch 100 256 512 --level embed feature --mode eager compile
    python3 bench/peers/gpu_step.py --device cpu --side 32 --batch 8 --steps 2   # to see that it runs
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F

from resnet50_cpu import resnet50

PER_CLASS = 4
BETA, GAMMA, MARGIN = 18.0, 75.0, 0.77


def head(net, features):
    """Pooling, linear layer and L2 norm of any number of feature maps."""
    y = net.embedding(features.mean((2, 3)) + features.amax((2, 3)))
    return F.normalize(y.float())


def log_sum(x, weight):
    """log(1 + sum of weight * exp(x)) over each row; where the weight is 0 nothing is added."""
    x = torch.where(weight > 0, x + torch.log(weight.clamp_min(1e-30)), x.new_tensor(float("-inf")))
    return torch.logsumexp(torch.cat([x, x.new_zeros(len(x), 1)], 1), 1)


def multi_similarity(s, positive, negative):
    """The loss of each row of similarities, given how much of a positive and of a negative each is."""
    return log_sum(-BETA * (s - MARGIN), positive) / BETA + log_sum(GAMMA * (s - MARGIN), negative) / GAMMA


def mixed_by_gram(g, same, lam):
    """Similarities of every anchor to all mixes of its positives with its negatives, from the Gram matrix.

    Rows come in classes of PER_CLASS, so an anchor's positives are the other rows of its class.
    """
    b = len(g)
    at = torch.arange(b, device=g.device)
    others = torch.arange(1, PER_CLASS, device=g.device)
    positives = at[:, None] // PER_CLASS * PER_CLASS + (at[:, None] + others) % PER_CLASS  # b x p
    length = torch.sqrt(lam**2 + (1 - lam) ** 2 + 2 * lam * (1 - lam) * g)  # of the mix of any two rows
    t = lam * g.gather(1, positives)[:, :, None] + (1 - lam) * g[:, None, :]
    t = t / length[positives]  # b x p x b
    weight = (~same)[:, None, :].expand_as(t).float()
    return t.reshape(b, -1), weight.reshape(b, -1)


def metrix_loss(net, features, labels, level, hardest, lam, mix_weight):
    x = head(net, features)
    with torch.autocast(x.device.type, enabled=False):
        g = x @ x.t()
        same = labels[:, None] == labels[None, :]
        own = torch.eye(len(x), dtype=torch.bool, device=x.device)
        loss = multi_similarity(g, (same & ~own).float(), (~same).float()).mean()
    if level == "none":
        return loss
    if level == "embed":
        with torch.autocast(x.device.type, enabled=False):
            t, weight = mixed_by_gram(g, same, lam)
            return loss + mix_weight * multi_similarity(t, lam * weight, (1 - lam) * weight).mean()
    partner = g.detach().masked_fill(same, -2).topk(hardest, 1).indices.flatten()  # the hardest negatives of each row
    first = torch.arange(len(x), device=x.device).repeat_interleave(hardest)
    v = head(net, lam * features[first] + (1 - lam) * features[partner])
    with torch.autocast(x.device.type, enabled=False):
        # An anchor takes the mixes of its positives with its negatives.
        weight = ((same & ~own)[:, first] & ~same[:, partner]).float()
        return loss + mix_weight * multi_similarity(x @ v.t(), lam * weight, (1 - lam) * weight).mean()


def measure(o, batch, level, mode):
    device = torch.device(o.device)
    torch.manual_seed(1)
    net = resnet50()[0].to(device=device, memory_format=torch.channels_last)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4, **({"fused": True} if device.type == "cuda" else {}))
    labels = torch.arange(batch, device=device) // PER_CLASS
    images = torch.randn(batch, 3, o.side, o.side).to(memory_format=torch.channels_last)
    images = images.pin_memory() if o.input == "host" and device.type == "cuda" else images.to(device)

    def forward(x):
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return metrix_loss(net, net.trunk(x), labels, level, o.hardest, o.lam, 0.4)

    run = torch.compile(forward) if mode == "compile" else forward

    def step():
        opt.zero_grad(set_to_none=True)
        loss = run(images.to(device, non_blocking=True))
        loss.backward()
        opt.step()
        return loss

    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(o.warmup):
        loss = step()
    wait()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for _ in range(o.steps):
        loss = step()
    wait()
    seconds = (time.perf_counter() - start) / o.steps
    peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0
    return {
        "who": "torch-" + mode, "batch": batch, "level": level, "images_per_second": round(batch / seconds, 1),
        "ms": round(1e3 * seconds, 2), "memory_mib": round(peak), "loss": round(loss.item(), 4), "version": torch.__version__,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[100, 256, 512], help=f"multiples of {PER_CLASS}")
    parser.add_argument("--level", nargs="+", choices=["none", "embed", "feature"], default=["embed", "feature"])
    parser.add_argument("--mode", nargs="+", choices=["eager", "compile"], default=["eager", "compile"])
    parser.add_argument("--input", choices=["card", "host"], default="card")
    parser.add_argument("--hardest", type=int, default=3, help="negatives that each row is mixed with at feature level")
    parser.add_argument("--lam", type=float, default=0.6)
    parser.add_argument("--steps", type=int, default=20, help="timed steps")
    parser.add_argument("--warmup", type=int, default=10, help="steps before them")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--device", default="cuda")
    o = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    for batch in o.batch:
        for level in o.level:
            for mode in o.mode:
                try:
                    print(json.dumps(measure(o, batch, level, mode)), flush=True)
                except RuntimeError as e:  # out of memory, for one
                    print(json.dumps({"who": "torch-" + mode, "batch": batch, "level": level, "error": str(e).splitlines()[0]}), flush=True)
                if o.device == "cuda":
                    torch.cuda.empty_cache()


if __name__ == "__main__":
    main()

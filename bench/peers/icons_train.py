#!/usr/bin/env python3
"""Trains the network of a metrix recipe in plain PyTorch, to compare the recall that both reach.

It shares no code with metrix: everything is written here from the formulas, with PyTorch's own
convolutions, autograd and AdamW. The random draws differ, so seeds are compared as samples of the
same distribution, not one by one.

    apt-get install python3-torch python3-pil python3-yaml
    python3 bench/peers/icons_train.py --data DIR --recipe recipes/icons.yaml --seed 1 --json

Without --recipe the defaults below hold; flags win over the recipe. It covers what such a recipe
uses: the network conv4 with group norm; contrastive, multi-similarity and proxy anchor; Metrix at
the input, feature and embedding level, with all or the k hardest negatives; AdamW.
"""

import argparse
import json
import math
import os
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image

# flag -> (default, where a recipe keeps it)
SETTINGS = {
    "seed": (1, "seed"),
    "size": (48, "data.size"),
    "resize": (0, "data.resize"),  # 0: 8/7 of size
    "scale": ([0.3, 1.0], "data.augment.scale"),
    "ratio": ([0.75, 1.333], "data.augment.ratio"),
    "flip": (0.5, "data.augment.flip"),
    "color": (0.2, "data.augment.color"),
    "mean": ([0.485, 0.456, 0.406], "data.mean"),
    "std": ([0.229, 0.224, 0.225], "data.std"),
    "dim": (128, "model.dim"),
    "width": (32, "model.width"),
    "loss": ("multi_similarity", "loss.form"),
    "reduction": ("default", "loss.reduction"),
    "beta": (18.0, "loss.params.beta"),  # of multi-similarity
    "gamma": (75.0, "loss.params.gamma"),  # of multi-similarity
    "margin": (0.0, "loss.params.margin"),  # 0: the loss's own, MARGINS
    "alpha": (32.0, "loss.params.alpha"),  # of proxy anchor
    "delta": (0.1, "loss.params.delta"),  # of proxy anchor
    "mix": ("none", "mix.level"),
    "mix_weight": (0.4, "mix.weight"),
    "mix_alpha": (2.0, "mix.alpha"),
    "mix_pairs": ("both", "mix.pairs"),
    "mix_per": ("step", "mix.per"),
    "hardest": (0, "mix.hardest"),  # 0: all negatives, 1 below the embedding level
    "classes": (16, "batch.classes"),
    "images": (4, "batch.images"),
    "shards": (0, "batch.shards"),  # 0: as many as classes
    "lr": (1e-3, "optimizer.lr"),
    "weight_decay": (1e-4, "optimizer.weight_decay"),
    "proxy_lr_scale": (100.0, "optimizer.proxy_lr_scale"),
    "clip_value": (10.0, "optimizer.clip_value"),
    "schedule": ("constant", "schedule.name"),
    "warmup_epochs": (0.0, "schedule.warmup_epochs"),
    "every_epochs": (10, "schedule.every_epochs"),
    "factor": (0.25, "schedule.factor"),
    "min_lr": (0.0, "schedule.min_lr"),
    "epochs": (60, "train.epochs"),
    "recall": ([1, 2, 4, 8], "eval.recall"),
}

# What a recipe may say that this script does not do: anything else than these values is refused.
FIXED = {
    "data.layout": ("auto", "sop"),
    "model.arch": ("conv4",),
    "model.norm": ("group",),
    "model.pretrained": ("",),
    "loss.form": ("contrastive", "multi_similarity", "proxy_anchor"),
    "loss.reduction": ("default", "paper", "nonzero"),
    "mix.level": ("none", "input", "feature", "embed"),
    "mix.partners": ("batch",),
    "mix.input": (),
    "mix.feature": (),
    "mix.embed": (),
    "memory.size": (0,),
    "semi.labelled": (1,),
    "optimizer.name": ("adamw",),
    "optimizer.clip_norm": (0,),
    "schedule.head_only_epochs": (0,),
    "train.steps": (0,),
}

MARGINS = {"contrastive": 0.5, "multi_similarity": 0.77, "proxy_anchor": 0.0}


# ---------------------------------------------------------------------------------------- images


def read_split(root, index):
    """Reads one index file of the SOP layout: pixels of every image and a dense class number."""
    images, classes, dense = [], [], {}
    with open(os.path.join(root, index)) as lines:
        next(lines)
        for line in lines:
            _, class_id, _, path = line.split()
            with Image.open(os.path.join(root, path)) as image:
                images.append(image.convert("RGB"))
            classes.append(dense.setdefault(class_id, len(dense)))
    return images, np.array(classes)


def find_root(data):
    for root in (data, os.path.join(data, "Stanford_Online_Products")):
        if os.path.exists(os.path.join(root, "Ebay_train.txt")):
            return root
    for name in sorted(os.listdir(data)):
        root = os.path.join(data, name, "Stanford_Online_Products")
        if os.path.exists(os.path.join(root, "Ebay_train.txt")):
            return root
    sys.exit(f"{data}: there is no Ebay_train.txt here or in a Stanford_Online_Products below")


def random_resized_crop(image, cfg, rng):
    """Cuts a random part: a share of the area, a shape; the largest allowed part after ten tries."""
    width, height = image.size
    low, high = cfg.ratio
    for _ in range(10):
        area = width * height * rng.uniform(*cfg.scale)
        ratio = math.exp(rng.uniform(math.log(low), math.log(high)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            x, y = rng.randint(width - w + 1), rng.randint(height - h + 1)
            break
    else:
        w, h = width, height
        if width / height < low:
            h = round(width / low)
        elif width / height > high:
            w = round(height * high)
        x, y = (width - w) // 2, (height - h) // 2
    return image.resize((cfg.size, cfg.size), Image.BILINEAR, box=(x, y, x + w, y + h))


def grey(pixels):
    return pixels @ np.array([0.299, 0.587, 0.114], np.float32)


def jitter(pixels, strength, rng):
    """Brightness, contrast, saturation, in this order, each by its own factor in 1 +- strength."""
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3).astype(np.float32)
    pixels = np.clip(pixels * brightness, 0, 1)
    pixels = np.clip(pixels * contrast + grey(pixels).mean() * (1 - contrast), 0, 1)
    return np.clip(pixels * saturation + grey(pixels)[..., None] * (1 - saturation), 0, 1)


def normalise(pixels, cfg):
    mean, std = np.array(cfg.mean, np.float32), np.array(cfg.std, np.float32)
    return ((pixels - mean) / std).transpose(2, 0, 1)


def train_view(image, cfg, rng):
    pixels = np.asarray(random_resized_crop(image, cfg, rng), np.float32) / 255
    if rng.uniform() < cfg.flip:
        pixels = pixels[:, ::-1]
    if cfg.color > 0:
        pixels = jitter(pixels, cfg.color, rng)
    return normalise(pixels, cfg)


def eval_view(image, cfg):
    """Brings the shorter side to cfg.resize and cuts the centre."""
    width, height = image.size
    short = min(width, height)
    w, h = int(cfg.resize * width / short), int(cfg.resize * height / short)
    x, y = round((w - cfg.size) / 2), round((h - cfg.size) / 2)
    image = image.resize((w, h), Image.BILINEAR).crop((x, y, x + cfg.size, y + cfg.size))
    return normalise(np.asarray(image, np.float32) / 255, cfg)


# --------------------------------------------------------------------------------------- batches


class Visits:
    """The images of one class, all of them in random order before any comes again."""

    def __init__(self, images, rng):
        self.images, self.rng, self.left = images, rng, []

    def take(self, count):
        taken = []
        while len(taken) < count:
            if not self.left:
                fresh = list(self.rng.permutation(self.images))
                self.left = [i for i in fresh if i not in taken] + [i for i in fresh if i in taken]
            taken.append(self.left.pop(0))
        return taken


def epoch_batches(labels, cfg, rng):
    """The batches of one epoch: passes over all classes, cfg.classes x cfg.images at a time.

    The last batch of a pass is completed with the first classes of the same order.
    """
    count = labels.max() + 1
    visits = [Visits(np.flatnonzero(labels == c), rng) for c in range(count)]
    for _ in range(passes(labels, cfg)):
        order = rng.permutation(count)
        steps = steps_per_pass(labels, cfg)
        order = np.resize(order, steps * cfg.classes)
        for chosen in order.reshape(steps, cfg.classes):
            yield [i for c in chosen for i in visits[c].take(cfg.images)]


def passes(labels, cfg):
    """How often an epoch visits each class, so that it sees about every image once."""
    return max(1, int(len(labels) / ((labels.max() + 1) * cfg.images) + 0.5))


def steps_per_pass(labels, cfg):
    """The steps that the largest shard needs to show its classes, cfg.classes / cfg.shards at once.

    Shards only decide this number here: one process draws the whole batch.
    """
    of_shard = math.ceil((labels.max() + 1) / cfg.shards)
    return math.ceil(of_shard / (cfg.classes // cfg.shards))


def steps_per_epoch(labels, cfg):
    return passes(labels, cfg) * steps_per_pass(labels, cfg)


# --------------------------------------------------------------------------------------- network


def conv(inputs, outputs, stride):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(8, outputs, eps=1e-5)
    )


class Conv4(nn.Module):
    """Four 3x3 convolutions with group norm, the last in a residual (the trunk); average + maximum
    pooling, a linear layer, unit rows (the head). Weights are normal with variance 2 / fan_out,
    biases 0."""

    def __init__(self, width, dim):
        super().__init__()
        self.conv1 = conv(3, width, 1)
        self.conv2 = conv(width, 2 * width, 2)
        self.conv3 = conv(2 * width, 4 * width, 2)
        self.conv4 = conv(4 * width, 4 * width, 1)
        self.embedding = nn.Linear(4 * width, dim)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.embedding.bias)

    def trunk(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.relu(self.conv2(x))
        x = F.relu(self.conv3(x))
        return F.relu(x + self.conv4(x))

    def head(self, x):
        x = x.mean((2, 3)) + x.amax((2, 3))
        return F.normalize(self.embedding(x), eps=1e-12)

    def forward(self, x):
        return self.head(self.trunk(x))


# ------------------------------------------------------------------------------------------ loss
#
# A term of the loss is made of three matrices, one row an anchor, one column a candidate: the
# similarity s, the weight of the candidate as a positive, its weight as a negative. Of clean
# candidates one weight is 1 and the other 0, of a mix they are lambda and 1 - lambda, and both are
# 0 where a candidate is none of this anchor's.


def log1p_sum(exponent, weight):
    """log(1 + sum of weight x e^exponent) of each anchor."""
    exponent = exponent + weight.clamp(min=1e-30).log()
    exponent = exponent.masked_fill(weight == 0, -math.inf)
    zero = exponent.new_zeros(len(exponent), 1)
    return torch.logsumexp(torch.cat([zero, exponent], 1), 1)


def contrastive(s, positive, negative, anchors, cfg):
    """sum of -s, and of [s-m]+, mean over anchors; reduced by nonzero: [1-s]+ in place of -s, and
    each sum divided by how many of its terms are above 0."""
    pushed = negative * F.relu(s - cfg.margin)
    if cfg.reduction != "nonzero":
        return (pushed - positive * s).sum() / anchors
    pulled = positive * F.relu(1 - s)
    return sum(part.sum() / max(1, (part > 0).sum().item()) for part in (pulled, pushed))


def multi_similarity(s, positive, negative, anchors, cfg):
    """(1/b) log(1 + sum e^{-b(s-m)}) + (1/g) log(1 + sum e^{g(s-m)}), mean over anchors."""
    pulled = log1p_sum(-cfg.beta * (s - cfg.margin), positive) / cfg.beta
    pushed = log1p_sum(cfg.gamma * (s - cfg.margin), negative) / cfg.gamma
    return (pulled + pushed).sum() / anchors


def proxy_anchor(s, positive, negative, anchors, cfg):
    """log(1 + sum e^{-a(s-d)}), mean over the proxies whose class is in the batch, plus
    log(1 + sum e^{a(s+d)}), mean over all proxies."""
    pulled = log1p_sum(-cfg.alpha * (s - cfg.delta), positive)
    pushed = log1p_sum(cfg.alpha * (s + cfg.delta), negative)
    return pulled.sum() / cfg.classes + pushed.sum() / anchors


LOSSES = {"contrastive": contrastive, "multi_similarity": multi_similarity, "proxy_anchor": proxy_anchor}


class Mixing:
    """What one step mixes: one of the two types of pairs, and lambda for the step or for each pair."""

    def __init__(self, size, cfg, rng):
        pairs = cfg.mix_pairs
        if cfg.loss == "proxy_anchor":
            pairs = "positive_negative"
        elif pairs == "both":
            pairs = ("positive_negative", "anchor_negative")[rng.randint(2)]
        self.anchor_negative = pairs == "anchor_negative"
        shape = (size, size) if cfg.mix_per == "pair" else ()
        lam = torch.as_tensor(rng.beta(cfg.mix_alpha, cfg.mix_alpha, shape), dtype=torch.float32)
        self.lam = lam.expand(size, size)  # of the pair (first, second)


def hardest(similar, allowed, k):
    """The k most similar allowed columns of each row, ties to the lower; all of them if k is 0."""
    ranked = similar.detach().double().masked_fill(~allowed, -math.inf).argsort(dim=1, descending=True, stable=True)
    least = int(allowed.sum(1).min())
    return ranked[:, : min(k, least) if k else least]


def embedding_mixes(similar, gram, own, other, mixing, cfg):
    """s(a, mix) of every anchor with the re-normalised mixes of its first x second rows, and lambda.

    similar is anchors x rows; own and other mark the anchor's first rows and its negatives. Every
    batch has as many rows of each class, so all anchors have as many first rows.
    """
    first = own.nonzero()[:, 1].view(len(own), -1)
    second = hardest(similar, other, cfg.hardest)
    to_first, to_second = similar.gather(1, first)[:, :, None], similar.gather(1, second)[:, None, :]
    first, second = first[:, :, None], second[:, None, :]
    lam = mixing.lam[first, second]
    squared = lam**2 + (1 - lam) ** 2 + 2 * lam * (1 - lam) * gram[first, second]
    s = (lam * to_first + (1 - lam) * to_second) / squared.clamp(min=1e-6).sqrt()
    return s.flatten(1), lam.flatten(1)


def network_mixes(network, images, features, rows, different, mixing, cfg):
    """The embeddings of the mixes of each row with its k hardest negatives, which go through the
    network from the images or from the feature maps on; with their first rows and their lambda."""
    second = hardest(rows @ rows.T, different, cfg.hardest)
    first = torch.arange(len(rows))[:, None].expand_as(second).flatten()
    second = second.flatten()
    lam = mixing.lam[first, second]
    source, embed = (images, network) if cfg.mix == "input" else (features, network.head)
    share = lam[:, None, None, None]
    return embed(share * source[first] + (1 - share) * source[second]), first, lam


def loss_of(network, proxies, images, labels, cfg, rng):
    """The clean loss and, if the recipe mixes, cfg.mix_weight times the mixed one."""
    features = network.trunk(images)
    rows = network.head(features)
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool)
    anchors, own, other, is_first = rows, same & ~itself, ~same, itself
    if cfg.loss == "proxy_anchor":
        anchors = F.normalize(proxies, eps=1e-12)
        own = torch.arange(len(proxies))[:, None] == labels[None, :]
        other = ~own
    similar, measure = anchors @ rows.T, LOSSES[cfg.loss]
    loss = measure(similar, own.float(), other.float(), len(anchors), cfg)
    if cfg.mix == "none":
        return loss
    mixing = Mixing(len(labels), cfg, rng)
    if mixing.anchor_negative:
        own = is_first
    if cfg.mix == "embed":
        present = own.any(1)
        s, lam = embedding_mixes(similar[present], rows @ rows.T, own[present], other[present], mixing, cfg)
        used = torch.ones_like(s)
    else:
        mixed, first, lam = network_mixes(network, images, features, rows, ~same, mixing, cfg)
        s, used = anchors @ mixed.T, own[:, first].float()
    return loss + cfg.mix_weight * measure(s, used * lam, used * (1 - lam), len(anchors), cfg)


# ------------------------------------------------------------------------------------ evaluation


@torch.no_grad()
def evaluate(network, views, labels, cfg):
    """Recall@K and MAP@R of every test image among all others; queries without a match are left out."""
    rows = torch.cat([network(views[i : i + 256]) for i in range(0, len(views), 256)]).double()
    similar = rows @ rows.T
    similar.fill_diagonal_(-2)
    ranked = similar.argsort(dim=1, descending=True, stable=True)[:, :-1]
    labels = torch.as_tensor(labels)
    hits = labels[ranked] == labels[:, None]
    matches = hits.sum(1)
    valid = matches > 0
    hits, matches = hits[valid], matches[valid]
    result = {f"recall@{k}": hits[:, :k].any(1).double().mean().item() for k in cfg.recall}
    rank = torch.arange(1, hits.shape[1] + 1)
    within = rank[None, :] <= matches[:, None]
    precision = hits.cumsum(1) / rank
    result["map@r"] = ((precision * hits * within).sum(1) / matches).mean().item()
    return result


# ---------------------------------------------------------------------------------------- training


def learning_rate(step, per_epoch, cfg):
    total, warmup = cfg.epochs * per_epoch, round(cfg.warmup_epochs * per_epoch)
    rate = cfg.lr
    if cfg.schedule == "step":
        rate *= cfg.factor ** (step // (cfg.every_epochs * per_epoch))
    elif cfg.schedule == "cosine" and step > warmup:
        part = min(1, (step - warmup) / (total - warmup))
        rate = cfg.min_lr + (cfg.lr - cfg.min_lr) * 0.5 * (1 + math.cos(math.pi * part))
    if step < warmup:
        rate *= (step + 1) / warmup
    return rate


def optimizer_of(network, proxies, cfg):
    """AdamW with PyTorch's constants; biases and norms do not decay, proxies learn faster."""
    decaying = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": decaying, "weight_decay": cfg.weight_decay, "scale": 1},
        {"params": others, "weight_decay": 0, "scale": 1},
        {"params": [proxies], "weight_decay": cfg.weight_decay, "scale": cfg.proxy_lr_scale},
    ]
    return torch.optim.AdamW(groups[: 3 if cfg.loss == "proxy_anchor" else 2], lr=cfg.lr)


def train(cfg):
    torch.manual_seed(cfg.seed)
    torch.set_num_threads(cfg.threads)
    rng = np.random.RandomState(cfg.seed)
    root = find_root(cfg.data)
    images, labels = read_split(root, "Ebay_train.txt")
    test_images, test_labels = read_split(root, "Ebay_test.txt")
    views = torch.from_numpy(np.stack([eval_view(image, cfg) for image in test_images]))

    network = Conv4(cfg.width, cfg.dim).to(memory_format=torch.channels_last)
    classes = int(labels.max()) + 1
    proxies = nn.Parameter(torch.randn(classes, cfg.dim) * math.sqrt(2 / classes))
    optimizer = optimizer_of(network, proxies, cfg)
    per_epoch = steps_per_epoch(labels, cfg)
    untrained = evaluate(network, views, test_labels, cfg)
    best, step, started = untrained, 0, time.time()
    for epoch in range(cfg.epochs):
        losses = []
        for batch in epoch_batches(labels, cfg, rng):
            pixels = torch.from_numpy(np.stack([train_view(images[i], cfg, rng) for i in batch]))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, per_epoch, cfg) * group["scale"]
            loss = loss_of(network, proxies, pixels, torch.as_tensor(labels[batch]), cfg, rng)
            optimizer.zero_grad()
            loss.backward()
            if cfg.clip_value > 0:
                nn.utils.clip_grad_value_([p for g in optimizer.param_groups for p in g["params"]], cfg.clip_value)
            optimizer.step()
            losses.append(loss.item())
            step += 1
        last = epoch == cfg.epochs - 1
        if last or cfg.eval_every and (epoch + 1) % cfg.eval_every == 0:
            final = evaluate(network, views, test_labels, cfg)
            best = max(best, final, key=lambda m: m[f"recall@{cfg.recall[0]}"])
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}, {describe(final)}", file=sys.stderr)
    return {
        "seed": cfg.seed,
        "loss_form": cfg.loss,
        "mix": cfg.mix,
        "steps": step,
        "seconds": round(time.time() - started, 1),
        "loss": float(np.mean(losses)),
        "untrained": untrained,
        "final": final,
        "best": best,
        "torch": torch.__version__,
    }


def describe(metrics):
    return ", ".join(f"{name} {100 * value:.2f}" for name, value in metrics.items())


# ---------------------------------------------------------------------------------------- settings


def recipe_value(recipe, path):
    for key in path.split("."):
        if not isinstance(recipe, dict) or key not in recipe:
            return None
        recipe = recipe[key]
    return recipe


def settings():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder in the SOP layout, or its parent")
    parser.add_argument("--recipe", help="take the settings of this metrix recipe")
    parser.add_argument("--threads", type=int, default=2, help="cores for PyTorch")
    parser.add_argument("--eval-every", type=int, default=0, help="epochs between evaluations, 0: only the last")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    for name, (default, path) in SETTINGS.items():
        many = isinstance(default, list)
        kind = type(default[0] if many else default)
        parser.add_argument("--" + name.replace("_", "-"), type=kind, nargs="+" if many else None,
                            help=f"{path} of a recipe, by default {default}")
    cfg = parser.parse_args()
    recipe = read_recipe(cfg.recipe) if cfg.recipe else {}
    for name, (default, path) in SETTINGS.items():
        if getattr(cfg, name) is None:
            value = recipe_value(recipe, path)
            if value is None or value == {}:
                value = default
            elif not isinstance(default, (list, str)):
                value = type(default)(value)  # YAML reads 1e-3 as a string
            setattr(cfg, name, value)
    cfg.resize = cfg.resize or (cfg.size * 8 + 3) // 7
    cfg.shards = cfg.shards or cfg.classes
    cfg.margin = cfg.margin or MARGINS[cfg.loss]
    if cfg.mix in ("input", "feature"):
        cfg.hardest = cfg.hardest or 1
    return cfg


def read_recipe(path):
    import yaml

    with open(path) as text:
        recipe = yaml.safe_load(text)
    for key, allowed in FIXED.items():
        value = recipe_value(recipe, key)
        if value is not None and value not in allowed:
            sys.exit(f"{path}: {key} is {value!r}; this script only does {', '.join(map(repr, allowed))}")
    return recipe


def main():
    cfg = settings()
    result = train(cfg)
    if cfg.json:
        print(json.dumps(result))
    else:
        print(f"untrained: {describe(result['untrained'])}")
        print(f"trained:   {describe(result['final'])}   ({result['steps']} steps, {result['seconds']} s)")


if __name__ == "__main__":
    main()

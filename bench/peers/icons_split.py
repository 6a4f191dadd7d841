#!/usr/bin/env python3
"""Makes a validation set out of the training classes of a folder in the SOP layout.

The classes of Ebay_train.txt are divided by the seed: --validation of them become the Ebay_test.txt of
the new folder, the others its Ebay_train.txt. The test classes of the first folder are in neither,
so settings can be chosen on the new folder and confirmed on the first one. Images are linked.
With --shuffle that share of the training images exchange their labels at random.

    python3 bench/peers/icons_split.py --data DIR --out NEW --validation 60
    metrix train recipes/icons.yaml --data NEW
"""

import argparse
import os
import random
import sys


def find_root(data):
    """The folder with Ebay_train.txt: data, or one or two levels below it."""
    for folder, _, files in sorted(os.walk(data)):
        if "Ebay_train.txt" in files:
            return folder
    sys.exit(f"{data}: there is no Ebay_train.txt in it or below")


def read_index(path):
    with open(path) as lines:
        header = next(lines)
        return header, [line.split() for line in lines]


def write_index(path, header, rows, root, out):
    """Writes an index whose classes and images are counted anew from 1, and links the images."""
    dense = {}
    with open(path, "w") as index:
        index.write(header)
        for number, (_, label, group, image) in enumerate(rows, 1):
            index.write(f"{number} {dense.setdefault(label, len(dense) + 1)} {group} {image}\n")
            target = os.path.join(out, image)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(os.path.abspath(os.path.join(root, image)), target)
    return len(dense)


def shuffled(rows, share, draws):
    """The rows, a share of which have each other's labels; by chance some get their own back."""
    rows = [list(row) for row in rows]
    chosen = draws.sample(rows, round(share * len(rows)))
    labels = [row[1] for row in chosen]
    draws.shuffle(labels)
    for row, label in zip(chosen, labels):
        row[1] = label
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder in the SOP layout, or one above it")
    parser.add_argument("--out", required=True, help="folder to make; must not exist")
    parser.add_argument("--validation", type=int, default=60, help="how many classes to hold out")
    parser.add_argument("--shuffle", type=float, default=0, help="share of the training images with wrong labels")
    parser.add_argument("--seed", type=int, default=1, help="decides which")
    args = parser.parse_args()
    root = find_root(args.data)
    header, rows = read_index(os.path.join(root, "Ebay_train.txt"))
    labels = sorted({row[1] for row in rows}, key=int)
    if not 2 <= args.validation <= len(labels) - 2:
        sys.exit(f"--validation is {args.validation}; of {len(labels)} classes 2 to {len(labels) - 2} can be held out")
    if not 0 <= args.shuffle <= 1:
        sys.exit(f"--shuffle is {args.shuffle}; it must be a share from 0 to 1")
    held = set(random.Random(args.seed).sample(labels, args.validation))
    train = shuffled([r for r in rows if r[1] not in held], args.shuffle, random.Random(args.seed))
    out = os.path.join(args.out, os.path.basename(root))
    os.makedirs(out)
    for name, chosen in (("train", train), ("test", [r for r in rows if r[1] in held])):
        classes = write_index(os.path.join(out, f"Ebay_{name}.txt"), header, chosen, root, out)
        print(f"Ebay_{name}.txt: {classes} classes, {len(chosen)} images")


if __name__ == "__main__":
    main()

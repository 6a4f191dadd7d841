#!/usr/bin/env python3
"""Makes a set of real images: Chinese characters as independent font families draw them.

A class is a character; its images are its glyphs in different typefaces, from printed to brushed and
drawn by hand, black on white. The folder has the layout of Stanford Online Products. Characters that
fewer than --images of the fonts below have are left out; --images of those that have it are drawn
for each. The order of characters and fonts depends on nothing but the fonts. It takes a minute or two.

    apt-get install python3-pil $(python3 bench/peers/glyphs.py --packages)
    python3 bench/peers/glyphs.py --out DIR --fold 4
    python3 bench/peers/glyphs.py --out NEW --fold 1 --validation

The first 1 000 characters are the test classes. The others are cut into folds of --train training
classes and 300 validation classes: settings are chosen with --validation and confirmed without.
"""

import argparse
import os
import random
import sys

try:
    from PIL import Image, ImageDraw, ImageFont
except ImportError:  # --packages is printed without it
    Image = None

# One font of each family, by package.
FONTS = {
    "fonts-aoyagi-kouzan-t": ["AoyagiKouzanT.ttf"],
    "fonts-aoyagi-soseki": ["aoyagi-soseki.ttf"],
    "fonts-arphic-bkai00mp": ["bkai00mp.ttf"],
    "fonts-arphic-bsmi00lp": ["bsmi00lp.ttf"],
    "fonts-arphic-gbsn00lp": ["gbsn00lp.ttf"],
    "fonts-arphic-gkai00mp": ["gkai00mp.ttf"],
    "fonts-cwtex-fs": ["cwfs.ttf"],
    "fonts-cwtex-yen": ["cwyen.ttf"],
    "fonts-dejima-mincho": ["dejima-mincho-r227.ttf"],
    "fonts-dotgothic16": ["DotGothic16-Regular.ttf"],
    "fonts-horai-umefont": ["ume-pms3.ttf"],
    "fonts-ipaexfont-gothic": ["ipaexg.ttf"],
    "fonts-ipaexfont-mincho": ["ipaexm.ttf"],
    "fonts-kiloji": ["kiloji.ttf"],
    "fonts-klee": ["KleeOne-SemiBold.ttf"],
    "fonts-konatu": ["Konatu.ttf"],
    "fonts-kouzan-mouhitsu": ["KouzanBrushFontSousyo.ttf", "kouzan-mouhitsu-gyosho.ttf", "kouzan-mouhitsu.ttf"],
    "fonts-lxgw-wenkai": ["LXGWWenKai-Light.ttf"],
    "fonts-migmix": ["migmix-1p-bold.ttf"],
    "fonts-misaki": ["misaki_gothic.ttf"],
    "fonts-morisawa-bizud-mincho": ["BIZUDMincho-Regular.ttf"],
    "fonts-motoya-l-maruberi": ["MTLmr3m.ttf"],
    "fonts-mplus": ["Mplus1-Thin.otf", "Mplus2-Black.otf"],
    "fonts-rampart": ["RampartOne-Regular.ttf"],
    "fonts-reggae": ["ReggaeOne-Regular.ttf"],
    "fonts-rocknroll": ["RocknRollOne-Regular.ttf"],
    "fonts-sawarabi-mincho": ["sawarabi-mincho-medium.ttf"],
    "fonts-seto": ["setofont.ttf"],
    "fonts-stick": ["Stick-Regular.ttf"],
    "fonts-wqy-zenhei": ["wqy-zenhei.ttc"],
    "fonts-yusei-magic": ["YuseiMagic-Regular.ttf"],
}

CHARACTERS = range(0x4E00, 0xA000)  # CJK unified ideographs
TEST, VALIDATION = 1000, 300


def find_fonts(folder):
    """The fonts above in alphabetic order, wherever below the folder they are."""
    wanted = {name for names in FONTS.values() for name in names}
    found = {}
    for root, _, files in os.walk(folder):
        found.update((name, os.path.join(root, name)) for name in files if name in wanted)
    for package, names in sorted(FONTS.items()):
        for name in names:
            if name not in found:
                sys.exit(f"{folder}: {name} is missing; install {package}")
    return [found[name] for name in sorted(found)]


class Typeface:
    def __init__(self, path, side):
        self.font = ImageFont.truetype(path, side * 3 // 4)
        self.side = side
        self.unknown = bytes(self.font.getmask("\U0010fffe"))

    def has(self, character):
        mask = self.font.getmask(character)
        return mask.getbbox() is not None and bytes(mask) != self.unknown

    def draw(self, character):
        """The glyph in the middle of a white square."""
        left, top, right, bottom = self.font.getbbox(character)
        image = Image.new("L", (self.side, self.side), 255)
        at = ((self.side - left - right) // 2, (self.side - top - bottom) // 2)
        ImageDraw.Draw(image).text(at, character, fill=0, font=self.font)
        return image


def choose(faces, images):
    """Characters in random order, each with the faces that draw it."""
    draws = random.Random(1)
    chosen = []
    for code in CHARACTERS:
        able = [face for face in faces if face.has(chr(code))]
        if len(able) >= images:
            chosen.append((chr(code), draws.sample(able, images)))
    draws.shuffle(chosen)
    return chosen


def write(root, index, classes):
    with open(os.path.join(root, index), "w") as lines:
        lines.write("image_id class_id super_class_id path\n")
        number = 0
        for label, (character, faces) in enumerate(classes, 1):
            folder = f"u{ord(character):x}"
            os.makedirs(os.path.join(root, folder), exist_ok=True)
            for i, face in enumerate(faces):
                number += 1
                path = f"{folder}/{i}.png"
                face.draw(character).save(os.path.join(root, path))
                lines.write(f"{number} {label} 1 {path}\n")
    print(f"{index}: {len(classes)} classes, {number} images")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="folder to make; must not exist")
    parser.add_argument("--fonts", default="/usr/share/fonts", help="folder to look for the fonts in")
    parser.add_argument("--packages", action="store_true", help="print the packages that are needed")
    parser.add_argument("--train", type=int, default=60, help="training classes")
    parser.add_argument("--images", type=int, default=8, help="images of a class")
    parser.add_argument("--side", type=int, default=32, help="width and height, pixels")
    parser.add_argument("--fold", type=int, default=1, help="which characters to train and validate on, from 1")
    parser.add_argument("--validation", action="store_true", help="test on the fold's validation classes")
    args = parser.parse_args()
    if args.packages:
        return print(*sorted(FONTS))
    if not args.out:
        parser.error("--out is missing")
    if Image is None:
        sys.exit("Pillow is missing; install python3-pil")
    faces = [Typeface(path, args.side) for path in find_fonts(args.fonts)]
    if not 2 <= args.images <= len(faces):
        parser.error(f"--images is {args.images}; it must be 2 to {len(faces)}, the number of fonts")
    chosen = choose(faces, args.images)
    first = TEST + (args.fold - 1) * (args.train + VALIDATION)
    middle, last = first + args.train, first + args.train + VALIDATION
    if args.fold < 1 or args.train < 2 or last > len(chosen):
        parser.error(f"there is no fold {args.fold} of {args.train} training classes: there are {len(chosen)} characters")
    root = os.path.join(args.out, "Stanford_Online_Products")
    os.makedirs(root)
    write(root, "Ebay_train.txt", chosen[first:middle])
    write(root, "Ebay_test.txt", chosen[middle:last] if args.validation else chosen[:TEST])


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Generator of tests/golden/augment.h: what torchvision's transforms make of small images, by Pillow.

Made with torchvision 0.29.2 and Pillow 13.0.0. Images are formulas that the test knows as well; strengths are those of
RandAugment (31 steps) and TrivialAugmentWide; of operations without a strength there is one row an image.

    python3 tests/golden/augment.py > tests/golden/augment.h
"""
import numpy as np
import PIL
import torchvision
from PIL import Image
from torchvision.transforms import autoaugment as aa
from torchvision.transforms import InterpolationMode

SHAPES = [(3, 7, 9), (3, 20, 24), (1, 7, 9)]  # small, large enough for a histogram to be made flat, grey


def image(c, h, w):
    k, y, x = np.mgrid[0:c, 0:h, 0:w]
    v = (16 + (37 * x + 59 * y + 91 * k + 13 * x * y + 7 * x * x * (k + 1)) % 211).astype(np.uint8)
    return Image.fromarray(v[0], "L") if c == 1 else Image.fromarray(np.ascontiguousarray(v.transpose(1, 2, 0)), "RGB")


def planes(img):
    a = np.asarray(img)
    return (a if a.ndim == 2 else a.transpose(2, 0, 1)).tobytes().hex()


rand = [aa.RandAugment()._augmentation_space(31, (h, w)) for _, h, w in SHAPES]
wide = aa.TrivialAugmentWide()._augmentation_space(31)
names = list(rand[0]) + ["Invert"]


def row(name, is_wide, step, sign, shape):
    space = wide if is_wide else rand[shape]
    values, signed = space.get(name, (None, False))
    strength = 0.0 if values is None or values.ndim == 0 else float(values[step]) * (sign if signed else 1)
    out = aa._apply_op(image(*SHAPES[shape]), name, strength, InterpolationMode.NEAREST, None)
    text = planes(out)
    lines = "\n".join(f'      "{text[i:i + 112]}"' for i in range(0, len(text), 112))
    print(f"    {{ {names.index(name)}, {is_wide}, {step}, {sign}, {shape},\n{lines} }},")


version = torchvision.__version__.split("+")[0]
print(f"/* tests/golden/augment.h - made by augment.py with torchvision {version} and Pillow {PIL.__version__}; "
      "do not edit. */")
print("static const struct { int op, wide, step, sign, shape; const char *bytes; } golden_augment[] = {")
for name in names:
    if name in ("Identity", "AutoContrast", "Equalize", "Invert"):
        for shape in {"AutoContrast": (0, 2), "Equalize": (0, 1)}.get(name, (0,)):
            row(name, 0, 0, 1, shape)
        continue
    for is_wide, step, sign in ((0, 9, 1), (0, 26, -1), (1, 20, 1)):
        row(name, is_wide, step, sign, 0)
    row(name, 1, 7, -1, 2)
print("};")
policies = aa.AutoAugment()._get_policies(aa.AutoAugmentPolicy.CIFAR10)
print("static const struct { int op, tenths, step; } golden_cifar10[][2] = {")
for pair in policies:
    print("    { " + ", ".join(f"{{ {names.index(n)}, {round(p * 10)}, {s or 0} }}" for n, p, s in pair) + " },")
print("};")

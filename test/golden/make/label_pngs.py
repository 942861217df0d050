"""Writes test/golden/images/labels_*.png with Pillow: label maps as palette, greyscale and optimised PNG files.

    python3 test/golden/make/label_pngs.py test/golden/images        (Pillow 13.0)

Each is 37 x 23 pixels. Pixel (y, x) of `labels_{bits}bit*.png` is (7 x + 13 y + x y // 5) mod 2^bits; the colours are random.
`labels_voc*.png` holds (0, 5, 20, 255)[(x // 6 + y // 4) mod 4] under a palette whose colours repeat, as optimisers like it.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

out = Path(sys.argv[1])
y, x = np.mgrid[:23, :37]
random = np.random.default_rng(0)


def palette_image(labels, palette):
    image = Image.new("P", (37, 23))
    image.putdata(labels.ravel().tolist())
    image.putpalette(palette)
    return image


for bits in (1, 2, 4, 8):
    labels = (7 * x + 13 * y + x * y // 5) % 2**bits
    image = palette_image(labels, random.integers(0, 256, 3 * 2**bits).astype(np.uint8).tobytes())
    image.save(out / f"labels_{bits}bit.png", bits=bits)
    image.save(out / f"labels_{bits}bit_optimised.png", optimize=True)

labels = np.array([0, 5, 20, 255])[(x // 6 + y // 4) % 4]
colours = np.zeros((256, 3), np.uint8)  # index 5 is black too
colours[20], colours[255] = (0, 64, 128), (224, 224, 192)
image = palette_image(labels, colours.tobytes())
image.save(out / "labels_voc.png")
image.save(out / "labels_voc_optimised.png", optimize=True, transparency=0)
Image.fromarray(labels.astype(np.uint8)).save(out / "labels_voc_grey.png")
Image.fromarray(labels.astype(np.uint16)).save(out / "labels_voc_16bit.png")
Image.fromarray((labels + 45).astype(np.uint16)).save(out / "labels_300_16bit.png")
Image.fromarray(((x + y) % 2 * 255).astype(np.uint8)).convert("1").save(out / "labels_mask.png")

#!/usr/bin/env python3
"""Small images and .npy arrays, and what Pillow and NumPy make of them.

usage: make_goldens.py      writes the files beside this one
needs: pip install pillow==13.0.0 numpy
"""
import base64
import json
import pathlib

import numpy
from PIL import Image

HERE = pathlib.Path(__file__).parent
random = numpy.random.default_rng(0)

# Smooth, with some noise: resizing pure noise would test little but rounding.
y, x = numpy.mgrid[0:23, 0:31]
waves = [127 + 100 * numpy.sin(x / 5 + c) * numpy.cos(y / 4 - c) for c in range(3)]
rgb = (numpy.stack(waves, axis=-1) + random.uniform(-20, 20, (23, 31, 3))).clip(0, 255).astype(numpy.uint8)
picture = Image.fromarray(rgb)
picture.save(HERE / "rgb.png")
picture.save(HERE / "rgb.webp", lossless=True)
picture.save(HERE / "rgb.jpg", quality=90, subsampling=0)
picture.convert("L").save(HERE / "gray.png")
alpha = Image.fromarray((x * 8).clip(0, 255).astype(numpy.uint8))
Image.merge("RGBA", (*picture.split(), alpha)).save(HERE / "rgba.png")
picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=16).save(HERE / "palette.png")


def values(image):
    return base64.b64encode(numpy.asarray(image).tobytes()).decode()


resamplings = dict(
    bilinear=Image.Resampling.BILINEAR, bicubic=Image.Resampling.BICUBIC, lanczos=Image.Resampling.LANCZOS,
    nearest=Image.Resampling.NEAREST,
)
golden = {
    "rgb": values(picture),
    "gray": values(picture.convert("L")),
    "jpeg": values(Image.open(HERE / "rgb.jpg").convert("RGB")),
    "palette": values(Image.open(HERE / "palette.png").convert("RGB")),
    # Height x width 11 x 14: the shorter side 23 becomes 11, the longer one int(11 * 31 / 23).
    "smaller": {name: values(picture.resize((14, 11), how)) for name, how in resamplings.items()},
    "larger": {name: values(picture.resize((50, 40), how)) for name, how in resamplings.items()},
}
(HERE / "golden.json").write_text(json.dumps(golden, indent=2) + "\n")

numbers = numpy.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
numpy.save(HERE / "planes-u1.npy", numbers.astype(numpy.uint8))
numpy.save(HERE / "planes-f8.npy", numbers / 8 - 3)
for version in (1, 2, 3):
    with open(HERE / f"pixels-f4-v{version}.npy", "wb") as file:
        array = numpy.ascontiguousarray((numbers / 8 - 3).transpose(0, 2, 3, 1)).astype(numpy.float32)
        numpy.lib.format.write_array(file, array, version=(version, 0))
numpy.save(HERE / "fortran.npy", numpy.asfortranarray(numbers.astype(numpy.float32)))
numpy.save(HERE / "labels-i8.npy", numpy.array([3, 1], dtype=numpy.int64))

"""Make the golden corpus: small streams of every kind, frozen with the indices and pixels that they decode to.

    python -m tests.golden.make [MODEL]
    python -m tests.golden.make exact

Run it once for each model that is released, and never again for the same one: what it wrote must decode for ever.
Exact pictures need no model and have a folder of their own.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw

from tests.support.internals import decode_grids, spelled_out
from vqcodec import Codec
from vqcodec.codec import encoder, exact
from vqcodec.stream import planes
from vqcodec.stream.container import read_stream

FOLDER = Path(__file__).parent
EXACT = FOLDER / "exact"
SIZES = [(1, 1), (1, 23), (19, 1), (8, 8), (16, 16), (17, 31), (33, 64), (48, 40), (65, 47), (96, 80)]
QUALITIES = [0, 10, 25, 40, 50, 60, 75, 90, 100]


def indices_sha256(grids):
    """Return the SHA-256 of the indices (G, H, W) of all levels, as JSON; of lists or of arrays."""
    return hashlib.sha256(json.dumps(grids, default=np.ndarray.tolist, separators=(",", ":")).encode()).hexdigest()


def cases():
    """Yield name, pixels, quality and tile size of every golden file."""
    photos = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee()]
    rng = np.random.default_rng(0)

    def crop(number, size):
        photo, (height, width) = photos[number % 3], size
        y, x = rng.integers(photo.shape[0] - height), rng.integers(photo.shape[1] - width)
        return photo[y : y + height, x : x + width]

    for i, size in enumerate(SIZES):
        yield f"size-{size[1]}x{size[0]}", crop(i, size), QUALITIES[i % len(QUALITIES)], 10
    for i, quality in enumerate(QUALITIES):
        yield f"quality-{quality}", crop(i, (64, 72)), quality, 10
        yield f"grey-{quality}", crop(i + 1, (40, 33))[:, :, 1], quality, 10
    for i, quality in enumerate([5, 50, 95]):
        yield f"tiles-{quality}", crop(i, (100, 150)), quality, 6
    for name, alpha in (("alpha", crop(1, (50, 61))[:, :, 0]), ("alpha-flat", np.full((50, 61), 90, np.uint8))):
        yield name, np.dstack([crop(2, (50, 61)), alpha]), 40, 10
    for quality in (10, 50, 90):
        yield f"tinted-{quality}", (photos[0][100:180, 150:246] * [1, 0.4, 0.3]).round().astype(np.uint8), quality, 10
    y, x = np.mgrid[:56, :56]
    flat, noise = np.full((56, 56, 3), 200, np.uint8), rng.integers(0, 256, (56, 56, 3), np.uint8)
    ramp = np.stack([4 * x, 4 * y, 2 * (x + y)], -1).astype(np.uint8)
    checks = np.repeat((255 * ((x // 3 + y // 3) % 2)).astype(np.uint8)[:, :, None], 3, 2)
    for name, pixels in (("flat", flat), ("noise", noise), ("ramp", ramp), ("checks", checks)):
        for quality in (20, 50, 100):
            yield f"{name}-{quality}", pixels, quality, 10


def exact_cases():
    """Yield name, image and tile size of every golden file of an exact picture."""
    for mode in ("L", "LA", "RGB", "RGBA"):
        image = Image.new(mode, (90, 70), (250, 240, 230, 255)[: len(Image.new(mode, (1, 1)).getbands())])
        draw = ImageDraw.Draw(image)
        draw.text((5, 5), f"Mode {mode}\nexact", fill=(20, 30, 90, 200)[: len(image.getbands())])
        draw.ellipse((40, 30, 85, 65), fill=(200, 60, 20, 130)[: len(image.getbands())])
        yield f"drawn-{mode}", image, 11
        yield f"tiles-{mode}", image, 6
        yield f"pixel-{mode}", image.crop((12, 9, 13, 10)), 11
        yield f"flat-{mode}", image.crop((0, 0, 3, 2)).resize((70, 5)), 6
    yield "photo", Image.fromarray(skimage.data.astronaut()[40:75, 200:251]), 11
    yield "row", Image.fromarray(skimage.data.astronaut()[40:41, :300]), 11


def write_exact():
    """Write the corpus of exact pictures, some of them without WebP."""
    codec, check = Codec(device="cpu"), planes.features.check
    EXACT.mkdir()
    for name, image, tile_log2 in exact_cases():
        image.save(EXACT / f"{name}.png", optimize=True)
        exact.TILE_LOG2 = tile_log2
        (EXACT / f"{name}.vqc").write_bytes(codec.encode(image, lossless=True))
        if name.startswith("drawn"):
            planes.features.check = lambda feature: False
            (EXACT / f"{name}-png.vqc").write_bytes(codec.encode(image, lossless=True))
            planes.features.check = check
            image.save(EXACT / f"{name}-png.png", optimize=True)


def main(model=None):
    """Write the corpus of one model into a folder of its name."""
    if model == EXACT.name:
        return write_exact()
    codec = Codec(model, device="cpu")
    folder = FOLDER / codec.model.id
    folder.mkdir()
    expected = {}
    for name, pixels, quality, tile_log2 in cases():
        encoder.TILE_LOG2 = tile_log2
        data = codec.encode(np.ascontiguousarray(pixels), quality, lossless=False)
        (folder / f"{name}.vqc").write_bytes(data)
        codec.decode(data).save(folder / f"{name}.png", optimize=True)
        expected[name] = indices_sha256(spelled_out(codec.model.config, decode_grids(codec, [read_stream(data)])[0]))
    (folder / "indices.json").write_text(json.dumps(expected, indent=1) + "\n")
    for path in folder.glob("*.png"):
        assert Image.open(path).size
    print(f"{len(expected)} streams, {sum(p.stat().st_size for p in folder.iterdir())} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])

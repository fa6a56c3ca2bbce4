"""TIFF and PNG files of every layout: the pixels are right, or the file is refused."""

import io
import random
import warnings
import zlib
from collections.abc import Iterator

import numpy as np

from tests.fuzz.mutation import Change
from tests.support import builders
from vqcodec.errors import ImageTooLarge, InvalidImage
from vqcodec.images.reading import Picture, read_picture, to_pil

ALLOWED = (InvalidImage, ImageTooLarge)
WIDTH, HEIGHT = 12, 8
LEVELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 6))
"""Samples of 8 bits, from which those of every depth are made."""


def check(data: bytes) -> None:
    """Make the file that the bytes choose, and read it."""
    if len(data) < 12:
        return
    (_check_tiff if data[0] & 1 else _check_png)(data[1:12], data[12:])


def _read(file: bytes) -> Picture | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return read_picture(io.BytesIO(file), 1 << 14)
        except ALLOWED:
            return None


def _compare(picture: Picture, expected: np.ndarray, alpha: np.ndarray | None, bits: int) -> None:
    """Compare samples (H, W, 1 or 3) and alpha, where it is not 0."""
    image = np.asarray(to_pil(picture)).reshape(HEIGHT, WIDTH, -1).astype(int)
    assert picture.layout.has_alpha == (alpha is not None)
    seen = np.ones((HEIGHT, WIDTH), bool) if alpha is None else alpha > 0
    assert np.abs(image[..., : expected.shape[-1]] - expected)[seen].max(initial=0) <= 2
    if alpha is not None:
        assert np.abs(image[..., -1] - alpha).max() <= 2
    assert any(f"{bits} bits per sample" in remark.text for remark in picture.remarks) == (bits > 8)


def _check_tiff(choice: bytes, rest: bytes) -> None:
    bits = (1, 2, 4, 8, 8, 8, 10, 12, 14, 16, 16, 32)[choice[0] % 12]
    photometric = (0, 1, 2, 2, 3, 5, 6, 8)[choice[1] % 8]
    colours = {2: 3, 5: 4, 6: 3, 8: 3}.get(photometric, 1)
    extra = [(), (), (0,), (1,), (2,), (2, 0), (0, 0)][choice[2] % 7]
    order, big = "<>"[choice[3] & 1], bool(choice[3] & 2)
    apart, deflated = bool(choice[4] & 1), bool(choice[4] & 2)
    full = (1 << bits) - 1
    samples = (LEVELS[..., : colours + len(extra)].astype(np.uint64) * full + 127) // 255
    if photometric == 3:
        samples[..., 0] %= min(full + 1, 256)
    planes = np.moveaxis(samples, -1, 0)[..., None] if apart else samples[None]
    strips = [builders.packed(plane.squeeze(-1) if apart else plane, bits, order) for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    tags = builders.about(samples, bits, photometric)
    tags |= builders.shorts(t259=8 if deflated else 1, t284=2 if apart else 1)
    if extra:
        tags[338] = (builders.SHORT, list(extra))
    palette = np.random.default_rng(1).integers(0, 256, (3, 1 << min(bits, 8)))
    if photometric == 3:
        tags[320] = (builders.SHORT, [int(v) * 257 for v in palette.ravel()])
    if photometric == 6:
        tags[530] = (builders.SHORT, [1, 1])
    if choice[5] & 1 and rest:  # tags that should not matter, and some that do
        tags |= {(300 if choice[6] & 1 else 33000) + rest[0]: (builders.UNDEFINED, rest[1:60])}
    if choice[7] & 1:
        tags[258] = (builders.SHORT, [bits])
    picture = _read(builders.tiff(builders.Page(tags, strips), order=order, big=big))
    if picture is None or (choice[5] & 1 and choice[6] & 1) or photometric in (3, 5, 6, 8):
        return
    values = (samples.astype(float) * 255 / full).round().astype(int)
    colour = 255 - values[..., :1] if photometric == 0 else values[..., :colours]
    alpha = values[..., colours] if extra[:1] in ((1,), (2,)) else None
    if extra[:1] == (1,):
        return  # the colours are larger than alpha allows
    if photometric == 2 and extra[:1] == () and samples.shape[-1] == 4:
        return
    _compare(picture, colour, alpha, bits)


def _check_png(choice: bytes, rest: bytes) -> None:
    colour, depths = ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (4, (8, 16)), (6, (8, 16)), (3, (1, 2, 4, 8)))[choice[0] % 5]
    depth = depths[choice[1] % len(depths)]
    count = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    full = (1 << depth) - 1
    samples = (LEVELS[..., :count].astype(np.uint32) * full + 127) // 255
    chunks: list[tuple[bytes, bytes]] = []
    palette = np.random.default_rng(1).integers(0, 256, (full + 1, 3), np.uint8) if colour == 3 else None
    if palette is not None:
        chunks.append((b"PLTE", palette.tobytes()))
    key: list[int] | None = None
    if choice[2] & 1 and colour in (0, 2):
        key = [int(v) for v in samples[choice[3] % HEIGHT, choice[4] % WIDTH]]
        chunks.append((b"tRNS", b"".join(v.to_bytes(2, "big") for v in key)))
    name = (b"gAMA", b"cHRM", b"iCCP", b"eXIf", b"zTXt", b"iTXt", b"tEXt", b"cICP", b"sRGB", b"acTL", b"pHYs")
    if choice[5] & 1:
        chunks.append((name[choice[6] % len(name)], rest[:200]))
    if choice[7] & 1:
        chunks.append((name[choice[8] % len(name)], rest[200:400]))
    picture = _read(builders.png(samples[..., 0] if count == 1 else samples, *chunks, depth=depth, colour=colour))
    assert picture is not None, "optional chunks cost the picture"
    values = (samples * 255 + full // 2) // full
    if palette is not None:
        return _compare(picture, palette[samples[..., 0]].astype(int), None, 8)
    alpha = values[..., -1] if colour in (4, 6) else None
    if key is not None:
        alpha = np.where((samples == key).all(-1), 0, 255)
        if depth == 16 and colour == 2:  # compared in 8 bits
            return
    _compare(picture, values[..., : 3 if colour & 2 else 1].astype(int), alpha, max(depth, 8))


def seeds() -> Iterator[bytes]:
    """Yield some layouts."""
    rng = random.Random(0)
    for number in range(60):
        yield bytes([number & 1]) + rng.randbytes(11) + rng.randbytes(rng.choice((0, 8, 420)))


def mutate(data: bytes, change: Change, rng: random.Random) -> bytes:
    """Change the layout, or what the optional parts hold."""
    if rng.random() < 0.5:
        return bytes(rng.randrange(256) for _ in range(12)) + data[12:]
    return data[:12] + change(data[12:])

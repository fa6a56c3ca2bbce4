"""Picture files of every kind -> :class:`Picture`: complete and consistent, or refused."""

import io
import random
import warnings
import zlib
from collections.abc import Iterator

import numpy as np

from tests.fuzz.mutation import Change
from tests.support.odd_files import ODD_FILES
from vqcodec.errors import ImageTooLarge, InvalidImage
from vqcodec.images.reading import AS_IS, ReadOptions, read_picture, to_pil
from vqcodec.stream.metadata import NO_METADATA, read_metadata, write_metadata
from vqcodec.stream.planes import read_planes, write_planes

ALLOWED = (InvalidImage, ImageTooLarge)
MAX_PIXELS = 1 << 14
LARGEST_SEED = 4000
OPTIONS = (
    AS_IS,
    ReadOptions(alpha="blend", background="#ff8000", metadata=frozenset(), auto_orient=True),
    ReadOptions(alpha="drop", metadata=frozenset({"exif"})),
    ReadOptions(strict=True, auto_orient=True),
)


def check(data: bytes) -> None:
    """Read with several options; write and read the result again."""
    for options in OPTIONS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                picture = read_picture(io.BytesIO(data), MAX_PIXELS, options)
        except ALLOWED:
            continue
        pixels, alpha = picture.pixels, picture.alpha
        height, width, channels = pixels.shape
        assert channels == 3 and pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.flags.owndata
        assert 0 < width * height <= MAX_PIXELS
        assert picture.layout.has_alpha == (alpha is not None)
        assert options.alpha == "keep" or alpha is None
        assert all(not getattr(picture.metadata, kind) for kind in {"icc", "exif", "xmp"} - options.metadata)
        assert not (options.strict and any(remark.loses for remark in picture.remarks))
        if picture.layout.is_grey:
            assert (pixels == pixels[:, :, :1]).all()
        if alpha is not None:
            assert alpha.shape == (height, width) and alpha.dtype == np.uint8
            np.testing.assert_array_equal(read_planes(write_planes(alpha), (height, width), "alpha"), alpha)
        assert read_metadata(write_metadata(picture.metadata)) == picture.metadata
        again = read_picture(to_pil(picture))
        np.testing.assert_array_equal(again.pixels, pixels)
        assert (again.layout, again.metadata) == (picture.layout, picture.metadata) or picture.metadata != NO_METADATA


def seeds() -> Iterator[bytes]:
    """Yield the small files of the folder of odd files."""
    for odd in ODD_FILES:
        data = odd.make()
        if 0 < len(data) <= LARGEST_SEED:
            yield data


def mutate(data: bytes, change: Change, rng: random.Random) -> bytes:
    """Mutate bytes; mostly correct a PNG's checksums, so that the code behind them is reached."""
    data = change(data)
    return _repair_png(data) if rng.random() < 0.9 else data


def _repair_png(data: bytes) -> bytes:
    out, at = bytearray(data), 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        out[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(out)

"""TIFF and BigTIFF: the main picture of a file, and the layouts that Pillow decodes rightly.

Sources: TIFF 6.0; TIFF/EP, ISO 12234-2; DNG 1.6.
"""

import contextlib
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vqcodec.errors import InvalidImage
from vqcodec.images import colours, exif, ifd
from vqcodec.images.colours import Colours
from vqcodec.images.containers.contents import Contents, Notes
from vqcodec.images.depth import reduce
from vqcodec.images.ifd import BrokenDirectory, Directory, Header, Tags, Value
from vqcodec.stream.metadata import Metadata

SIGNATURES = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_NEW_SUBFILE, _SUBFILE, _FILL_ORDER, _SAMPLES, _PLANES = 254, 255, 266, 277, 284
_SUB_DIRECTORIES, _INK_SET, _EXTRA, _FORMAT, _SUBSAMPLING, _COLOUR_MAP = 330, 332, 338, 339, 530, 320
_TRANSFER, _WHITE, _PRIMARIES, _LAYERS, _DNG = 301, 318, 319, 37724, 50706
_CFA_TAGS = frozenset({33421, 33422})
_SENSOR = frozenset({32803, 34892})
"""Photometric interpretations of raw sensor data: colour filter array, linear raw."""
_STORED = frozenset(
    {*range(256, 260), 262, 263, 266, 273, *range(277, 282), 284, 292, 293, 317, *range(320, 326), 332, 334}
    | {*range(338, 344), 347, *range(512, 522), *range(529, 533)}
)
"""Tags that decide the pixels of a page."""
_NUMBERS = frozenset({1, 3, 4, 13, 16})
_TYPES = {347: frozenset({1, 7}), 529: frozenset({5}), 532: frozenset({3, 4, 5})}
"""Types of the values of tags; libtiff prints a message for another one."""
_SINGLE = frozenset({256, 257, 259, 262, 263, 266, 277, 278, 284, 317, 322, 323, 332})
"""Tags with one value; Pillow warns of more."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_JPEGS = (6, 7)
_UNCOMPRESSED = 1


@dataclass(frozen=True)
class _Page:
    at: int
    directory: Directory

    @property
    def is_reduced(self) -> bool:
        """True if it says that it is a reduced copy of another picture of the file."""
        return bool(self.directory.integer(_NEW_SUBFILE) & 1) or self.directory.integer(_SUBFILE) == 2

    @property
    def is_mask(self) -> bool:
        return bool(self.directory.integer(_NEW_SUBFILE) & 4)

    @property
    def is_sensor(self) -> bool:
        values = self.directory.values
        return self.directory.integer(_PHOTOMETRIC, -1) in _SENSOR or bool((_CFA_TAGS | {_DNG}) & values.keys())

    @property
    def pixels(self) -> int:
        return self.directory.integer(_WIDTH) * self.directory.integer(_HEIGHT)


def examine(data: bytes) -> Contents:
    """Look into a TIFF file: choose its main picture, which Pillow then gets alone."""
    notes = Notes()
    try:
        header = ifd.read_header(data)
        first = ifd.read_directory(data, header, header.first)
    except BrokenDirectory:  # for Pillow to refuse
        return Contents(io.BytesIO(data), notes)
    pages, below = _pages(data, header, first, notes)
    if any(page.is_sensor for page in pages + below) or (data[8:10] == b"CR" and not header.big):
        contents = Contents(io.BytesIO(data), notes, Metadata())
        contents.refused = "raw sensor data of a camera; develop it to a picture first"
        return contents
    main, frames = _choose(pages, below, notes)
    stored = _stored_tags(main.directory, header)
    lean = ifd.with_first_directory(data, header, stored)
    contents = Contents(io.BytesIO(lean), notes, _metadata(data, header, main, pages[0], notes), frames=frames)
    contents.orientation = _orientation(main.directory, notes)
    if contents.metadata and not contents.metadata.icc:
        contents.colours = _colours(main.directory)
    contents.bits = max([8, *main.directory.integers(_BITS)])
    contents.size = main.directory.integer(_WIDTH), main.directory.integer(_HEIGHT)
    readable = pillow_decodes(Directory(stored, (), 0).integers)
    if readable and not (header.big and header.order == ">"):
        contents.otherwise = lambda: _decode(lean)
    else:
        contents.decode = lambda: _decode(lean)
    return contents


def _pages(data: bytes, header: Header, first: Directory, notes: Notes) -> tuple[list[_Page], list[_Page]]:
    """Return the pages of a file, and those in sub-directories.

    Every directory is read once, and no more of them than fit into the file side by side, so that directories that
    overlap do not cost time without end.
    """
    pages, below = [_Page(header.first, first)], list[_Page]()
    seen, room = {header.first}, len(data) - first.bytes

    def read(at: int) -> _Page:
        nonlocal room
        if room < 0:
            raise BrokenDirectory("directories overlap")
        page = _Page(at, ifd.read_directory(data, header, at))
        room -= page.directory.bytes
        seen.add(at)
        return page

    try:
        while (at := pages[-1].directory.next) and at not in seen:
            pages.append(read(at))
    except BrokenDirectory:
        notes.lose("a page after the first is damaged, or outside the file, and is ignored")
    waiting = list(pages)
    while waiting:
        for at in waiting.pop(0).directory.integers(_SUB_DIRECTORIES):
            if at not in seen:
                with contextlib.suppress(BrokenDirectory):
                    below.append(read(at))
                    waiting.append(below[-1])
    return pages, below


def _choose(pages: list[_Page], below: list[_Page], notes: Notes) -> tuple[_Page, int]:
    """Return the main page and the number of pages that are neither reduced copies nor masks."""
    if any(page.is_mask for page in pages + below):
        notes.lose("a page with a transparency mask is not kept")
    whole = [page for page in pages if not page.is_reduced and not page.is_mask]
    if whole:
        return whole[0], len(whole)
    others = [page for page in below if not page.is_reduced and not page.is_mask]
    if others:
        return others[0], len(others)
    return max(pages, key=lambda page: page.pixels), 1  # all say that they are reduced copies


def _stored_tags(directory: Directory, header: Header) -> dict[int, Value]:
    """Return the tags of a page that Pillow needs, and no others."""
    tags = {
        tag: value.first() if tag in _SINGLE else value
        for tag, value in directory.values.items()
        if tag in _STORED and value.count and value.type in _TYPES.get(tag, _NUMBERS)
    }
    colours_of_palette = directory.integers(_COLOUR_MAP)
    if colours_of_palette and max(colours_of_palette) < 256:  # some programs write 8 bits into these 16
        content = struct.pack(f"{header.order}{len(colours_of_palette)}H", *(257 * c for c in colours_of_palette))
        tags[_COLOUR_MAP] = Value.of(ifd.SHORT, content, header.order)
    if directory.integer(_SAMPLES, 1) == 1:
        tags.pop(_PLANES, None)  # a single plane, which Pillow would take for the first of several
    return tags


def _metadata(data: bytes, header: Header, main: _Page, first: _Page, notes: Notes) -> Metadata:
    tags: Tags = {}
    for page in (first, main):
        found, lost = ifd.read_tree(data, page.at)
        tags |= {tag: value for tag, value in found.items() if page is main or not exif.describes_pixels(tag)}
        for tag in lost:
            if tag not in _STORED:
                notes.lose(f"tag {tag} is damaged and is ignored", {exif.XMP: "xmp", exif.ICC: "icc"}.get(tag, "exif"))
    if _LAYERS in tags:
        del tags[_LAYERS]
        notes.change("layers are not kept")
    wide = [tag for tag, value in tags.items() if isinstance(value, Value) and value.type >= 16]
    for tag in wide:
        if not exif.describes_pixels(tag):
            notes.lose(f"tag {tag} has 64 bits, which EXIF data cannot hold", "exif")
    icc, xmp = (value.raw if isinstance(value := tags.get(tag), Value) else b"" for tag in (exif.ICC, exif.XMP))
    return Metadata(icc, exif.from_tags(tags, header.order), xmp)


def _orientation(directory: Directory, notes: Notes) -> int:
    orientation = directory.integer(exif.ORIENTATION, 1)
    if exif.ORIENTATION in directory.values and not directory.integers(exif.ORIENTATION):
        text = directory.values[exif.ORIENTATION].raw.rstrip(b"\0")
        orientation = int(text) if text in {b"%d" % known for known in range(1, 9)} else 0
    if orientation not in range(1, 9):
        notes.lose("the orientation is damaged and is ignored", "exif")
        return 1
    return orientation


def _colours(directory: Directory) -> Colours | None:
    """Return what primaries, white point and transfer function say, if there are any."""
    points = {tag: directory.values[tag].fractions() for tag in (_PRIMARIES, _WHITE) if tag in directory.values}
    corners, white = points.get(_PRIMARIES, ()), points.get(_WHITE, ())
    table = np.array(directory.integers(_TRANSFER), np.uint16)
    size = 1 << min(directory.integer(_BITS, 1), 16)
    curves = tuple(table.reshape(-1, size)) if table.size in (size, 3 * size) and size > 1 else ()
    if len(corners) != 6 and not curves:
        return None
    given = Colours(curves or (colours.SRGB_CURVE,))
    red, green, blue = (
        zip(corners[::2], corners[1::2], strict=True) if len(corners) == 6 else (given.red, given.green, given.blue)
    )
    return Colours(given.curves, red, green, blue, (white[0], white[1]) if len(white) == 2 else given.white)


# Pixels


def pillow_decodes(integers: Callable[[int], tuple[int, ...]]) -> bool:
    """Return whether the layout of a page is one that Pillow is known to decode rightly.

    ``integers`` gives the values of a tag, none for a tag that is missing.  The list comes from a comparison with
    tifffile; see ``tests/test_layouts.py``.
    """

    def integer(tag: int, default: int) -> int:
        return next(iter(integers(tag)), default)

    photometric, compression = integer(_PHOTOMETRIC, 0), integer(_COMPRESSION, _UNCOMPRESSED)
    bits, formats = set(integers(_BITS) or (1,)), set(integers(_FORMAT) or (1,))
    colour = {_RGB: 3, _YCBCR: 3, _LAB: 3, _CMYK: 4}.get(photometric, 1)
    samples = integer(_SAMPLES, colour if compression in _JPEGS else 1)
    apart, extra = integer(_PLANES, 1) == 2, len(integers(_EXTRA))
    alone = samples == 1 and not apart
    if len(bits) != 1 or (photometric == _CMYK and integer(_INK_SET, 1) != 1):
        return False
    (depth,) = bits
    if integer(_FILL_ORDER, 1) != 1 and depth != 1:
        return False
    if formats != {1} or depth == 32:  # Pillow's modes I and F, whose ranges are checked later
        return alone and depth == 32 and photometric == _BLACK_IS_ZERO
    if depth in (1, 2, 4) or photometric == _WHITE_IS_ZERO:
        return alone and depth <= 8 and photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE)
    if depth == 16:
        return (photometric == _BLACK_IS_ZERO and alone) or (photometric in (_RGB, _CMYK) and not apart and extra < 2)
    if depth != 8:
        return False
    if photometric in (_BLACK_IS_ZERO, _PALETTE):
        return samples <= 2 and not apart
    if photometric == _YCBCR:
        whole = compression in _JPEGS or integers(_SUBSAMPLING) == (1, 1)
        return samples == 3 and not apart and whole
    if photometric == _LAB:
        return samples == 3 and not apart and compression not in _JPEGS
    return photometric in (_RGB, _CMYK) and not (apart and extra)


def _decode(lean: bytes) -> Image.Image:
    """Decode by tifffile what Pillow does not decode, or not rightly."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(lean)) as file:
            page = file.pages.first
            bits, photometric = int(page.bitspersample), int(page.photometric)
            extra = [int(kind) for kind in page.extrasamples]
            if int(page.samplesperpixel) > 6:
                raise InvalidImage(f"this layout of TIFF is not supported ({page.samplesperpixel} samples)")
            if page.sampleformat is None or int(page.sampleformat) != 1 or bits > 32:
                raise InvalidImage("samples that are signed or of floating point have no agreed range")
            if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
                raise InvalidImage(f"this layout of TIFF is not supported (photometric interpretation {photometric})")
            samples, axes = page.asarray(), page.axes
    except InvalidImage:
        raise
    except ImportError as error:
        raise _needs_imagecodecs() from error
    except Exception as error:
        if "imagecodecs" in str(error):
            raise _needs_imagecodecs() from None
        cause = " ".join(str(error).split()) or type(error).__name__
        raise InvalidImage(f"unreadable picture: {cause}") from error
    if axes == "SYX":
        samples = np.moveaxis(samples, 0, -1)
    elif axes not in ("YX", "YXS"):
        raise InvalidImage(f"this layout of TIFF is not supported (axes {axes})")
    return Image.fromarray(_arranged(reduce(samples, bits), photometric, extra))


def _needs_imagecodecs() -> InvalidImage:
    return InvalidImage("this layout of TIFF needs imagecodecs: pip install 'vqcodec[formats]'")


def _arranged(samples: npt.NDArray[np.uint8], photometric: int, extra: list[int]) -> npt.NDArray[Any]:
    """Return grey or RGB and, if there is one, alpha, in the order of Pillow's modes."""
    planes = samples[..., None] if samples.ndim == 2 else samples
    count = 3 if photometric == _RGB else 1
    colour = planes[..., :count]
    if photometric == _WHITE_IS_ZERO:
        colour = 255 - colour
    if extra[:1] == [1]:  # the colours are multiplied by alpha
        alpha = planes[..., count : count + 1]
        scaled = colour.astype(np.uint32) * 255 // np.maximum(alpha, 1)
        colour = np.where(alpha > 0, np.minimum(scaled, 255), 0).astype(np.uint8)
    if extra[:1] in ([1], [2]):
        colour = np.concatenate([colour, planes[..., count : count + 1]], -1)
    return np.ascontiguousarray(colour[..., 0] if colour.shape[-1] == 1 else colour)

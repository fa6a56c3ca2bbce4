"""Write a picture file strip by strip, from the top, so that the whole picture is never in memory.

Pillow writes only whole pictures.  So each strip is written as a file in memory, and the files are joined: Pillow still
writes the metadata and chooses PNG's filters.
"""

import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from PIL import Image
from PIL.PngImagePlugin import putchunk

from vqcodec.images import metadata

STRIPS_ABOVE = 1 << 24
"""Pictures with more pixels are decoded and written in strips."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def can_join(format: str, has_alpha: bool) -> bool:
    """Return whether :func:`write_strips` can write a Pillow format."""
    return format == "PNG" or (format == "PPM" and not has_alpha)


def write_strips(file: BinaryIO, format: str, size: tuple[int, int], strips: Iterable[Image.Image]) -> None:
    """Write a file of a format that :func:`can_join` accepts.

    Args:
        file: a binary file open for writing; need not be seekable.
        format: Pillow's name.
        size: width and height of the picture in pixels.
        strips: images of one mode and of full width; ``info`` of the first one holds the metadata.
    """
    writers: dict[str, Callable[..., None]] = {"PNG": _write_png, "PPM": _write_ppm}
    writers[format](file, size, strips)


def _write_ppm(file: BinaryIO, size: tuple[int, int], strips: Iterable[Image.Image]) -> None:
    for number, strip in enumerate(strips):
        if not number:
            metadata.save_options(strip, "PPM")  # for its warnings
            file.write(b"P%d\n%d %d\n255\n" % (5 if strip.mode == "L" else 6, *size))
        file.write(strip.tobytes())


def _write_png(file: BinaryIO, size: tuple[int, int], strips: Iterable[Image.Image]) -> None:
    packer = zlib.compressobj(strategy=zlib.Z_FILTERED)
    above: Image.Image | None = None
    for strip in strips:
        # Filters predict a row from the one above, so each strip but the first is filtered below the last row.
        chunks = list(_chunks(_png(strip if above is None else _stack(above, strip))))
        rows = zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT"))
        if above is None:
            file.write(_SIGNATURE)
            for name, content in chunks:
                if name == b"IHDR":
                    content = content[:4] + size[1].to_bytes(4, "big") + content[8:]
                if name not in (b"IDAT", b"IEND"):
                    putchunk(file, name, content)
        else:
            rows = rows[1 + strip.width * len(strip.getbands()) :]
        putchunk(file, b"IDAT", packer.compress(rows))
        above = strip.crop((0, strip.height - 1, strip.width, strip.height))
    putchunk(file, b"IDAT", packer.flush())
    putchunk(file, b"IEND")


def _stack(above: Image.Image, below: Image.Image) -> Image.Image:
    image = Image.new(below.mode, (below.width, above.height + below.height))
    image.paste(above, (0, 0))
    image.paste(below, (0, above.height))
    return image


def _png(image: Image.Image) -> bytes:
    """Return the picture as a PNG file, filtered but not compressed."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=0, **metadata.save_options(image, "PNG"))
    return buffer.getvalue()


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and content of each chunk."""
    at = len(_SIGNATURE)
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += length + 12

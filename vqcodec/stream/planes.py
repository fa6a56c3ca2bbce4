"""Code 8-bit planes losslessly: the payloads of the alpha section and of exact pixels, with Pillow's WebP and PNG.

Planes of one value take a byte each; others are the image data of lossless WebP, or a PNG file where this Pillow has no
WebP or WebP cannot hold the size.  The size of the planes is that of the header of the stream: WebP's own header is not
stored, and PNG's is checked before anything is decoded.
"""

import enum
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, features

from vqcodec.errors import MalformedStream, UnsupportedFeature

Planes = npt.NDArray[np.uint8]
"""(H, W) or (H, W, 3)."""

_WEBP_MAX_EDGE = 16383
_WEBP_HEAD_BYTES = 25
_LOSSLESS_SIGNATURE = b"\x2f"


class _Coder(enum.IntEnum):
    """First byte of the payload.  The numbers belong to the format and are never reused."""

    FLAT = 0
    PNG = 1
    WEBP_FILE = 2
    """Read, but no longer written: :attr:`WEBP` is the same without the 25 bytes before the image data."""
    WEBP = 3


@dataclass(frozen=True)
class Effort:
    """How hard libwebp tries to make a file small; the result is lossless with each."""

    quality: int
    method: int


FAST = Effort(75, 4)
SMALL = Effort(100, 6)
"""Tries every transform: 2 to 7 seconds per megapixel, and up to 12 % smaller than :data:`FAST`."""


def write_planes(planes: Planes, effort: Effort = FAST, least: int = 0) -> bytes:
    """Return the payload of planes (H, W) or (H, W, 3), filled up with zeros to at least so many bytes."""
    payload = _write(planes, effort)
    return payload + bytes(max(0, least - len(payload)))


def _write(planes: Planes, effort: Effort) -> bytes:
    if (planes == planes[0, 0]).all():
        return bytes([_Coder.FLAT, *planes[0, 0].flat])
    image, buffer = Image.fromarray(planes), io.BytesIO()
    if max(image.size) <= _WEBP_MAX_EDGE and features.check("webp"):
        image.convert("RGB").save(buffer, "WEBP", lossless=True, quality=effort.quality, method=effort.method)
        file = buffer.getvalue()
        length = int.from_bytes(file[16:20], "little")
        data = file[_WEBP_HEAD_BYTES : 20 + length]
        if file == _webp_file(data, image.size):  # always so with today's libwebp, which writes a single chunk
            return bytes([_Coder.WEBP]) + data
        buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return bytes([_Coder.PNG]) + buffer.getvalue()


def read_planes(payload: bytes, shape: tuple[int, ...], name: str, least: int = 0) -> Planes:
    """Return the planes of a payload, of shape (H, W) or (H, W, 3).  The inverse of :func:`write_planes`.

    Args:
        payload: the content of the section.
        shape: what the header of the stream says.
        name: of the section, for messages.
        least: bytes that such a payload has at least.

    Raises:
        MalformedStream: the payload is not that of planes of this shape.
        UnsupportedFeature: this Pillow has no WebP.
    """
    if not payload or payload[0] not in list(_Coder):
        raise MalformedStream(f"section '{name}' has an unknown coder")
    if len(payload) < least:
        raise MalformedStream(f"section '{name}' has {len(payload)} bytes, too few for {shape[1]}x{shape[0]} pixels")
    coder, data = _Coder(payload[0]), payload[1:]
    if coder is _Coder.FLAT:
        return _read_flat(data, shape, name, least)
    if coder is not _Coder.PNG:
        if not features.check("webp"):
            raise UnsupportedFeature(f"section '{name}' needs a Pillow that reads WebP")
        data = _whole_webp(data, coder, (shape[1], shape[0]), name)
    decoded = _decode(data, coder, shape, name)
    return decoded[:, :, 1] if decoded.ndim > len(shape) else decoded


def _read_flat(data: bytes, shape: tuple[int, ...], name: str, least: int) -> Planes:
    channels = shape[2] if len(shape) == 3 else 1
    values, rest = data[:channels], data[channels:]
    size = max(1 + channels, least)
    if 1 + len(data) != size or any(rest):
        raise MalformedStream(f"section '{name}' is flat and has {1 + len(data)} bytes, not {size}, or more than zeros")
    return np.broadcast_to(np.frombuffer(values, np.uint8).reshape(shape[2:]), shape).copy()


def _whole_webp(data: bytes, coder: _Coder, size: tuple[int, int], name: str) -> bytes:
    """Return the WebP file of a payload.  What Pillow sees has the right size and a single frame."""
    if max(size) > _WEBP_MAX_EDGE:
        raise MalformedStream(f"section '{name}' is WebP, which cannot hold {size[0]}x{size[1]} pixels")
    if coder is _Coder.WEBP:
        return _webp_file(data, size)
    length = int.from_bytes(data[16:20], "little")
    if data != _webp_file(data[_WEBP_HEAD_BYTES : 20 + length], size):
        raise MalformedStream(f"section '{name}' is not a lossless WebP file of {size[0]}x{size[1]} pixels")
    return data


def _webp_file(data: bytes, size: tuple[int, int]) -> bytes:
    """Return the file of one lossless WebP picture, given the data after the header of its image (RFC 9649)."""
    width, height = size
    dimensions = (width - 1 | height - 1 << 14).to_bytes(4, "little")
    length = len(_LOSSLESS_SIGNATURE) + len(dimensions) + len(data)
    padding = bytes(length % 2)
    chunk = b"VP8L" + length.to_bytes(4, "little") + _LOSSLESS_SIGNATURE + dimensions + data + padding
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk


def _decode(data: bytes, coder: _Coder, shape: tuple[int, ...], name: str) -> Planes:
    """Return the picture of a file, (H, W) or (H, W, 3), if it has exactly the size of ``shape``.

    Pillow's readers are called by their classes, because ``Image.open`` would apply its own limit on pixels.
    """
    from PIL.PngImagePlugin import PngImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    reader = PngImageFile if coder is _Coder.PNG else WebPImageFile
    mode = "L" if coder is _Coder.PNG and len(shape) == 2 else "RGB"
    try:
        with reader(io.BytesIO(data)) as image:
            if image.size != (shape[1], shape[0]) or image.mode != mode:
                raise MalformedStream(f"section '{name}' holds a {image.mode} picture of {image.width}x{image.height}")
            return np.array(image)
    except (MalformedStream, MemoryError):
        raise
    except Exception as error:
        raise MalformedStream(f"section '{name}' cannot be decoded as {coder.name}") from error

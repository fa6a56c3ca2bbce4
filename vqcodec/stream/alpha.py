"""Code the alpha plane losslessly as the payload of the alpha section, with Pillow's WebP and PNG.

A flat plane takes two bytes; every other plane is a WebP or PNG file of one grey picture.  The size in that file is
checked against the size of the picture before it is decoded.
"""

import enum
import io

import numpy as np
import numpy.typing as npt
from PIL import Image, features

from vqcodec.errors import MalformedStream

Plane = npt.NDArray[np.uint8]

_WEBP_MAX_EDGE = 16383


class _Coder(enum.IntEnum):
    """First byte of the payload.  The numbers belong to the format and are never reused."""

    FLAT = 0
    PNG = 1
    WEBP = 2


def write_alpha(plane: Plane) -> bytes:
    """Return the payload of ``plane`` (H, W): WebP, which is smaller, or PNG where WebP cannot hold the size."""
    if (plane == plane[0, 0]).all():
        return bytes([_Coder.FLAT, plane[0, 0]])
    image = Image.fromarray(plane)
    buffer = io.BytesIO()
    if max(image.size) <= _WEBP_MAX_EDGE and features.check("webp"):
        coder = _Coder.WEBP
        image.convert("RGB").save(buffer, "WEBP", lossless=True, quality=75)
    else:
        coder = _Coder.PNG
        image.save(buffer, "PNG", optimize=True)
    return bytes([coder]) + buffer.getvalue()


def read_alpha(payload: bytes, width: int, height: int) -> Plane:
    """Return the plane (H, W) of a payload.  Raises :class:`MalformedStream`.  The inverse of :func:`write_alpha`."""
    if not payload or payload[0] not in list(_Coder):
        raise MalformedStream("section 'alpha' has an unknown coder")
    coder = _Coder(payload[0])
    if coder is _Coder.FLAT:
        if len(payload) != 2:
            raise MalformedStream(f"section 'alpha' is flat and has {len(payload)} bytes, not 2")
        return np.full((height, width), payload[1], np.uint8)
    return _decode(io.BytesIO(payload[1:]), coder, (width, height))


def _decode(file: io.BytesIO, coder: _Coder, size: tuple[int, int]) -> Plane:
    """Return the picture in the file as one plane, if it has exactly that size.

    Pillow's readers are called by their classes, because ``Image.open`` would apply its own limit on pixels.
    """
    from PIL.PngImagePlugin import PngImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    reader, mode = (PngImageFile, "L") if coder is _Coder.PNG else (WebPImageFile, "RGB")
    try:
        with reader(file) as image:
            if image.size != size or image.mode != mode:
                raise MalformedStream(f"section 'alpha' holds a {image.mode} picture of {image.width}x{image.height}")
            return np.array(image.getchannel(0 if mode == "L" else "G"))
    except (MalformedStream, MemoryError):
        raise
    except Exception as error:
        raise MalformedStream(f"section 'alpha' cannot be decoded as {coder.name}") from error

"""The codec's interface over real containers whose payload is the raw picture: no weights, no arithmetic."""

from typing import Any, ClassVar

import numpy as np

from vqcodec import bitstream, files
from vqcodec.bitstream import Header, Section, SectionKind
from vqcodec.errors import ModelMismatch, UnknownModel
from vqcodec.image import MAX_PIXELS, Picture, read_picture, to_pil


class FakeCodec:
    """Remembers how it was called.  Streams 1 and 2 pixels wide fail to decode, on purpose."""

    loads: ClassVar[int] = 0
    calls: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, model=None, *, model_path=None, device="auto"):
        if model == "nosuch":
            raise UnknownModel("no model is called 'nosuch'")
        if model_path:
            files.read_bytes(model_path)
        FakeCodec.loads += 1
        self.device = device

    def encode(self, image, quality=50.0, max_pixels=MAX_PIXELS):
        FakeCodec.calls.append({"quality": quality, "max_pixels": max_pixels, "device": self.device})
        picture = read_picture(image, max_pixels)
        height, width, _ = picture.pixels.shape
        header = Header(bytes(8), width, height, picture.layout, quality=128, tile_log2=10)
        return bitstream.write_stream(header, [Section(SectionKind.LEVEL_0, 0, picture.pixels.tobytes())])

    def decode(self, data, max_pixels=MAX_PIXELS):
        if hasattr(data, "read"):
            data = data.read()
        stream = bitstream.read_stream(data if isinstance(data, bytes) else files.read_bytes(data))
        if stream.header.width == 1:
            raise ModelMismatch("the stream needs another model")
        if stream.header.width == 2:
            raise ZeroDivisionError("a bug")
        shape = stream.header.height, stream.header.width, 3
        pixels = np.frombuffer(stream.sections[0].payload, np.uint8).reshape(shape)
        return to_pil(Picture(pixels, stream.header.layout))

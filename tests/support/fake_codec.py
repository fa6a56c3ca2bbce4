"""A fake codec: real containers whose payload is the raw picture, without weights or arithmetic."""

from typing import Any, ClassVar

import numpy as np

from vqcodec import defaults, files
from vqcodec.codec.results import Decoded, Encoded, Reached
from vqcodec.errors import GoalOutOfReach, ModelMismatch, UnknownModel, VqcError
from vqcodec.images.reading import AS_IS, Picture, read_picture, to_pil
from vqcodec.stream import container
from vqcodec.stream.container import Header, Section, SectionKind


class FakeCodec:
    """Record the calls.  Streams 1 and 2 pixels wide fail to decode on purpose."""

    loads: ClassVar[int] = 0
    calls: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, model=None, *, model_path=None, device="auto"):
        if model == "nosuch":
            raise UnknownModel("no model is called 'nosuch'")
        if model_path:
            files.read_bytes(model_path)
        FakeCodec.loads += 1
        self.device = device

    def encode(self, image, quality=50.0, max_pixels=defaults.MAX_PIXELS, options=AS_IS):
        return self._encode(read_picture(image, max_pixels, options))

    def _encode(self, picture):
        height, width, _ = picture.pixels.shape
        header = Header(bytes(8), width, height, picture.layout.opaque, quality=128, tile_log2=10)
        return container.write_stream(header, [Section(SectionKind.LEVEL_0, 0, picture.pixels.tobytes())])

    def encode_batch(
        self, images, quality=50.0, *, effort=1, max_pixels=defaults.MAX_PIXELS, options=AS_IS, lossless=None
    ):
        for index, image in enumerate(images):
            call = {
                "quality": quality,
                "effort": effort,
                "max_pixels": max_pixels,
                "options": options,
                "lossless": lossless,
            }
            FakeCodec.calls.append({**call, "device": self.device})
            try:
                picture = read_picture(image, max_pixels, options)
                yield Encoded(index, self._encode(picture), remarks=picture.remarks)
            except VqcError as error:
                yield Encoded(index, error=error)

    def encode_to_goal(self, image, goal, *, effort=1, max_pixels=defaults.MAX_PIXELS, options=AS_IS, lossless=None):
        if goal.value > 1e6:
            raise GoalOutOfReach(f"cannot reach {goal}")
        return Reached(self.encode(image, 50.0, max_pixels, options), 33.3, goal.value, 4)

    def decode_batch(self, streams, *, max_pixels=defaults.MAX_PIXELS, partial=False, realism=0.0):
        for index, data in enumerate(streams):
            try:
                yield Decoded(index, self.decode(data, max_pixels))
            except Exception as error:
                yield Decoded(index, error=error)

    def decode_preview(self, data, *, max_pixels=defaults.MAX_PIXELS, partial=False):
        return self.decode(data, max_pixels).convert("L").convert("RGB")

    def decode_region(self, data, box, *, max_pixels=defaults.MAX_PIXELS, partial=False, realism=0.0):
        image = self.decode(data, max_pixels)
        box.check_inside(*image.size)
        return image.crop((box.left, box.top, box.right, box.bottom))

    def decode(self, data, max_pixels=defaults.MAX_PIXELS):
        if hasattr(data, "read"):
            data = data.read()
        stream = container.read_stream(data if isinstance(data, bytes) else files.read_bytes(data))
        if stream.header.width == 1:
            raise ModelMismatch("the stream needs another model")
        if stream.header.width == 2:
            raise ZeroDivisionError("a bug")
        shape = stream.header.height, stream.header.width, 3
        pixels = np.frombuffer(stream.sections[0].payload, np.uint8).reshape(shape)
        return to_pil(Picture(pixels, stream.header.layout))

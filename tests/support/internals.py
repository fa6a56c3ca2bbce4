"""What tests look at inside a :class:`vqcodec.Codec`: streams that are read already, and their indices."""

from collections.abc import Sequence

from PIL import Image

from vqcodec import Codec, defaults
from vqcodec.coding.traversal import Indices
from vqcodec.stream.container import Stream


def decode_streams(codec: Codec, streams: Sequence[Stream], max_pixels: int = defaults.MAX_PIXELS) -> list[Image.Image]:
    """Check and decode streams that were made with the codec's model."""
    for stream in streams:
        codec._decoder.check(stream, max_pixels)
    return codec._decoder.decode(streams)


def decode_grids(codec: Codec, streams: Sequence[Stream], max_pixels: int = defaults.MAX_PIXELS) -> list[list[Indices]]:
    """Return the indices (G, H, W) of all levels of each stream."""
    for stream in streams:
        codec._decoder.check(stream, max_pixels)
    return codec._decoder.grids(streams)

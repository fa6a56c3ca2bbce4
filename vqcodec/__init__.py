"""vqcodec: a picture as two grids of codebook indices, and the indices as few bits as a learned prior allows.

::

    picture        pixels -> latents    latents -> indices     indices -> words     file
    images/ -----> model/ ------------> coding/traversal ----> coding/rans -------> stream/container
    read as 8-bit  analysis; synthesis  the integer prior      rANS                 header and
    planes         when decoding        gives every index                           checked
                                        its frequencies                             sections

``codec/`` composes the arrows, ``weights/`` finds and checks the models, ``batch/`` and ``distributed/`` take many
files, ``cli/`` is the command.  docs/ARCHITECTURE.md has the whole picture.

The names below are the public interface.  They load on first use, so that importing this package does not import torch.
"""

import importlib
from typing import TYPE_CHECKING

from vqcodec.errors import VqcError, VqcWarning

if TYPE_CHECKING:
    from vqcodec.api import decode, decode_file, encode, encode_file, info
    from vqcodec.codec.codec import Codec
    from vqcodec.codec.rate_control import Goal
    from vqcodec.codec.results import Decoded, Encoded, Reached, StreamInfo
    from vqcodec.codec.tiles import Box
    from vqcodec.images.reading import ReadOptions
    from vqcodec.pillow_plugin import register_pillow
    from vqcodec.weights.registry import ModelInfo, models

_HOME = {
    "Box": "vqcodec.codec.tiles",
    "Codec": "vqcodec.codec.codec",
    "Decoded": "vqcodec.codec.results",
    "Encoded": "vqcodec.codec.results",
    "Goal": "vqcodec.codec.rate_control",
    "ModelInfo": "vqcodec.weights.registry",
    "Reached": "vqcodec.codec.results",
    "ReadOptions": "vqcodec.images.reading",
    "StreamInfo": "vqcodec.codec.results",
    "decode": "vqcodec.api",
    "decode_file": "vqcodec.api",
    "encode": "vqcodec.api",
    "encode_file": "vqcodec.api",
    "info": "vqcodec.api",
    "models": "vqcodec.weights.registry",
    "register_pillow": "vqcodec.pillow_plugin",
}

__all__ = [
    "Box",
    "Codec",
    "Decoded",
    "Encoded",
    "Goal",
    "ModelInfo",
    "Reached",
    "ReadOptions",
    "StreamInfo",
    "VqcError",
    "VqcWarning",
    "decode",
    "decode_file",
    "encode",
    "encode_file",
    "info",
    "models",
    "register_pillow",
]

if not TYPE_CHECKING:  # hidden from type checkers, for which every attribute would exist otherwise

    def __getattr__(name):
        """A public name, imported from its module on first use."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})

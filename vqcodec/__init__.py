"""vqcodec: a picture as two grids of codebook indices, and the indices as few bits as a learned prior allows.

::

    picture        pixels            latents            indices             words          file
    image.py ----> model/transform > model/quantizer -> coding/traversal -> coding/rans -> bitstream.py
                   analysis;         the codeword that  the integer prior   rANS           header and
                   on the way back   costs the least    gives every index                  checked
                   synthesis         error and bits     its frequencies                    sections

``encoder.py`` and ``decoder.py`` compose the arrows, ``codec.py`` is the object that applications hold, ``zoo.py``
finds the weights.  The names below are the
public interface.  They load on first use, so that importing this package does not import torch.
"""

import importlib
from typing import Any

from vqcodec.errors import VqcError

_HOME = {
    "Box": "vqcodec.tiles",
    "Codec": "vqcodec.codec",
    "decode": "vqcodec.api",
    "decode_file": "vqcodec.api",
    "encode": "vqcodec.api",
    "encode_file": "vqcodec.api",
    "Goal": "vqcodec.search",
    "info": "vqcodec.api",
    "models": "vqcodec.zoo",
    "register_pillow": "vqcodec.pillow_plugin",
    "ReadOptions": "vqcodec.image",
}

__all__ = ["VqcError", *_HOME]


def __getattr__(name: str) -> Any:
    """A public name, imported from its module on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'vqcodec' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})

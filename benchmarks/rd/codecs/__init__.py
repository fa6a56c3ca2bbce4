"""Codecs: one thin class each, with its name, label, colour, settings and qualities.

Settings are those of a typical user: the reference library's default effort, unless a stronger setting is customary
(``optimize=True`` for JPEG, method 6 for WebP).  Sources: the Pillow handbook, "Image file formats"; the manuals of
libjxl's ``cjxl`` and libavif's ``avifenc``.  To add a codec, write its class and list it in ``registry.CODECS``.
"""

from benchmarks.rd.codecs.base import Choice, Codec, PillowCodec
from benchmarks.rd.codecs.jpeg import Jpeg
from benchmarks.rd.codecs.jpegxl import JpegXl
from benchmarks.rd.codecs.registry import (
    ANCHOR,
    CODECS,
    LoadedCodec,
    choose_codecs,
    codec_class,
    codec_label,
    is_vqc,
    open_codec,
    open_codecs,
)
from benchmarks.rd.codecs.vqc import Vqc

__all__ = [
    "ANCHOR",
    "CODECS",
    "Choice",
    "Codec",
    "Jpeg",
    "JpegXl",
    "LoadedCodec",
    "PillowCodec",
    "Vqc",
    "choose_codecs",
    "codec_class",
    "codec_label",
    "is_vqc",
    "open_codec",
    "open_codecs",
]

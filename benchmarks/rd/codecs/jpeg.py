"""JPEG: the anchor of every BD-rate."""

from typing import Any, ClassVar

from benchmarks.rd.codecs.base import PillowCodec


class Jpeg(PillowCodec):
    """Baseline JPEG with optimal Huffman tables and Pillow's default 4:2:0 subsampling."""

    name, label, colour = "jpeg", "JPEG", "#000000"
    format, feature, suffix = "JPEG", "libjpeg_turbo", ".jpg"
    lowest, highest = 1, 95
    scale = f"quality {lowest} to {highest}"
    qualities = (3, 5, 8, 12, 17, 23, 30, 40, 50, 60, 70, 80, 87, 92, 95)
    usual = 75
    settings: ClassVar[dict[str, Any]] = {"optimize": True}


class Jpeg444(Jpeg):
    """JPEG with colour at full resolution."""

    name, label, colour = "jpeg444", "JPEG 4:4:4", "#7f7f7f"
    by_default = False
    settings: ClassVar[dict[str, Any]] = {"optimize": True, "subsampling": "4:4:4"}

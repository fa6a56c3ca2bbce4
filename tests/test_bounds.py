"""Files of at most 64 bytes are cheap to open, whatever their headers claim."""

import json
import subprocess
import sys

import pytest

from vqcodec.codec.decoder import MAX_TILE_PIXELS
from vqcodec.codec.tiles import Box
from vqcodec.errors import ImageTooLarge
from vqcodec.stream import container
from vqcodec.stream.container import Header, Layout, Section, SectionKind


def test_tiny_files_are_cheap(tiny_weights):
    program = [sys.executable, "-m", "tests.support.bounds", tiny_weights, "16"]
    told = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
    assert told["files"] > 20 and told["decoded"] > 0
    assert told["megabytes"] < 100, told["worst"]
    assert told["ordinary"] < 25, told["worst"]  # 6 on a quiet machine; without bounds it would not end


def test_a_region_needs_no_tile_without_limit(tiny_codec):
    """A region of one pixel in a tile of the format's largest size would need the whole tile."""
    header = Header(tiny_codec.model.hash, 4096, MAX_TILE_PIXELS // 4096 + 1, Layout.RGB, 128, 15)
    levels = [Section(kind, 0, bytes(1 << 18)) for kind in (SectionKind.LEVEL_0, SectionKind.LEVEL_1)]
    with pytest.raises(ImageTooLarge, match="tiles of 4096x1025 pixels"):
        tiny_codec.decode_region(container.write_stream(header, levels), Box(0, 0, 1, 1), max_pixels=0)

"""Shared by the tests of the command line, which run it with a fake codec."""

import io

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vqcodec
from tests.support.fake_codec import FakeCodec
from vqcodec.cli import main

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs the program in an empty folder and returns click's result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(vars(vqcodec), "Codec", FakeCodec)
    monkeypatch.setattr(FakeCodec, "loads", 0)
    monkeypatch.setattr(FakeCodec, "calls", [])
    return lambda *arguments, **options: CliRunner().invoke(main.main, arguments, prog_name="vqcodec", **options)


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    return "photo.png"


def pixels_of(path) -> np.ndarray:
    with Image.open(path) as reading:
        return np.asarray(reading)


class Terminal(io.StringIO):
    def isatty(self):
        return True

"""``vqcodec decode``: previews, regions, damaged files, picture formats."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.cli.conftest import PIXELS, pixels_of
from vqcodec.cli import main


def test_preview_and_region(run, photo):
    run("encode", photo, "a.vqc")
    assert run("decode", "--region", "2,1,4,3", "a.vqc", "part.png").exit_code == 0
    np.testing.assert_array_equal(pixels_of("part.png"), PIXELS[1:4, 2:6])
    assert run("decode", "--preview", "a.vqc", "coarse.png").exit_code == 0
    assert pixels_of("coarse.png").shape == PIXELS.shape
    result = run("decode", "--region", "5,0,4,1", "a.vqc", "beyond.png")
    assert result.stderr == "vqcodec: a.vqc: region 5,0,4,1 does not fit into the 8x6 picture\n"


@pytest.mark.parametrize("options", [[], ["--preview"], ["--region", "0,0,30,20"]])
def test_partial_decoding_warns_of_missing_parts(tiny_codec, tiny_weights, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    data = tiny_codec.encode(np.tile(PIXELS, (5, 6, 1)), lossless=False)
    Path("short.vqc").write_bytes(data[:-1])
    command = ["decode", *options, "--model-path", str(tiny_weights), "short.vqc", "a.png"]
    result = CliRunner().invoke(main.main, command, prog_name="vqcodec")
    assert result.exit_code == 1 and result.stderr.startswith("vqcodec: short.vqc: truncated: section 'bottom' needs")
    result = CliRunner().invoke(main.main, [*command, "--allow-partial"], prog_name="vqcodec")
    assert result.exit_code == 0 and pixels_of("a.png").shape == ((20, 30, 3) if "--region" in options else (30, 48, 3))
    assert result.stderr.startswith("vqcodec: short.vqc: warning: incomplete: truncated: section 'bottom' needs")


@pytest.mark.parametrize("name, format", [("b.jpg", "JPEG"), ("b.webp", "WEBP"), ("b.TIF", "TIFF"), ("b.ppm", "PPM")])
def test_format_follows_the_suffix(run, photo, name, format):
    run("encode", photo, "a.vqc")
    assert run("decode", "a.vqc", name).exit_code == 0
    with Image.open(name) as reading:
        assert reading.format == format


def test_format_name_that_is_not_a_suffix(run, photo):
    run("encode", photo, "a.vqc")
    assert run("decode", "--format", "jpeg2000", "a.vqc", ".").exit_code == 0
    with Image.open("a.jp2") as reading:
        assert reading.format == "JPEG2000"


def test_format_option_wins_over_the_suffix(run, photo):
    run("encode", photo, "a.vqc")
    assert run("decode", "--format", "png", "a.vqc", "odd.name").exit_code == 0
    np.testing.assert_array_equal(pixels_of("odd.name"), PIXELS)

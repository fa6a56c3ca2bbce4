"""``vqcodec encode``: options, names of outputs, goals, warnings."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import PIXELS, pixels_of
from tests.support.fake_codec import FakeCodec
from vqcodec import defaults
from vqcodec.images.reading import ReadOptions
from vqcodec.stream import container


def test_round_trip(run, photo):
    result = run("encode", photo, "photo.vqc")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("photo.vqc: ")
    assert run("decode", "photo.vqc", "back.png").exit_code == 0
    np.testing.assert_array_equal(pixels_of("back.png"), PIXELS)
    assert sorted(os.listdir()) == ["back.png", "photo.png", "photo.vqc"]


def test_options_reach_the_codec(run, photo):
    run("encode", photo, "a.vqc")
    run(
        "encode",
        "-q",
        "12.5",
        "--effort",
        "3",
        "--max-pixels",
        "0",
        "--device",
        "cuda:1",
        "--strip",
        "--auto-orient",
        photo,
        "b.vqc",
    )
    keep = ("--metadata", "icc,xmp", "--alpha", "blend", "--background", "#123", "--strict")
    run("encode", *keep, "--lossless", photo, "c.vqc")
    run("encode", "--lossy", photo, "d.vqc")
    most = {"quality": 50.0, "effort": 1, "max_pixels": defaults.MAX_PIXELS, "device": "auto", "lossless": None}
    assert FakeCodec.calls == [
        {**most, "options": ReadOptions()},
        {
            "quality": 12.5,
            "effort": 3,
            "max_pixels": 0,
            "device": "cuda:1",
            "lossless": None,
            "options": ReadOptions(metadata=frozenset(), auto_orient=True),
        },
        {**most, "options": ReadOptions("blend", "#123", frozenset({"icc", "xmp"}), strict=True), "lossless": True},
        {**most, "options": ReadOptions(), "lossless": False},
    ]


def test_folders_become_mirrored_trees(run, photo):
    Path("in/deep").mkdir(parents=True)
    for name in ("in/a.png", "in/deep/b.PNG", "in/notes.txt"):
        Path(name).write_bytes(Path(photo).read_bytes())
    assert run("encode", "-r", "in", photo, "out").exit_code == 0
    assert run("decode", "-r", "--format", "bmp", "out", "back").exit_code == 0
    assert sorted(str(p) for p in Path().glob("[ob]*/**/*.*")) == [
        "back/a.bmp",
        "back/deep/b.bmp",
        "back/photo.bmp",
        "out/a.vqc",
        "out/deep/b.vqc",
        "out/photo.vqc",
    ]
    result = run("encode", "in", "new/")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: in: Is a directory; use -r to process its files\n")
    Path("empty").mkdir()
    assert run("encode", "-r", "empty", "new").stderr == "vqcodec: no matching files found\n"


def test_existing_outputs_can_be_skipped(run, photo):
    Path("out.vqc").write_bytes(b"precious")
    result = run("encode", "--skip-existing", photo, "out.vqc")
    assert (result.exit_code, result.output) == (0, "") and FakeCodec.loads == 0
    assert json.loads(run("encode", "--skip-existing", "--json", photo, "out.vqc").stdout)["skipped"] is True
    assert Path("out.vqc").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--target-bpp", "0.5"], "quality 33.3"),
        (["--target-size", "1.5k"], "quality 33.3"),
        (["--target-psnr", "38"], "quality 33.3, 38.00 dB"),
    ],
)
def test_goals(run, photo, arguments, said):
    result = run("encode", *arguments, photo, "a.vqc")
    assert result.exit_code == 0 and said in result.stderr
    record = json.loads(run("encode", "-f", "--json", *arguments, photo, "a.vqc").stdout)
    assert record["quality"] == 33.3 and record.get("psnr") == (38 if "psnr" in arguments[0] else None)


def test_a_goal_out_of_reach(run, photo):
    result = run("encode", "--target-size", "5M", photo, "a.vqc")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: photo.png: cannot reach 5000000 bytes\n")


def test_losses_are_reported(run):
    Image.new("I;16", (4, 4)).save("deep.png")
    assert run("encode", "deep.png", "a.vqc").stderr.startswith(
        "vqcodec: deep.png: warning: 16 bits per sample are reduced to 8\n"
    )
    assert run("encode", "--quiet", "deep.png", "b.vqc").output == ""
    result = run("encode", "--strict", "deep.png", "c.vqc")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: deep.png: 16 bits per sample are reduced to 8\n")
    Image.new("P", (4, 4)).save("palette.png")
    assert "palette" in run("encode", "-v", "palette.png", "d.vqc").stderr
    assert "converted" not in run("encode", "palette.png", "e.vqc").stderr


def test_several_sources_go_to_a_folder_with_one_load(run, photo):
    Path("sub").mkdir()
    Image.fromarray(PIXELS[:, :, 0]).save("sub/grey.pgm")
    assert run("encode", photo, "sub/grey.pgm", "streams").exit_code == 0
    assert FakeCodec.loads == 1
    assert sorted(os.listdir("streams")) == ["grey.vqc", "photo.vqc"]
    assert run("decode", "streams/grey.vqc", "streams/photo.vqc", "back/").exit_code == 0
    assert sorted(os.listdir("back")) == ["grey.png", "photo.png"]
    np.testing.assert_array_equal(pixels_of("back/grey.png"), PIXELS[:, :, 0])


def test_one_source_into_an_existing_folder(run, photo):
    Path("folder").mkdir()
    assert run("encode", photo, "folder").exit_code == 0
    assert run("decode", "--format", "tif", "folder/photo.vqc", "folder").exit_code == 0
    assert sorted(os.listdir("folder")) == ["photo.tif", "photo.vqc"]


def test_standard_input_and_output(run, photo):
    stream = run("encode", "-", "-", input=Path(photo).read_bytes())
    assert stream.exit_code == 0 and stream.stdout_bytes.startswith(container.MAGIC)
    for arguments, format in (([], "PNG"), (["--format", "ppm"], "PPM")):
        result = run("decode", *arguments, "-", "-", input=stream.stdout_bytes)
        with Image.open(io.BytesIO(result.stdout_bytes)) as reading:
            assert reading.format == format
            np.testing.assert_array_equal(np.asarray(reading), PIXELS)

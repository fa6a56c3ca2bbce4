"""Every codec, and pictures of every kind of folder."""

import ast
import builtins
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pytorch_msssim")

import benchmarks
import vqcodec
from benchmarks.codecs import CLASSICAL, Choice, JpegXl, codec_class, open_codec
from benchmarks.datasets import BUNDLED, open_dataset
from benchmarks.errors import CodecUnavailable, NoPictures, RoundTripFailed, UnknownCodec
from benchmarks.measure import measure
from benchmarks.scenes import jpeg_of_at_least
from benchmarks.stages import STAGES, stage_shares
from benchmarks.sweep import Journal, Sweep


@pytest.fixture
def small(photo) -> Image.Image:
    return photo.crop((0, 0, 176, 168))


def opened(name):
    try:
        return open_codec(Choice(name)).codec
    except CodecUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", CLASSICAL)
def test_higher_qualities_cost_more_and_look_better(name, small, tmp_path):
    codec = opened(name)
    low, high = (measure(codec, "cat", small, codec.qualities[i], tmp_path) for i in (1, -2))
    assert (low.width, low.height) == small.size
    assert low.bytes < high.bytes == len(codec.encode(small, codec.qualities[-2]))
    assert high.bpp == 8 * high.bytes / (176 * 168)
    assert low.scores.psnr_rgb < high.scores.psnr_rgb
    assert 0.5 < low.scores.ms_ssim_rgb < high.scores.ms_ssim_rgb < 1
    assert min(high.encode_seconds, high.decode_seconds) > 0


@pytest.mark.parametrize("name", ["vqc", *CLASSICAL])
def test_grids_are_dense_enough(name):
    qualities = codec_class(name).qualities
    assert len(set(qualities)) == len(qualities) >= (7 if name == "vqc" else 10)


@pytest.mark.parametrize("name, factors", [("jpeg", (2, 2)), ("jpeg444", (1, 1))])
def test_jpeg_subsampling(name, factors, small, tmp_path):
    (tmp_path / "x.jpg").write_bytes(opened(name).encode(small, 75))
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.layer[0][1:3] == factors


def test_jpeg_gets_at_least_as_many_bytes(small):
    jpeg = opened("jpeg")
    data = jpeg_of_at_least(jpeg, small, 3000)
    assert len(data) >= 3000
    assert len(jpeg_of_at_least(jpeg, small, 10**9)) == len(jpeg.encode(small, 95))


def test_a_model_by_its_file(tiny_weights, small, tmp_path):
    codec = open_codec(Choice("vqc:tiny", tiny_weights)).codec
    assert "not shipped" in codec.description
    point = measure(codec, "cat", small, 50, tmp_path)
    assert point.bytes == len(codec.encode(small, 50))
    streams = codec.encode_batch([small, small], 50)
    assert streams == [codec.encode(small, 50)] * 2
    (tmp_path / "a.vqc").write_bytes(streams[0])
    assert codec.decode_batch([tmp_path / "a.vqc"])[0].size == small.size


def test_an_effort_by_its_name(tiny_weights, small):
    default, none, most = (open_codec(Choice(f"vqc:tiny{suffix}", tiny_weights)).codec for suffix in ("", "@0", "@3"))
    assert none.description.endswith("effort=0") and none.choice.stem == "vqc-tiny-effort-0"
    streams = {codec.encode(small, 50) for codec in (default, none, most)}
    assert len(streams) == 3
    assert none.encode_batch([small], 50) == [none.encode(small, 50)]
    with pytest.raises(UnknownCodec):
        codec_class("vqc@4")


def test_what_is_not_there_is_named(monkeypatch):
    with pytest.raises(UnknownCodec, match="'gif'"):
        codec_class("gif")
    with pytest.raises(CodecUnavailable, match="nosuch"):
        open_codec(Choice("vqc:nosuch"))

    def without(name, *arguments):
        if name == "imagecodecs":
            raise ImportError
        return real(name, *arguments)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CodecUnavailable, match="imagecodecs"):
        JpegXl(Choice("jxl"))


def test_a_wrong_picture_is_no_round_trip(small, tmp_path, monkeypatch):
    codec = opened("jpeg")
    monkeypatch.setattr(codec, "decode", lambda path: Image.new("RGB", (3, 3)))
    with pytest.raises(RoundTripFailed, match="cat"):
        measure(codec, "cat", small, 50, tmp_path)


def test_folders(tmp_path, small):
    (tmp_path / "more").mkdir()
    small.save(tmp_path / "b.webp")
    small.convert("RGBA").save(tmp_path / "more" / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    small.save(tmp_path / "c.jpg", exif=exif)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "c.jpg").read_bytes()[:-500])
    (tmp_path / "notes.txt").write_text("neither")
    Image.new("RGB", (4, 4)).save(tmp_path / "icon.png")
    dataset = open_dataset(tmp_path)
    assert [photo.name for photo in dataset.photos] == ["b.webp", "c.jpg", "more/a.png"]
    assert dataset.left_out == ("broken.png", "cut.jpg", "icon.png")
    images = [photo.load() for photo in dataset.photos]
    assert [image.mode for image in images] == ["RGB"] * 3
    assert images[1].size == small.size[::-1]
    assert not images[1].info
    assert len(open_dataset(tmp_path, 1).photos) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoPictures):
        open_dataset(tmp_path / "empty")


def test_measurements_under_other_circumstances_are_not_mixed(small, tmp_path):
    small.save(tmp_path / "a.png")
    for threads, runs, measured in ((1, 1, 1), (1, 1, 0), (2, 1, 1), (2, 2, 1)):
        codec = open_codec(Choice("jpeg", threads=threads)).codec
        photos = open_dataset(tmp_path).photos
        sweep = Sweep([codec], photos, {"jpeg": [50]}, Journal(tmp_path / "measurements"), runs)
        assert len(list(sweep.run(1))) == measured


def test_photographs_come_with_the_installation():
    assert [photo.path.exists() for photo in open_dataset().photos] == [True] * len(BUNDLED)


def test_stages_add_up(tiny_weights, small):
    codec = open_codec(Choice("vqc:tiny", tiny_weights)).codec
    shares = stage_shares(lambda: codec.encode(small, 50))
    assert tuple(shares) == STAGES
    assert math.isclose(sum(shares.values()), 1)
    assert min(shares["transforms"], shares["prior"], shares["rANS"]) > 0
    assert stage_shares(lambda: np.sort(np.arange(9)))["other"] == 1


def test_only_the_public_interface_is_used():
    public = set(vqcodec.__all__)
    interface = {
        "vqcodec": public,
        "vqcodec.batch.tasks": {"FolderOptions", "decode_folder", "encode_folder"},
    }  # docs/GUIDE.md
    for path in Path(benchmarks.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("vqcodec.") for alias in node.names), path
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vqcodec":
                assert {alias.name for alias in node.names} <= interface.get(node.module, set()), path
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "vqcodec":
                assert node.attr in public | {"__file__"}, path

"""Codecs, measurements and stages."""

import builtins
import math

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pytorch_msssim")

import vqcodec
from benchmarks.errors import CodecUnavailable, RoundTripFailed, UnknownCodec
from benchmarks.rd.codecs import CODECS, Choice, JpegXl, codec_class, codec_label, open_codec
from benchmarks.rd.datasets import open_dataset
from benchmarks.rd.measure import measure
from benchmarks.rd.sweep import Journal, Sweep
from benchmarks.timing.stages import STAGES, stage_shares
from vqcodec.model import refinement

NAMES = [codec.name for codec in CODECS]


@pytest.fixture
def small(photo) -> Image.Image:
    return photo.crop((0, 0, 176, 168))


def opened(name):
    try:
        return open_codec(Choice(name)).codec
    except CodecUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "vqc"])
def test_higher_qualities_cost_more_and_look_better(name, small, tmp_path):
    codec = opened(name)
    low, high = (measure(codec, "cat", small, codec.qualities[i], tmp_path) for i in (1, -2))
    assert (low.width, low.height) == small.size
    assert low.bytes < high.bytes == len(codec.encode(small, codec.qualities[-2]))
    assert high.bpp == 8 * high.bytes / (176 * 168)
    assert low.scores.psnr_rgb < high.scores.psnr_rgb
    assert 0.5 < low.scores.ms_ssim_rgb < high.scores.ms_ssim_rgb < 1
    assert min(high.encode_seconds, high.decode_seconds) > 0


@pytest.mark.parametrize("name", NAMES)
def test_grids_are_dense_enough(name):
    codec = codec_class(name)
    fewest = 10 if codec.by_default and name != "vqc" else 7
    assert len(set(codec.qualities)) == len(codec.qualities) >= fewest


@pytest.mark.parametrize("name, factors", [("jpeg", (2, 2)), ("jpeg444", (1, 1))])
def test_jpeg_subsampling(name, factors, small, tmp_path):
    (tmp_path / "x.jpg").write_bytes(opened(name).encode(small, 75))
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.layer[0][1:3] == factors


def test_labels_and_colours_differ():
    labels = [codec_label(name) for name in (*NAMES, "vqc:run", "vqc@0")]
    assert labels[0] == "vqcodec" and labels[-2:] == ["vqcodec run", "vqc@0"]
    assert len(set(labels)) == len(labels)
    assert len({codec.colour for codec in CODECS}) == len(CODECS)


def test_jpeg_gets_at_least_as_many_bytes(small):
    jpeg = opened("jpeg")
    data = jpeg.encode_at_least(small, 3000)
    assert len(data) >= 3000
    assert len(jpeg.encode_at_least(small, 10**9)) == len(jpeg.encode(small, 95))


def test_a_model_by_its_file(tiny_weights, small, tmp_path, monkeypatch):
    # Many rounds through an untrained network amplify the last bits, in which one and two threads differ.
    monkeypatch.setattr(refinement, "_LOOPS", 2)
    codec = open_codec(Choice("vqc:tiny", tiny_weights)).codec
    assert "not shipped" in codec.description
    point = measure(codec, "cat", small, 50, tmp_path)
    assert point.bytes == len(codec.encode(small, 50))
    streams = codec.encode_batch([small, small], 50)
    assert streams == [codec.encode(small, 50)] * 2
    (tmp_path / "a.vqc").write_bytes(streams[0])
    assert codec.decode_batch([tmp_path / "a.vqc"])[0].size == small.size


def test_an_effort_by_its_name(tiny_weights, small):
    default, none, most = (open_codec(Choice(f"vqc:tiny{suffix}", tiny_weights)).codec for suffix in ("", "@0", "@6"))
    assert none.description.endswith("effort=0") and none.choice.stem == "vqc-tiny-effort-0"
    streams = {codec.encode(small, 50) for codec in (default, none, most)}
    assert len(streams) == 3
    assert none.encode_batch([small], 50) == [none.encode(small, 50)]
    with pytest.raises(UnknownCodec):
        codec_class("vqc@7")


def test_exact_pictures_or_none_by_name(tiny_weights):
    drawn = Image.new("RGB", (80, 60), "teal")
    drawn.paste("white", (10, 10, 30, 20))
    default, lossy = (open_codec(Choice(f"vqc:tiny{suffix}", tiny_weights)).codec for suffix in ("", "-lossy"))
    assert lossy.description.endswith("effort=1, lossy") and default.description.endswith("effort=1")
    streams = default.encode(drawn, 50), lossy.encode(drawn, 50)
    assert [vqcodec.info(data).exact for data in streams] == [True, False]
    assert lossy.encode_batch([drawn], 50) == [streams[1]]
    assert codec_class("vqc@2-lossy") is codec_class("vqc-lossy") is codec_class("vqc")


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


def test_measurements_under_other_circumstances_are_not_mixed(small, tmp_path):
    small.save(tmp_path / "a.png")
    for threads, runs, measured in ((1, 1, 1), (1, 1, 0), (2, 1, 1), (2, 2, 1)):
        codec = open_codec(Choice("jpeg", threads=threads)).codec
        photos = open_dataset(tmp_path).photos
        sweep = Sweep([codec], photos, {"jpeg": [50]}, Journal(tmp_path / "measurements"), runs)
        assert len(list(sweep.run(1))) == measured


def test_stages_add_up(tiny_weights, small):
    codec = open_codec(Choice("vqc:tiny", tiny_weights)).codec
    shares = stage_shares(lambda: codec.encode(small, 50))
    assert tuple(shares) == STAGES
    assert math.isclose(sum(shares.values()), 1)
    assert min(shares["transforms"], shares["prior"], shares["rANS"]) > 0
    assert stage_shares(lambda: np.sort(np.arange(9)))["other"] == 1

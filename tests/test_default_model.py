"""The shipped model, end to end, on a real photograph."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data as samples

import vqcodec
from vqcodec import defaults, metrics
from vqcodec.codec import analysis
from vqcodec.stream.container import SectionKind, read_stream


@pytest.fixture(scope="module")
def picture(photo):
    return photo.crop((100, 20, 356, 276))


@pytest.fixture(scope="module")
def codec():
    return vqcodec.Codec(device="cpu")


def smallest_jpeg(picture, psnr):
    """Return the smallest JPEG of at least that PSNR."""
    for quality in range(2, 101):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        if metrics.psnr(np.asarray(Image.open(buffer)), np.asarray(picture)) >= psnr:
            return buffer.getvalue()
    raise AssertionError(f"no JPEG reaches {psnr} dB")


@pytest.mark.parametrize("quality", [20, 50, 75])
def test_fewer_bytes_than_jpeg_at_equal_psnr(codec, picture, quality):
    data = codec.encode(picture, quality)
    psnr = metrics.psnr(np.asarray(codec.decode(data)), np.asarray(picture))
    assert len(data) < 0.9 * len(smallest_jpeg(picture, psnr))


def test_quality_is_monotone(codec, picture):
    streams = [codec.encode(picture, quality) for quality in (0, 30, 60, 100)]
    sizes = [len(data) for data in streams]
    psnrs = [metrics.psnr(np.asarray(codec.decode(data)), np.asarray(picture)) for data in streams]
    assert sizes == sorted(sizes) and psnrs == sorted(psnrs)


def test_the_public_functions(picture, tmp_path):
    picture.save(tmp_path / "a.png")
    vqcodec.encode_file(tmp_path / "a.png", tmp_path / "a.vqc", quality=defaults.QUALITY)
    vqcodec.decode_file(tmp_path / "a.vqc", tmp_path / "b.png")
    told = vqcodec.info(tmp_path / "a.vqc")
    assert told.model == defaults.MODEL and told.grids == [[16, 16], [32, 32]]
    decoded = vqcodec.decode((tmp_path / "a.vqc").read_bytes())
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), np.asarray(decoded))


def test_the_container_costs_little(codec, picture):
    data = codec.encode(picture)
    payloads = sum(len(s.payload) for s in read_stream(data).sections if s.kind is not SectionKind.ALPHA)
    assert len(data) - payloads <= 24 + 2 * 8


def test_model_info(codec):
    (told,) = vqcodec.models()
    assert told.id == "vqc-1" and told.hash == codec.model.sha256
    assert told.kmac_per_pixel["decoder"] <= 42 and told.kmac_per_pixel["encoder"] <= 60
    assert told.kmac_per_pixel["prior"] <= 25


def cost(codec, picture, quality, effort=1):
    """Return what the encoder minimises: ``lambda * 255^2 * MSE + bpp``."""
    data = codec.encode(picture, quality, effort=effort)
    error = np.asarray(codec.decode(data)).astype(float) - np.asarray(picture)
    lam = codec.model.config.lambda_at(quality / 100)
    return lam * np.mean(error**2) + metrics.bits_per_pixel(len(data), *picture.size)


@pytest.mark.parametrize("quality", [20, 60])
def test_effort_pays(codec, picture, quality):
    """A higher effort lowers the cost; the decoder is the same."""
    costs = [cost(codec, picture, quality, effort) for effort in (0, 1, 2)]
    assert costs[2] < costs[1] < costs[0]


def test_effort_pays_on_saturated_colours(codec):
    """Saturated reds at the highest quality: some codebooks are too small for them."""
    picture = Image.fromarray(samples.coffee()[50:306, 150:406])
    assert cost(codec, picture, 100, 3) < cost(codec, picture, 100, 0)


def test_windows_cost_nothing(codec, picture, monkeypatch):
    """Margins are narrower than the receptive field; in these windows nearly every position is close to an edge."""
    whole = cost(codec, picture, 50)
    for name, value in (("WHOLE_PIXELS", 0), ("WINDOW_WIDTH", 1024), ("WINDOW_HEIGHT", 64)):
        monkeypatch.setattr(analysis, name, value)
    assert cost(codec, picture, 50) < 1.003 * whole

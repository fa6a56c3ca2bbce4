"""The shipped model, end to end, on a real photograph."""

import io
import itertools

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


def extremes():
    """Yield pictures unlike photographs, by name."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:72, :80]
    grey = {"checks-1": (x + y) % 2, "checks-2": (x // 2 + y // 2) % 2, "lines": (x % 7 > 0) & (y % 11 > 0)}
    for name, pattern in grey.items():
        yield name, np.repeat(255 * pattern[:, :, None], 3, 2)
    boxes = np.zeros((72, 80, 3), int)
    for _ in range(12):
        top, left, height, width = rng.integers(0, 64), rng.integers(0, 70), *rng.integers(3, 30, 2)
        boxes[top : top + height, left : left + width] = 255 * rng.integers(0, 2, 3)
    yield "boxes", boxes
    yield "flat", np.full((72, 80, 3), [200, 30, 90])
    yield "ramp", np.stack([3 * x, 3 * y, x + y], 2)
    for shape in ((64, 64), (3, 2), (3, 17)):
        yield f"noise-{shape[1]}x{shape[0]}", rng.integers(0, 256, (*shape, 3))


@pytest.mark.parametrize(("name", "pixels"), [pytest.param(*case, id=case[0]) for case in extremes()])
def test_quality_is_monotone_on_any_picture(codec, name, pixels):
    """Bytes and PSNR of indices never fall from one quality to the next, whatever the content."""
    picture = Image.fromarray(pixels.astype(np.uint8))
    streams = [codec.encode(picture, quality, lossless=False) for quality in range(0, 101, 20)]
    sizes = [len(data) for data in streams]
    psnrs = [min(99, metrics.psnr(np.asarray(codec.decode(data)), np.asarray(picture))) for data in streams]
    assert sizes == sorted(sizes)
    # A checkerboard of single pixels is one huge coefficient, and outer points in four dimensions keep six bits of it.
    tolerance = 3.0 if name == "checks-1" else 0.05
    assert all(b >= a - tolerance for a, b in itertools.pairwise(psnrs)), psnrs
    assert psnrs[-1] >= (36 if "noise" in name else 42)
    if min(picture.size) >= 64:  # smaller ones are padded to whole blocks
        assert 8 * sizes[-1] <= 24 * 1.02 * picture.width * picture.height


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
    assert told.kmac_per_pixel["decoder"] <= 44 and told.kmac_per_pixel["encoder"] <= 60
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
    costs = [cost(codec, picture, quality, effort) for effort in (0, 1, 4)]
    assert costs[2] < costs[1] < costs[0]


def test_lifelike_pictures_have_texture(codec, picture):
    """More fine detail than the faithful picture, at most twice its squared error; nothing else at high quality."""
    middle = picture.crop((64, 64, 192, 192))

    def detail(image):
        grey = np.asarray(image.convert("L"), float)
        return np.square(np.diff(grey, 2, 0)).mean() + np.square(np.diff(grey, 2, 1)).mean()

    data = codec.encode(middle, 10)
    faithful, lifelike = codec.decode(data), codec.decode(data, realism=1)
    assert 1.2 * detail(faithful) < detail(lifelike) < 1.5 * detail(middle)
    errors = [np.square(np.asarray(y, float) - np.asarray(middle)).mean() for y in (faithful, lifelike)]
    assert errors[0] < errors[1] < 2 * errors[0]
    data = codec.encode(middle, 65)
    assert codec.decode(data).tobytes() == codec.decode(data, realism=1).tobytes()


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

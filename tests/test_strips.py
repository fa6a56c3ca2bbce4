"""Files written in strips: the same picture as one written whole, and no file after a failure."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from vqcodec.batch import folders, tasks
from vqcodec.batch.folders import FolderOptions
from vqcodec.batch.jobs import Job
from vqcodec.batch.tasks import DecodeTask, Weights
from vqcodec.codec import decoder
from vqcodec.errors import CorruptStream, VqcWarning
from vqcodec.images import metadata
from vqcodec.images.formats import image_bytes
from vqcodec.images.strips import can_join, write_strips
from vqcodec.stream.metadata import Metadata

INFO = Metadata(icc=b"profile", exif=b"II*\0data", xmp=b"<x/>")


def picture(mode: str, height: int = 37, width: int = 29) -> Image.Image:
    ramp = np.add.outer(np.arange(height), np.arange(width))[..., None] * [3, 2, 1, 4]
    noise = np.random.default_rng(0).integers(0, 9, ramp.shape)
    return Image.fromarray((ramp + noise).astype(np.uint8)).convert(mode)


def cut(image: Image.Image, rows: int) -> list[Image.Image]:
    return [image.crop((0, top, image.width, min(top + rows, image.height))) for top in range(0, image.height, rows)]


@pytest.mark.parametrize("rows", [1, 10, 37, 50])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_png_is_the_same_picture(mode, rows):
    image = picture(mode)
    strips = cut(image, rows)
    for part in (image, strips[0]):
        metadata.attach(part, INFO)
    whole, file = image_bytes(image, "PNG"), io.BytesIO()
    write_strips(file, "PNG", image.size, strips)
    back = Image.open(io.BytesIO(file.getvalue()))
    back.load()
    assert back.mode == mode and back.tobytes() == image.tobytes()
    assert metadata.from_image(back) == INFO
    assert len(file.getvalue()) <= len(whole) + 12 * (len(strips) + 1)  # a chunk each, the same filters


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_ppm_is_the_same_file(mode):
    image, file = picture(mode), io.BytesIO()
    write_strips(file, "PPM", image.size, cut(image, 10))
    assert file.getvalue() == image_bytes(image, "PPM")


def test_what_ppm_does_not_hold():
    assert (
        can_join("PNG", True) and can_join("PPM", False) and not can_join("PPM", True) and not can_join("JPEG", False)
    )
    image = picture("RGB")
    metadata.attach(image, INFO)
    with pytest.warns(VqcWarning, match="PPM cannot hold the ICC profile, EXIF data, XMP data"):
        write_strips(io.BytesIO(), "PPM", image.size, [image])


@pytest.fixture
def large(tiny_codec, tiny_weights, tmp_path, monkeypatch):
    """A folder with a stream that counts as large, of a picture in three strips."""
    monkeypatch.setattr(tasks, "STRIPS_ABOVE", 1000)
    monkeypatch.setattr(decoder, "STRIP", 16)
    image = picture("RGBA")
    metadata.attach(image, INFO)
    (tmp_path / "large.vqc").write_bytes(tiny_codec.encode(image))
    (tmp_path / "small.vqc").write_bytes(tiny_codec.encode(image.resize((8, 8))))
    return tmp_path


def run(folder, tiny_weights, format="png"):
    jobs = [Job(str(folder / f"{n}.vqc"), str(folder / f"{n}.{format}")) for n in ("large", "small")]
    how = FolderOptions(weights=Weights(model_path=str(tiny_weights), device="cpu"))
    return list(folders.run_jobs(DecodeTask(format.upper()), jobs, how))


def test_large_pictures_are_written_in_strips(large, tiny_codec, tiny_weights, monkeypatch):
    sizes = []
    monkeypatch.setattr(tasks, "write_strips", lambda *args: sizes.append(args[2]) or write_strips(*args))
    results = run(large, tiny_weights)
    assert sizes == [(29, 37)] and [r.error for r in results] == [None, None]
    for name, result in zip(("large", "small"), results, strict=True):
        whole, back = tiny_codec.decode(large / f"{name}.vqc"), Image.open(large / f"{name}.png")
        assert back.mode == whole.mode == "RGBA" and metadata.from_image(back) == metadata.from_image(whole)
        assert np.abs(np.asarray(back).astype(int) - np.asarray(whole)).max() <= 1
        assert (result.width, result.height) == back.size
        assert result.bytes == os.path.getsize(result.output) and result.seconds > 0


def test_other_formats_are_written_whole(large, tiny_weights, monkeypatch):
    monkeypatch.setattr(tasks, "write_strips", None)
    (result, _) = run(large, tiny_weights, "ppm")  # which holds no alpha
    assert not result.error and result.remarks[0].text == "PPM cannot hold alpha: the picture is composited over white"


def test_a_file_called_like_standard_input(large, monkeypatch):
    monkeypatch.chdir(large)
    os.rename("large.vqc", "-")
    task = DecodeTask()
    assert task._use_strips(Job("./-", "x.png")) and not task._use_strips(Job("-", "x.png"))


def test_failure_half_way_leaves_nothing(large, tiny_weights, monkeypatch):
    real, painted = decoder.PictureSynthesis.pixels, []

    def paint(*args):
        painted.append(args)
        if len(painted) == 2:
            raise CorruptStream("half way")
        return real(*args)

    monkeypatch.setattr(decoder.PictureSynthesis, "pixels", paint)
    results = run(large, tiny_weights)
    assert [str(r.error) for r in results] == ["half way", "None"]
    assert sorted(os.listdir(large)) == ["large.vqc", "small.png", "small.vqc"]


def test_damage_is_reported(large, tiny_weights):
    data = (large / "large.vqc").read_bytes()
    (large / "large.vqc").write_bytes(data[:-3])
    assert "TruncatedStream" in type(run(large, tiny_weights)[0].error).__name__

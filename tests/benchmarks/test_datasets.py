"""Folders of pictures."""

import pytest
from PIL import Image

from benchmarks.errors import NoPictures
from benchmarks.rd.datasets import BUNDLED, open_dataset


def test_folders(tmp_path, photo):
    small = photo.crop((0, 0, 176, 168))
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


def test_photographs_come_with_the_installation():
    assert [photo.path.exists() for photo in open_dataset().photos] == [True] * len(BUNDLED)

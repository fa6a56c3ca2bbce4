"""Encode and decode folders with a tiny model, in one process and in two."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqcodec.batch import folders
from vqcodec.batch.folders import FolderOptions, decode_folder, encode_folder
from vqcodec.batch.tasks import Weights
from vqcodec.errors import DeviceUnavailable, InvalidImage, MissingFile, OutputExists, UnknownModel, UnreadableFile


@pytest.fixture
def folder_options(tiny_weights):
    return FolderOptions(weights=Weights(model_path=str(tiny_weights), device="cpu"))


@pytest.fixture
def pictures(tmp_path):
    """A small tree with five pictures, a damaged picture and a text file."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(("a.png", "b.bmp", "sub/c.png", "sub/d.PNG", "sub/deep/e.tif")):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20 + i, 30, 3), np.uint8)).save(path)
    (tmp_path / "pictures" / "bad.png").write_bytes(b"not a picture")
    (tmp_path / "pictures" / "notes.txt").write_text("text")
    return tmp_path / "pictures"


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_round_trip(pictures, folder_options, tmp_path):
    results = list(encode_folder(pictures, tmp_path / "streams", 60, folder_options=folder_options))
    assert [Path(r.source).name for r in results] == ["a.png", "b.bmp", "bad.png", "c.png", "d.PNG", "e.tif"]
    assert [type(r.error) for r in results if r.error] == [InvalidImage]
    assert files_below(tmp_path / "streams") == ["a.vqc", "b.vqc", "sub/c.vqc", "sub/d.vqc", "sub/deep/e.vqc"]
    good = [r for r in results if not r.error]
    assert [(r.width, r.height, r.bytes, r.quality) for r in good] == [
        (30, 20 + i, Path(r.output).stat().st_size, 60) for i, r in enumerate(good)
    ]
    back = list(decode_folder(tmp_path / "streams", tmp_path / "back", "bmp", folder_options=folder_options))
    assert not any(r.error for r in back)
    assert files_below(tmp_path / "back") == ["a.bmp", "b.bmp", "sub/c.bmp", "sub/d.bmp", "sub/deep/e.bmp"]


def test_two_processes_write_the_same(pictures, folder_options, tiny_codec, tmp_path):
    two = dataclasses.replace(folder_options, workers=2)
    results = list(encode_folder(pictures, tmp_path / "streams", folder_options=two))
    assert [type(r.error) for r in results if r.error] == [InvalidImage]
    for name in ("a.png", "sub/c.png", "sub/deep/e.tif"):
        assert (tmp_path / "streams" / name).with_suffix(".vqc").read_bytes() == tiny_codec.encode(pictures / name)


@pytest.mark.parametrize(
    ("weights", "error"), [(Weights("nope"), UnknownModel), (Weights(model_path="absent"), MissingFile)]
)
def test_invalid_weights_are_reported_once(pictures, tmp_path, weights, error):
    folder_options = FolderOptions(weights=weights, workers=2)
    with pytest.raises(error):
        next(encode_folder(pictures, tmp_path / "streams", folder_options=folder_options))


@pytest.mark.slow
def test_script_without_main_guard(pictures, tiny_weights, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from vqcodec.batch import FolderOptions, Weights, encode_folder\n"
        f"folder_options = FolderOptions(weights=Weights(model_path={str(tiny_weights)!r}, device='cpu'), workers=2)\n"
        f"list(encode_folder({str(pictures)!r}, {str(tmp_path / 'streams')!r}, folder_options=folder_options))\n"
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("vqcodec.errors.WorkerDied: no worker process could start")


def test_results_are_exhausted(pictures, folder_options, tmp_path, monkeypatch):
    """The end of the iterator ends the processes."""
    ended = []
    work = folders._run_ready

    def watched(*arguments):
        yield from work(*arguments)
        ended.append(True)

    monkeypatch.setattr(folders, "_run_ready", watched)
    assert len(list(encode_folder(pictures, tmp_path / "streams", folder_options=folder_options))) == 6
    assert ended


def test_existing_files(pictures, folder_options, tmp_path):
    streams = tmp_path / "streams"
    streams.mkdir()
    (streams / "a.vqc").write_bytes(b"precious")

    def first(existing):
        options = dataclasses.replace(folder_options, existing=existing)
        return next(encode_folder(pictures, streams, folder_options=options))

    assert isinstance(first("refuse").error, OutputExists)
    assert first("skip").skipped and (streams / "a.vqc").read_bytes() == b"precious"
    assert not first("replace").error and (streams / "a.vqc").read_bytes() != b"precious"


def test_source_that_is_not_a_folder(tmp_path, pictures):
    with pytest.raises(MissingFile):
        encode_folder(tmp_path / "absent", tmp_path / "out")
    with pytest.raises(UnreadableFile):
        decode_folder(pictures / "a.png", tmp_path / "out")


def test_remarks_are_in_the_results(folder_options, tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("I;16", (16, 16)).save(tmp_path / "in" / "deep.png")
    (result,) = encode_folder(tmp_path / "in", tmp_path / "streams", folder_options=folder_options)
    assert [r.text for r in result.remarks] == ["16 bits per sample are reduced to 8"]


@pytest.mark.slow
def test_missing_device(pictures, tiny_weights, tmp_path):
    folder_options = FolderOptions(weights=Weights(model_path=str(tiny_weights), device="cuda:99"), workers=2)
    results = list(encode_folder(pictures, tmp_path / "streams", folder_options=folder_options))
    assert len(results) == 6 and {type(r.error) for r in results} == {DeviceUnavailable}


def test_old_keyword_is_deprecated(folder_options, pictures, tmp_path):
    with pytest.warns(DeprecationWarning, match="'how' is now called 'folder_options'"):
        assert len(list(encode_folder(pictures, tmp_path / "streams", how=folder_options))) == 6
    with pytest.warns(DeprecationWarning, match="'how' is now called 'folder_options'"):
        assert len(list(decode_folder(tmp_path / "streams", tmp_path / "back", how=folder_options))) == 5
    with pytest.raises(TypeError, match="both"):
        encode_folder(pictures, tmp_path / "streams", how=folder_options, folder_options=folder_options)


def test_default_workers(monkeypatch):
    monkeypatch.setattr(folders, "available_cores", lambda: 4)
    assert [folders.default_workers(n) for n in (1, 31, 64, 10_000)] == [1, 1, 2, 4]

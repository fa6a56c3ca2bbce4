"""Encode collections on a local Ray cluster of two workers with a tiny model; workers are killed, runs continued."""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.dataset
import pytest
import ray
from click.testing import CliRunner
from PIL import Image

from vqcodec.batch.failures import FILE_NAME
from vqcodec.batch.tasks import FileResult, Weights
from vqcodec.cli import main
from vqcodec.distributed import ClusterOptions, encode_collection, records, storage
from vqcodec.distributed.cluster import _Locations, _without_passed_over
from vqcodec.distributed.discovery import find_chunks
from vqcodec.distributed.storage import LazyFile, Listing, Storage
from vqcodec.distributed.table import Table, contains, digests
from vqcodec.errors import InvalidQuality, MissingFile, OutputExists, UnreadableFile


@pytest.fixture(scope="module")
def ray_folder():
    """Folder for Ray's files; not below tmp_path, because the path of a socket has at most 107 bytes."""
    folder = tempfile.mkdtemp(prefix="vqc-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_AUTH_MODE", "disabled")  # or a token is written into the home folder
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(ray_folder):
    """A Ray cluster of two workers on this machine."""
    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
    yield
    ray.shutdown()


@dataclass(frozen=True)
class FatalWeights(Weights):
    """A model that kills its worker at a picture of a given width: each time, or once."""

    columns: int = 0
    marker: str = ""
    """File that is created when the worker is killed, so that it happens only once."""

    def load(self):
        codec = super().load()
        encode = codec.encode_batch

        def encode_batch(sources, *arguments, **options):
            sources = list(sources)
            for index, source in enumerate(sources):
                yield from encode([self.maybe_die(source, index)], *arguments, **options)

        codec.encode_batch = encode_batch
        return codec

    def maybe_die(self, source, index):
        try:
            fatal = Image.open(source).width == self.columns
        except OSError:
            fatal = False
        source.seek(0)
        if fatal and not (self.marker and Path(self.marker).exists()):
            if self.marker:
                Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return source


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A tree of twenty pictures of different widths, one of them truncated, and other files."""
    root = tmp_path_factory.mktemp("collection")
    rng = np.random.default_rng(0)
    for i in range(20):
        path = root / ("", "b", "b/deep", "c d")[i % 4] / f"{i:02}.{('png', 'bmp', 'TIF')[i % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30 + i, 3), np.uint8)).save(path)
    (root / "b" / "13.bmp").write_bytes((root / "b" / "13.bmp").read_bytes()[:500])
    (root / "notes.txt").write_text("no picture")
    (root / "empty").mkdir()
    (root / "loop").symlink_to(root)
    return root


CORRUPT = "b/13.bmp"


def keys(root: Path) -> list[str]:
    return sorted(f"{Path(folder, name).relative_to(root)}" for folder, _, names in os.walk(root) for name in names)


def outcome(results, root: Path) -> dict[str, str]:
    """Return key -> ``done``, ``skipped`` or the name of the error; check that every key occurs once."""
    results = list(results)
    found = {
        str(Path(r.source).relative_to(root)): type(r.error).__name__ if r.error else "skipped" if r.skipped else "done"
        for r in results
    }
    assert len(found) == len(results)
    assert sorted(found) == [key for key in keys(root) if key != "notes.txt"]
    return found


def stream_of(key: str) -> str:
    return str(Path(key).with_suffix(".vqc"))


@pytest.mark.slow
def test_command_starts_and_stops_ray(ray_folder, tiny_weights, tiny_codec, tmp_path):
    photo = tmp_path / "photos" / "sub" / "a.png"
    photo.parent.mkdir(parents=True)
    Image.new("RGB", (40, 30), "teal").save(photo)
    (tmp_path / "photos" / "bad.png").write_bytes(b"no picture")
    options = ("batch", "--engine", "ray", "-j", "2", "-q", "70", "--json", "--model-path", str(tiny_weights))
    result = CliRunner().invoke(main.main, [*options, str(tmp_path / "photos"), str(tmp_path / "streams")])
    assert result.exit_code == 1
    assert f"vqcodec: {tmp_path / 'photos' / 'bad.png'}: " in result.stderr
    data = (tmp_path / "streams" / "sub" / "a.vqc").read_bytes()
    assert data == tiny_codec.encode(photo, 70)
    summary = json.loads(result.stdout.splitlines()[-1])
    assert {key: summary[key] for key in ("encoded", "skipped", "failed", "bytes", "pixels", "quality")} == {
        "encoded": 1,
        "skipped": 0,
        "failed": 1,
        "bytes": len(data),
        "pixels": 40 * 30,
        "quality": 70,
    }
    assert os.listdir(ray_folder)  # it was here
    assert not ray.is_initialized()


def test_unknown_cluster(ray_folder, pictures, tiny_weights, tmp_path):
    options = ("batch", "--engine", "ray", "--address", "nonsense", "--model-path", str(tiny_weights))
    result = CliRunner().invoke(main.main, [*options, str(pictures), str(tmp_path / "out")])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1 and "cannot connect to a Ray cluster at nonsense: " in result.stderr


@pytest.mark.slow
def test_killed_worker_loses_nothing_and_second_run_completes(cluster, pictures, tiny_weights, tiny_codec, tmp_path):
    marker = tmp_path / "killed"
    weights = FatalWeights(model_path=str(tiny_weights), device="cpu", columns=30 + 9, marker=str(marker))
    target = tmp_path / "streams"
    cluster_options = ClusterOptions(weights, turn=4)
    found = outcome(encode_collection(pictures, target, 60, cluster_options=cluster_options), pictures)
    assert marker.exists()
    counts = Counter(found.values())
    # Streams that the worker wrote before it died are skipped when its chunk is encoded again.
    assert counts["done"] + counts["skipped"] == 19 and counts["skipped"] <= 3
    assert found[CORRUPT] == "InvalidImage"
    good = [key for key in found if key != CORRUPT]
    assert keys(target) == sorted([stream_of(key) for key in good] + [FILE_NAME])
    for key in good:
        assert (target / stream_of(key)).read_bytes() == tiny_codec.encode(pictures / key, 60), key
    (line,) = map(json.loads, (target / FILE_NAME).read_text().splitlines())
    assert (line["source"], line["error"]) == (str(pictures / CORRUPT), "InvalidImage")

    for key in good[::2]:
        (target / stream_of(key)).unlink()
    before = {key: (target / stream_of(key)).stat().st_mtime_ns for key in good[1::2]}
    found = outcome(encode_collection(pictures, target, 60, cluster_options=cluster_options), pictures)
    assert {key for key in good if found[key] == "done"} == set(good[::2])
    assert {key for key in good if found[key] == "skipped"} == set(good[1::2])
    assert {key: (target / stream_of(key)).stat().st_mtime_ns for key in good[1::2]} == before
    assert keys(target) == sorted([stream_of(key) for key in good] + [FILE_NAME])


def read_table(folder: Path) -> dict[str, dict[str, object]]:
    rows = pyarrow.dataset.dataset(folder, format="parquet").to_table().to_pylist()
    assert len({row["key"] for row in rows}) == len(rows)
    return {row.pop("key"): row for row in rows}


@pytest.mark.slow
def test_table_and_picture_that_kills_every_worker(cluster, pictures, tiny_weights, tiny_codec, tmp_path):
    weights = FatalWeights(model_path=str(tiny_weights), device="cpu", columns=30 + 6)
    cluster_options = ClusterOptions(weights, as_table=True, turn=5, part=7)
    fatal = "b/deep/06.png"
    target = tmp_path / "table"
    found = outcome(encode_collection(pictures, target, cluster_options=cluster_options), pictures)
    assert {key: kind for key, kind in found.items() if kind != "done"} == {
        CORRUPT: "InvalidImage",
        fatal: "WorkerDied",
    }
    table = read_table(target)
    assert sorted(table) == sorted(found)
    for key, row in table.items():
        if found[key] == "done":
            assert row["bytes"] == tiny_codec.encode(pictures / key), key
            assert row["error"] is None
            with Image.open(pictures / key) as image:
                assert row["bpp"] == 8 * len(row["bytes"]) / (image.width * image.height)
        else:
            assert (row["bytes"], row["bpp"]) == (None, None) and row["error"]

    lost = min(target.glob("part-*"))
    lost_keys = set(pyarrow.dataset.dataset(lost).to_table()["key"].to_pylist())
    lost.unlink()
    kept = {path: path.stat().st_mtime_ns for path in target.glob("part-*")}
    cluster_options = ClusterOptions(Weights(model_path=str(tiny_weights), device="cpu"), as_table=True, turn=5, part=7)
    found = outcome(encode_collection(pictures, target, cluster_options=cluster_options), pictures)
    assert {key for key, kind in found.items() if kind == "done"} == lost_keys | {fatal}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    table = read_table(target)
    assert sorted(table) == sorted(found)
    assert [key for key, row in table.items() if row["error"]] == [CORRUPT]

    assert list(encode_collection(pictures / "empty", tmp_path / "none", cluster_options=cluster_options)) == []
    assert os.listdir(tmp_path / "none") == [FILE_NAME]


def test_invalid_arguments_are_refused_at_once(pictures, tiny_weights, tmp_path):
    cluster_options = ClusterOptions(Weights(model_path=str(tiny_weights), device="cpu"))
    for source, quality, error in (
        (tmp_path / "absent", 50, MissingFile),
        (pictures / "notes.txt", 50, UnreadableFile),
        ("nonsense://somewhere", 50, UnreadableFile),
        (pictures, 101, InvalidQuality),
    ):
        with pytest.raises(error):
            encode_collection(source, tmp_path / "out", quality, cluster_options=cluster_options)
    with pytest.warns(DeprecationWarning, match="'how' is now called 'cluster_options'"), pytest.raises(MissingFile):
        encode_collection(tmp_path / "absent", tmp_path / "out", how=cluster_options)
    assert not (tmp_path / "out").exists()


def test_missing_ray_names_the_extra(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.startswith("vqcodec.distributed")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    result = CliRunner().invoke(main.main, ["batch", "--engine", "ray", str(tmp_path), str(tmp_path / "out")])
    assert result.exit_code == 1
    assert result.stderr == "vqcodec: ray is not installed: pip install 'vqcodec[ray]'\n"


def test_pictures_with_the_same_stream_name(tmp_path):
    for name in ("a.jpg", "a.png", "b.png", "sub/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    suffixes = frozenset({".jpg", ".png"})
    chunks = list(find_chunks(Storage.at(tmp_path), suffixes, 3, unique_outputs=True))
    assert [[key for key, _ in chunk] for chunk in chunks] == [["a.jpg", "a.png", "b.png"], ["sub/a.png"]]
    assert [type(error) for chunk in chunks for _, error in chunk] == [type(None), OutputExists, type(None), type(None)]
    assert str(chunks[0][1][1]) == "already the output of a.jpg"
    for chunk in chunks:
        (back,) = records.table_to_chunks(records.chunk_to_table(chunk))
        assert [(key, repr(error)) for key, error in back] == [(key, repr(error)) for key, error in chunk]
    chunks = find_chunks(Storage.at(tmp_path), suffixes, 9, unique_outputs=False)
    assert [error for chunk in chunks for _, error in chunk] == [None] * 4


def test_files_passed_over_are_counted_not_encoded(tmp_path):
    for name in ("a.png", "notes.txt", "scan"):
        (tmp_path / name).write_bytes(b"")
    source = Storage.at(tmp_path)
    (chunk,) = find_chunks(source, frozenset({".png"}), 9, unique_outputs=True, passed_over=True)
    errors = {key: type(error).__name__ for key, error in chunk}
    assert errors == {"a.png": "NoneType", "notes.txt": "PassedOver", "scan": "PassedOver"}
    assert list(find_chunks(source, frozenset({".png"}), 9, unique_outputs=True)) == [[("a.png", None)]]
    again = records.table_to_chunks(records.chunk_to_table(chunk))[0]
    results = [FileResult(key, "", error) for key, error in again]
    names: list[str] = []
    assert [r.source for r in _without_passed_over(iter(results), names.append)] == ["a.png"]
    assert names == ["notes.txt", "scan"]


def test_folder_that_cannot_be_listed_is_one_error(monkeypatch, tmp_path):
    for folder in ("closed", "open"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").touch()
    list_folder = Storage.list

    def fail_sometimes(place, folder):
        if folder == "closed":
            raise UnreadableFile("Permission denied")
        return list_folder(place, folder)

    monkeypatch.setattr(Storage, "list", fail_sometimes)
    (chunk,) = find_chunks(Storage.at(tmp_path), frozenset({".png"}), 9, unique_outputs=True)
    assert [(key, type(error)) for key, error in chunk] == [("closed", UnreadableFile), ("open/a.png", type(None))]


def test_name_that_is_not_utf8_is_an_error_of_its_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in (b"a.png", b"\xff.png"):
        Path(os.fsdecode(os.fsencode(tmp_path / "sub") + b"/" + name)).touch()
    (chunk,) = find_chunks(Storage.at(tmp_path), frozenset({".png"}), 9, unique_outputs=True)
    assert [(key, type(error)) for key, error in chunk] == [("sub", UnreadableFile), ("sub/a.png", type(None))]


def test_error_of_the_root_folder(tmp_path):
    (tmp_path / "in").mkdir()
    locations = _Locations(Storage.at(tmp_path / "in"), Storage.at(tmp_path / "out"), as_table=False)
    job = locations.job("")
    assert Path(job.source) == tmp_path / "in" and Path(job.output) == tmp_path / "out"


@pytest.mark.parametrize("whole_or_absent", [False, True])
def test_object_storage(monkeypatch, whole_or_absent):
    if whole_or_absent:
        monkeypatch.setattr(storage, "_OBJECT_STORES", frozenset({"mock"}))
    place = Storage.at(f"mock:///{'ab'[whole_or_absent]}")
    if whole_or_absent:  # in a real one folders need not be made
        storage._open(place.uri)[0].create_dir(f"{place.path('')}/sub")
    place.write("sub/one.bin", b"123")
    place.write("sub/one.bin", b"4567")
    with place.stream("sub/two.jsonl") as file:
        file.write(b"{}\n")
    assert place.list("") == Listing([], ["sub"], 0)
    assert place.list("sub") == Listing(["sub/one.bin", "sub/two.jsonl"], [], 0)
    assert place.existing(["sub/one.bin", "sub/three", "sub"]) == {"sub/one.bin"}
    late = LazyFile(place, "sub/one.bin")
    assert (late.seek(1), late.read(2), late.tell(), late.read()) == (1, b"56", 3, b"7")
    place.delete("sub/one.bin")
    missing = LazyFile(place, "sub/one.bin")
    with pytest.raises(MissingFile):
        missing.read()


def test_digests():
    keys = [f"{i}.png" for i in range(1000)]
    finished = np.sort(digests(keys[::3]))
    assert contains(finished, keys) == [i % 3 == 0 for i in range(1000)]
    assert contains(digests([]), ["a"]) == [False]


def test_table_keeps_streams_and_deletes_failures(tmp_path):
    table = Table(Storage.at(tmp_path / "table"))
    assert len(table.finished()) == 0
    for attempt in range(2):  # the second replaces the first
        table.write({"key": key, "bytes": b"1", "bpp": 0.5, "error": None} for key in "abc")
        table.write([{"key": "d", "bytes": None, "bpp": None, "error": "bad"}])
        assert len(os.listdir(tmp_path / "table")) == 2, attempt
    assert contains(table.finished(), ["a", "b", "c", "d", "e"]) == [True, True, True, False, False]
    assert sorted(read_table(tmp_path / "table")) == ["a", "b", "c", "d"]
    table.delete_failures()
    assert sorted(read_table(tmp_path / "table")) == ["a", "b", "c"]


def test_a_damaged_part_is_named(tmp_path):
    (tmp_path / "part-1.parquet").write_bytes(b"PAR1")
    with pytest.raises(UnreadableFile, match="part-1.parquet"):
        Table(Storage.at(tmp_path)).finished()

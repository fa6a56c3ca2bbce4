"""Collections on a real Ray of two workers, with a tiny model: killed, interrupted, continued, each picture once."""

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
from vqcodec.batch.tasks import Weights
from vqcodec.cli import main
from vqcodec.distributed import ClusterOptions, encode_collection, records, storage
from vqcodec.distributed.cluster import _Places
from vqcodec.distributed.discovery import find_turns
from vqcodec.distributed.storage import LateFile, Listing, Storage
from vqcodec.distributed.table import Table, digests, is_in
from vqcodec.errors import InvalidQuality, MissingFile, OutputExists, UnreadableFile


@pytest.fixture(scope="module")
def ray_folder():
    """A folder for Ray's files, not below tmp_path: a socket's path has at most 107 bytes."""
    folder = tempfile.mkdtemp(prefix="vqc-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_AUTH_MODE", "disabled")  # or a token is written into the home folder
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(ray_folder):
    """A cluster of two workers on this machine."""
    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
    yield
    ray.shutdown()


@dataclass(frozen=True)
class Deadly(Weights):
    """Weights whose worker is killed by pictures of a given width: by the first only, or by each."""

    columns: int = 0
    marker: str = ""
    """File that is created when the worker is killed, so that it happens once; empty for every time."""

    def load(self):
        codec = super().load()
        encode = codec.encode_batch

        def encode_batch(sources, *arguments, **options):
            sources = list(sources)
            for index, source in enumerate(sources):
                yield from encode([self.survive(source, index)], *arguments, **options)

        codec.encode_batch = encode_batch
        return codec

    def survive(self, source, index):
        try:
            deadly = Image.open(source).width == self.columns
        except OSError:
            deadly = False
        source.seek(0)
        if deadly and not (self.marker and Path(self.marker).exists()):
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
    """Return ``done``, ``skipped`` or the name of the error by key; every key occurs once."""
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
def test_the_command_starts_a_ray_of_its_own_and_ends_it(ray_folder, tiny_weights, tiny_codec, tmp_path):
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


def test_an_unknown_cluster_is_one_line(ray_folder, pictures, tiny_weights, tmp_path):
    options = ("batch", "--engine", "ray", "--address", "nonsense", "--model-path", str(tiny_weights))
    result = CliRunner().invoke(main.main, [*options, str(pictures), str(tmp_path / "out")])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1 and "no Ray cluster at nonsense: " in result.stderr


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_and_a_second_run_does_the_rest(
    cluster, pictures, tiny_weights, tiny_codec, tmp_path
):
    marker = tmp_path / "killed"
    weights = Deadly(model_path=str(tiny_weights), device="cpu", columns=30 + 9, marker=str(marker))
    target = tmp_path / "streams"
    how = ClusterOptions(weights, turn=4)
    found = outcome(encode_collection(pictures, target, 60, how=how), pictures)
    assert marker.exists()
    counts = Counter(found.values())
    # What the worker had written before it died is there when its turn is begun again.
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
    found = outcome(encode_collection(pictures, target, 60, how=how), pictures)
    assert {key for key in good if found[key] == "done"} == set(good[::2])
    assert {key for key in good if found[key] == "skipped"} == set(good[1::2])
    assert {key: (target / stream_of(key)).stat().st_mtime_ns for key in good[1::2]} == before
    assert keys(target) == sorted([stream_of(key) for key in good] + [FILE_NAME])


def read_table(folder: Path) -> dict[str, dict[str, object]]:
    rows = pyarrow.dataset.dataset(folder, format="parquet").to_table().to_pylist()
    assert len({row["key"] for row in rows}) == len(rows)
    return {row.pop("key"): row for row in rows}


@pytest.mark.slow
def test_a_table_and_a_picture_that_kills_every_worker(cluster, pictures, tiny_weights, tiny_codec, tmp_path):
    weights = Deadly(model_path=str(tiny_weights), device="cpu", columns=30 + 6)
    how = ClusterOptions(weights, as_table=True, turn=5, part=7)
    deadly = "b/deep/06.png"
    target = tmp_path / "table"
    found = outcome(encode_collection(pictures, target, how=how), pictures)
    assert {key: kind for key, kind in found.items() if kind != "done"} == {
        CORRUPT: "InvalidImage",
        deadly: "WorkerDied",
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
    how = ClusterOptions(Weights(model_path=str(tiny_weights), device="cpu"), as_table=True, turn=5, part=7)
    found = outcome(encode_collection(pictures, target, how=how), pictures)
    assert {key for key, kind in found.items() if kind == "done"} == lost_keys | {deadly}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    table = read_table(target)
    assert sorted(table) == sorted(found)
    assert [key for key, row in table.items() if row["error"]] == [CORRUPT]

    assert list(encode_collection(pictures / "empty", tmp_path / "none", how=how)) == []
    assert os.listdir(tmp_path / "none") == [FILE_NAME]


def test_invalid_arguments_are_refused_at_once(pictures, tiny_weights, tmp_path):
    how = ClusterOptions(Weights(model_path=str(tiny_weights), device="cpu"))
    for source, quality, error in (
        (tmp_path / "absent", 50, MissingFile),
        (pictures / "notes.txt", 50, UnreadableFile),
        ("nonsense://somewhere", 50, UnreadableFile),
        (pictures, 101, InvalidQuality),
    ):
        with pytest.raises(error):
            encode_collection(source, tmp_path / "out", quality, how=how)
    assert not (tmp_path / "out").exists()


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.startswith("vqcodec.distributed")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    result = CliRunner().invoke(main.main, ["batch", "--engine", "ray", str(tmp_path), str(tmp_path / "out")])
    assert result.exit_code == 1
    assert result.stderr == "vqcodec: ray is not installed: pip install 'vqcodec[ray]'\n"


def test_two_pictures_of_one_name_are_one_stream_and_one_error(tmp_path):
    for name in ("a.jpg", "a.png", "b.png", "sub/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    suffixes = frozenset({".jpg", ".png"})
    turns = list(find_turns(Storage.at(tmp_path), suffixes, 3, unique_outputs=True))
    assert [[key for key, _ in turn] for turn in turns] == [["a.jpg", "a.png", "b.png"], ["sub/a.png"]]
    assert [type(error) for turn in turns for _, error in turn] == [type(None), OutputExists, type(None), type(None)]
    assert str(turns[0][1][1]) == "is the output of a.jpg already"
    for turn in turns:
        (back,) = records.table_to_turns(records.turn_to_table(turn))
        assert [(key, repr(error)) for key, error in back] == [(key, repr(error)) for key, error in turn]
    turns = find_turns(Storage.at(tmp_path), suffixes, 9, unique_outputs=False)
    assert [error for turn in turns for _, error in turn] == [None] * 4


def test_a_folder_that_cannot_be_listed_is_one_error(monkeypatch, tmp_path):
    for folder in ("closed", "open"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").touch()
    list_folder = Storage.list

    def fail_sometimes(place, folder):
        if folder == "closed":
            raise UnreadableFile("Permission denied")
        return list_folder(place, folder)

    monkeypatch.setattr(Storage, "list", fail_sometimes)
    (turn,) = find_turns(Storage.at(tmp_path), frozenset({".png"}), 9, unique_outputs=True)
    assert [(key, type(error)) for key, error in turn] == [("closed", UnreadableFile), ("open/a.png", type(None))]


def test_a_name_that_is_not_text_is_an_error_of_its_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in (b"a.png", b"\xff.png"):
        Path(os.fsdecode(os.fsencode(tmp_path / "sub") + b"/" + name)).touch()
    (turn,) = find_turns(Storage.at(tmp_path), frozenset({".png"}), 9, unique_outputs=True)
    assert [(key, type(error)) for key, error in turn] == [("sub", UnreadableFile), ("sub/a.png", type(None))]


def test_the_root_may_be_the_folder_that_failed(tmp_path):
    (tmp_path / "in").mkdir()
    places = _Places(Storage.at(tmp_path / "in"), Storage.at(tmp_path / "out"), as_table=False)
    job = places.job("")
    assert Path(job.source) == tmp_path / "in" and Path(job.output) == tmp_path / "out"


@pytest.mark.parametrize("whole_or_absent", [False, True])
def test_a_storage_that_is_no_disk(monkeypatch, whole_or_absent):
    if whole_or_absent:
        monkeypatch.setattr(storage, "_WHOLE_OR_ABSENT", frozenset({"mock"}))
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
    late = LateFile(place, "sub/one.bin")
    assert (late.seek(1), late.read(2), late.tell(), late.read()) == (1, b"56", 3, b"7")
    place.delete("sub/one.bin")
    missing = LateFile(place, "sub/one.bin")
    with pytest.raises(MissingFile):
        missing.read()


def test_digests_find_what_is_there_and_nothing_else():
    keys = [f"{i}.png" for i in range(1000)]
    finished = np.sort(digests(keys[::3]))
    assert is_in(keys, finished) == [i % 3 == 0 for i in range(1000)]
    assert is_in(["a"], digests([])) == [False]


def test_a_table_knows_its_streams_and_forgets_its_failures(tmp_path):
    table = Table(Storage.at(tmp_path / "table"))
    assert len(table.finished()) == 0
    for attempt in range(2):  # the second replaces the first
        table.write({"key": key, "bytes": b"1", "bpp": 0.5, "error": None} for key in "abc")
        table.write([{"key": "d", "bytes": None, "bpp": None, "error": "bad"}])
        assert len(os.listdir(tmp_path / "table")) == 2, attempt
    assert is_in(["a", "b", "c", "d", "e"], table.finished()) == [True, True, True, False, False]
    assert sorted(read_table(tmp_path / "table")) == ["a", "b", "c", "d"]
    table.forget_failures()
    assert sorted(read_table(tmp_path / "table")) == ["a", "b", "c"]


def test_a_damaged_part_is_named(tmp_path):
    (tmp_path / "part-1.parquet").write_bytes(b"PAR1")
    with pytest.raises(UnreadableFile, match="part-1.parquet"):
        Table(Storage.at(tmp_path)).finished()

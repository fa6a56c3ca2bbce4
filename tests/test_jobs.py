"""Sources and target are interpreted as by ``cp``."""

import io
import os
from pathlib import Path

import pytest

from vqcodec.batch.jobs import STANDARD, Job, Naming, OutputPolicy, plan
from vqcodec.errors import InvalidJobs, MissingFile, OutputExists, UnreadableFile, UnwritableFile, VqcError

STREAMS = Naming(".vqc")
TREES = Naming(".vqc", frozenset({".png", ".jpg"}))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "tree/b.PNG", "tree/sub/c.jpg", "tree/sub/notes.txt", "tree/d.tar.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")


def test_one_to_a_file_or_a_folder():
    assert plan(["a.png"], "x.vqc", STREAMS) == [Job("a.png", "x.vqc")]
    for target in ("tree", "new/"):
        (job,) = plan(["a.png"], target, STREAMS)
        assert Path(job.output) == Path(target, "a.vqc")


def test_folders_are_mirrored():
    jobs = plan(["a.png", "tree"], "out", TREES)
    assert [(j.source, j.output, j.folder) for j in jobs] == [
        ("a.png", "out/a.vqc", "out"),
        ("tree/b.PNG", "out/b.vqc", "out"),
        ("tree/d.tar.png", "out/d.tar.vqc", "out"),
        ("tree/sub/c.jpg", "out/sub/c.vqc", "out/sub"),
    ]
    assert plan(["tree/"], "tree", TREES)[-1].output == "tree/sub/c.vqc"


@pytest.mark.parametrize(
    "sources, target",
    [
        ([""], "x.vqc"),
        (["a.png"], ""),
        (["a.png", "a.png"], STANDARD),
        (["tree"], STANDARD),
        (["tree"], "a.png"),
        ([STANDARD, "a.png"], "out"),
    ],
)
def test_invalid_sources_and_targets(sources, target):
    with pytest.raises(InvalidJobs):
        plan(sources, target, TREES)


def test_output_policy():
    Path("there.vqc").write_bytes(b"")
    gate = OutputPolicy()
    assert gate.admits(Job("a.png", "new.vqc"))
    for job, error in (
        (Job("absent.png", "x.vqc"), MissingFile),
        (Job("tree", "y.vqc"), UnreadableFile),
        (Job("a.png", "new.vqc"), OutputExists),
        (Job("a.png", "./a.png"), OutputExists),
        (Job("a.png", "there.vqc"), OutputExists),
    ):
        with pytest.raises(error):
            gate.admits(job)
    assert OutputPolicy("replace").admits(Job("a.png", "there.vqc"))
    assert not OutputPolicy("skip").admits(Job("a.png", "there.vqc"))
    with pytest.raises(InvalidJobs, match="refuse, replace, skip, not 'overwrite'"):
        OutputPolicy("overwrite")
    assert OutputPolicy("skip").admits(Job("a.png", "new.vqc")) and OutputPolicy().admits(Job(STANDARD, STANDARD))


@pytest.mark.parametrize("target", ["out", "./out", "out/", "a/../out"])
def test_a_tree_and_a_file_never_share_an_output(target):
    Path("tree/a.png").write_bytes(b"")
    Path("a").mkdir()
    gate = OutputPolicy("replace")
    with pytest.raises(OutputExists, match=r"is the output of tree/a\.png already"):
        assert all(gate.admits(job) for job in plan(["tree", "a.png"], target, TREES))


def test_folders_that_cannot_be_looked_into(monkeypatch):
    look = os.scandir

    def scandir(folder):
        if folder == "tree/sub":
            raise PermissionError(13, "Permission denied", folder)
        return look(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    jobs = plan(["tree"], "out", TREES)
    assert [job.source for job in jobs] == ["tree/b.PNG", "tree/d.tar.png", "tree/sub"]
    with pytest.raises(UnreadableFile, match="^Permission denied$"):
        OutputPolicy().admits(jobs[-1])


def test_links_to_one_output():
    Path("one.vqc").write_bytes(b"")
    Path("other.vqc").symlink_to("one.vqc")
    gate = OutputPolicy("replace")
    assert gate.admits(Job("a.png", "one.vqc"))
    with pytest.raises(OutputExists):
        gate.admits(Job("tree/b.PNG", "other.vqc"))


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_closed_standard_streams(monkeypatch, stream):
    monkeypatch.setattr(f"sys.{stream}", None)
    job = Job(STANDARD, STANDARD)
    with pytest.raises(VqcError, match="is closed"):
        job.open().read() if stream == "stdin" else job.deliver(b"data")


def test_broken_pipe(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as broken:
        monkeypatch.setattr("sys.stdout", broken)
        with pytest.raises(UnwritableFile, match="^Broken pipe$"):
            Job("a.png", STANDARD).deliver(bytes(100_000))


def test_standard_input_and_output(monkeypatch, capsysbinary):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"in")))
    job = Job(STANDARD, STANDARD)
    assert job.open().read() == b"in"
    job.deliver(b"out")
    assert capsysbinary.readouterr().out == b"out"


def test_a_folder_that_cannot_be_made():
    Path("file").write_bytes(b"")
    with pytest.raises(UnwritableFile, match="^its folder cannot be made: "):
        Job("a.png", "file/a.vqc", folder="file").deliver(b"data")


def test_missing_folders_are_made():
    Job("a.png", "deep/er/a.vqc", folder="deep/er").deliver(b"data")
    assert Path("deep/er/a.vqc").read_bytes() == b"data"

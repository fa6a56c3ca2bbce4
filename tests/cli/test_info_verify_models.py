"""``vqcodec info``, ``verify`` and ``models``."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import vqcodec
from vqcodec import files


@dataclass(frozen=True)
class Info:
    """A result of ``vqcodec.info``."""

    version: int = 1
    model: str | None = "vqc-1"
    model_hash: str = "0011223344556677"
    width: int = 100
    height: int = 80
    layout: str = "rgb"
    exact: bool = False
    quality: float = 50.2
    tint: tuple | None = None
    tile: int = 1024
    grids: tuple = ((5, 7), (10, 14))
    sections: tuple = (
        {"name": "top", "tile": 0, "bytes": 100},
        {"name": "bottom", "tile": 0, "bytes": 200},
    )
    bytes: int = 333
    bpp: float = 0.333


def test_info(run, monkeypatch):
    monkeypatch.setitem(vars(vqcodec), "info", lambda source: Info())
    text = run("info", "a.vqc").stdout
    for part in (
        "a.vqc\n",
        "100x80, rgb",
        "vqc-1 (0011223344556677)",
        "7x5, 14x10",
        "0.100 bpp",
        "333 bytes",
    ):
        assert part in text
    first, second = run("info", "--json", "a.vqc", "b.vqc").stdout.splitlines()
    assert json.loads(first)["grids"] == [[5, 7], [10, 14]]
    assert json.loads(second)["source"] == "b.vqc"


def test_info_names_a_tint(run, monkeypatch):
    monkeypatch.setitem(vars(vqcodec), "info", lambda source: Info(tint=(255, 90, 7)))
    assert "#ff5a07, coded as grey" in run("info", "a.vqc").stdout
    assert json.loads(run("info", "--json", "a.vqc").stdout)["tint"] == [255, 90, 7]


def test_info_of_an_exact_picture(run, monkeypatch):
    found = Info(
        model=None, grids=(), exact=True, quality=100.0, sections=({"name": "exact", "tile": 0, "bytes": 300},)
    )
    monkeypatch.setitem(vars(vqcodec), "info", lambda source: found)
    lines = run("info", "a.vqc").stdout.splitlines()
    assert [line.split() for line in lines[2:4]] == [["quality", "exact"], ["tiles", "1024x1024", "pixels"]]
    assert not any(line.startswith(("  model", "  grids")) for line in lines)
    told = json.loads(run("info", "--json", "a.vqc").stdout)
    assert told["exact"] is True and told["model"] is None


def test_info_of_an_unknown_model(run, monkeypatch):
    monkeypatch.setitem(vars(vqcodec), "info", lambda source: Info(model=None, grids=()))
    text = run("info", "a.vqc").stdout
    assert "unknown (0011223344556677)" in text and "unknown without the model" in text


def test_info_goes_on_after_a_failure(run, monkeypatch):
    def told(source):
        files.read_bytes(source)
        return Info()

    monkeypatch.setitem(vars(vqcodec), "info", told)
    Path("b.vqc").write_bytes(b"")
    result = run("info", "absent.vqc", "b.vqc")
    assert result.exit_code == 1 and result.stdout.startswith("b.vqc\n")
    assert result.stderr.splitlines() == [
        "vqcodec: absent.vqc: No such file or directory",
        "vqcodec: 1 of 2 failed: absent.vqc",
    ]


def test_verify(run, photo):
    run("encode", photo, "good.vqc")
    Path("bad.vqc").write_bytes(Path("good.vqc").read_bytes()[:-1])
    result = run("verify", "good.vqc")
    assert (result.exit_code, result.stdout) == (0, "good.vqc: intact, 8x6\n")
    result = run("verify", "bad.vqc", "good.vqc")
    assert (result.exit_code, result.stdout) == (1, "good.vqc: intact, 8x6\n")
    assert result.stderr.splitlines() == [
        "vqcodec: bad.vqc: truncated: section 'top' needs 144 bytes, 143 left",
        "vqcodec: 1 of 2 failed: bad.vqc",
    ]
    records = [json.loads(line) for line in run("verify", "--json", "bad.vqc", "good.vqc").stdout.splitlines()]
    assert [r["intact"] for r in records] == [False, True]
    assert sorted(os.listdir()) == ["bad.vqc", "good.vqc", "photo.png"]


def test_control_characters_in_names_are_escaped(run, photo):
    name = "a\x1b[31m\nb.vqc: intact\udcff.vqc"
    run("encode", photo, name)
    assert run("verify", name).stdout == "a\\x1b[31m\\nb.vqc: intact\\udcff.vqc: intact, 8x6\n"


@dataclass(frozen=True)
class Model:
    """A result of ``vqcodec.models``."""

    id: str = "vqc-1"
    hash: str = "0011223344556677"
    licence: str = "Apache-2.0"
    levels: tuple = ("stride 16", "stride 8")
    codebooks: tuple = ("8 of 256", "24 of 256")
    parameters: int = 12_345
    kmac_per_pixel: dict = None
    quality_range: tuple = (0, 100)
    realism: bool = False


def test_models(run, monkeypatch):
    model = Model(kmac_per_pixel={"encoder": 50.04, "decoder": 35.0, "prior": 20.0})
    monkeypatch.setitem(vars(vqcodec), "models", lambda: [model])
    text = run("models").stdout
    for part in (
        "vqc-1\n",
        "Apache-2.0",
        "8 of 256; 24 of 256",
        "encoder 50.0, decoder 35.0, prior 20.0",
        "0 to 100",
        "no second",
    ):
        assert part in text
    assert [told["id"] for told in json.loads(run("models", "--json").stdout)] == ["vqc-1"]

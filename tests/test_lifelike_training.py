"""Training a second synthesis: its losses, its crops, and that nothing of the model changes."""

import csv
import hashlib
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from vqcodec import Codec
from vqcodec.cli.train import main
from vqcodec.config import quality_step
from vqcodec.training.adversarial import ConditionalDiscriminator, hinge
from vqcodec.training.data import Crops, find_photos, load_photos
from vqcodec.training.indexed_crops import IndexedCrops
from vqcodec.training.lifelike import LifelikeRun, averaged_synthesis
from vqcodec.training.perceptual import PerceptualDistance
from vqcodec.training.trainer import Intervals, TrainingPlan
from vqcodec.weights import registry
from vqcodec.weights.lifelike import add_lifelike, read_lifelike

needs_lpips = pytest.mark.skipif(find_spec("stlpips_pytorch") is None, reason="stlpips-pytorch is not installed")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def crops(photo_folder, tiny_codec):
    source = Crops(load_photos(find_photos(photo_folder)), seed=0)
    return IndexedCrops.make(tiny_codec._encoder, source, 40, 32, lambda uniform: 0.6 * uniform, lambda line: None)


def lifelike_run(folder, crops, model, **plan):
    defaults = {"batch": 2, "warmup": 2, "steps": 6, "half": False, "rate": 5e-3, "average": 0.5}
    start = model.vqvae.pixel_synthesis
    return LifelikeRun(
        folder, TrainingPlan("lifelike", **(defaults | plan)), model, start, crops, PerceptualDistance(), CPU
    )


def test_crops_keep_what_the_encoder_chose(crops, tiny_codec, tmp_path):
    assert len(crops) == 40 and 0 <= crops.steps.min() < 60 and 60 < crops.steps.max() <= quality_step(60)
    crops.save(tmp_path / "crops.safetensors")
    again = IndexedCrops.load(tmp_path / "crops.safetensors")
    config = tiny_codec.model.config
    x, grids, quality = again.batch(torch.tensor([7, 39]), config, CPU)
    for i, number in enumerate((7, 39)):
        pixels = np.ascontiguousarray(crops.pixels[number].permute(1, 2, 0).numpy())
        assert torch.equal((x[i] * 255).round().byte(), crops.pixels[number])
        step = int(crops.steps[number])
        assert quality[i].item() == pytest.approx(config.knot_position(step))
        stream = tiny_codec.encode(pixels, step * 100 / 255, lossless=False)
        opened, decoder = tiny_codec._open(stream, 0, partial=False)
        (expected,) = decoder.grids([opened])
        for level, grid in zip(grids.levels, expected, strict=True):
            np.testing.assert_array_equal(level[i].numpy(), grid.read())


def test_hinge_loss_vanishes_beyond_the_margin():
    assert hinge(torch.full((2,), 1.5), torch.full((2,), -1.5)) == 0
    assert hinge(torch.zeros(2), torch.zeros(2)) == 1


def test_the_discriminator_sees_both_pictures():
    torch.manual_seed(0)
    judge, x = ConditionalDiscriminator().eval(), torch.rand(2, 3, 32, 48)
    scores = judge(x, x)
    assert scores.shape == (2, 1, 4, 6)
    assert (judge(x.flip(0), x) != scores).all() and (judge(x, x.flip(0)) != scores).all()


@needs_lpips
@pytest.mark.parametrize("net, expected", [("alex", 0.0159756), ("vgg", 0.1007347)])
def test_perceptual_distance_is_that_of_its_authors(net, expected):
    """The numbers are those of the package's own code."""
    y, x = np.mgrid[:70, :90]
    waves = [np.sin(x * a + y * b + c) / 2 + 0.5 for a, b, c in ((0.2, 0.1, 0), (0.05, 0.4, 1), (0.3, -0.2, 2))]
    one = torch.from_numpy(np.stack(waves)).float()[None]
    other = (0.8 * one + 0.1 * one.flip(3)).requires_grad_()
    distance = PerceptualDistance(net)
    found = distance(one, other)
    assert found.item() == pytest.approx(expected, rel=1e-3) and distance(one, one).item() < 1e-6
    found.backward()
    assert other.grad is not None and other.grad.isfinite().all() and other.grad.any()


@needs_lpips
def test_it_learns_and_nothing_else_changes(crops, tiny_codec, tmp_path):
    model = tiny_codec.model
    frozen = {name: tensor.clone() for name, tensor in model.vqvae.state_dict().items()}
    run = lifelike_run(tmp_path, crops, model, steps=12, batch=4)
    start = {name: tensor.clone() for name, tensor in run.network.synthesis.state_dict().items()}
    photos = [crops.pixels[0], crops.pixels[1][:, :, :28]]
    columns, _ = run.evaluation(photos)
    assert columns["valid_psnr"] == columns["faithful_psnr"] and columns["valid_lpips"] == columns["faithful_lpips"]
    lines = list(run.fit(Intervals(log_steps=4), tmp_path / "log.csv", photos))
    assert "lifelike against faithful  q5:" in lines[-1]
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["lpips"]) for row in rows if row["lpips"]]
    assert losses[-1] < losses[0] and all(np.isfinite(losses)) and rows[-1]["valid_lpips"]
    for name, tensor in run.network.synthesis.state_dict().items():
        assert torch.equal(tensor, start[name]) == name.startswith("transform."), name
    for name, tensor in model.vqvae.state_dict().items():
        assert torch.equal(tensor, frozen[name]), name
    for name, tensor in run._vqvae.state_dict().items():
        assert torch.equal(tensor, frozen[name]), name


@needs_lpips
def test_resuming_is_exact(crops, tiny_codec, tmp_path):
    whole = lifelike_run(tmp_path / "whole", crops, tiny_codec.model)
    list(whole.fit(Intervals(), tmp_path / "log.csv", []))
    half = lifelike_run(tmp_path / "half", crops, tiny_codec.model)
    for _ in range(3):
        half.train_step()
    half.save()
    again = lifelike_run(tmp_path / "half", crops, tiny_codec.model)
    again.resume()
    list(again.fit(Intervals(), tmp_path / "log.csv", []))
    for module, other in ((whole.network, again.network), (whole.average, again.average)):
        for (name, a), b in zip(module.state_dict().items(), other.state_dict().values(), strict=True):
            assert torch.equal(a, b), name


def train(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


@needs_lpips
def test_from_weights_to_lifelike_weights(tiny_weights, photo_folder, photo, tmp_path, capsys):
    out, run = tmp_path / "out.safetensors", tmp_path / "run"
    common = ("--data", photo_folder, "--run", run, "--crop", 32, "--batch", 2, "--full", "--device", "cpu")
    begin = ("lifelike", "--init", tiny_weights, *common, "--crops", 4, "--warmup", 0, "--rate", 0.01)
    assert train(*begin, "--steps", 2) == 0
    assert train(*begin, "--steps", 2) == 1 and "exists already" in capsys.readouterr().err
    assert train("lifelike", *common, "--steps", 3, "--resume") == 0
    assert train("export", "--run", run, "--out", out) == 0
    hash = hashlib.sha256(tiny_weights.read_bytes()).hexdigest()
    assert f"model {hash}" in capsys.readouterr().err
    plain, both = (Codec(model_path=path, device="cpu") for path in (tiny_weights, out))
    stream = plain.encode(photo.crop((0, 0, 64, 64)), 10, lossless=False)
    faithful = np.asarray(both.decode(stream))
    assert (faithful == np.asarray(plain.decode(stream))).all()
    assert (faithful != np.asarray(both.decode(stream, realism=1))).any()
    # from there on, the second synthesis is trained further
    again = tmp_path / "again"
    assert train(*begin[:2], out, *begin[3:], "--steps", 3, "--run", again, "--average", 0.01) == 0
    assert registry.load_weights(again / "weights.safetensors").has_lifelike
    # two of them are averaged
    half, one, other = tmp_path / "half.safetensors", stored(out), averaged_synthesis(again / "state.safetensors")
    assert train("export", "--run", again, "--out", half, "--blend", out, "--share", 0.25) == 0
    for name, average in stored(half).items():
        torch.testing.assert_close(average, 0.75 * other[name].float() + 0.25 * one[name], rtol=1e-3, atol=1e-4)
    assert any((one[name] - other[name]).abs().max() > 0.01 for name in one)
    assert train("export", "--run", again, "--out", half, "--blend", tiny_weights) == 1
    assert "no second synthesis" in capsys.readouterr().err


def stored(path):
    return read_lifelike(path.read_bytes())


def test_a_second_synthesis_is_carried_over_to_other_weights(tiny_weights, photo_folder, tmp_path):
    """What it changes is added to the other weights' faithful synthesis."""
    path, run, out = tmp_path / "lifelike.safetensors", tmp_path / "run", tmp_path / "out.safetensors"
    faithful = registry.load_weights(tiny_weights).vqvae.pixel_synthesis.state_dict()
    names = [name for name in faithful if not name.startswith("transform.")]
    state = {name: faithful[name] + 0.25 for name in names}
    path.write_bytes(add_lifelike(tiny_weights.read_bytes(), state, {}))
    common = ("--data", photo_folder, "--run", run, "--crop", 32, "--batch", 2, "--full", "--device", "cpu")
    assert train("prior", "--init", tiny_weights, *common, "--steps", 1) == 0
    assert train("export", "--run", run, "--out", out, "--lifelike", path) == 0
    trained = registry.load_weights(out).vqvae.pixel_synthesis.state_dict()
    for name, tensor in stored(out).items():
        torch.testing.assert_close(tensor, trained[name] + 0.25, rtol=1e-3, atol=1e-3)


def test_usage(tiny_weights, photo_folder, tmp_path, capsys, monkeypatch):
    assert train("lifelike", "--data", photo_folder, "--run", tmp_path / "a") == 2
    assert "give --init or --resume" in capsys.readouterr().err
    (tmp_path / "weights.safetensors").write_bytes(b"")
    out = tmp_path / "out.safetensors"
    assert train("export", "--run", tmp_path, "--out", out, "--lifelike", tiny_weights) == 2
    monkeypatch.setattr("vqcodec.training.perceptual._PACKAGE", "no_such_package")
    command = ("lifelike", "--init", tiny_weights, "--data", photo_folder, "--run", tmp_path / "b", "--crops", 1)
    assert train(*command, "--crop", 48, "--device", "cpu") == 1
    assert "stlpips-pytorch is not installed: pip install 'vqcodec[train]'" in capsys.readouterr().err
    assert not out.exists() and not (tmp_path / "b").exists()

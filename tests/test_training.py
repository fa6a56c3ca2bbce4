"""Training: a tiny model learns, resumes exactly, becomes a codec; the papers' models train; two processes agree."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.support.tiny import TINY, random_outer_points
from vqcodec import Codec
from vqcodec.config import PRESETS, SliceConfig
from vqcodec.metrics import psnr
from vqcodec.model.prior import SlicePrediction, slice_bits
from vqcodec.model.quantizer import ProductQuantizer, expected_bits_gradient, lattice, outer_bits_gradient, shells_of
from vqcodec.outer_points import outer_symbols, possible_ranges
from vqcodec.training import stages
from vqcodec.training.data import Crops, find_photos, load_photos
from vqcodec.training.evaluate import Point, bd_rate, evaluate
from vqcodec.training.export import export, from_weights
from vqcodec.training.network import Network, load_state
from vqcodec.training.objective import assign_codewords, encode, mix
from vqcodec.training.trainer import Intervals, Trainer, TrainingPlan, fresh_network
from vqcodec.weights import registry

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def crops(photo_folder):
    return Crops(load_photos(find_photos(photo_folder)), seed=0)


def trainer(folder, crops, network=None, **plan):
    defaults = {"batch": 4, "crop": 32, "warmup": 5, "steps": 40, "half": False, "rate": 2e-3, "average": 0.8}
    network = network or fresh_network(TINY, crops, seed=0, size=32)
    return Trainer(folder, TrainingPlan(**(defaults | plan)), network, crops, CPU)


def fit(run, log, valid=()):
    return list(run.fit(Intervals(log_steps=10), log, list(valid)))


def test_color_jitter_tints_a_share_of_the_crops():
    grey = torch.full((3, 40, 40), 128, dtype=torch.uint8)
    plain, some = (Crops([grey], 0, color_jitter=share).batch(0, 64, 32) for share in (0.0, 0.5))
    torch.testing.assert_close(plain, torch.full_like(plain, 128 / 255))
    torch.testing.assert_close(some.amax(1), plain[:, 0])  # the brightest channel stays as it is
    tinted = (some.amax(1) - some.amin(1)).flatten(1).amax(1) > 0.01
    assert 20 <= int(tinted.sum()) <= 44


def test_bits_are_the_cross_entropy():
    """Of indices with one symbol each."""
    config = SliceConfig(3, 2, 7, rank=7)
    logits, indices = torch.randn(3, 2 * 5 * 4, 7, requires_grad=True), torch.randint(7, (2, 3, 5, 4))
    features = torch.eye(7).expand(3, 7, 7)
    (bits,) = slice_bits([SlicePrediction(config, None, None, None, logits / np.log(2), features, False)], indices)
    target = indices.transpose(0, 1).flatten()
    nats = F.cross_entropy(logits.flatten(0, 1), target, reduction="none").reshape(3, 2, -1)
    expected = nats.sum((0, 2)) / np.log(2)
    weights = torch.tensor([1.0, 3.0])
    (gradient,) = torch.autograd.grad((bits * weights).sum(), logits)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), logits)
    torch.testing.assert_close(bits, expected)
    torch.testing.assert_close(gradient, wanted)


def test_bits_by_shells_are_the_cross_entropy():
    """Length, shells without 0 for the last one, codewords of the shell alone; the gradient reaches all logits."""
    torch.manual_seed(0)
    config, count = SliceConfig(3, 2, 15, rank=15), 40
    assert config.shells == (1, 6, 8)
    possible = torch.from_numpy(possible_ranges(config))
    lengths, shells, words, ranges = (
        torch.randn(*shape, requires_grad=True)
        for shape in ((count, 4), (3, count, config.shell_count), (3, count, 15), (1, 3, *possible.shape))
    )
    indices = torch.randint(15, (3, count)) * torch.randint(2, (3, count))
    outer = random_outer_points(config, 3 * count, np.random.default_rng(0))
    indices = torch.where(torch.rand(3, count) < 0.1, torch.from_numpy(outer).reshape(3, count).long(), indices)
    features = torch.eye(15).expand(3, 15, 15)
    allowed = ranges.masked_fill(~possible, -np.inf)
    prediction = SlicePrediction(config, lengths, shells, allowed, words / np.log(2), features, False)
    (bits,) = slice_bits([prediction], indices.reshape(1, 3, 1, count))
    expected, allowed = torch.zeros(()), ranges.masked_fill(~possible, -np.inf)  # a graph of its own
    for n in range(count):
        length = max((g + 1 for g in range(3) if indices[g, n] != 0), default=0)
        expected = expected - torch.log_softmax(lengths[n], 0)[length]
        for g in range(length):
            first = int(g == length - 1)  # shell 0 cannot be
            index = int(indices[g, n])
            shell = int(shells_of(config, indices[g, n]))
            expected = expected - torch.log_softmax(shells[g, n, first:], 0)[shell - first]
            if index > 0:
                start = sum(config.shells[:shell])
                own = words[g, n, start : start + config.shells[shell]]
                expected = expected - torch.log_softmax(own, 0)[index - start]
            if index < 0:
                points = outer_symbols(config, np.array([index], np.int32))
                expected = expected + int(points.place_bits.sum()) * np.log(2)
                for state, chosen in zip(points.states[0], points.ranges[0], strict=True):
                    own = allowed[0, g, points.shells[0], state]
                    expected = expected - torch.log_softmax(own, 0)[chosen]
    inputs = (lengths, shells, words, ranges)
    torch.testing.assert_close(bits[0], expected / np.log(2))
    for one, other in zip(
        torch.autograd.grad(bits[0], inputs), torch.autograd.grad(expected / np.log(2), inputs), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_train_export_encode_decode(crops, tmp_path):
    joint = trainer(tmp_path / "run", crops)
    fit(joint, tmp_path / "log.csv")
    prior = trainer(tmp_path / "prior", crops, joint.average, stage="prior")
    fit(prior, tmp_path / "log.csv", crops.photos[:2])
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows if row["stage"] == "joint"]
    assert losses[-1] < losses[0]
    rates = [float(row["bpp"]) for row in rows if row["stage"] == "prior" and row["bpp"]]
    assert rates[-1] < rates[0]
    assert rows[-1]["valid_bpp"]

    export(prior.average, tmp_path / "tiny.safetensors", {"steps": 40})
    codec = Codec(model_path=tmp_path / "tiny.safetensors", device="cpu")
    pixels = crops.photos[0].permute(1, 2, 0).numpy()
    data = codec.encode(pixels, 80)
    estimate = evaluate(prior.average, crops.photos[:1], (0.8,)).points[0]
    assert psnr(np.asarray(codec.decode(data)), pixels) == pytest.approx(estimate.psnr, abs=0.5)
    area = pixels.shape[0] * pixels.shape[1]
    container = 17 + 2 * (6 + 8)  # header; per section its frame and the coder's state
    assert 8 * (len(data) - container) / area == pytest.approx(estimate.bpp, rel=0.1)


def test_resuming_is_exact(crops, tmp_path):
    whole = trainer(tmp_path / "whole", crops, steps=6)
    fit(whole, tmp_path / "log.csv")
    half = trainer(tmp_path / "half", crops, steps=6)
    for _ in range(3):
        half.train_step()
    half.save()
    again = trainer(tmp_path / "half", crops, Network(TINY), steps=6)
    again.resume()
    fit(again, tmp_path / "log.csv")
    for module, other in ((whole.network, again.network), (whole.average, again.average)):
        for (name, a), b in zip(module.state_dict().items(), other.state_dict().values(), strict=True):
            assert torch.equal(a, b), name


@pytest.mark.parametrize("stage", ["joint", "prior"])
def test_every_parameter_of_a_stage_has_one_optimizer(crops, tmp_path, stage):
    run = trainer(tmp_path, crops, stage=stage)
    run.train_step()
    moments = [name.rpartition(".") for name in run.optimizer.state()]
    by_adam = [name.removeprefix("adam.") for name, _, moment in moments if moment == "exp_avg"]
    by_muon = [name.removeprefix("muon.") for name, _, moment in moments if moment == "momentum_buffer"]
    trained = [name for name, _ in run.network.named_parameters() if stage == "joint" or name.startswith("prior.")]
    assert sorted(by_adam + by_muon) == sorted(trained)
    assert "prior.0.past.weight" in by_muon and "prior.0.heads.0.coefficients.weight" in by_adam


def test_training_goes_on_from_shipped_weights(crops, tmp_path):
    network = fresh_network(TINY, crops, seed=0, size=32)
    export(network, tmp_path / "a.safetensors", {})
    again = from_weights(tmp_path / "a.safetensors")
    export(again, tmp_path / "b.safetensors", {})
    first, second = (evaluate(n, crops.photos[:1], (0.5,)).points[0] for n in (network, again))
    assert second.bpp == pytest.approx(first.bpp, rel=0.02) and second.psnr == pytest.approx(first.psnr, abs=0.05)


def test_distortion_mixes_squared_error_and_ms_ssim():
    x = torch.rand(2, 3, 176, 176, generator=torch.Generator().manual_seed(0))
    y = (x + 0.1 * torch.linspace(-1, 1, 176)).requires_grad_()
    mse = (y - x).square().mean((1, 2, 3)) * 255**2
    assert torch.equal(mix(mse, x, y, 0.0), mse)
    ends = mix(mse, x, y, 1.0)
    assert (ends > 0).all() and torch.equal(mix(torch.zeros(2), x, x, 1.0), torch.zeros(2))
    assert mix(mse, x, y, 0.25).detach().numpy() == pytest.approx((0.75 * mse + 0.25 * ends).detach().numpy())
    ends.sum().backward()
    assert y.grad is not None and y.grad.isfinite().all() and y.grad.any()


def test_ms_ssim_wants_large_pictures(crops):
    with pytest.raises(ValueError, match="at least 161 pixels, not 160"):
        TrainingPlan(similarity=0.1, crop=160)
    large = torch.nn.functional.interpolate(crops.photos[0][None].float(), (161, 161)).byte()[0]
    network = fresh_network(TINY, crops, seed=0, size=32)
    assert 0.5 < evaluate(network, [large], (0.1,)).points[0].ms_ssim < 1
    assert np.isnan(evaluate(network, [large[:, :160]], (0.1,)).points[0].ms_ssim)


def test_bd_rate_at_equal_ms_ssim():
    anchor = [Point(0.2 * 2**i, 30.0, 1 - 0.1 / 2**i) for i in range(4)]
    half = [Point(p.bpp / 2, p.psnr + i, p.ms_ssim) for i, p in enumerate(anchor)]
    assert bd_rate(anchor, half, "ms_ssim") == pytest.approx(-50)
    assert np.isnan(bd_rate(anchor, [Point(p.bpp, p.psnr, np.nan) for p in anchor], "ms_ssim"))


def test_export_blends_two_runs(crops, tmp_path):
    one, other = trainer(tmp_path / "one", crops), trainer(tmp_path / "other", crops, rate=0.1)
    for run in (one, other):
        run.train_step()
        run.save()
    stages.write_weights(one.state_file, tmp_path / "a.safetensors", [], print, other.state_file, 0.25)
    blended = from_weights(tmp_path / "a.safetensors").vqvae.state_dict()
    pairs = zip(one.average.vqvae.state_dict().items(), other.average.vqvae.state_dict().values(), strict=True)
    for (name, a), b in pairs:
        if "counts" not in name and "sums" not in name:  # stored as 16-bit floats
            assert torch.allclose(blended[name], torch.lerp(a, b, 0.25), atol=1e-3), name
    strange = trainer(tmp_path / "strange", crops, fresh_network(PRESETS["vqvae"], crops, 0, 32))
    strange.save()
    with pytest.raises(ValueError, match="its model configuration differs"):
        stages.write_weights(one.state_file, tmp_path / "b.safetensors", [], print, strange.state_file, 0.25)


@pytest.mark.parametrize("preset", ["vqvae", "vqvae2", "vqvae2-3level"])
def test_models_of_the_papers_train(crops, tmp_path, preset):
    run = trainer(tmp_path, crops, fresh_network(PRESETS[preset], crops, 0, 32), steps=4, batch=2, rate=1e-4, warmup=2)
    first = run.train_step()["loss"]
    losses = [run.train_step()["loss"] for _ in range(3)]
    assert all(np.isfinite([first, *losses]))
    for quantizers in run.network.vqvae.quantizers:
        usage = quantizers[0].usage()
        assert 1 <= usage.perplexity <= 512.01 and 0 < usage.used <= 1


@pytest.mark.slow
def test_two_processes_hold_the_same_weights(photo_folder, tmp_path):
    """Run the same command under torchrun; every process ends at the same time, with the same network."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import sys, torch, torch.distributed as dist\n"
        "from pathlib import Path\n"
        "from tests.support.tiny import TINY\n"
        "from vqcodec.training.data import Crops, find_photos, load_photos\n"
        "from vqcodec.training.trainer import Intervals, TrainingPlan, Trainer, fresh_network\n"
        "dist.init_process_group('gloo')\n"
        "torch.set_num_threads(1)\n"
        "crops = Crops(load_photos(find_photos(sys.argv[1])), 0)\n"
        "plan = TrainingPlan(batch=2, crop=32, half=False, warmup=2, minutes=0.03, hold=0.1)\n"
        "run = Trainer(Path(sys.argv[2]), plan, fresh_network(TINY, crops, 0, 32), crops, torch.device('cpu'))\n"
        "list(run.fit(Intervals(), Path(sys.argv[2]) / 'log.csv', []))\n"
        "assert run.step > 2\n"
        "for tensor in run.network.state_dict().values():\n"
        "    other = tensor.clone(); dist.broadcast(other, 0)\n"
        "    assert torch.allclose(tensor, other, atol=1e-6)\n"
        "dist.barrier()\n"
        "dist.destroy_process_group()\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*command, str(script), str(photo_folder), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]  # the workers' own errors come first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prior", "--init", "FILE"], "neither a weights file nor the state of a run"),
        (["finetune", "--init", "FILE"], "not a weights file"),
        (["finetune", "--init", "WEIGHTS", "--crops", "8"], "8 crops are less than a batch of 16"),
        (["joint", "--resume"], "there is no run to continue"),
        (["lifelike", "--resume"], "there is no run to continue"),
    ],
)
def test_what_training_cannot_use_is_named(photo_folder, tmp_path, capsys, arguments, message):
    from vqcodec.cli.train import main

    (tmp_path / "x.txt").write_text("text")
    paths = {"FILE": str(tmp_path / "x.txt"), "WEIGHTS": str(registry.weights_file("vqc-1"))}
    with pytest.raises(SystemExit) as stop:
        main([paths.get(a, a) for a in arguments] + ["--data", str(photo_folder), "--run", str(tmp_path / "r")])
    told = capsys.readouterr().err
    assert stop.value.code == 1 and message in told and "Traceback" not in told
    assert "FILE" not in arguments or "x.txt" in told


def test_command_line_trains_and_resumes(photo_folder, tmp_path):
    from vqcodec.cli.train import main

    common = ["--data", str(photo_folder), "--run", str(tmp_path / "r"), "--log", str(tmp_path / "log.csv")]
    small = ["--preset", "vqvae", "--batch", "1", "--crop", "32", "--device", "cpu"]
    for extra in (["--steps", "1"], ["--steps", "2", "--resume"]):
        with pytest.raises(SystemExit) as stop:
            main(["joint", *common, *small, *extra])
        assert stop.value.code == 0
    assert (tmp_path / "r" / "state.safetensors").exists()


def test_command_line_says_what_is_wrong_and_spares_what_is_there(photo_folder, tmp_path, capsys):
    from vqcodec.cli.train import main

    begun = tmp_path / "begun" / "state.safetensors"
    begun.parent.mkdir()
    begun.write_bytes(b"hours of work")
    (tmp_path / "empty").mkdir()
    small = ["--preset", "vqvae", "--steps", "1", "--batch", "1", "--crop", "32"]
    for data, run, extra, message in (
        (photo_folder, "begun", [], f"{begun} exists already"),
        (photo_folder, "new", ["--resume"], str(tmp_path / "new")),
        (photo_folder, "new", ["--device", "abacus"], "device 'abacus'"),
        (photo_folder, "new", ["--crop", "5000"], "no photograph is 5000 pixels"),
        (tmp_path / "empty", "new", [], "empty: no photographs"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["joint", "--data", str(data), "--run", str(tmp_path / run), *small, *extra])
        told = capsys.readouterr().err
        assert stop.value.code == 1 and message in told and "Traceback" not in told
    assert begun.read_bytes() == b"hours of work"


def test_all_stages_resume_where_they_were(photo_folder, tmp_path):
    from vqcodec.cli.train import main

    common = ["--data", str(photo_folder), "--run", str(tmp_path), "--out", str(tmp_path / "w.safetensors")]
    small = [
        "--preset",
        "vqvae",
        "--batch",
        "1",
        "--crop",
        "32",
        "--device",
        "cpu",
        "--steps",
        "1",
        "--prior-steps",
        "1",
    ]
    states = [tmp_path / stage / "state.safetensors" for stage in ("joint", "prior")]
    seen = []
    for extra in ([], ["--resume"]):
        with pytest.raises(SystemExit) as stop:
            main(["all", *common, *small, *extra])
        assert stop.value.code == 0
        seen.append([load_state(path)[2] for path in states])
    assert seen[0] == seen[1]


def test_lattices_have_unit_cells_and_start_at_zero():
    for dim, size, minimum in ((1, 9, 1.0), (2, 7, (4 / 3) ** 0.25), (4, 25, 2**0.25), (8, 241, 2**0.5)):
        points = lattice(dim, size)
        assert torch.equal(points[0], torch.zeros(dim))
        assert torch.cdist(points, points).fill_diagonal_(9).min() == pytest.approx(minimum, abs=1e-5)


def test_expected_bits_gradient_is_the_derivative():
    torch.manual_seed(0)
    codebook, logits = lattice(2, 19)[None].double(), torch.randn(1, 5, 19).double()
    z = torch.randn(1, 5, 2).double().requires_grad_()
    costs = torch.cdist(z, codebook).square()
    bits = -torch.log_softmax(logits, -1) / np.log(2)
    expected = (torch.softmax(-costs / 0.2, -1) * bits).sum()
    (gradient,) = torch.autograd.grad(expected, z)
    found = expected_bits_gradient(costs.detach().clone(), logits, codebook)
    torch.testing.assert_close(found, gradient)


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_outer_points_cost_a_bit_more_in_each_dimension_twice_as_far_out(dim):
    z = (torch.randn(5, dim, generator=torch.Generator().manual_seed(dim)) * 20).double().requires_grad_()
    (gradient,) = torch.autograd.grad(dim * z.norm(dim=1).log2().sum(), z)
    torch.testing.assert_close(outer_bits_gradient(z.detach()), gradient)


def test_latents_beyond_the_codebook_are_drawn_back():
    network, z = Network(TINY), torch.full((1, TINY.levels[0].latents, 2, 2), 400.0)
    z[:, :, 0, 0] = 0
    found = assign_codewords(
        network.vqvae.quantizers[0],
        network.prior[0],
        z,
        None,
        torch.zeros(1),
        entropy_constrained=True,
        want_gradient=True,
    )
    beyond = torch.tensor([[False, True], [True, True]])
    assert ((found.indices < 0) == beyond).all()
    assert found.rate_gradient is not None
    assert ((found.rate_gradient > 0) == beyond).all()


def test_gains_learn_rate_and_distortion_but_not_the_commitment(crops):
    network, quality = Network(TINY), torch.tensor([0.3, 1.7])
    encoding = encode(network.vqvae, network.prior, crops.batch(0, 2, 32), quality, train_transforms=True)
    gain = network.vqvae.log_gain[-1].values
    assert torch.autograd.grad(encoding.commitment.sum(), gain, allow_unused=True, retain_graph=True) == (None,)
    assert (torch.autograd.grad(encoding.expected_bpp.sum(), gain)[0] != 0).any()


def test_codebooks_follow_what_chooses_them_and_unused_words_stay():
    quantizer = ProductQuantizer(SliceConfig(1, 2, 7), knots=2, entropy_constrained=True)
    start = quantizer.codebook.clone()
    target = start[0, 1] + 0.3
    z = target.repeat(1, 20, 1)
    for _ in range(3000):
        quantizer.learn(z, torch.ones(1, 20, dtype=torch.long), torch.zeros(1))
    torch.testing.assert_close(quantizer.codebook[0, 1], target, atol=0.01, rtol=0)
    torch.testing.assert_close(quantizer.codebook[0, 2:], start[0, 2:], atol=0.01, rtol=0)
    assert torch.equal(quantizer.codebook[0, 0], torch.zeros(2))
    assert quantizer.usage().used < 0.5
    moved = quantizer.revive(torch.full((1, 20, 2), 9.0), torch.Generator().manual_seed(0))
    assert moved == 5 and (quantizer.codebook[0, 2:] == 9).all()

"""Measures of samples: known values, and what they must say of sets that are the same, apart, or in part the same."""

import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from scipy.stats import norm

from benchmarks.cli import main
from benchmarks.errors import FeaturesUnavailable, NoPictures
from benchmarks.features import frechet_distance
from benchmarks.generation.digits import write_digits
from benchmarks.generation.measures import (
    ClassifierPlan,
    classification_accuracy,
    inception_score,
    precision_recall,
)
from benchmarks.generation.pictures import Pictures, open_pictures
from benchmarks.generation.study import Drawn, _features
from benchmarks.likelihood.bound import LEAST_VARIANCE, code, lossless_bits, pixel_bits
from tests.support.tiny import PLAIN, tiny_network
from vqcodec.training.export import export


def cloud(mean, count=400, seed=0, dim=6):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)) + mean


def test_frechet_distance_of_gaussians():
    a = cloud(0)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-3)
    assert frechet_distance(a, a + 3) == pytest.approx(6 * 9, rel=1e-3)  # the means alone differ
    wide = a.mean(0) + 2 * (a - a.mean(0))
    assert frechet_distance(a, wide) == pytest.approx(float(a.var(0).sum()), rel=1e-3)  # standard deviations s, 2 s
    assert frechet_distance(a, wide) == pytest.approx(frechet_distance(wide, a))


def test_inception_score_runs_from_1_to_the_number_of_classes():
    sure = 50 * torch.eye(5).repeat(20, 1)
    assert inception_score(sure) == pytest.approx(5, rel=1e-4)
    assert inception_score(sure[:1].repeat(50, 1)) == pytest.approx(1)
    assert inception_score(torch.zeros(10, 5)) == pytest.approx(1)


def test_precision_and_recall_tell_quality_from_diversity():
    both = torch.cat([cloud(0), cloud(50, seed=1)])
    one = cloud(0, seed=2)
    precision, recall = precision_recall(both, one)  # good samples of one of two kinds
    assert precision > 0.85 and 0.35 < recall < 0.55
    precision, recall = precision_recall(one, both)
    assert 0.35 < precision < 0.55 and recall > 0.85
    assert precision_recall(both, cloud(500)) == (0, 0)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    assert write_digits(folder) == 1797
    return folder


def test_digits_are_class_folders(digits):
    real = open_pictures(digits, (16, 16))
    assert real.classes == tuple("0123456789") and (len(real.train), len(real.held_out)) == (1437, 360)
    assert real.train.pixels.shape == (1437, 3, 16, 16) and real.train.pixels.dtype == torch.uint8
    assert torch.bincount(real.train.labels).min() > 100


def test_classification_accuracy_depends_on_the_samples(digits):
    real = open_pictures(digits, (16, 16))
    few = Pictures(real.train.pixels[::2], real.train.labels[::2])
    plan = ClassifierPlan(steps=60, batch=32)
    assert classification_accuracy(few, real.held_out, real.classes, plan) > 0.8
    wrong = Pictures(few.pixels, (few.labels + 1) % 10)
    assert classification_accuracy(wrong, real.held_out, real.classes, plan) < 0.1


def test_rejection_takes_the_best_of_each_class():
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    scores = torch.tensor([1.0, 0, 2, 9, 0, 5, 7, 1])
    drawn = Drawn(Pictures(torch.arange(8).reshape(8, 1, 1, 1), labels), scores)
    assert drawn.best(1, 0.25, 2).pixels.flatten().tolist() == [6, 3]
    assert drawn.best(1, 0.5, 2).pixels.flatten().tolist() == [2, 3]
    assert sorted(drawn.best(2, 1.0, 2).pixels.flatten().tolist()) == [0, 1, 2, 3]


def test_pictures_without_classes(tmp_path, tmp_path_factory):
    for i in range(12):
        Image.new("RGB", (40, 30), (i, i, i)).save(tmp_path / f"{i:02}.png")
    real = open_pictures(tmp_path, (20, 20))
    assert real.classes == () and (len(real.train), len(real.held_out)) == (9, 3)
    assert real.held_out.pixels[:, 0, 0, 0].tolist() == [0, 5, 10]
    with pytest.raises(FeaturesUnavailable, match="class folders"):
        _features("classifier", None)
    with pytest.raises(NoPictures):
        open_pictures(tmp_path_factory.mktemp("empty"), (20, 20))


@pytest.mark.slow
def test_generation_command_writes_a_page(tmp_path, digits):
    out, weights = tmp_path / "report", tmp_path / "tiny.safetensors"
    export(tiny_network(config=PLAIN), weights, {"plan": {"crop": 16}})
    arguments = ["generation", "--model-path", str(weights), "--data", str(digits / "test")]
    result = CliRunner().invoke(main, [*arguments, "--count", "10", "--steps", "5", "--out", str(out), "--quiet"])
    assert result.exit_code == 0, result.output
    record = json.loads((out / "generation.json").read_text())
    assert [row["keep"] for row in record["keep"]] == [1.0, 0.75, 0.5, 0.25]
    assert record["samples"] == 100 and record["held_out"]["frechet_distance"] < record["keep"][0]["frechet_distance"]
    page = (out / "index.html").read_text()
    assert "Frechet distance" in page and "http" not in page.split("<body>")[1].split("<script")[0]
    with Image.open(out / "samples.png") as sheet:
        assert sheet.size == (6 * 18 - 2, 10 * 18 - 2)


# Likelihood


def test_pixel_bits_are_those_of_a_discretised_gaussian():
    sigma, mean = 3.0, 100
    x = np.array([90, 100, 104, 0, 255])
    means = np.array([mean, mean, mean, 2, 250])
    probability = norm.cdf((x + 0.5 - means) / sigma) - norm.cdf((x - 0.5 - means) / sigma)
    probability[3] = norm.cdf((0.5 - 2) / sigma)
    probability[4] = norm.sf((254.5 - 250) / sigma)
    counts = np.zeros((3, 511), np.int64)
    for value, centre in zip(x, means, strict=True):
        counts[0 if value == 0 else 2 if value == 255 else 1, value - centre + 255] += 1
    assert pixel_bits(counts, sigma**2) == pytest.approx(-np.log2(probability).sum())


@pytest.mark.parametrize("mean", [0, 3, 128, 255])
def test_the_levels_of_a_pixel_have_probability_1(mean):
    total = 0.0
    for x in range(256):
        counts = np.zeros((3, 511), np.int64)
        counts[0 if x == 0 else 2 if x == 255 else 1, x - mean + 255] = 1
        total += 2.0 ** -pixel_bits(counts, 20.0)
    assert total == pytest.approx(1)


def test_far_errors_stay_finite():
    counts = np.ones((3, 511), np.int64)
    assert math.isfinite(pixel_bits(counts, LEAST_VARIANCE))


def test_coded_pictures(tiny_codec):
    image = Image.effect_noise((40, 30), 60).convert("RGB")
    coded = code(tiny_codec, image, 50)
    data = tiny_codec.encode(image, 50, lossless=False)
    assert 0 < coded.index_bits < 8 * len(data)
    assert coded.counts.sum() == 3 * 40 * 30
    decoded = np.asarray(tiny_codec.decode(data).convert("RGB")).astype(float)
    assert coded.squared_error == pytest.approx(((np.asarray(image) - decoded) ** 2).sum())
    assert lossless_bits(image, "WEBP") % 8 == 0 and lossless_bits(image, "PNG") > 0


def test_likelihood_command_writes_a_page(tmp_path, tiny_weights):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(2):
        Image.effect_noise((32, 32), 40 + i).save(pictures / f"{i}.png")
    out = tmp_path / "report"
    arguments = ["likelihood", "--dataset", str(pictures), "--model-path", str(tiny_weights), "--qualities", "30,90"]
    result = CliRunner().invoke(main, [*arguments, "--out", str(out), "--quiet"])
    assert result.exit_code == 0, result.output
    record = json.loads((out / "likelihood.json").read_text())
    for point in record["points"]:
        assert point["bound"] == pytest.approx(point["indices"] + point["pixels"])
        mean = np.mean([picture["bound"][str(point["quality"])] for picture in record["pictures"]])
        assert point["bound"] == pytest.approx(mean)
    assert set(record["lossless"]) == {"PNG", "WebP lossless"}
    assert "bits per dimension" in (out / "index.html").read_text()

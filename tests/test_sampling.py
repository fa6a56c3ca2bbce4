"""Samples: drawn from the distribution that the coder codes by, the same for the same seed, of the class asked for."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from tests.support.internals import every_index
from tests.support.tiny import PLAIN, TINY, random_head, random_prediction, tiny_network
from vqcodec import Codec
from vqcodec.codec.encoder import TILE_LOG2
from vqcodec.codec.sampler import Sampler
from vqcodec.coding import grids as coding_grids
from vqcodec.coding.likelihood import CodeLength
from vqcodec.coding.sampling import GridSeed, IndexSampler
from vqcodec.coding.slice_symbols import code_slice
from vqcodec.coding.symbols import FixedIndices, IndexEncoder
from vqcodec.coding.traversal import Wavefront, WavefrontLayout, walk
from vqcodec.config import PRESETS, SliceConfig
from vqcodec.errors import InvalidSampling
from vqcodec.stream.container import Header, Layout, read_stream
from vqcodec.training.export import export
from vqcodec.training.network import Network
from vqcodec.weights.registry import load_weights


def header(model, width=64, height=48, step=128):
    return Header(model.hash, width, height, Layout.RGB, step, TILE_LOG2)


def draw(model, *args):
    """Return the indices (G, H, W) of all levels of pictures that a model's priors draw."""
    return [every_index(grids) for grids in Sampler(model).grids(*args)]


@pytest.fixture(scope="module", params=["shells", "plain"])
def model(request, tmp_path_factory):
    """A tiny model."""
    path = tmp_path_factory.mktemp("sampling") / "model.safetensors"
    config, strength = (TINY, 1.0) if request.param == "shells" else (PLAIN, 0.2)
    export(tiny_network(seed=3, config=config, strength=strength), path, {})
    return load_weights(path)


def levels(model, sampled):
    """Yield prior, grids and coarser grids of each level."""
    coarse = None
    for level, prior in enumerate(model.priors):
        own = [grids[level] for grids in sampled]
        yield prior, own, coarse
        coarse = own


def lengths(model, sampled, step=128):
    """Return the code length in bits of each picture."""
    every = (coding_grids.code_lengths(*level, [step] * len(sampled)) for level in levels(model, sampled))
    return np.sum(list(every), 0)


def encode(prior, grids, coarse, step=128):
    """Return the payload of each grid of a level."""
    layout = WavefrontLayout(prior, [grid.shape[1:] for grid in grids])
    known = FixedIndices(layout, grids, [head.config.groups for head in prior.heads])
    port = IndexEncoder(layout.shapes, known)
    walk(prior, layout, coarse, [step] * len(grids), port)
    return port.to_bytes()


class EntropyMeter(IndexSampler):
    """Adds up the entropy of everything that is drawn, per picture."""

    def __init__(self, seeds, temperature=1.0):
        super().__init__(seeds, temperature)
        self.bits = np.zeros(len(seeds))
        type(self).last = self

    def categorical(self, parts, rows, symbols, rule=None):
        p = rows / rows.sum(1, keepdims=True)
        for item, part in parts:
            self.bits[item] -= (p[part] * np.log2(np.maximum(p[part], 1e-9))).sum()
        return super().categorical(parts, rows, symbols, rule)

    def uniform(self, parts, sizes, symbols):
        for item, part in parts:
            self.bits[item] += np.log2(sizes[part]).sum()
        return super().uniform(parts, sizes, symbols)


def test_streams_of_samples_cost_the_entropy_that_was_drawn(model, monkeypatch):
    monkeypatch.setattr(coding_grids, "IndexSampler", EntropyMeter)
    count, entropy = 50, np.zeros(50)
    own_header = header(model) if model.config.entropy_constrained else header(model, 144, 112)
    sampled = [[] for _ in range(count)]
    for level, prior in enumerate(model.priors):
        coarse = [grids[-1] for grids in sampled] if level else None
        seeds = [GridSeed(5, picture, 0, level) for picture in range(count)]
        shapes = [model.config.grid_shapes(own_header.height, own_header.width)[level]] * count
        for grids, own in zip(
            sampled, coding_grids.sample_grids(prior, seeds, shapes, coarse, [128] * count, 1.0), strict=True
        ):
            grids.append(own)
        entropy += EntropyMeter.last.bits
    payloads = [payload for level in levels(model, sampled) for payload in encode(*level)]
    assert entropy.mean() > 3000  # else the coder's 32 bits of state for each level count
    assert 8 * sum(map(len, payloads)) / count == pytest.approx(entropy.mean(), rel=0.03)
    assert lengths(model, sampled).mean() == pytest.approx(entropy.mean(), rel=0.03)
    for a, b in zip(sampled, draw(model, own_header, count, 5, 1.0, None), strict=True):
        assert all((one == other).all() for one, other in zip(a, b, strict=True))


@pytest.mark.parametrize("config", [SliceConfig(1, 1, 9, rank=8), SliceConfig(2, 1, 5, rank=8)], ids=str)
@pytest.mark.parametrize("by_shells", [True, False])
def test_frequencies_of_drawn_indices_are_the_priors(config, by_shells):
    """Chi-square against the code lengths of the indices, all drawn at positions with the same features."""
    head = random_head(config, by_shells=by_shells, strength=0.5)
    count = 20_000
    one = random_prediction(head, 1)
    same = head.predict(np.repeat(one.known, count, 0), np.repeat(one.quality, count))
    port = IndexSampler([GridSeed(0, 0, 0, 0)])
    drawn = code_slice(port, np.zeros(count, np.intp), same, None)
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    known = head.predict(np.repeat(one.known, len(found), 0), np.repeat(one.quality, len(found)))
    meter = CodeLength(len(found), lambda *_: found)
    meter.exchange(0, Wavefront(np.arange(len(found)), np.arange(len(found))), known)
    probable = 2.0**-meter.bits
    often = probable * count >= 5
    assert often.sum() >= 5
    observed, expected = list(counts[often]), list(probable[often] * count)
    if probable[often].sum() * count < count - 5:  # the rest as one
        observed, expected = [*observed, count - sum(observed)], [*expected, count - sum(expected)]
    expected = np.multiply(expected, sum(observed) / sum(expected))
    assert stats.chisquare(observed, expected).pvalue > 0.001
    assert stats.chisquare(observed, np.roll(expected, 1)).pvalue < 1e-6  # and the test can fail


def test_temperature_0_is_the_mode(model):
    cold = draw(model, header(model), 2, 0, 0.0, None)
    for a, b in zip(cold[0], draw(model, header(model), 1, 99, 0.0, None)[0], strict=True):
        np.testing.assert_array_equal(a, b)
    seen = 0

    class ModeChecker(CodeLength):
        def categorical(self, parts, rows, symbols, rule=None):
            nonlocal seen
            assert (rows[np.arange(len(rows)), symbols] == rows.max(1)).all()
            seen += len(rows)
            return super().categorical(parts, rows, symbols, rule)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coding_grids, "CodeLength", ModeChecker)
        lengths(model, cold)
    assert seen > 100


@pytest.mark.parametrize("by_shells", [True, False])
def test_the_colder_the_likelier(by_shells):
    head = random_head(SliceConfig(3, 1, 9, rank=8), by_shells=by_shells)
    bits = []
    for temperature in (0, 0.5, 1, 2):
        port = IndexSampler([GridSeed(1, 0, 0, 0)], temperature)
        drawn = code_slice(port, np.zeros(500, np.intp), random_prediction(head, 500), None)
        meter = CodeLength(1, lambda *_, drawn=drawn: drawn)
        meter.exchange(0, Wavefront(np.arange(500), np.zeros(500, np.intp)), random_prediction(head, 500))
        bits.append(meter.bits[0])
    assert bits == sorted(bits) and bits[0] < 0.9 * bits[2] < 0.9 * 0.9 * bits[3]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_outer_points_keep_their_shells(temperature):
    """What is drawn can be coded, whatever the rules refuse: here nearly all indices are outer points."""
    config = SliceConfig(2, 4, 24, rank=8)
    head = random_head(config)
    head.shells.length.bias[:] = [-999, -999, 999]
    head.shells.shell.bias.reshape(2, -1)[:, : len(config.shells)] = -999
    prediction = random_prediction(head, 300)
    drawn = code_slice(IndexSampler([GridSeed(0, 0, 0, 0)], temperature), np.zeros(300, np.intp), prediction, None)
    assert (drawn < 0).mean() > 0.9
    meter = CodeLength(1, lambda *_: drawn)
    again = meter.exchange(0, Wavefront(np.arange(300), np.zeros(300, np.intp)), random_prediction(head, 300))
    np.testing.assert_array_equal(again, drawn)


def test_the_same_seed_draws_the_same_symbols_on_every_machine():
    rng = np.random.Generator(np.random.PCG64(7))
    rows = np.floor(2 ** (16 * rng.integers(2**20, size=(500, 9)) / 2**20))
    rows[:, 0] = 2**16
    digest = hashlib.sha256()
    for temperature in (1.0, 0.6):
        port = IndexSampler([GridSeed(2**64 - 1, 3, 1, 2), GridSeed(0, 0, 0, 0)], temperature)
        parts = [(0, slice(0, 200)), (1, slice(200, 500))]
        digest.update(port.categorical(parts, rows.copy(), None).astype("<i4").tobytes())
        digest.update(port.uniform(parts, np.left_shift(1, np.arange(500) % 12), None).astype("<i4").tobytes())
    assert digest.hexdigest() == "fd5975c4a64d5f1a2ff5198e8a27e3f044a12a18ab864b020320f5820c87c45a"


def test_pictures_do_not_depend_on_their_number_or_on_compiled_code(model, monkeypatch):
    few = draw(model, header(model), 2, 7, 1.0, None)
    if coding_grids._load() is not None:
        monkeypatch.setattr(coding_grids, "LOAD_AFTER", 0)
        monkeypatch.setattr(coding_grids, "_compiled", coding_grids._Compiled())
    many = draw(model, header(model), 5, 7, 1.0, None)
    for a, b in zip(few, many, strict=False):
        for one, other in zip(a, b, strict=True):
            np.testing.assert_array_equal(one, other)
    assert (many[0][0] != many[1][0]).any()


def test_a_sample_is_a_picture_that_can_be_coded(tiny_codec):
    (image,) = tiny_codec.sample(size=(50, 41), seed=4, quality=70)
    assert (image.size, image.mode) == ((50, 41), "RGB")
    own = header(tiny_codec.model, 50, 41, round(0.7 * 255))
    (grids,) = Sampler(tiny_codec.model).grids(own, 1, 4, 1.0, None)
    np.testing.assert_array_equal(np.asarray(image), tiny_codec._decoder.synthesis.pixels(own, grids))


def test_from_keeps_the_top_grid(tiny_codec, photo):
    data = tiny_codec.encode(photo.crop((0, 0, 80, 70)).convert("L"), lossless=False)
    stream = read_stream(data)
    ((coarse, fine),) = tiny_codec._decoder.grids([stream])
    top, bottom = coarse.read(), fine.read()
    every = draw(tiny_codec.model, stream.header, 2, 0, 1.0, None, coarse)
    for grids in every:
        np.testing.assert_array_equal(grids[0], top)
        assert (grids[1] != bottom).any()
    images = tiny_codec.sample(2, start=data)
    assert [image.mode for image in images] == ["L", "L"] and images[0].size == (80, 70)
    assert images[0].tobytes() != images[1].tobytes()
    with pytest.raises(InvalidSampling, match="exact pixels"):
        tiny_codec.sample(start=tiny_codec.encode(photo, lossless=True))


def test_tiles_are_drawn_apart(tiny_codec, monkeypatch):
    """A picture of several tiles: each is drawn like one on its own, with its own random numbers."""
    model = tiny_codec.model
    wide = Header(model.hash, 160, 64, Layout.RGB, 128, 6)
    (grids,) = draw(model, wide, 1, 3, 1.0, None)
    (first,) = draw(model, Header(model.hash, 64, 64, Layout.RGB, 128, 6), 1, 3, 1.0, None)
    for whole, part in zip(grids, first, strict=True):
        np.testing.assert_array_equal(whole[:, :, : part.shape[2]], part)
    assert (grids[0][:, :, :4] != grids[0][:, :, 4:8]).any()


def test_three_levels_are_drawn(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "three.safetensors"
    export(Network(PRESETS["vqvae2-3level"]).eval(), path, {"plan": {"crop": 32}})
    codec = Codec(model_path=path, device="cpu")
    first, second = codec.sample(2)
    assert first.size == (32, 32) and first.tobytes() != second.tobytes()
    (grids,) = draw(codec.model, header(codec.model, 32, 32), 1, 0, 1.0, None)
    assert [grid.shape for grid in grids] == [(1, 2, 2), (1, 4, 4), (1, 8, 8)]


def brightness(x):
    """A classifier of two classes: dark and bright."""
    mean = x.mean((1, 2, 3))
    return torch.stack([-mean, mean], 1)


def test_rejection_keeps_what_the_classifier_finds_likeliest(tiny_codec):
    every = tiny_codec.sample(8, size=(32, 32))
    kept = tiny_codec.sample(2, size=(32, 32), keep=0.25, classifier=brightness)
    means = [np.mean(image) for image in every]
    sure = sorted(range(8), key=lambda i: -abs(means[i]))  # no class asked for: the surest of any
    assert [image.tobytes() for image in kept] == [every[i].tobytes() for i in sorted(sure[:2])]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"count": 0}, "count"),
        ({"keep": 0}, "keep"),
        ({"keep": 0.5}, "needs a classifier"),
        ({"seed": -1}, "seed"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"label": "cat"}, "knows no class 'cat'"),
        ({"size": (0, 5)}, "size"),
        ({"keep": 0.5, "classifier": lambda x: x}, "the classifier gives"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_cannot_be_drawn_is_refused(tiny_codec, arguments, message):
    with pytest.raises(InvalidSampling, match=message):
        tiny_codec.sample(**{"size": (16, 16), **arguments})


def test_sheets_hold_all_pictures():
    from vqcodec.images.sheet import contact_sheet

    colours = ["red", "green", "blue", "white", "black"]
    sheet = contact_sheet([Image.new("RGB", (10, 8), colour) for colour in colours])
    assert sheet.size == (34, 18)
    assert sheet.getpixel((5, 4)) == (255, 0, 0) and sheet.getpixel((17, 14)) == (0, 0, 0)
    assert contact_sheet([Image.new("L", (4, 4))] * 3, 3).size == (16, 4)

"""Untrusted weights files: anything but a complete and valid model raises a named error."""

import hashlib
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

import vqcodec
from tests.support.independent_decoder import fingerprint as independent_fingerprint
from vqcodec.coding import integer_prior
from vqcodec.coding.fingerprint import fingerprint
from vqcodec.config import PRESETS
from vqcodec.errors import InvalidWeights, MissingFile, UnreadableFile
from vqcodec.training.export import export
from vqcodec.training.network import Network
from vqcodec.weights import lifelike, registry


@pytest.fixture(scope="module")
def content(tiny_weights):
    return tiny_weights.read_bytes()


def metadata_of(content):
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]


def refused(tmp_path, content, match):
    """Return the message of the error that a file raises."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidWeights, match=match) as caught:
        registry.load_weights(path)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_what_the_specification_says(tiny_weights, plain_weights):
    for path in (tiny_weights, plain_weights):
        assert metadata_of(path.read_bytes())["fingerprint"] == independent_fingerprint(path)


@pytest.mark.parametrize("model", registry.model_ids())
def test_the_fingerprint_of_shipped_weights(model):
    path = registry.weights_file(model)
    assert lifelike.model_sha256(path.read_bytes()) == registry._PINNED[model]
    assert metadata_of(path.read_bytes())["fingerprint"] == independent_fingerprint(path)


def test_inexact_arithmetic_is_detected(tmp_path, content, monkeypatch):
    """Sums with the eleven bits of tensor cores are an example of inexact ones."""

    def product(linear, x):
        short = (x @ linear.weight).view(np.uint32) & np.uint32(0xFFFFE000)
        return np.floor(short.view(np.float32) + linear.bias)

    monkeypatch.setattr(integer_prior.Linear, "__call__", product)
    refused(tmp_path, content, "this machine's matrix products are not exact")


def test_every_array_enters_the_fingerprint(tiny_codec):
    config, arrays = tiny_codec.model.config, tiny_codec.model.arrays
    known = fingerprint(tiny_codec.model.priors)
    assert fingerprint(integer_prior.read_prior(arrays, config)) == known
    unseen = set()
    for name, array in arrays.items():
        ramp = np.arange(array.size).reshape(array.shape) % 3 * (4096 if name.endswith("bias") else 1)
        changed = array + 1 if name.endswith(".exponent") else array // 2 + ramp.astype(array.dtype)
        if "embedding" in name:
            changed[:, 0] = 0
        if fingerprint(integer_prior.read_prior({**arrays, name: changed}, config)) == known:
            unseen.add(name)
    assert unseen == set()


def test_loading_does_not_depend_on_the_path(tiny_weights, tmp_path, content):
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    assert registry.load_weights(path).hash == registry.load_weights(tiny_weights).hash


@pytest.mark.parametrize("length", [0, 7, 8, 100, 5000, -1])
def test_cut_files(tmp_path, content, length):
    refused(tmp_path, content[:length], "not a weights file")


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**63, 2**64 - 1])
def test_absurd_header_lengths(tmp_path, content, length):
    refused(tmp_path, length.to_bytes(8, "little") + content[8:], "not a weights file")


def test_trailing_bytes(tmp_path, content):
    refused(tmp_path, content + b"\0", "not a weights file")


@pytest.mark.parametrize("key", ["format", "config", "facts", "fingerprint"])
@pytest.mark.parametrize("value", [None, "", "nonsense", "[" * 100_000, "[1]", "{}"])
def test_metadata_that_are_missing_or_nonsense(tmp_path, content, key, value):
    metadata = metadata_of(content)
    del metadata[key]
    if value is not None:
        metadata[key] = value
    if (key, value) == ("facts", "{}"):  # an empty object is valid
        path = tmp_path / "modest.safetensors"
        path.write_bytes(save(load(content), metadata))
        assert registry.load_weights(path)
        return
    refused(tmp_path, save(load(content), metadata), "weights|fingerprint|frequencies")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"stride": 16', '"stride": 17'),
        ('"stride": 16', '"stride": -16'),
        ('"knots": 3', '"knots": 1000000000000'),
        ('"knots": 3', '"knots": true'),
        ('"knots": 3', '"knots": "3"'),
        ('"pixel_blocks": 1', '"pixel_blocks": 1000000000000'),
        ('"size": 32', '"size": 1000000000000'),
        ('"size": 32', '"size": 1'),
        ('"size": 32', '"size": 2'),
        ('"size": 32', '"size": 2048'),
        ('"dim": 2', '"dim": 1e300'),
        ('"dim": 2', '"dim": 9'),
        ('"groups": 4', '"groups": 0'),
        ('"channels": 12', '"channels": 1000000000000'),
        ('"attention_heads": 1', '"attention_heads": 1000000000000'),
        ('"predicted": 4', '"predicted": 1000'),
        ('"lambda_max": 2.07', '"lambda_max": NaN'),
        ('"lambda_max": 2.07', '"lambda_max": 0'),
        ('"levels": [', '"levels": [], "name": ['),
        ('"levels": [', '"unknown": 1, "levels": ['),
        ('"hidden": 16', '"hidden": 4096'),
    ],
)
def test_hostile_configurations(tmp_path, content, old, new):
    metadata = metadata_of(content)
    assert old in metadata["config"]
    metadata["config"] = metadata["config"].replace(old, new, 1)
    start = time.process_time()
    refused(tmp_path, save(load(content), metadata), "weights|fit|array|integers")
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("vqvae.quantizers.0.0.codebook", lambda t: t.fill_(float("nan")), "not finite"),
        ("vqvae.pixel_synthesis.out.bias", lambda t: t.fill_(float("inf")), "not finite"),
        ("vqvae.pixel_synthesis.out.bias", lambda t: t[:-1], "do not fit"),
        ("vqvae.pixel_synthesis.out.bias", lambda t: t.double(), "unexpected tensor .* of type torch.float64"),
        ("vqvae.pixel_synthesis.out.bias", lambda t: t.bfloat16(), "unexpected tensor .* of type torch.bfloat16"),
        ("vqvae.quantizers.1.2.frequencies", lambda t: t[:, :0], "do not fit"),
        ("prior.0.past.weight", lambda t: t.float(), "unexpected tensor .* of type torch.float32"),
        ("prior.0.past.weight", lambda t: t.to(torch.bfloat16), "unexpected tensor .* of type torch.bfloat16"),
        ("prior.0.past.weight", lambda t: t.to(torch.int64), "unexpected tensor .* of type torch.int64"),
        ("prior.0.past.weight", lambda t: t.T.contiguous(), "not integers"),
        ("prior.0.past.weight", lambda t: t.to(torch.int32).fill_(2**20), "can reach"),
        ("prior.0.past.weight", lambda t: t.to(torch.int32).fill_(-(2**31)), "beyond"),
        ("prior.0.past.bias", lambda t: t.fill_(2**24 - 1), "can reach"),
        ("prior.0.past.exponent", lambda t: t.fill_(127), "beyond 20"),
        ("prior.1.heads.0.exponent", lambda t: t.fill_(-21), "beyond 20"),
        ("prior.1.heads.0.features", lambda t: t.fill_(2**14), "can exceed the range"),
        ("prior.0.attention.bias", lambda t: t.fill_(2**24 - 2), "beyond"),
        ("prior.0.quality", lambda t: t.to(torch.int32).fill_(2**24), "beyond"),
        ("prior.1.context.embedding.0", lambda t: t.fill_(256), "beyond 255"),
        ("prior.0.embedding.1", lambda t: t.fill_(1), "does not embed codeword 0 as zero"),
        ("prior.1.context.embedding.1", lambda t: t.fill_(1), "does not embed codeword 0 as zero"),
        ("prior.0.embedding.1", lambda t: t[:, :-1], "not integers"),  # one outer shell too few
        ("prior.0.heads.0.shells.length_quality", lambda t: t.to(torch.int32).fill_(2**15), "beyond 32767"),
        ("prior.0.heads.0.shells.shell_quality", lambda t: t.to(torch.int32).fill_(-(2**15)), "beyond 32767"),
        ("prior.0.heads.0.shells.length.bias", lambda t: t.fill_(2**24 - 1), "can reach"),
        ("prior.0.heads.0.shells.shell.exponent", lambda t: t.fill_(-20), "can reach"),
        ("prior.1.heads.0.exponent", lambda t: t.fill_(-20), "can exceed the range"),
    ],
)
def test_hostile_tensors(tmp_path, content, name, change, match):
    tensors = load(content)
    tensors[name] = change(tensors[name].clone()).contiguous()
    refused(tmp_path, save(tensors, metadata_of(content)), match)


@pytest.mark.parametrize(
    "name", ["prior.0.past.bias", "vqvae.pixel_synthesis.out.bias", "vqvae.quantizers.0.0.codebook"]
)
def test_missing_tensors(tmp_path, content, name):
    tensors = load(content)
    del tensors[name]
    refused(tmp_path, save(tensors, metadata_of(content)), re.escape(name.split(".", 1)[1]))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("prior.0.more", torch.int8),
        ("prior.2.past.bias", torch.int32),
        ("vqvae.more", torch.float32),
        ("more", torch.float32),
        ("vqvae.analysis.stem.1.bias.more", torch.float16),
    ],
)
def test_extra_tensors(tmp_path, content, name, dtype):
    tensors = {**load(content), name: torch.zeros(3, dtype=dtype)}
    refused(tmp_path, save(tensors, metadata_of(content)), re.escape(name.split(".", 1)[-1]))


def test_pickles_are_not_read(tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "pickled")
    refused(tmp_path, (tmp_path / "pickled").read_bytes(), "not a weights file")


def test_weights_of_the_papers_models_load(tmp_path):
    network = Network(PRESETS["vqvae2"]).eval()
    export(network, tmp_path / "a.safetensors", {"steps": 0})
    model = registry.load_weights(tmp_path / "a.safetensors")
    assert model.config == PRESETS["vqvae2"] and model.facts == {"steps": 0}


def test_loading_does_not_import_half_of_torch():
    """Building a model on the "meta" device can import sympy and dynamo, which takes seconds."""
    program = (
        "import sys; from vqcodec.weights import registry; registry.load_model()\n"
        "print({'sympy', 'torch._dynamo'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"


def test_the_configuration_is_read_from_the_header_alone(tiny_codec, tiny_weights, monkeypatch):
    config, stream = tiny_codec.model.config, tiny_codec.encode(np.zeros((20, 40), np.uint8), lossless=False)
    monkeypatch.setattr(registry, "_read_weights", None)
    monkeypatch.setattr(registry, "_cache", {})
    info = vqcodec.info(stream, model_path=tiny_weights)
    assert (info.model, info.grids) == (tiny_weights.stem, [list(s) for s in config.grid_shapes(20, 40)])
    assert (vqcodec.info(stream).model, vqcodec.info(stream).grids) == (None, [])
    assert registry.read_config(tiny_weights) == config
    sha256 = hashlib.sha256(tiny_weights.read_bytes()).digest()
    assert registry.find_config(sha256[:8], tiny_weights) == (tiny_weights.stem, config)
    assert registry.find_config(sha256[:8]) is None
    for model in registry.model_ids():
        model_hash = bytes.fromhex(registry._PINNED[model])[:8]
        found = (model, registry.read_config(registry.weights_file(model)))
        assert registry.find_config(model_hash) == registry.find_config(model_hash, tiny_weights) == found


@pytest.mark.parametrize("length", [0, 7, 8, 100, 5000, -1])
def test_a_configuration_is_not_read_from_cut_files(tmp_path, content, length):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content[:length])
    with pytest.raises(InvalidWeights, match="not a weights file"):
        registry.read_config(path)
    with pytest.raises(MissingFile):
        registry.read_config(tmp_path / "absent.safetensors")
    with pytest.raises(UnreadableFile):
        registry.read_config(tmp_path)


@pytest.mark.parametrize("key", ["format", "config"])
@pytest.mark.parametrize("value", [None, "", "nonsense", "[" * 100_000, "[1]", "{}"])
def test_a_configuration_is_not_read_from_nonsense(tmp_path, content, key, value):
    metadata = metadata_of(content)
    del metadata[key]
    if value is not None:
        metadata[key] = value
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(load(content), metadata))
    with pytest.raises(InvalidWeights, match="not a weights file"):
        registry.read_config(path)


def test_the_same_network_gives_the_same_file(tmp_path):
    script = (
        "import sys; from pathlib import Path; from tests.support.tiny import tiny_network\n"
        "from vqcodec.training.export import export; export(tiny_network(), Path(sys.argv[1]), {'a': 1, 'b': 2})"
    )
    contents = set()
    for name in ("a", "b", "c"):
        subprocess.run([sys.executable, "-c", script, str(tmp_path / name)], check=True)
        contents.add((tmp_path / name).read_bytes())
    assert len(contents) == 1

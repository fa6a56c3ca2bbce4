"""Frozen streams decode to the same indices, and to pixels within one level."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.golden.make import EXACT, FOLDER, indices_sha256
from tests.support.independent_decoder import decode_exact, decode_indices
from tests.support.internals import decode_grids, decode_streams, spelled_out
from vqcodec import Codec
from vqcodec.stream.container import read_stream
from vqcodec.weights import registry

EXACT_STREAMS = sorted(EXACT.glob("*.vqc"))
STREAMS = sorted(set(FOLDER.glob("*/*.vqc")) - set(EXACT_STREAMS))


@pytest.fixture(scope="module")
def codecs():
    return {name: Codec(name, device="cpu") for name in registry.model_ids()}


@pytest.mark.parametrize("path", STREAMS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_frozen_streams_decode_unchanged(codecs, path):
    codec, stream = codecs[path.parent.name], read_stream(path.read_bytes())
    expected = json.loads((path.parent / "indices.json").read_text())[path.stem]
    assert indices_sha256(spelled_out(codec.model.config, decode_grids(codec, [stream])[0])) == expected
    frozen = np.asarray(Image.open(path.with_suffix(".png")), np.int16)
    (image,) = decode_streams(codec, [stream])
    difference = np.asarray(image, np.int16) - frozen
    assert np.abs(difference).max() <= 1 and np.sqrt(np.mean(np.square(difference))) <= 0.1


@pytest.mark.parametrize("path", EXACT_STREAMS, ids=lambda p: p.stem)
def test_frozen_exact_pictures_decode_unchanged(tiny_codec, path):
    frozen, image = Image.open(path.with_suffix(".png")), tiny_codec.decode(path)
    assert image.mode == frozen.mode
    np.testing.assert_array_equal(np.asarray(image), np.asarray(frozen))
    pixels = decode_exact(path.read_bytes())
    np.testing.assert_array_equal(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels, np.asarray(frozen))


def test_exact_pictures_have_their_corpus():
    assert len(EXACT_STREAMS) >= 20


def test_every_model_has_its_corpus():
    assert {path.parent.name for path in STREAMS} == set(registry.model_ids())
    assert len(STREAMS) >= 40 * len(registry.model_ids())


@pytest.mark.slow
@pytest.mark.parametrize("path", STREAMS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_the_independent_decoder_agrees(path):
    weights = registry.weights_file(path.parent.name)
    expected = json.loads((path.parent / "indices.json").read_text())[path.stem]
    assert indices_sha256(decode_indices(path.read_bytes(), weights)) == expected

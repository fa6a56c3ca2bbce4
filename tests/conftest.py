"""Shared fixtures: photographs that every installation has, and weights of a tiny model."""

import hypothesis
import numpy as np
import pytest
import skimage.data
from PIL import Image

from tests.support.tiny import PLAIN, second_synthesis, tiny_network
from vqcodec import Codec
from vqcodec.training.export import export
from vqcodec.weights.lifelike import add_lifelike

hypothesis.settings.register_profile("any machine", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A photograph of 300 rows and 451 columns, bundled with scikit-image."""
    return Image.fromarray(skimage.data.chelsea())


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory):
    """A folder of different pictures to train on: smooth shapes and noise."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:80, :96]
    for i in range(6):
        waves = [np.sin(x * rng.uniform(0.02, 0.3) + y * rng.uniform(0.02, 0.3) + c) for c in rng.uniform(0, 6, 3)]
        noise = rng.normal(0, 6, (80, 96, 3))
        pixels = np.clip(np.stack(waves, -1) * 90 + 128 + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """A weights file of a tiny untrained model."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    export(tiny_network(), path, {})
    return path


@pytest.fixture(scope="session")
def plain_weights(tmp_path_factory):
    """The same for a model that codes every index with one symbol."""
    path = tmp_path_factory.mktemp("weights") / "plain.safetensors"
    export(tiny_network(config=PLAIN), path, {})
    return path


@pytest.fixture(scope="session")
def lifelike_weights(tiny_weights, tmp_path_factory):
    """The tiny model with a second synthesis of random weights."""
    state = second_synthesis()
    path = tmp_path_factory.mktemp("weights") / "lifelike.safetensors"
    path.write_bytes(add_lifelike(tiny_weights.read_bytes(), state, {"steps": 0}))
    return path


@pytest.fixture(scope="session")
def tiny_codec(tiny_weights) -> Codec:
    """A codec with the tiny model."""
    return Codec(model_path=tiny_weights, device="cpu")

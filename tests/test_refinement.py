"""The encoder's weights of errors: larger in flat regions."""

import numpy as np
import skimage.data
import torch

from vqcodec.model.refinement import importance


def to_tensor(pixels):
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 255


def test_errors_count_more_in_flat_surroundings():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    noise[:, :32] = 128
    weight = importance(to_tensor(noise))
    assert weight.shape == (1, 1, 64, 64)
    assert weight[..., :24].min() > 2 and weight[..., 40:].max() < 1


def test_importance_is_about_one_on_photographs():
    photos = [skimage.data.astronaut(), skimage.data.cat(), skimage.data.coffee()]
    means = [importance(to_tensor(photo)).mean().item() for photo in photos]
    assert 0.7 < np.mean(means) < 1.6, means


def test_importance_of_any_size():
    for height, width in ((4, 4), (12, 70), (8, 1)):
        weight = importance(torch.rand(1, 3, height, width))
        assert weight.shape == (1, 1, height, width) and (weight > 0).all() and weight.isfinite().all()

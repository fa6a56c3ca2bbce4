"""The prior's training form <-> its integer arrays.

Each module is packed into arrays, named after its path in the network, and unpacked from them again, so that training
can continue from a weights file and the encoder can take gradients of the bits.
"""

from collections.abc import Mapping
from functools import singledispatch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vqcodec.arithmetic import FINE_UNIT, LOGIT_UNIT, RANGE_LIMIT, UNIT
from vqcodec.config import QUALITY_STEPS
from vqcodec.model.exact import ExactLinear, clip
from vqcodec.model.layers import QualityVector
from vqcodec.model.prior import Attention, Embedding, LevelPrior, Prior, ShellHead, SliceHead

Arrays = dict[str, NDArray[np.generic]]


@singledispatch
def _pack(part: nn.Module) -> dict[str, tuple[Tensor, type[np.signedinteger]]]:
    """Return the integer arrays of a module's own parameters, each with the narrowest type that always fits."""
    return {}


@singledispatch
def _unpack(part: nn.Module, arrays: dict[str, Tensor]) -> None:
    """Set a module's own parameters from the arrays of :func:`_pack`; exact up to rounding."""


@_pack.register
def _(part: ExactLinear) -> dict[str, tuple[Tensor, type[np.signedinteger]]]:
    weights, exponents, biases = part.quantized()
    return {
        "weight": (weights.flatten(1).T, np.int8),
        "bias": (biases, np.int32),
        "exponent": (exponents, np.int8),
    }


@_unpack.register
def _(part: ExactLinear, arrays: dict[str, Tensor]) -> None:
    scale = torch.exp2(-arrays["exponent"])
    weight = arrays["weight"].T * (scale * part.unit_in / part.unit_out)[:, None]
    part.weight.copy_(weight.reshape_as(part.weight))
    part.bias.copy_(arrays["bias"] * scale / part.unit_out)


@_pack.register
def _(part: Embedding) -> dict[str, tuple[Tensor, type[np.signedinteger]]]:
    return {str(i): (table * UNIT, np.int16) for i, table in enumerate(part.quantized())}


@_unpack.register
def _(part: Embedding, arrays: dict[str, Tensor]) -> None:
    for i, table in enumerate(part.tables):
        table.copy_(arrays[str(i)] / UNIT)


@_pack.register
def _(part: Attention) -> dict[str, tuple[Tensor, type[np.signedinteger]]]:
    return {"bias": (part.bias * LOGIT_UNIT, np.int32)}


@_unpack.register
def _(part: Attention, arrays: dict[str, Tensor]) -> None:
    part.bias.copy_(arrays["bias"] / LOGIT_UNIT)


@_pack.register
def _(part: SliceHead) -> dict[str, tuple[Tensor, type[np.signedinteger]]]:
    features, exponents = part.quantized_features()
    return {
        "features": (features.transpose(1, 2), np.int16),
        "exponent": (exponents, np.int8),
        "quality": (_quality_table(part.quality) * FINE_UNIT, np.int16),
    }


@_unpack.register
def _(part: SliceHead, arrays: dict[str, Tensor]) -> None:
    scale = torch.exp2(-arrays["exponent"]) * (FINE_UNIT / LOGIT_UNIT)
    part.features.copy_(arrays["features"].transpose(1, 2) * scale[:, None, None])
    _set_quality(part.quality, arrays["quality"] / FINE_UNIT)


@_pack.register
def _(part: ShellHead) -> dict[str, tuple[Tensor, type[np.signedinteger]]]:
    return {
        "length_quality": (_quality_table(part.length_quality) * LOGIT_UNIT, np.int16),
        "shell_quality": (_quality_table(part.shell_quality) * LOGIT_UNIT, np.int16),
        "ranges": (clip(part.ranges, RANGE_LIMIT, LOGIT_UNIT) * LOGIT_UNIT, np.int8),
        "ranges_quality": (clip(part.ranges_quality, RANGE_LIMIT, LOGIT_UNIT) * LOGIT_UNIT, np.int8),
    }


@_unpack.register
def _(part: ShellHead, arrays: dict[str, Tensor]) -> None:
    _set_quality(part.length_quality, arrays["length_quality"] / LOGIT_UNIT)
    _set_quality(part.shell_quality, arrays["shell_quality"] / LOGIT_UNIT)
    part.ranges.copy_(arrays["ranges"] / LOGIT_UNIT)
    part.ranges_quality.copy_(arrays["ranges_quality"] / LOGIT_UNIT)


@_pack.register
def _(part: LevelPrior) -> dict[str, tuple[Tensor, type[np.signedinteger]]]:
    arrays: dict[str, tuple[Tensor, type[np.signedinteger]]] = {
        "quality": (_quality_table(part.quality) * UNIT, np.int16)
    }
    if part.classes is not None:
        arrays["classes"] = (part.classes * UNIT, np.int16)
    return arrays


@_unpack.register
def _(part: LevelPrior, arrays: dict[str, Tensor]) -> None:
    _set_quality(part.quality, arrays["quality"] / UNIT)
    if part.classes is not None:
        part.classes.copy_(arrays["classes"] / UNIT)


def _quality_table(vector: QualityVector) -> Tensor:
    """Return the vectors (QUALITY_STEPS, C) at every quality step."""
    table: Tensor = vector(torch.linspace(0, len(vector.values) - 1, QUALITY_STEPS).to(vector.values))
    return table


def _set_quality(vector: QualityVector, table: Tensor) -> None:
    steps = torch.linspace(0, QUALITY_STEPS - 1, len(vector.values)).round().long()
    vector.values.copy_(table[steps])


def _to_integers(values: Tensor, dtype: type[np.signedinteger]) -> NDArray[np.generic]:
    array = values.detach().round().cpu().numpy()
    limits = np.iinfo(dtype)
    if array.min(initial=0) < limits.min or array.max(initial=0) > limits.max:
        raise ValueError(f"parameters from {array.min()} to {array.max()} do not fit {limits.dtype}")
    return np.ascontiguousarray(array.astype(dtype))


@torch.no_grad()
def integer_prior(prior: Prior) -> Arrays:
    """Return all arrays of the integer prior, by the names that ``coding/integer_prior.py`` reads."""
    return {
        f"{name}.{key}": _to_integers(values, dtype)
        for name, part in prior.named_modules()
        for key, (values, dtype) in _pack(part).items()
    }


@torch.no_grad()
def restore_prior(prior: Prior, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Set a prior's parameters from the arrays of :func:`integer_prior`; exact up to rounding."""
    for name, part in prior.named_modules():
        keys = _pack(part)
        _unpack(part, {key: torch.from_numpy(arrays[f"{name}.{key}"].astype(np.float32)) for key in keys})

"""Model id, weights file or hash -> a loaded model, checked and cached.

A weights file is a safetensors file: ``vqvae.*`` are the transforms and codebooks (floats), ``prior.*`` the integer
prior; its metadata hold the configuration and facts about the training as JSON, and the fingerprint by which a machine
shows that it computes the prior as the machine did that wrote the file.  A stream names its model by the hash of this
file, so a file, once released, never changes.
"""

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from vqcodec import defaults
from vqcodec.coding.fingerprint import fingerprint
from vqcodec.coding.integer_prior import IntegerLevelPrior, read_prior
from vqcodec.config import ModelConfig, from_json, to_json
from vqcodec.errors import InvalidWeights, UnknownModel
from vqcodec.files import read_bytes, write_atomically
from vqcodec.model.torch_state import isolated_torch_state
from vqcodec.model.vqvae import VQVAE
from vqcodec.stream.container import HASH_BYTES

LICENCE = "Apache-2.0"
FORMAT = "vqcodec-weights-1"

_FOLDER = Path(__file__).parent
_PINNED: dict[str, str] = json.loads((_FOLDER / "SHA256.json").read_text())
"""Model id -> SHA-256 of its file.  Ids are never given to other weights."""

_PRIOR, _TRANSFORMS = "prior.", "vqvae."
"""What the names of the two kinds of tensors begin with."""
_INTEGERS = (torch.int8, torch.int16, torch.int32)
_FLOATS = (torch.float16, torch.float32)
_HALF = ("analysis.", "project.", "synthesis.", "pixel_synthesis.")
_MOVING_AVERAGES = (".counts", ".sums")


@dataclass(frozen=True)
class Model:
    """A loaded model.  Read-only: one instance serves every thread."""

    id: str
    sha256: str
    config: ModelConfig
    vqvae: VQVAE
    arrays: Mapping[str, NDArray[np.generic]]
    """The integer prior as plain arrays."""
    priors: tuple[IntegerLevelPrior, ...]
    facts: Mapping[str, object]

    @property
    def hash(self) -> bytes:
        """What a stream's header says of this model."""
        return bytes.fromhex(self.sha256)[:HASH_BYTES]


@dataclass(frozen=True)
class ModelInfo:
    """What ``vqcodec models`` tells."""

    id: str
    hash: str
    """SHA-256 of the weights file, in hexadecimal; streams name its beginning."""
    licence: str
    levels: list[str]
    """Coarse to fine: stride in pixels, and indices at each position."""
    codebooks: list[str]
    """Of each level, ``codebooks x codewords x dimensions`` for every slice."""
    parameters: int
    kmac_per_pixel: dict[str, float]
    """Thousands of multiplications for each pixel, by part: encoder, decoder, prior."""
    quality_range: tuple[int, int]


_cache: dict[tuple[str, str], Model] = {}
_loading = threading.Lock()


def model_ids() -> list[str]:
    """Ids of the models that ship with the package."""
    return list(_PINNED)


def load_model(model: str | None = None) -> Model:
    """The shipped model of that id, the default one without; its file must have the pinned hash."""
    name = defaults.MODEL if model is None else model
    if name not in _PINNED:
        raise UnknownModel(f"no model {name!r} here, only {', '.join(_PINNED) or 'none'}")
    loaded = load_weights(weights_file(name), name)
    if loaded.sha256 != _PINNED[name]:
        raise InvalidWeights(f"weights of {name} have hash {loaded.sha256[:16]}, not {_PINNED[name][:16]}")
    return loaded


def weights_file(model: str) -> Path:
    """Where the weights of a shipped model lie."""
    return _FOLDER / f"{model}.safetensors"


def find_model(model_hash: bytes) -> str | None:
    """Id of the shipped model that a stream's header names, None if there is none."""
    for name, sha256 in _PINNED.items():
        if bytes.fromhex(sha256)[:HASH_BYTES] == model_hash:
            return name
    return None


def load_weights(path: str | os.PathLike[str], model_id: str | None = None) -> Model:
    """The model in a weights file; loaded once for as long as the file stays as it is.

    Raises :class:`MissingFile`, or :class:`InvalidWeights` if the file is not a complete and sound model.
    """
    path = Path(path)
    content = read_bytes(path)
    key = (str(path.resolve()), hashlib.sha256(content).hexdigest())
    with _loading:
        if key not in _cache:
            _cache[key] = _read_weights(content, key[1], model_id or path.stem)
        return _cache[key]


@isolated_torch_state()
def _read_weights(content: bytes, sha256: str, model_id: str) -> Model:
    try:
        tensors = load(content)
        metadata = _metadata(content)
        if metadata.get("format") != FORMAT:
            raise InvalidWeights("not a file of vqcodec weights")
        config = from_json(metadata["config"])
        facts = dict(json.loads(metadata["facts"]))
        expected = metadata["fingerprint"]
    except (SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise InvalidWeights(f"cannot be read as weights: {error}") from error
    state, arrays = _sort(tensors)
    priors = read_prior(arrays, config)
    vqvae = _build_vqvae(config, state)
    if fingerprint(priors) != expected:
        raise InvalidWeights(
            "the prior's frequencies are not those that the file was written with: "
            "it was damaged, or this machine's matrix products are not exact"
        )
    return Model(model_id, sha256, config, vqvae, arrays, priors, facts)


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file; the library reads them from files only, not from bytes."""
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return found


def _sort(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, NDArray[np.generic]]]:
    """The transforms, in float32, and the prior's arrays."""
    state: dict[str, Tensor] = {}
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_PRIOR) and tensor.dtype in _INTEGERS:
            arrays[name.removeprefix(_PRIOR)] = tensor.numpy()
        elif name.startswith(_TRANSFORMS) and tensor.dtype in _FLOATS:
            if not torch.isfinite(tensor).all():
                raise InvalidWeights(f"{name!r} holds numbers that are not finite")
            state[name.removeprefix(_TRANSFORMS)] = tensor.float()
        else:
            raise InvalidWeights(f"a model has no tensor {name!r} of type {tensor.dtype}")
    return state, arrays


def _build_vqvae(config: ModelConfig, state: dict[str, Tensor]) -> VQVAE:
    try:
        # The moving averages that codebooks learn by are derived, so that training can go on from here.
        for name in [name for name in state if name.endswith(".frequencies")]:
            stem = name.removesuffix(".frequencies")
            state[f"{stem}.counts"] = state[name].mean(0) * 1000
            state[f"{stem}.sums"] = state[f"{stem}.codebook"] * state[f"{stem}.counts"][:, :, None]
        with torch.device("meta"):
            vqvae = VQVAE(config)
        vqvae.load_state_dict(state, assign=True)
    except (LookupError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[:2][-1].strip()  # torch begins with a headline
        raise InvalidWeights(f"transforms do not fit their configuration: {reason}") from error
    # Channels last is how convolutions work inside; so nothing needs to be reordered around each of them.
    nn.utils.convert_conv2d_weight_memory_format(vqvae, torch.channels_last)
    return vqvae.eval().requires_grad_(False)


def write_weights(
    path: str | os.PathLike[str],
    vqvae: VQVAE,
    arrays: Mapping[str, NDArray[np.generic]],
    facts: Mapping[str, object],
) -> None:
    """Write a weights file: transforms in float16 (far below the quantizer's error), block transforms and codebooks in
    float32, the prior in integers.  Raises :class:`InvalidWeights` if the prior is not one that a codec can run.
    """
    tensors = {f"{_PRIOR}{name}": torch.from_numpy(array) for name, array in arrays.items()}
    for name, tensor in vqvae.state_dict().items():
        if name.endswith(_MOVING_AVERAGES):
            continue
        half = name.startswith(_HALF) and ".transform." not in name
        tensors[f"{_TRANSFORMS}{name}"] = (
            tensor.detach().cpu().to(torch.float16 if half else torch.float32).contiguous()
        )
    metadata = {
        "format": FORMAT,
        "config": to_json(vqvae.config),
        "facts": json.dumps(dict(facts), sort_keys=True),
        "fingerprint": fingerprint(read_prior(arrays, vqvae.config)),
    }
    write_atomically(path, save(tensors, metadata))


def models() -> list[ModelInfo]:
    """What there is to know of every shipped model."""
    return [describe(load_model(name)) for name in model_ids()]


def describe(model: Model) -> ModelInfo:
    """What there is to know of a model."""
    config = model.config
    slices = [" ".join(f"{s.groups}x{s.size}x{s.dim}" for s in level.slices) for level in config.levels]
    return ModelInfo(
        id=model.id,
        hash=model.sha256,
        licence=LICENCE,
        levels=[f"stride {level.stride}, {level.groups} indices" for level in config.levels],
        codebooks=slices,
        parameters=_count_parameters(model),
        kmac_per_pixel=_kmac_per_pixel(model),
        quality_range=(0, 100),
    )


def _count_parameters(model: Model) -> int:
    averages = sum(b.numel() for n, b in model.vqvae.named_buffers() if not n.endswith("codebook"))
    return (
        sum(t.numel() for t in model.vqvae.state_dict().values())
        - averages
        + sum(a.size for a in model.arrays.values())
    )


def _kmac_per_pixel(model: Model) -> dict[str, float]:
    """Thousand multiply-accumulates per pixel of the padded picture, counted on one picture."""
    from torch.utils.flop_counter import FlopCounterMode

    vqvae, config = model.vqvae, model.config
    edge = 4 * config.stride
    quality = torch.zeros(1)

    def count(counter: FlopCounterMode) -> float:
        return counter.get_total_flops() / 2 / edge**2 / 1000

    with FlopCounterMode(display=False) as encoder, torch.no_grad():
        pyramid = vqvae.analyse(torch.zeros(1, 3, edge, edge), quality)
        conditioning = None
        for level, linear in enumerate(pyramid.linear):
            vqvae.latents(level, pyramid, conditioning, quality)
            if level + 1 < len(config.levels):
                conditioning = vqvae.advance(level, torch.zeros_like(linear), conditioning, quality)
    with FlopCounterMode(display=False) as decoder, torch.no_grad():
        conditioning = None
        for level in range(len(config.levels) - 1):
            conditioning = vqvae.advance(level, torch.zeros_like(pyramid.linear[level]), conditioning, quality)
        vqvae.pixels(torch.zeros_like(pyramid.linear[-1]), conditioning, quality)
    prior = 0.0
    for i, shape in enumerate(config.levels):
        for name, array in model.arrays.items():
            if name.startswith(f"{i}.") and name.endswith((".weight", ".features")):
                coarse = 4 if ".context." in name else 1
                prior += array.size / coarse / shape.stride**2 / 1000
    return {
        "encoder": round(count(encoder), 1),
        "decoder": round(count(decoder), 1),
        "prior": round(prior, 1),
    }

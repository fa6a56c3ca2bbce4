"""Find, check, load and write models: model id, weights file or hash -> networks and integer prior.

A weights file is a safetensors file.  ``vqvae.*`` are transforms and codebooks (floats), ``prior.*`` is the integer
prior; the metadata hold the configuration and facts about the training as JSON, and the prior's fingerprint, which
detects machines whose arithmetic is not exact.  A stream names its model by the hash of all that, so a released model
never changes.  ``lifelike.*`` is an optional second synthesis (``lifelike.py``), which is loaded only when asked for.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load
from torch import Tensor, nn

from vqcodec import defaults
from vqcodec.coding.fingerprint import fingerprint
from vqcodec.coding.integer_prior import IntegerLevelPrior, read_prior
from vqcodec.config import ModelConfig, from_json, to_json
from vqcodec.errors import InvalidWeights, RealismUnavailable, UnknownModel
from vqcodec.files import AnyPath, open_binary, read_bytes, write_atomically
from vqcodec.model.torch_state import isolated_torch_state
from vqcodec.model.transform import PixelSynthesis
from vqcodec.model.vqvae import VQVAE
from vqcodec.stream.container import HASH_BYTES
from vqcodec.weights import lifelike
from vqcodec.weights.array_file import ArrayFile, array_file

T = TypeVar("T", bound=nn.Module)

LICENCE = "Apache-2.0"
FORMAT = "vqcodec-weights-1"

_FOLDER = Path(__file__).parent
_PINNED: dict[str, str] = json.loads((_FOLDER / "SHA256.json").read_text())
"""Hash of each model id.  An id is never reused for other weights."""

_PRIOR, _TRANSFORMS = "prior.", "vqvae."
"""Name prefixes of the two kinds of tensors."""
_INTEGERS = (torch.int8, torch.int16, torch.int32)
_FLOATS = (torch.float16, torch.float32)
_HALF = ("analysis.", "project.", "synthesis.", "pixel_synthesis.")
"""Name prefixes of the transforms' parameters, stored in float16."""
_MOVING_AVERAGES = (".counts", ".sums")
"""Name suffixes of tensors that are needed for training only and not stored."""


@dataclass(frozen=True)
class Model:
    """A loaded model.  Read-only: all threads share one instance."""

    id: str
    sha256: str
    """SHA-256 of the weights file without a second synthesis, in hexadecimal."""
    config: ModelConfig
    vqvae: VQVAE
    arrays: Mapping[str, NDArray[np.generic]]
    """Arrays of the integer prior."""
    priors: tuple[IntegerLevelPrior, ...]
    """Integer prior of each level, coarse to fine."""
    facts: Mapping[str, object]
    """Facts about the training."""
    file: Path
    """The weights file."""
    has_lifelike: bool
    """Whether the file has a second synthesis, for :func:`load_lifelike`."""

    @property
    def hash(self) -> bytes:
        """The bytes that name this model in a stream's header."""
        return bytes.fromhex(self.sha256)[:HASH_BYTES]

    def check_realism(self) -> None:
        """Raise :class:`RealismUnavailable` if the model has no second synthesis."""
        if not self.has_lifelike:
            raise RealismUnavailable(f"model {self.id} has no second synthesis: realism must be 0")


@dataclass(frozen=True)
class ModelInfo:
    """Description of a model, as printed by ``vqcodec models``."""

    id: str
    hash: str
    """SHA-256 of the weights file without a second synthesis, in hexadecimal; stream headers store its first eight
    bytes."""
    licence: str
    levels: list[str]
    """Stride in pixels and indices per position of each level, coarse to fine."""
    codebooks: list[str]
    """``codebooks x codewords x dimensions`` of each slice, for each level."""
    parameters: int
    kmac_per_pixel: dict[str, float]
    """Thousand multiply-accumulates per pixel of ``encoder``, ``decoder`` and ``prior``."""
    quality_range: tuple[int, int]
    realism: bool
    """Whether the model has a second synthesis, for lifelike pictures."""


_UNREADABLE = (SafetensorError, LookupError, TypeError, ValueError, RecursionError)
"""Errors of safetensors, JSON and configuration for files that are not weights."""

_cache: dict[tuple[str, str, bool], Model] = {}
"""By path, model and presence of a second synthesis."""
_lifelike_cache: dict[str, PixelSynthesis] = {}
"""By the hash of the whole weights file."""
_loading = threading.Lock()


def model_ids() -> list[str]:
    """Return the ids of the models that ship with the package."""
    return list(_PINNED)


def load_model(model: str | None = None) -> Model:
    """Load the shipped model with id ``model``, by default the default model.

    Raises :class:`UnknownModel`, or :class:`InvalidWeights` if the file has not the hash of that id.
    """
    name = defaults.MODEL if model is None else model
    if name not in _PINNED:
        raise UnknownModel(f"unknown model {name!r}: available are {', '.join(_PINNED) or 'none'}")
    loaded = load_weights(weights_file(name), name)
    if loaded.sha256 != _PINNED[name]:
        raise InvalidWeights(f"weights file of {name} has hash {loaded.sha256[:16]}, expected {_PINNED[name][:16]}")
    return loaded


def weights_file(model: str) -> Path:
    """Return the path of a shipped model's weights file."""
    return _FOLDER / f"{model}.safetensors"


def find_model(model_hash: bytes) -> str | None:
    """Return the id of the shipped model with the hash in a stream's header, or None."""
    for name, sha256 in _PINNED.items():
        if bytes.fromhex(sha256)[:HASH_BYTES] == model_hash:
            return name
    return None


def find_config(model_hash: bytes, model_path: AnyPath | None = None) -> tuple[str, ModelConfig] | None:
    """Return id and configuration of the model with the hash in a stream's header, without loading it, or None.

    Searches the weights file ``model_path`` and the shipped models.  Raises what :func:`read_config` raises.
    """
    if model_path is not None:
        config = read_config(model_path)
        if bytes.fromhex(lifelike.model_sha256(read_bytes(model_path)))[:HASH_BYTES] == model_hash:
            return Path(model_path).stem, config
    name = find_model(model_hash)
    return None if name is None else (name, read_config(weights_file(name)))


def read_config(path: AnyPath) -> ModelConfig:
    """Read the configuration in a weights file's header; nothing else is read, checked or built.

    Raises :class:`MissingFile`, :class:`UnreadableFile`, or :class:`InvalidWeights` if it is not a weights file.
    """
    with open_binary(path):  # for the errors of an unreadable file
        pass
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
        return _parse_config(metadata)
    except (OSError, *_UNREADABLE) as error:
        raise InvalidWeights(f"not a weights file: {error}") from error


def load_weights(path: AnyPath, model_id: str | None = None) -> Model:
    """Load the model in a weights file; cached until the file changes.

    Raises :class:`MissingFile`, :class:`UnreadableFile`, or :class:`InvalidWeights` if the file is not a complete and
    sound model.
    """
    path = Path(path)
    content = read_bytes(path)
    try:
        key = (str(path.resolve()), lifelike.model_sha256(content), lifelike.has_lifelike(content))
    except _UNREADABLE as error:
        raise InvalidWeights(f"not a weights file: {error}") from error
    with _loading:
        if key not in _cache:
            _cache[key] = _read_weights(content, path, model_id or path.stem, *key[1:])
        return _cache[key]


@isolated_torch_state()
def load_lifelike(model: Model) -> PixelSynthesis:
    """Load a model's second synthesis, which gives lifelike pictures; cached.

    Raises :class:`RealismUnavailable` if the model has none, :class:`InvalidWeights` if it is not sound or the file is
    another one by now, and :class:`MissingFile` or :class:`UnreadableFile`.
    """
    model.check_realism()
    content = read_bytes(model.file)
    key = hashlib.sha256(content).hexdigest()
    with _loading:
        if key not in _lifelike_cache:
            try:
                if lifelike.model_sha256(content) != model.sha256:
                    raise InvalidWeights("the file changed since the model was loaded")
                state = lifelike.read_lifelike(content)
            except _UNREADABLE as error:
                raise InvalidWeights(f"not a weights file: {error}") from error
            _lifelike_cache[key] = _build_lifelike(model, state)
        return _lifelike_cache[key]


@isolated_torch_state()
def _read_weights(content: bytes, path: Path, model_id: str, sha256: str, has_lifelike: bool) -> Model:
    try:
        tensors = load(content)
        metadata = ArrayFile.parse(content).metadata
        config = _parse_config(metadata)
        facts = dict(json.loads(metadata["facts"]))
        expected = metadata["fingerprint"]
    except _UNREADABLE as error:
        raise InvalidWeights(f"not a weights file: {error}") from error
    state, arrays = _sort({n: tensor for n, tensor in tensors.items() if not n.startswith(lifelike.PREFIX)})
    priors = read_prior(arrays, config)
    vqvae = _build_vqvae(config, state)
    if fingerprint(priors) != expected:
        raise InvalidWeights(
            "fingerprint of the prior differs: the file is damaged, or this machine's matrix products are not exact"
        )
    return Model(model_id, sha256, config, vqvae, arrays, priors, facts, path, has_lifelike)


def _parse_config(metadata: Mapping[str, str]) -> ModelConfig:
    """Read the configuration from a file's metadata.  Raises :class:`InvalidWeights` or one of ``_UNREADABLE``."""
    if metadata.get("format") != FORMAT:
        raise InvalidWeights(f"not a weights file: its metadata have no format {FORMAT}")
    return from_json(metadata["config"])


def _sort(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, NDArray[np.generic]]]:
    """Separate the transforms' state, converted to float32, from the prior's arrays."""
    state: dict[str, Tensor] = {}
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_PRIOR) and tensor.dtype in _INTEGERS:
            arrays[name.removeprefix(_PRIOR)] = tensor.numpy()
        elif name.startswith(_TRANSFORMS) and tensor.dtype in _FLOATS:
            if not torch.isfinite(tensor).all():
                raise InvalidWeights(f"tensor {name!r} holds numbers that are not finite")
            state[name.removeprefix(_TRANSFORMS)] = tensor.float()
        else:
            raise InvalidWeights(f"unexpected tensor {name!r} of type {tensor.dtype}")
    return state, arrays


def _build_vqvae(config: ModelConfig, state: dict[str, Tensor]) -> VQVAE:
    with _fitting("transforms"):
        # Derive the moving averages of the codebooks, so that training can continue from these weights.
        for name in [name for name in state if name.endswith(".frequencies")]:
            stem = name.removesuffix(".frequencies")
            state[f"{stem}.counts"] = state[name].mean(0) * 1000
            state[f"{stem}.sums"] = state[f"{stem}.codebook"] * state[f"{stem}.counts"][:, :, None]
        with torch.device("meta"):
            vqvae = VQVAE(config)
        vqvae.load_state_dict(state, assign=True)
    return _frozen(vqvae)


def _build_lifelike(model: Model, state: dict[str, Tensor]) -> PixelSynthesis:
    """Build the second synthesis; it shares the block transform with the faithful one."""
    shared = model.vqvae.pixel_synthesis.transform.state_dict(prefix="transform.")
    with _fitting("arrays of the second synthesis"):
        with torch.device("meta"):
            synthesis = PixelSynthesis(model.config)
        synthesis.load_state_dict(state | shared, assign=True)
    return _frozen(synthesis)


@contextmanager
def _fitting(what: str) -> Iterator[None]:
    """Turn torch's errors for tensors of other names or shapes into :class:`InvalidWeights`."""
    try:
        yield
    except (LookupError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[:2][-1].strip()  # after torch's headline
        raise InvalidWeights(f"{what} do not fit the configuration: {reason}") from error


def _frozen(network: T) -> T:
    # The layout that convolutions use internally, which saves reordering around each.
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    network.eval().requires_grad_(False)
    return network


def write_weights(
    path: AnyPath,
    vqvae: VQVAE,
    arrays: Mapping[str, NDArray[np.generic]],
    facts: Mapping[str, object],
) -> None:
    """Write a weights file, atomically.

    Transforms are stored in float16 (far below the quantizer's error), block transforms and codebooks in float32, the
    prior in integers.  Raises :class:`InvalidWeights` if the prior's arrays are not valid.
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
    write_atomically(path, array_file(tensors, metadata))


def models() -> list[ModelInfo]:
    """Load and describe all shipped models."""
    return [describe(load_model(name)) for name in model_ids()]


def describe(model: Model) -> ModelInfo:
    """Describe a loaded model."""
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
        realism=model.has_lifelike,
    )


def _count_parameters(model: Model) -> int:
    averages = sum(b.numel() for n, b in model.vqvae.named_buffers() if not n.endswith("codebook"))
    stored: int = sum(t.numel() for t in model.vqvae.state_dict().values())
    return stored - averages + sum(a.size for a in model.arrays.values())


def _kmac_per_pixel(model: Model) -> dict[str, float]:
    """Count thousand multiply-accumulates per pixel of a padded picture."""
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

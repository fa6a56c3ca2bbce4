"""The trainable network (transforms, codebooks, prior), its checkpoints and its moving average."""

import json
from abc import ABC, abstractmethod
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vqcodec.config import ModelConfig, from_json, to_json
from vqcodec.model.prior import Prior
from vqcodec.model.vqvae import VQVAE


class TrainedNetwork(nn.Module, ABC):
    """A network that a run trains."""

    @property
    @abstractmethod
    def config(self) -> ModelConfig:
        """The model's configuration."""


class Network(TrainedNetwork):
    """Transforms and codebooks (``vqvae``) and ``prior``, in training form."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.vqvae = VQVAE(config)
        self.prior = Prior(config)

    @property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        return self.vqvae.config


def save_state(path: Path, config: ModelConfig, tensors: dict[str, Tensor], facts: dict[str, object]) -> None:
    """Write a checkpoint: tensors, configuration and JSON-able ``facts``.  Replaces the file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    # safetensors refuses views and tied tensors, so copy each.
    save_file(
        {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()},
        fresh,
        {"config": to_json(config), "facts": json.dumps(facts)},
    )
    fresh.replace(path)


def load_state(path: Path) -> tuple[ModelConfig, dict[str, Tensor], dict[str, object]]:
    """Read a checkpoint of :func:`save_state`: configuration, tensors, facts."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    return from_json(metadata["config"]), tensors, json.loads(metadata["facts"])


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with names ``prefix.name``."""
    return {f"{prefix}.{name}": t for name, t in tensors.items()}


def under_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with ``prefix.``, without it."""
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    """Update ``average``, the exponential moving average of all tensors of ``module``, codebooks included."""
    pairs = [
        (a, b)
        for a, b in zip(average.state_dict().values(), module.state_dict().values(), strict=True)
        if a.is_floating_point()
    ]
    torch._foreach_lerp_([a for a, _ in pairs], [b.to(a) for a, b in pairs], 1 - decay)

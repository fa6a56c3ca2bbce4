"""Trained network <-> weights file: transforms as floats, the prior as integers."""

from pathlib import Path

from safetensors import safe_open

from vqcodec.model.prior_arrays import integer_prior, restore_prior
from vqcodec.training.network import Network
from vqcodec.weights.registry import load_weights, write_weights


def export(network: Network, path: Path, facts: dict[str, object]) -> None:
    """Write the weights file of a network.  Raises ``ValueError`` if a parameter does not fit its integer type."""
    write_weights(path, network.vqvae, integer_prior(network.prior), facts)


def is_weights(path: Path) -> bool:
    """Return whether a safetensors file is a weights file rather than the state of a run."""
    with safe_open(path, "pt") as file:
        return "format" in (file.metadata() or {})


def from_weights(path: Path) -> Network:
    """Return the trainable network of a weights file."""
    model = load_weights(path)
    network = Network(model.config)
    network.vqvae.load_state_dict(model.vqvae.state_dict())
    restore_prior(network.prior, model.arrays)
    return network

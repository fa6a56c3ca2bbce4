"""The optimizer: Muon for the kernels of hidden layers, Adam for everything else.

Both use one learning rate.  Compared with Adam alone, the same 600 batches from the same
weights ended with a 0.3 % lower loss (``docs/training-log.csv``: ``test-adam``, ``test-muon``).
"""

from collections.abc import Container, Iterable

import torch
from torch import Tensor, nn

from vqcodec.model.exact import ExactLinear
from vqcodec.training.muon import Muon
from vqcodec.training.network import Network, under_prefix, with_prefix

LINEAR_SHARE = 0.1
"""Learning-rate factor of the block transforms."""
OUTPUT_SHARE = 0.3
"""Learning-rate factor of the output layers that start at zero.

Adam's first steps move each weight by the full learning rate, too much for orthonormal transforms and for zero layers
in front of the pixels or the quantizers.
"""


def _output_layers(network: Network) -> list[nn.Module]:
    """Return the layers that start at zero, in front of the pixels and the quantizers."""
    return [network.vqvae.pixel_synthesis.out, *(project.out for project in network.vqvae.project)]


def _hidden_kernels(network: Network) -> set[Tensor]:
    """Return the weights between hidden features.  Muon's uniform steps suit neither pixels nor logits."""
    ends = [*network.vqvae.analysis.stem, *_output_layers(network)]
    heads = [head for level in network.prior for head in level.heads]
    ends += [head.coefficients for head in heads]
    ends += [layer for head in heads if head.shells is not None for layer in (head.shells.length, head.shells.shell)]
    return {m.weight for m in network.modules() if isinstance(m, nn.Conv2d | ExactLinear) and m not in ends}


class Optimizer:
    """Updates the parameters that a stage trains: all, or with ``stage="prior"`` those of the prior."""

    def __init__(self, network: Network, stage: str):
        trained = network.prior if stage == "prior" else network
        self._names = {parameter: name for name, parameter in network.named_parameters()}
        kernels = _hidden_kernels(network)
        linear = {p for transform in network.vqvae.transforms() for p in transform.parameters()}
        outputs = {p for layer in _output_layers(network) for p in layer.parameters()}

        def members(which: Container[Tensor]) -> list[nn.Parameter]:
            return [p for p in trained.parameters() if p in which]

        rest = set(network.parameters()) - kernels - linear - outputs
        groups = [(members(rest), 1.0), (members(linear), LINEAR_SHARE), (members(outputs), OUTPUT_SHARE)]
        self._adam = torch.optim.Adam([{"params": p, "share": share} for p, share in groups if p], fused=True)
        self._muon = Muon(members(kernels))

    def zero_grad(self) -> None:
        """Clear the gradients of all trained parameters."""
        self._adam.zero_grad()
        self._muon.zero_grad()

    def step(self, rate: float) -> None:
        """Take one step with learning rate ``rate``."""
        for group in self._adam.param_groups:
            group["lr"] = rate * group["share"]
        for group in self._muon.param_groups:
            group["lr"] = rate
        self._adam.step()
        self._muon.step()

    def _parts(self) -> Iterable[tuple[str, torch.optim.Optimizer, nn.Parameter]]:
        """Yield state name, optimizer and parameter of every trained parameter."""
        for kind, optimizer in (("adam", self._adam), ("muon", self._muon)):
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    yield f"{kind}.{self._names[parameter]}", optimizer, parameter

    def state(self) -> dict[str, Tensor]:
        """Return all optimizer state by name, for a checkpoint."""
        tensors: dict[str, Tensor] = {}
        for name, optimizer, parameter in self._parts():
            tensors |= with_prefix(name, optimizer.state.get(parameter, {}))
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state of :meth:`state`; parameters missing in ``tensors`` start with fresh state."""
        for name, optimizer, parameter in self._parts():
            state = under_prefix(name, tensors)
            if state:
                optimizer.state[parameter] = {k: v.to(parameter.device) for k, v in state.items()}

"""Bottlenecks with a continuous code: a Gaussian for each latent, or a penalty on the latents' distribution."""

import torch
from torch import Tensor

from benchmarks.bottlenecks.protocol import NATS_PER_BIT, Bottleneck, Coded, Shape

ANNEALING = 0.5
"""Fraction of the training during which an annealed KL gains weight, linearly from 0."""
MMD_WEIGHT = 10.0
"""Weight of the Wasserstein autoencoder's penalty: nats per picture, latent and unit of MMD."""
ACTIVE_VARIANCE = 0.01
"""A unit is active if its posterior mean varies more than this over pictures (Burda et al. 2016)."""


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, variance) || N(0, 1)) per element, in nats (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)


def warm_up(progress: float) -> float:
    """Return an annealed KL's share of its final weight after the fraction ``progress`` of the training."""
    return min(1.0, progress / ANNEALING)


class Gaussian(Bottleneck):
    """Reparameterised Gaussian posterior: VAE (Kingma & Welling 2014), beta-VAE (Higgins et al. 2017).

    With ``annealed``, the KL's weight rises to ``beta`` over the first part of the training (Bowman et al. 2016).
    """

    def __init__(self, shape: Shape, beta: float = 1.0, annealed: bool = False):
        super().__init__(shape)
        self.beta, self.annealed = beta, annealed

    @property
    def inputs(self) -> int:
        """Means and logarithms of variances."""
        return 2 * self.shape.latents

    def weight(self, progress: float) -> float:
        """Return the weight of the KL after the fraction ``progress`` of the training."""
        return self.beta * warm_up(progress) if self.annealed else self.beta

    @staticmethod
    def posterior(z: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (B, D, H, W) of the encoder's output (B, 2 D, H, W)."""
        mean, log_variance = z.chunk(2, 1)
        return mean, log_variance.clamp(-12, 6)

    def code(self, z: Tensor, progress: float) -> Coded:
        """Return a sample of the posterior, in use as in training: the KL is the rate of a sample, not of a mean."""
        mean, log_variance = self.posterior(z)
        sample = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        kl = gaussian_kl(mean, log_variance).sum((1, 2, 3))
        return Coded(sample, kl / NATS_PER_BIT, self.weight(progress) * kl.mean())

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw latents from N(0, 1)."""
        return torch.randn(count, self.shape.latents, self.shape.grid, self.shape.grid, generator=generator)


def active_units(means: Tensor) -> float:
    """Return the fraction of units, channels at a position, that are active; ``means`` (N, D, H, W)."""
    return float((means.var(0) > ACTIVE_VARIANCE).float().mean())


def mmd(a: Tensor, b: Tensor) -> Tensor:
    """Return the unbiased squared maximum mean discrepancy of samples ``a`` and ``b``, both (N, D).

    Sum of inverse multiquadratic kernels of several widths (Tolstikhin et al. 2018, section 4; Gretton et al. 2012).
    """

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        distance = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
        widths = [2.0 * x.shape[1] * scale for scale in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
        return torch.stack([width / (width + distance) for width in widths]).sum(0)

    count = len(a)
    same = kernel(a, a) + kernel(b, b)
    return (same.sum() - same.trace()) / (count * (count - 1)) - 2 * kernel(a, b).mean()


class Wasserstein(Bottleneck):
    """Deterministic latents whose distribution over pictures is drawn to N(0, 1) by MMD (Tolstikhin et al. 2018).

    A sample is the vector at one position of one picture, so that a batch has enough of them.
    """

    def code(self, z: Tensor, progress: float) -> Coded:
        """Return ``z`` (B, D, H, W) as it is, with the penalty."""
        vectors = z.permute(0, 2, 3, 1).flatten(0, 2)
        vectors = vectors[torch.randperm(len(vectors))[:1024]]
        penalty = mmd(vectors, torch.randn_like(vectors))
        values = self.shape.latents * self.shape.grid**2
        return Coded(z, None, MMD_WEIGHT * values * penalty, statistics={"MMD": float(penalty.detach())})

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw latents from N(0, 1)."""
        return torch.randn(count, self.shape.latents, self.shape.grid, self.shape.grid, generator=generator)

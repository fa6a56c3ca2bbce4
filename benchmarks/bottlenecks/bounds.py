"""Bounds on log p(x) of a latent variable model, tighter than the ELBO; for evaluation, not for training.

Latents are (S, B, ...): ``S`` samples for each of ``B`` pictures.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

LogJoint = Callable[[Tensor], Tensor]
"""Maps latents (S, B, ...) to log p(x, z), (S, B), in nats."""


def gaussian_log_density(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return log N(z; mean, variance), summed over all dimensions after the second; (S, B)."""
    scaled = (z - mean).square() * torch.exp(-log_variance)
    return -0.5 * (scaled + log_variance + math.log(2 * math.pi)).flatten(2).sum(2)


def log_mean_exp(weights: Tensor) -> Tensor:
    """Return log of the mean of ``exp(weights)`` over the first axis."""
    return torch.logsumexp(weights, 0) - math.log(len(weights))


@torch.no_grad()
def importance_weighted(log_joint: LogJoint, mean: Tensor, log_variance: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Return the ELBO and the importance-weighted bound of ``samples`` samples, (B,) each (Burda et al. 2016).

    ``mean`` and ``log_variance`` (B, ...) are those of the posterior.
    """
    z = mean + torch.exp(0.5 * log_variance) * torch.randn(samples, *mean.shape)
    weights = log_joint(z) - gaussian_log_density(z, mean, log_variance)
    return weights.mean(0), log_mean_exp(weights)


def annealed_importance(
    log_joint: LogJoint, mean: Tensor, log_variance: Tensor, *, chains: int, steps: int, leaps: int = 5
) -> Tensor:
    """Return a bound (B,) by annealed importance sampling (Neal 2001; Wu et al. 2017).

    ``chains`` chains per picture go in ``steps`` steps from the posterior q(z|x) to p(x, z), each step with a
    transition of Hamiltonian Monte Carlo of ``leaps`` leapfrog steps, in units of the posterior's deviations.  Each
    chain adapts its step size on the way, so that the bound holds approximately.
    """
    scale = torch.exp(0.5 * log_variance)
    unit = torch.zeros_like(mean)

    def posterior(u: Tensor) -> Tensor:
        return gaussian_log_density(u, unit, unit)

    log_scale = (0.5 * log_variance).flatten(1).sum(1)

    def joint(u: Tensor) -> Tensor:  # density in the coordinates u = (z - mean) / scale
        return log_joint(mean + scale * u) + log_scale

    def slope(u: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """Return log density at inverse temperature ``beta`` and its gradient."""
        with torch.enable_grad():
            point = u.detach().requires_grad_()
            value = torch.lerp(posterior(point), joint(point), beta)
            (gradient,) = torch.autograd.grad(value.sum(), point)
        return value.detach(), gradient

    u = torch.randn(chains, *mean.shape)
    axes = tuple(range(2, u.dim()))
    size = u.new_full((chains, len(mean), *[1] * len(axes)), 0.3 / u[0, 0].numel() ** 0.25)
    weights = u.new_zeros(chains, len(mean))
    for step in range(1, steps + 1):
        with torch.no_grad():
            weights += (joint(u) - posterior(u)) / steps
        beta = step / steps
        momentum = torch.randn_like(u)
        start, gradient = slope(u, beta)
        start -= 0.5 * momentum.square().sum(axes)
        proposal = u
        for _ in range(leaps):
            momentum = momentum + 0.5 * size * gradient
            proposal = proposal + size * momentum
            end, gradient = slope(proposal, beta)
            momentum = momentum + 0.5 * size * gradient
        accepted = torch.rand_like(start).log() < end - 0.5 * momentum.square().sum(axes) - start
        u = torch.where(accepted.reshape(size.shape), proposal, u)
        # One step size per chain, moved towards an acceptance rate of about 2 in 3.
        size = size * torch.where(accepted, 1.05, 0.9).reshape(size.shape)
    return log_mean_exp(weights)

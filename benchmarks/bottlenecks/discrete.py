"""Bottlenecks with a discrete code: ``G`` indices below ``K`` at each position of the latents' grid.

All share one product quantizer's shape, the package's :class:`ProductQuantizer`, and start from one random codebook,
but for the entropy-constrained quantizer, which starts from a lattice as in this codec.  A batch's rate is
``log2 K`` bits per index here; ``index_prior.py`` gives the rate under a learned prior.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.bottlenecks.continuous import warm_up
from benchmarks.bottlenecks.protocol import NATS_PER_BIT, Bottleneck, Coded, Shape
from vqcodec.config import BIT_PRICE, SliceConfig
from vqcodec.model.quantizer import ProductQuantizer, expected_bits_gradient, straight_through
from vqcodec.training.objective import COMMITMENT

DECAY = 0.99
"""Decay of the moving averages (van den Oord et al. 2017, appendix A.1)."""
REVIVAL_STEPS = 20
"""Steps between revivals of unused codewords."""
HOT, COLD = 1.0, 1 / 16
"""First and last temperature of the Gumbel-softmax (Ramesh et al. 2021)."""
COOLING = 0.8
"""Fraction of the training in which the temperature falls."""
MAX_EVIDENCE = 10.0
"""Bound of the evidential logits, as in the authors' code, so that exp does not overflow."""
DIRICHLET_WEIGHT = 1e-2
"""Weight of the Dirichlet's KL in the evidential dVAE."""


def random_codebook(shape: Shape) -> Tensor:
    """Return (G, K, d): a codebook near the origin, uniform within 1 / K (van den Oord et al. 2017)."""
    return (2 * torch.rand(shape.groups, shape.size, shape.dim) - 1) / shape.size


class Discrete(Bottleneck):
    """Base class of the discrete bottlenecks: codebooks and the way from indices to latents."""

    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.quantizer = ProductQuantizer(
            SliceConfig(shape.groups, shape.dim, shape.size), knots=1, entropy_constrained=False
        )

    def dequantize(self, indices: Tensor) -> Tensor:
        """Return the codewords (B, D, H, W) of ``indices`` (B, G, H, W)."""
        batch, _, height, width = indices.shape
        rows = self.quantizer.lookup(indices.transpose(0, 1).flatten(1))
        return self.quantizer.join(rows, (batch, height, width))

    def grid(self, indices: Tensor, z: Tensor) -> Tensor:
        """Reshape indices (G, B * H * W) to (B, G, H, W), with the sizes of ``z``."""
        return indices.reshape(self.shape.groups, len(z), *z.shape[2:]).transpose(0, 1)

    def fixed_rate(self, z: Tensor) -> Tensor:
        """Return ``log2 K`` bits for every index of a picture, (B,)."""
        return z.new_full((len(z),), self.shape.fixed_bits)


class Learned(Discrete):
    """VQ-VAE: the nearest codeword, gradient passed straight through (van den Oord et al. 2017, equation 3).

    The codebook loss moves codewords towards latents, the commitment loss latents towards codewords.
    """

    def __init__(self, shape: Shape):
        super().__init__(shape)
        del self.quantizer.codebook  # the package's is a buffer; this one learns by gradients
        self.quantizer.register_parameter("codebook", nn.Parameter(random_codebook(shape)))

    def code(self, z: Tensor, progress: float) -> Coded:
        """Return the nearest codewords of ``z`` (B, D, H, W)."""
        with torch.no_grad():
            indices = self.grid(self.quantizer.costs(self.quantizer.split(z)).argmin(2), z)
        codewords = self.dequantize(indices)
        loss = (z.detach() - codewords).square().sum() + COMMITMENT * (z - codewords.detach()).square().sum()
        return Coded(straight_through(z, codewords), self.fixed_rate(z), loss / len(z), indices)


class MovingAverage(Discrete):
    """VQ-VAE whose codewords are moving averages of their latents, :data:`DECAY` (van den Oord et al. 2017, A.1).

    With ``revival``, unused codewords move onto random latents of the batch (Dhariwal et al. 2020, "Jukebox").
    """

    def __init__(self, shape: Shape, revival: bool = False):
        super().__init__(shape)
        self.revival = revival
        self.generator = torch.Generator().manual_seed(0)
        self.start(random_codebook(shape))

    @torch.no_grad()
    def start(self, codebook: Tensor) -> None:
        """Set the codewords (G, K, d); their averages start without a latent."""
        self.quantizer.codebook.copy_(codebook)
        self.quantizer.counts.zero_()
        self.quantizer.sums.zero_()

    def costs(self, rows: Tensor) -> Tensor:
        """Return the costs (G, N, K) by which ``rows`` (G, N, d) choose a codeword."""
        return self.quantizer.costs(rows)

    def code(self, z: Tensor, progress: float) -> Coded:
        """Return the best codewords of ``z`` (B, D, H, W); remember them for :meth:`learn`."""
        with torch.no_grad():
            rows = self.quantizer.split(z)
            chosen = self.costs(rows).argmin(2)
            indices = self.grid(chosen, z)
            codewords = self.dequantize(indices)
        if self.training:
            self.batch = rows, chosen, len(z)
        loss = COMMITMENT * (z - codewords).square().sum() / len(z)
        return Coded(straight_through(z, codewords), self.fixed_rate(z), loss, indices)

    def learn(self, step: int) -> None:
        """Update the averages with the last batch; revive unused codewords now and then."""
        rows, chosen, count = self.batch
        self.quantizer.learn(rows, chosen, rows.new_zeros(count), DECAY)
        if self.revival and step % REVIVAL_STEPS == REVIVAL_STEPS - 1:
            self.quantizer.revive(rows, self.generator)


class EntropyConstrained(MovingAverage):
    """This codec's bottleneck: codewords chosen by distance and bits, and the bits part of the loss.

    Entropy-constrained VQ (Chou, Lookabaugh & Gray 1989), learned end to end.  Bits come from the codewords'
    frequencies; the codec adds an autoregressive prior.  Rate and commitment weigh as in the codec's training.
    """

    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.quantizer = ProductQuantizer(
            SliceConfig(shape.groups, shape.dim, shape.size), knots=1, entropy_constrained=True
        )

    def logits(self, rows: Tensor) -> Tensor:
        """Return log frequencies (G, N, K) for ``rows`` (G, N, d)."""
        return -math.log(2) * self.quantizer.static_bits(rows.new_zeros(1)).expand(-1, rows.shape[1], -1)

    def costs(self, rows: Tensor) -> Tensor:
        """Return distances plus price of the bits."""
        return self.quantizer.costs(rows, self.logits(rows))

    def code(self, z: Tensor, progress: float) -> Coded:
        """Return the codewords of least distance plus price; the auxiliary loss has the rate's gradient."""
        coded = super().code(z, progress)
        assert coded.indices is not None
        rows = self.quantizer.split(z.detach())
        logits = self.logits(rows)
        gradient = expected_bits_gradient(self.quantizer.costs(rows, logits), logits, self.quantizer.codebook)
        gradient = self.quantizer.join(gradient, (len(z), *z.shape[2:]))
        chosen = coded.indices.transpose(0, 1).flatten(1)[:, :, None]
        bits = -torch.log_softmax(logits, 2).gather(2, chosen)[:, :, 0] / NATS_PER_BIT
        per_picture = bits.reshape(self.shape.groups, len(z), -1).sum((0, 2))
        surrogate = (z * gradient).sum() / len(z)  # its gradient is that of the expected bits
        rate = per_picture.mean() + surrogate - surrogate.detach()
        commitment = coded.auxiliary / BIT_PRICE  # in bits, as in the codec's training
        return Coded(coded.quantized, per_picture, NATS_PER_BIT * (rate + commitment), coded.indices)


class Relaxed(Discrete):
    """Base class: the encoder gives logits over the codewords; training decodes a relaxed sample of them."""

    def __init__(self, shape: Shape):
        super().__init__(shape)
        del self.quantizer.codebook
        self.quantizer.register_parameter(
            "codebook", nn.Parameter(torch.randn(shape.groups, shape.size, shape.dim) / math.sqrt(shape.dim))
        )

    @property
    def inputs(self) -> int:
        """A logit for each codeword of each group."""
        return self.shape.groups * self.shape.size

    def logits(self, z: Tensor) -> Tensor:
        """Reshape the encoder's output (B, G * K, H, W) to (B, G, H, W, K)."""
        batch, _, height, width = z.shape
        return z.reshape(batch, self.shape.groups, self.shape.size, height, width).permute(0, 1, 3, 4, 2)

    def mix(self, weights: Tensor) -> Tensor:
        """Return the means (B, D, H, W) of the codewords under ``weights`` (B, G, H, W, K)."""
        mixed = torch.einsum("bghwk,gkd->bgdhw", weights, self.quantizer.codebook)
        return mixed.flatten(1, 2)

    @staticmethod
    def temperature(progress: float) -> float:
        """Return the temperature after the fraction ``progress`` of the training: a geometric fall."""
        return float(HOT * (COLD / HOT) ** min(1.0, progress / COOLING))


def gumbel_softmax(logits: Tensor, temperature: float) -> Tensor:
    """Return a relaxed one-hot sample of the last axis (Jang et al. 2017; Maddison et al. 2017)."""
    return F.gumbel_softmax(logits, temperature, dim=-1)


class Gumbel(Relaxed):
    """dVAE: categorical posterior, uniform prior, Gumbel-softmax (Ramesh et al. 2021, appendix A.2).

    As there, the temperature falls during the training and the KL gains weight.
    """

    def code(self, z: Tensor, progress: float) -> Coded:
        """Return a relaxed sample of the codewords in training, the most probable ones in use."""
        logits = self.logits(z)
        indices = logits.argmax(-1)
        log_p = torch.log_softmax(logits, -1)
        kl = (log_p.exp() * (log_p + math.log(self.shape.size))).sum((1, 2, 3, 4))
        temperature = self.temperature(progress)
        quantized = self.mix(gumbel_softmax(logits, temperature)) if self.training else self.dequantize(indices)
        bpp = float(kl.detach().mean()) / NATS_PER_BIT / self.shape.side**2
        statistics = {"temperature": temperature, "KL, bpp": bpp}
        loss = warm_up(progress) * kl.mean()
        return Coded(quantized, self.fixed_rate(z), loss, indices, statistics)


def dirichlet_kl(alpha: Tensor) -> Tensor:
    """Return KL(Dir(alpha) || Dir(1, ..., 1)) over the last axis, in nats."""
    total = alpha.sum(-1)
    size = alpha.shape[-1]
    spread = torch.lgamma(total) - torch.lgamma(alpha).sum(-1) - math.lgamma(size)
    return spread + ((alpha - 1) * (torch.digamma(alpha) - torch.digamma(total)[..., None])).sum(-1)


class Evidential(Relaxed):
    """Evidential dVAE: the encoder's evidence for each codeword is a Dirichlet's parameter (Baykal et al. 2023).

    ``alpha = 1 + exp(logits)``; the categorical distribution is a sample of the Dirichlet, and the KL to the uniform
    Dirichlet keeps the encoder from being sure too early.
    """

    def code(self, z: Tensor, progress: float) -> Coded:
        """Return a relaxed sample of the codewords in training, those with most evidence in use."""
        alpha = 1 + self.logits(z).clamp(max=MAX_EVIDENCE).exp()
        indices = alpha.argmax(-1)
        kl = dirichlet_kl(alpha).sum((1, 2, 3)).mean()
        temperature = self.temperature(progress)
        if self.training:
            probabilities = torch.distributions.Dirichlet(alpha, validate_args=False).rsample()
            quantized = self.mix(gumbel_softmax(probabilities.clamp_min(1e-20).log(), temperature))
        else:
            quantized = self.dequantize(indices)
        bpp = float(kl.detach()) / NATS_PER_BIT / self.shape.side**2
        statistics = {"temperature": temperature, "Dirichlet KL, bpp": bpp}
        return Coded(quantized, self.fixed_rate(z), DIRICHLET_WEIGHT * kl, indices, statistics)

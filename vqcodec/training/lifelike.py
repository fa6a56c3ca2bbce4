"""The second synthesis of a model: lifelike pictures from the indices that its encoder chooses.

Encoder, codebooks and prior are frozen, and so are the coarser levels' synthesis.  A copy of the pixel synthesis learns
squared error, the perceptual distance LPIPS and the score of a patch discriminator that sees the faithful picture, too:
the losses of VQ-GAN (Esser, Rombach & Ommer 2021, arXiv:2012.09841) with constant weights as in HiFiC (Mentzer et al.
2020, arXiv:2006.09965).
"""

import copy
from pathlib import Path

import torch
from torch import Tensor

from vqcodec.codec.encoder import Encoder
from vqcodec.config import LIFELIKE_FADE, QUALITY_STEPS, ModelConfig
from vqcodec.metrics import psnr_of_mse
from vqcodec.model.grids import Grids
from vqcodec.model.transform import PixelSynthesis
from vqcodec.training.adversarial import ConditionalDiscriminator, hinge
from vqcodec.training.indexed_crops import IndexedCrops, encode_pictures
from vqcodec.training.network import TrainedNetwork, load_state, under_prefix
from vqcodec.training.optimizer import Adversary
from vqcodec.training.perceptual import PerceptualDistance
from vqcodec.training.trainer import Run, TrainingPlan
from vqcodec.weights import registry
from vqcodec.weights.registry import Model

QUALITIES = (0.05, 0.15, 0.3)
"""Positions of the validation points in the quality range."""
HIGHEST = LIFELIKE_FADE[1]
"""Highest position in the quality range that is trained: above it the synthesis is not used."""
ERROR = 0.02 / 32
"""Weight of the squared error on the 0-255 scale: about a quarter of HiFiC's at its lowest rate (table A1)."""
REALISM = 0.13
"""Weight of the discriminator's score (HiFiC: 0.15)."""
SHIFTS = 15
"""LPIPS and discriminator see pictures without their first 0 to 15 rows and columns, another number in each step.
Their strides and those of the latents are powers of two: with a fixed offset, a pattern of such a period finds places
that they hardly see (random transformations: Kettunen, Harkonen & Lehtinen 2019, arXiv:1906.03973)."""
SYNTHESIS_SHARE, DISCRIMINATOR_SHARE = 0.4, 0.4
"""Factors of the learning rate: 2e-4 by default."""

LOG_FIELDS = (
    *("time", "run", "stage", "step", "minutes", "rate", "loss", "mse", "lpips", "score", "hinge"),
    *("valid_psnr", "faithful_psnr", "valid_lpips", "faithful_lpips"),
)


class Lifelike(TrainedNetwork):
    """The second synthesis and its discriminator."""

    def __init__(self, config: ModelConfig, synthesis: PixelSynthesis):
        super().__init__()
        self._config = config
        self.synthesis = synthesis
        self.discriminator = ConditionalDiscriminator()

    @property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        return self._config


class LifelikeRun(Run[Lifelike]):
    """A run that trains a second synthesis for a frozen model."""

    log_fields = LOG_FIELDS

    def __init__(
        self,
        folder: Path,
        plan: TrainingPlan,
        model: Model,
        start: PixelSynthesis,
        crops: IndexedCrops,
        distance: PerceptualDistance,
        device: torch.device,
    ):
        """``start`` is copied."""
        torch.manual_seed(plan.seed)
        self.crops, self._vqvae = crops, copy.deepcopy(model.vqvae).to(device)
        self._encoder = Encoder(model, self._vqvae, device, tints=False)
        self._distance = distance.to(device)
        self._valid: list[tuple[Tensor, Grids, Tensor]] = []
        # Not in the layout of a loaded model: fused Adam needs weights with the strides of its state, which is stored.
        synthesis = copy.deepcopy(start).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        network = Lifelike(model.config, synthesis).to(device)
        trained = [(name, p) for name, p in network.named_parameters() if not name.startswith("synthesis.transform.")]
        for _, parameter in trained:
            parameter.requires_grad_()
        self._synthesis_optimizer, self._discriminator_optimizer = (
            Adversary([(name, p) for name, p in trained if name.startswith(prefix)], share)
            for prefix, share in (("synthesis.", SYNTHESIS_SHARE), ("discriminator.", DISCRIMINATOR_SHARE))
        )
        super().__init__(folder, plan, network, [self._synthesis_optimizer, self._discriminator_optimizer], device)

    def train_step(self) -> dict[str, float]:
        """Take one step of the discriminator and one of the synthesis."""
        plan, network = self.plan, self.network
        numbers = self.crops.shuffled(self.step * self.world + self.rank, plan.batch, plan.seed)
        x, grids, quality = self.crops.batch(numbers, network.config, self.device)
        rate = plan.learning_rate(self.step, self.done())
        with self.half():
            faithful, y = self._pictures(network.synthesis, grids, quality)
        mse = (y - x).square().mean() * 255**2
        x, y, faithful = self._shifted(x, y, faithful)
        with self.half():
            both = network.discriminator(torch.cat([x, y.detach()]), torch.cat([faithful, faithful]))
        judged = hinge(*both.float().chunk(2))
        self._discriminator_optimizer.step(judged, rate)
        with self.half():
            score = network.discriminator(y, faithful).float().mean()
            distance = self._distance(x, y).float().mean()
        loss = ERROR * mse + distance - REALISM * min(1.0, self.step / max(1, plan.warmup)) * score
        self._synthesis_optimizer.step(loss, rate)
        self.finish_step()
        return {
            "rate": rate,
            "loss": loss.item(),
            "mse": mse.item(),
            "lpips": distance.item(),
            "score": score.item(),
            "hinge": judged.item(),
        }

    def _shifted(self, *pictures: Tensor) -> list[Tensor]:
        """Cut the same random number of rows and columns, at most :data:`SHIFTS`, from the top left of pictures.

        At most an eighth of a small crop.
        """
        generator = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + self.step * self.world + self.rank)
        most = min(SHIFTS, pictures[0].shape[2] // 8)
        top, left = torch.randint(most + 1, (2,), generator=generator).tolist()
        return [picture[:, :, top:, left:] for picture in pictures]

    def _pictures(self, synthesis: PixelSynthesis, grids: Grids, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Return the faithful and the lifelike pictures (B, 3, H, W) of indices."""
        with torch.no_grad():
            latents, conditioning = self._vqvae.decode_latents(grids, quality)
            faithful = self._vqvae.pixel_synthesis(latents, conditioning, quality)
        lifelike: Tensor = synthesis(latents, conditioning, quality)
        return faithful.clamp(0, 1), lifelike

    @torch.no_grad()
    def evaluation(self, photos: list[Tensor]) -> tuple[dict[str, object], str]:
        """Compare the faithful and the lifelike pictures of ``photos`` with the originals."""
        self._valid = self._valid or [self._encoded(photo, position) for position in QUALITIES for photo in photos]
        rows: list[list[float]] = []
        for x, grids, quality in self._valid:
            height, width = x.shape[2:]
            pictures = self._pictures(self.average.synthesis, grids, quality)
            rows.append([])
            for y in (picture[:, :, :height, :width].clamp(0, 1) for picture in pictures):
                rows[-1] += [psnr_of_mse((y - x).square().mean().item() * 255**2), self._distance(x, y).item()]
        means = torch.tensor(rows).reshape(len(QUALITIES), -1, 4).mean(1)
        names = ("faithful_psnr", "faithful_lpips", "valid_psnr", "valid_lpips")
        columns: dict[str, object] = {
            name: " ".join(f"{value:.4f}" for value in column) for name, column in zip(names, means.T, strict=True)
        }
        change = "  ".join(
            f"q{100 * position:.0f}: {row[2] - row[0]:+.2f} dB, LPIPS {row[1]:.4f} -> {row[3]:.4f}"
            for position, row in zip(QUALITIES, means.tolist(), strict=True)
        )
        return columns, f"lifelike against faithful  {change}"

    def _encoded(self, photo: Tensor, position: float) -> tuple[Tensor, Grids, Tensor]:
        """Return a photo (1, 3, H, W) in [0, 1], its indices and its quality (1,)."""
        (coded,) = encode_pictures(self._encoder, photo[None], [round(position * (QUALITY_STEPS - 1))])
        levels = tuple(torch.from_numpy(grid.read())[None].long().to(self.device) for grid in coded.grids)
        quality = torch.tensor([self.network.config.knot_position(coded.header.quality)], device=self.device)
        return photo[None].to(self.device).float() / 255, Grids(levels), quality


def carried_over(source: Path, target: Path) -> dict[str, Tensor]:
    """Return a second synthesis for the weights file ``target``, as :func:`averaged_synthesis` does.

    What that of the weights file ``source`` changes in its faithful synthesis is added to the faithful one of
    ``target``: the same arrays, if their models are the same.  Raises :class:`RealismUnavailable` if it has none, and
    ``ValueError`` if the configurations differ.
    """
    model, other = registry.load_weights(source), registry.load_weights(target)
    if model.config != other.config:
        raise ValueError(f"{source}: its model configuration differs from that of {target}")
    faithful, wanted = model.vqvae.pixel_synthesis.state_dict(), other.vqvae.pixel_synthesis.state_dict()
    own = registry.load_lifelike(model).state_dict()
    return {name: wanted[name] + (own[name] - faithful[name]) for name in own if not name.startswith("transform.")}


def averaged_synthesis(state_file: Path) -> dict[str, Tensor]:
    """Return the averaged weights of a run's second synthesis, without the transform that it shares."""
    _, tensors, _ = load_state(state_file)
    found = under_prefix("average.synthesis", tensors)
    return {name: tensor for name, tensor in found.items() if not name.startswith("transform.")}

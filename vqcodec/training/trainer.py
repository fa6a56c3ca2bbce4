"""The training loop of all stages, and joint and prior training: learning rate, optimizer steps, checkpoints, logs.

Losses: ``objective.py``.

A run's folder holds ``state.safetensors`` (weights, averages, optimizer state, plan), from which ``--resume`` continues
the run, and ``slices.csv`` with codebook statistics.
"""

import copy
import csv
import dataclasses
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from vqcodec.config import ModelConfig
from vqcodec.model.prior import Predict
from vqcodec.model.torch_state import knows_bfloat16
from vqcodec.training import STATE_FILE
from vqcodec.training.data import Crops, principal_axes
from vqcodec.training.evaluate import MS_SSIM_SIDE, evaluate
from vqcodec.training.network import (
    Network,
    TrainedNetwork,
    load_state,
    save_state,
    under_prefix,
    update_average,
    with_prefix,
)
from vqcodec.training.objective import encode, joint_loss, mix, observe_choices, prior_loss
from vqcodec.training.optimizer import Optimizer, StoredOptimizer, average_gradients

N = TypeVar("N", bound=TrainedNetwork)

LOG_FIELDS = [
    "time",
    "run",
    "stage",
    "step",
    "minutes",
    "rate",
    "loss",
    "mse",
    "bpp",
    "bd_rate_jpeg",
    "valid_bpp",
    "valid_psnr",
    "bd_rate_ms_ssim",
    "valid_ms_ssim",
]


@dataclass(frozen=True)
class TrainingPlan:
    """Hyperparameters of a training run; its field names are keys of the state file."""

    stage: str = "joint"
    """``joint``, ``prior``, ``finetune`` or ``lifelike``."""
    steps: int = 10_000
    minutes: float = 0.0
    """Length in minutes of training, summed over resumptions; overrides ``steps`` unless 0."""
    batch: int = 16
    """Crops per step and process."""
    crop: int = 128
    """Crop edge in pixels."""
    rate: float = 5e-4
    """Peak learning rate."""
    warmup: int = 300
    """Steps of linear warm-up."""
    hold: float = 0.4
    """Fraction of the run at the full learning rate; a cosine decay to ``final`` follows."""
    final: float = 0.01
    """Last learning rate as a fraction of the peak."""
    average: float = 0.999
    """Decay of the averaged weights."""
    seed: int = 0
    half: bool = True
    """Train with bfloat16 autocast where the processor is faster with it."""
    similarity: float = 0.0
    """Share of MS-SSIM in the distortion, 0 to 1."""
    upper_share: float = 0.2
    """Share of crops that are trained in the upper 30 % of the quality range."""
    flip: bool = True
    """Mirror half of the crops."""
    color_jitter: float = 0.0
    """Share of crops whose colours are changed at random."""

    def __post_init__(self) -> None:
        if self.similarity and self.crop < MS_SSIM_SIDE:
            raise ValueError(f"MS-SSIM needs crops of at least {MS_SSIM_SIDE} pixels, not {self.crop}: use --crop 192")
        if not 0 < self.upper_share < 1:
            raise ValueError(f"the share of the upper qualities must be between 0 and 1, not {self.upper_share}")

    def learning_rate(self, step: int, done: float) -> float:
        """Return the learning rate at ``step``, after the fraction ``done`` of the run."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        if done <= self.hold:
            return self.rate * warm
        phase = min(1.0, (done - self.hold) / (1 - self.hold))
        return self.rate * warm * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * phase)))


@dataclass(frozen=True)
class Intervals:
    """Intervals of logging in steps, of checkpoints and evaluations in minutes."""

    log_steps: int = 100
    checkpoint_minutes: float = 5.0
    evaluate_minutes: float = 15.0


_UNLABELLED_SHARE = 0.1
"""Share of crops without their class, so that the prior knows pictures of no class, too: streams are coded so
(Ho & Salimans 2022, arXiv:2207.12598, section 3.2)."""
_USUAL_RANGE = 0.7
"""The lower part of the quality range, up to lambda 0.18 of ``vqc-1``: most pictures are stored there."""


def sample_quality(uniform: Tensor, config: ModelConfig, upper_share: float) -> Tensor:
    """Map uniform numbers (B,) in [0, 1) to qualities (B,) in ``[0, knots - 1]``.

    The share ``upper_share`` of them is in the upper 30 % of the range.
    """
    usual = uniform * (_USUAL_RANGE / (1 - upper_share))
    upper = 1 - (1 - uniform) * ((1 - _USUAL_RANGE) / upper_share)
    return torch.where(uniform < 1 - upper_share, usual, upper) * (config.knots - 1)


_UNUSED = 2**31
"""First of the batch numbers that no training step reaches."""


def start_transforms(network: Network, crops: Crops, size: int) -> None:
    """Initialise the block transforms with the principal axes of 1500 training crops of ``size`` pixels."""
    vqvae = network.vqvae
    source = torch.cat([crops.batch(_UNUSED + i, 100, size) for i in range(15)]) - 0.5
    for transform, level in zip(reversed(vqvae.transforms()), reversed(vqvae.config.levels), strict=True):
        patches = F.pixel_unshuffle(source, transform.block).permute(0, 2, 3, 1).flatten(0, 2)
        transform.start(principal_axes(patches))
        source = transform(source)[:, : level.predicted].detach()


@torch.no_grad()
def start_codebooks(network: Network, crops: Crops, size: int) -> None:
    """Initialise codebooks with latents of 100 training crops of ``size`` pixels, level by level."""
    generator = torch.Generator().manual_seed(crops.seed)
    x = crops.batch(_UNUSED, 100, size)
    quality = sample_quality(torch.rand(len(x), generator=generator), network.config, TrainingPlan.upper_share)
    for number, level in enumerate(network.vqvae.quantizers):
        latents = encode(network.vqvae, network.prior, x, quality, train_transforms=False).latents[number]
        for quantizer, rows in zip(level, level.split(latents), strict=True):
            quantizer.restart(rows, generator)


class Run(ABC, Generic[N]):
    """A training run, in one process or in one of several started by ``torchrun``: what all stages have in common."""

    log_fields: Sequence[str]
    """Columns of the log."""
    network: N
    average: N
    """The moving average of its weights."""

    def __init__(
        self, folder: Path, plan: TrainingPlan, network: N, optimizers: Sequence[StoredOptimizer], device: torch.device
    ):
        """``network`` is on ``device`` already."""
        self.folder, self.plan, self.network, self.device = folder, plan, network, device
        self.average = copy.deepcopy(network)
        self._optimizers = optimizers
        self.step, self.minutes = 0, 0.0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        self.rank = dist.get_rank() if dist.is_initialized() else 0

    @property
    def state_file(self) -> Path:
        """Path of the run's state."""
        return self.folder / STATE_FILE

    def save(self) -> None:
        """Write the state, in the first process only."""
        if self.rank:
            return
        tensors = with_prefix("network", self.network.state_dict()) | with_prefix("average", self.average.state_dict())
        for optimizer in self._optimizers:
            tensors |= optimizer.state()
        facts = {"step": self.step, "minutes": self.minutes, "plan": dataclasses.asdict(self.plan)}
        save_state(self.state_file, self.network.config, tensors, facts)

    def resume(self) -> None:
        """Restore weights, averages, optimizer, step and time from the state file; keep the current plan."""
        _, tensors, facts = load_state(self.state_file)
        self.network.load_state_dict(under_prefix("network", tensors))
        self.average.load_state_dict(under_prefix("average", tensors))
        for optimizer in self._optimizers:
            optimizer.load_state(tensors)
        self.step, self.minutes = int(str(facts["step"])), float(str(facts["minutes"]))

    def done(self) -> float:
        """Return the completed fraction of the run."""
        return self.minutes / self.plan.minutes if self.plan.minutes else self.step / self.plan.steps

    def half(self) -> torch.autocast:
        """Return a context that runs networks in bfloat16, if the plan says so and the device is faster with it."""
        enabled = self.plan.half and knows_bfloat16(self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def finish_step(self) -> None:
        """Update the averaged weights and count the step."""
        update_average(self.average, self.network, min(self.plan.average, (self.step + 1) / (self.step + 10)))
        self.step += 1

    @abstractmethod
    def train_step(self) -> dict[str, float]:
        """Take one step and return the numbers to log."""

    @abstractmethod
    def evaluation(self, photos: list[Tensor]) -> tuple[dict[str, object], str]:
        """Evaluate the averaged weights on ``photos`` (3, H, W) uint8: return columns of the log, and a summary."""

    def fit(self, intervals: Intervals, log: Path, valid: list[Tensor]) -> Iterator[str]:
        """Train until the plan is done, append to the CSV file ``log`` and yield progress lines.

        ``valid`` photos (3, H, W) uint8 are evaluated at intervals and at the end.
        """
        last_checkpoint = last_evaluation = self.minutes
        logged, sums = self.step, dict[str, float]()
        while self.done() < 1:
            begin = time.monotonic()
            for key, value in self.train_step().items():
                sums[key] = sums.get(key, 0.0) + value
            self.minutes += self._agreed(time.monotonic() - begin) / 60
            if self.step % intervals.log_steps == 0:
                row = {key: value / (self.step - logged) for key, value in sums.items()}
                logged, sums = self.step, {}
                self._log(log, row)
                yield f"step {self.step}  " + "  ".join(f"{k} {v:.4g}" for k, v in row.items())
            if self.minutes - last_checkpoint >= intervals.checkpoint_minutes:
                self.save()
                last_checkpoint = self.minutes
            if valid and self.minutes - last_evaluation >= intervals.evaluate_minutes:
                last_evaluation = self.minutes
                yield self._evaluate(log, valid)
        self.save()
        if valid:
            yield self._evaluate(log, valid)

    def _agreed(self, seconds: float) -> float:
        """Return the time of the first process, so that all end at the same step, with equal learning rates."""
        if self.world == 1:
            return seconds
        time_taken = torch.tensor(seconds, dtype=torch.float64, device=self.device)
        dist.broadcast(time_taken, 0)
        return float(time_taken)

    def _evaluate(self, log: Path, valid: list[Tensor]) -> str:
        if self.rank:
            return "evaluated by the first process"
        columns, summary = self.evaluation(valid)
        self._log(log, columns)
        return f"step {self.step}  valid: {summary}"

    def _log(self, log: Path, values: dict[str, object] | dict[str, float]) -> None:
        if self.rank:
            return
        row = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "run": self.folder.name,
            "stage": self.plan.stage,
            "step": self.step,
            "minutes": f"{self.minutes:.1f}",
        } | {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()}
        _append(log, self.log_fields, row)


class NetworkRun(Run[Network]):
    """A run that trains the network, or parts of it, for rate and distortion."""

    log_fields = LOG_FIELDS

    def __init__(
        self,
        folder: Path,
        plan: TrainingPlan,
        network: Network,
        trained: Iterable[nn.Parameter],
        device: torch.device,
    ):
        """``network`` is on ``device`` already; ``trained`` are the parameters to train."""
        self.optimizer = Optimizer(network, trained)
        super().__init__(folder, plan, network, [self.optimizer], device)

    def descend(self, loss: Tensor) -> float:
        """Take one optimizer step against ``loss``, and return the learning rate."""
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        average_gradients(self.network.parameters())
        # Clip separately: the prior's much larger gradient would otherwise scale down that of the transforms.
        for part in (self.network.vqvae, self.network.prior):
            nn.utils.clip_grad_norm_([p for p in part.parameters() if p.grad is not None], 1.0)
        rate = self.plan.learning_rate(self.step, self.done())
        self.optimizer.step(rate)
        return rate

    def evaluation(self, photos: list[Tensor]) -> tuple[dict[str, object], str]:
        """Evaluate rate and distortion."""
        found = evaluate(self.average, photos)
        points = found.points
        for entry in found.slices:
            row = {"step": self.step} | dataclasses.asdict(entry)
            _append(self.folder / "slices.csv", list(row), row)
        columns: dict[str, object] = {
            "bd_rate_jpeg": found.bd_rate,
            "valid_bpp": " ".join(f"{p.bpp:.4f}" for p in points),
            "valid_psnr": " ".join(f"{p.psnr:.3f}" for p in points),
            "bd_rate_ms_ssim": found.bd_rate_ms_ssim,
            "valid_ms_ssim": " ".join(f"{p.ms_ssim:.5f}" for p in points),
        }
        curve = "  ".join(f"{p.bpp:.3f}/{p.psnr:.2f}" for p in points)
        return columns, f"BD-rate against JPEG {found.summary()}  {curve}"


class Trainer(NetworkRun):
    """A run of joint or prior training."""

    def __init__(self, folder: Path, plan: TrainingPlan, network: Network, crops: Crops, device: torch.device):
        network, self.crops = network.to(device), crops
        trained = network.prior if plan.stage == "prior" else network
        super().__init__(folder, plan, network, trained.parameters(), device)

    def train_step(self) -> dict[str, float]:
        """Take one optimizer step and return the numbers to log."""
        plan, network = self.plan, self.network
        number = self.step * self.world + self.rank
        x, labels = (t.to(self.device) for t in self.crops.labelled(number, plan.batch, plan.crop))
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + number)
        uniform = torch.rand(plan.batch, generator=generator)
        quality = sample_quality(uniform, network.config, plan.upper_share).to(self.device)
        prior: Iterable[Predict] = network.prior
        if network.config.classes:
            unlabelled = torch.rand(plan.batch, generator=generator) < _UNLABELLED_SHARE
            prior = network.prior.given(torch.where(unlabelled.to(self.device), -1, labels))
        joint = plan.stage == "joint"
        with self.half():
            encoding = encode(network.vqvae, prior, x, quality, train_transforms=joint)
            if joint:
                y = network.vqvae.pixels(encoding.quantized, encoding.conditioning, quality)
        numbers = {"bpp": encoding.bpp.mean().item()}
        if joint:
            mse = (y - x).square().mean((1, 2, 3)) * 255**2
            numbers["mse"] = mse.mean().item()
            loss = joint_loss(network.vqvae, encoding, mix(mse, x, y, plan.similarity), quality)
        else:
            loss = prior_loss(network.vqvae, encoding, quality)
        rate = self.descend(loss)
        if joint:
            observe_choices(network.vqvae, encoding, quality)
            self._learn_codebooks(encoding.latents, generator)
        self.finish_step()
        return numbers | {"rate": rate, "loss": loss.item()}

    def _learn_codebooks(self, latents: list[Tensor], generator: torch.Generator) -> None:
        """Move the codewords by the moving averages of all processes; revive unused ones from time to time."""
        vqvae, revives = self.network.vqvae, not self.network.config.entropy_constrained and self.step % 100 == 99
        if self.world > 1:
            # Moving averages are linear, so their mean over processes is the moving average over all batches.
            for buffer in vqvae.buffers():
                dist.all_reduce(buffer)
                buffer /= self.world
        for level, z in zip(vqvae.quantizers, latents, strict=True):
            for quantizer, rows in zip(level, level.split(z), strict=True):
                quantizer.recentre()
                if revives:
                    quantizer.revive(rows, generator)
        if self.world > 1 and revives:
            for buffer in vqvae.buffers():
                dist.broadcast(buffer, 0)


def _append(path: Path, fields: Sequence[str], row: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields, restval="")
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def fresh_network(config: ModelConfig, crops: Crops, seed: int, size: int) -> Network:
    """Return an untrained network: block transforms from the data, lattices as codebooks."""
    torch.manual_seed(seed)
    network = Network(config)
    start_transforms(network, crops, size)
    if not config.entropy_constrained:
        start_codebooks(network, crops, size)
    return network

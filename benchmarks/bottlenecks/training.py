"""One training loop for all members: the same batches, the same optimizer, the same number of steps."""

import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from benchmarks.bottlenecks import adversarial
from benchmarks.bottlenecks.data import Source
from benchmarks.bottlenecks.discrete import Discrete
from benchmarks.bottlenecks.index_prior import IndexPrior
from benchmarks.bottlenecks.measure import code_statistics
from benchmarks.bottlenecks.protocol import Autoencoder, Coded, Corruption, Member
from benchmarks.errors import Diverged
from vqcodec.training.adversarial import hinge
from vqcodec.training.trainer import TrainingPlan

POINTS = 24
"""Points of the course over training."""


def plan_of(steps: int, batch: int, seed: int) -> TrainingPlan:
    """Return the schedule of the package's trainer, for this study's short runs."""
    return TrainingPlan(steps=steps, batch=batch, rate=1e-3, warmup=min(100, steps // 10), hold=0.5, seed=seed)


@dataclass(frozen=True)
class Trained:
    """A trained member."""

    model: Autoencoder
    prior: IndexPrior | None
    """Prior of the indices of a discrete member."""
    course: list[dict[str, float]]
    """Step, training loss and statistics of the held-out pictures' code, along the training."""
    seconds_per_step: float
    """Median over the steps, the index prior not counted."""
    processor_seconds_per_step: float
    """The same of the processor time of all threads, which other programs on the machine hardly change."""


def distortion(corruption: Corruption, x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """Return ``|x - y|^2 / (2 sigma^2)`` per picture, each sample with its weight, the mean of a batch."""
    return (corruption.weight * (x - y).square()).sum() / (2 * sigma**2 * len(x))


class Loop:
    """Training of one member."""

    def __init__(self, member: Member, source: Source, plan: TrainingPlan):
        torch.manual_seed(plan.seed)
        self.member, self.source, self.plan = member, source, plan
        self.model = Autoencoder(member, source.shape)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.prior = IndexPrior(source.shape) if isinstance(self.model.bottleneck, Discrete) else None
        self.prior_optimizer = torch.optim.Adam(self.prior.parameters()) if self.prior else None
        self.discriminator = adversarial.PatchDiscriminator(source.shape) if member.adversarial else None
        self.discriminator_optimizer = (
            torch.optim.Adam(self.discriminator.parameters(), betas=(0.5, 0.9)) if self.discriminator else None
        )

    def run(self) -> Generator[None, None, Trained]:
        """Train for all steps; yield after each.  Raises :class:`Diverged`."""
        plan = self.plan
        course: list[dict[str, float]] = []
        seconds: list[float] = []
        processor_seconds: list[float] = []
        marks = {round(plan.steps * i / POINTS) for i in range(1, POINTS + 1)}
        for step in range(plan.steps):
            begin, processor_begin = time.perf_counter(), time.process_time()
            loss, coded = self.step(step)
            seconds.append(time.perf_counter() - begin)
            processor_seconds.append(time.process_time() - processor_begin)
            if self.prior and coded.indices is not None:
                self.train_prior(coded.indices, step)
            if step + 1 in marks:
                statistics = code_statistics(self.model, self.source.held_out)
                course.append({"step": step + 1, "loss": loss} | statistics)
            yield
        self.model.eval()
        return Trained(self.model, self.prior, course, median(seconds), median(processor_seconds))

    def step(self, step: int) -> tuple[float, Coded]:
        """Take one optimizer step; return the loss in nats per sample, and the code."""
        plan, member, model, shape = self.plan, self.member, self.model, self.source.shape
        progress = step / plan.steps
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
        x = self.source.batch(step, plan.batch)
        corruption = member.corrupt(x, generator) if member.corrupt else Corruption(x, x.new_ones(()))
        pictures = corruption.pictures.requires_grad_(member.penalty is not None)
        model.train()
        z = model.encode(pictures)
        coded = model.bottleneck.code(z, progress)
        y = model.decode(coded.quantized)
        error = distortion(corruption, x, y, shape.sigma) / shape.values
        loss = error + coded.auxiliary / shape.values
        if member.penalty:
            loss = loss + member.penalty(z, pictures, generator) / shape.values
        against = self.discriminator if progress >= adversarial.START else None
        if against:
            last = model.decoder.last.weight
            loss = loss + adversarial.generator_loss(against, x, y, error, last)
        rate = plan.learning_rate(step, progress)
        self._update(self.optimizer, loss, rate)
        model.bottleneck.learn(step)
        if against and self.discriminator_optimizer:
            judged = hinge(against(x)[0], against(y.detach())[0])
            self._update(self.discriminator_optimizer, judged, rate)
        if not math.isfinite(value := loss.item()):
            raise Diverged(f"the loss is {value} at step {step}")
        return value, coded

    def train_prior(self, indices: Tensor, step: int) -> None:
        """Take one step of the index prior."""
        assert self.prior and self.prior_optimizer
        loss = self.prior.bits(indices).mean() / self.source.shape.fixed_bits
        self._update(self.prior_optimizer, loss, 3 * self.plan.learning_rate(step, step / self.plan.steps))

    @staticmethod
    def _update(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()

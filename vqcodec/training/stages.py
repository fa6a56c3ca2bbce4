"""The stages of training as the command line runs them: joint, prior, export, and all of them in a row."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from vqcodec.config import PRESETS
from vqcodec.errors import OutputExists
from vqcodec.model.device import find_device
from vqcodec.training import STATE_FILE
from vqcodec.training.data import Crops, find_photos, load_photos
from vqcodec.training.evaluate import evaluate, rounding_cost
from vqcodec.training.export import export, from_weights, is_weights
from vqcodec.training.network import Network, follow, load_state, under_prefix
from vqcodec.training.trainer import Intervals, Trainer, TrainingPlan, fresh_network
from vqcodec.weights import registry

Echo = Callable[[str], None]


@dataclass(frozen=True)
class RunOptions:
    """Where a stage finds its photos and leaves its results."""

    data: Path
    valid: Path | None
    valid_count: int
    folder: Path
    log: Path
    intervals: Intervals
    device: str = "auto"
    threads: int = 0


def network_from(path: Path) -> Network:
    """The network in a weights file, or the averaged one in the state of a run."""
    if is_weights(path):
        return from_weights(path)
    config, tensors, _ = load_state(path)
    network = Network(config)
    network.load_state_dict(under_prefix("average", tensors))
    return network


def validation_photos(folder: Path | None, count: int) -> list[Tensor]:
    """Evenly chosen photos of the validation folder; all with a count of 0."""
    if folder is None:
        return []
    files = find_photos(folder)
    count = count or len(files)
    return load_photos(files[:: max(1, len(files) // count)][:count])


def train(options: RunOptions, plan: TrainingPlan, start: Path | None, preset: str, resume: bool, echo: Echo) -> Path:
    """Run one stage and return the file with its state.  Raises :class:`OutputExists` for a run that was begun before.

    ``start`` names weights or a run's state to begin with, ``preset`` a model to begin from nothing.  As one of several
    processes under ``torchrun``, every process gets its own share of the crops.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    state_file = options.folder / STATE_FILE
    if state_file.exists() and not resume:
        raise OutputExists(f"{state_file} exists already; --resume continues that run")
    device = find_device(options.device)
    distributed = dist.is_torchelastic_launched()
    if distributed and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if device.type == "cuda":
            torch.cuda.set_device(dist.get_rank() % torch.cuda.device_count())
    crops = Crops(load_photos(find_photos(options.data)), plan.seed)
    if resume:
        start = state_file
    network = network_from(start) if start else fresh_network(PRESETS[preset], crops, plan.seed, plan.crop)
    trainer = Trainer(options.folder, plan, network, crops, device)
    if resume:
        trainer.resume()
    for line in trainer.fit(options.intervals, options.log, validation_photos(options.valid, options.valid_count)):
        echo(line)
    return state_file


def write_weights(
    state_file: Path, out: Path, photos: list[Tensor], echo: Echo, blend: Path | None = None, share: float = 0.0
) -> None:
    """Export a run's averaged network; with photos, measure it and what its integers cost first.

    ``share`` of every weight comes from the network ``blend``: between two runs of which one went on from the other lie
    networks that trade one's aim for the other's (Wortsman et al., "Model soups", ICML 2022).
    """
    network = network_from(state_file)
    _, _, facts = load_state(state_file)
    facts |= {"run": state_file.parent.name}
    if blend is not None:
        other = network_from(blend)
        if other.config != network.config:
            raise ValueError(f"{blend}: a network of another shape")
        follow(network, other, 1 - share)
        facts |= {"blended_with": blend.parent.name, "share": share}
    if photos:
        report = evaluate(network, photos)
        cost = rounding_cost(network, photos)
        echo(f"BD-rate against JPEG {report.summary()}, the integers cost {100 * cost:.2f} % of the prior's rate")
        facts |= {
            "bd_rate_jpeg_valid": round(report.bd_rate, 2),
            "bd_rate_ms_ssim_valid": round(report.bd_rate_ms_ssim, 2),
            "rounding_cost": round(cost, 5),
        }
    export(network, out, facts)
    echo(f"{out}: {out.stat().st_size} bytes, sha256 {registry.load_weights(out).sha256}")

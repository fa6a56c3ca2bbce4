"""``vqcodec train``: one command per stage, one that runs all."""

from dataclasses import fields
from pathlib import Path

import click
import torch
import torch.distributed as dist

from vqcodec import zoo
from vqcodec.config import PRESETS
from vqcodec.training.data import Crops, find_photos, load_photos
from vqcodec.training.export import export, from_weights, is_weights
from vqcodec.training.network import Network, load_state, under_prefix
from vqcodec.training.trainer import Plan, Schedule, Trainer, fresh_network

DEFAULTS = {f.name: f.default for f in fields(Plan)}


def plan_options(command):  # type: ignore[no-untyped-def]
    """The options that both stages share."""
    for option in (
        click.option("--data", type=click.Path(exists=True, file_okay=False), required=True, help="Folder of photos."),
        click.option("--valid", type=click.Path(exists=True, file_okay=False), help="Folder of photos to evaluate on."),
        click.option("--valid-count", default=16, show_default=True, help="How many of them (0: all)."),
        click.option("--run", "folder", default="runs/vqc-1", show_default=True, help="Folder of the run."),
        click.option("--log", default="docs/training-log.csv", show_default=True, help="CSV file that is appended to."),
        click.option("--resume", is_flag=True, help="Continue the run in the folder."),
        click.option("--init", type=click.Path(exists=True, dir_okay=False), help="Start from these weights."),
        click.option("--steps", default=DEFAULTS["steps"], show_default=True),
        click.option("--minutes", default=0.0, help="Plan by time instead of steps."),
        click.option("--batch", default=DEFAULTS["batch"], show_default=True),
        click.option("--crop", default=DEFAULTS["crop"], show_default=True, help="Pixels."),
        click.option("--rate", default=DEFAULTS["rate"], show_default=True, help="Learning rate."),
        click.option("--warmup", default=DEFAULTS["warmup"], show_default=True, help="Steps."),
        click.option("--hold", default=DEFAULTS["hold"], show_default=True, help="Fraction at the full rate."),
        click.option("--final", default=DEFAULTS["final"], show_default=True, help="Last rate, as a fraction."),
        click.option("--average", default=DEFAULTS["average"], show_default=True, help="Decay of the weight average."),
        click.option("--seed", default=DEFAULTS["seed"], show_default=True),
        click.option("--half/--full", default=True, show_default=True, help="bfloat16 autocast."),
        click.option("--device", default="auto", show_default=True),
        click.option("--threads", default=0, help="CPU threads (0: torch's choice)."),
        click.option("--evaluate-minutes", default=15.0, show_default=True),
        click.option("--checkpoint-minutes", default=5.0, show_default=True),
    ):
        command = option(command)
    return command


def network_from(path: Path) -> Network:
    """The network in a weights file, or the averaged one in the state of a run."""
    if is_weights(path):
        return from_weights(path)
    config, tensors, _ = load_state(path)
    network = Network(config)
    network.load_state_dict(under_prefix("average", tensors))
    return network


def train(stage: str, preset: str | None, **options) -> None:  # type: ignore[no-untyped-def]
    """Run one stage with command line options."""
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    distributed = dist.is_torchelastic_launched()
    name = options["device"]
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if distributed:
        dist.init_process_group("nccl" if name == "cuda" else "gloo")
        if name == "cuda":
            torch.cuda.set_device(dist.get_rank() % torch.cuda.device_count())
    plan = Plan(stage, **{k: options[k] for k in DEFAULTS if k != "stage"})
    folder = Path(options["folder"])
    crops = Crops(load_photos(find_photos(options["data"])), plan.seed)
    state_file = folder / "state.safetensors"
    start = state_file if options["resume"] else options["init"]
    if start:
        network = network_from(Path(start))
    else:
        network = fresh_network(PRESETS[preset or zoo.DEFAULT_MODEL], crops, plan.seed, plan.crop)
    trainer = Trainer(folder, plan, network, crops, torch.device(name))
    if options["resume"]:
        trainer.resume()
    valid = []
    if options["valid"]:
        files = find_photos(options["valid"])
        count = options["valid_count"] or len(files)
        valid = load_photos(files[:: max(1, len(files) // count)][:count])
    schedule = Schedule(checkpoint_minutes=options["checkpoint_minutes"], evaluate_minutes=options["evaluate_minutes"])
    for line in trainer.fit(schedule, Path(options["log"]), valid):
        click.echo(line, err=True)
    if distributed:
        dist.destroy_process_group()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Train a model from a folder of photographs (docs/TRAINING.md)."""


@group.command("joint")
@click.option("--preset", type=click.Choice(sorted(PRESETS)), default="vqc-1", show_default=True)
@plan_options
def joint(preset: str, **options) -> None:  # type: ignore[no-untyped-def]
    """Stage 1: transforms, codebooks and prior together."""
    train("joint", preset, **options)


@group.command("prior")
@plan_options
def prior(**options) -> None:  # type: ignore[no-untyped-def]
    """Stage 2: the prior alone, on the hard indices of frozen transforms."""
    train("prior", None, **options)


@group.command("export")
@click.option("--run", "folder", default="runs/vqc-1", show_default=True, help="Folder of the run.")
@click.option("--out", default="vqcodec/weights/vqc-1.safetensors", show_default=True, help="Weights file to write.")
def export_command(folder: str, out: str) -> None:
    """Write the weights file of a run's averaged weights, with the prior in integers."""
    state_file = Path(folder) / "state.safetensors"
    _, _, facts = load_state(state_file)
    export(network_from(state_file), Path(out), facts | {"run": Path(folder).name})
    click.echo(f"{out}: {Path(out).stat().st_size} bytes, sha256 {zoo.load_weights(out).sha256}")


def main(args: list[str]) -> None:
    """Entry point of ``vqcodec train``."""
    group.main(args, prog_name="vqcodec train")


if __name__ == "__main__":
    main(__import__("sys").argv[1:])

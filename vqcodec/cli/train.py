"""``vqcodec train``: one command per stage, one that runs all.  Only parses; torch is imported when a stage runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from vqcodec.config import PRESETS
from vqcodec.errors import VqcError, one_line
from vqcodec.training import STATE_FILE

Command = TypeVar("Command", bound=Callable[..., None])
_PATH = click.Path(path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_COUNT = click.IntRange(min=1)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_OPTIONS = (
    click.option("--data", type=_FOLDER, required=True, help="Folder of photographs to train on."),
    click.option("--valid", type=_FOLDER, help="Folder of photographs to evaluate on."),
    click.option("--valid-count", default=16, show_default=True, help="How many of them; 0 means all."),
    click.option("--run", type=_PATH, default="runs/vqc-1", show_default=True, help="The run's folder."),
    click.option("--log", type=_PATH, help="CSV file that grows; default: log.csv in the run's folder."),
    click.option("--init", type=_FILE, help="Start from a weights file or another run's state."),
    click.option("--resume", is_flag=True, help="Continue the run in the folder."),
    click.option("--steps", type=_COUNT, default=10_000, show_default=True, help="Length of the whole run."),
    click.option("--minutes", default=0.0, help="Length of the whole run in minutes of training, instead of steps."),
    click.option("--batch", type=_COUNT, default=16, show_default=True, help="Crops in a step, for each process."),
    click.option("--crop", type=_COUNT, default=128, show_default=True, help="Pixels."),
    click.option("--rate", default=5e-4, show_default=True, help="Learning rate."),
    click.option("--warmup", default=300, show_default=True, help="Steps until the full rate."),
    click.option("--hold", default=0.4, show_default=True, help="Fraction at the full rate; a cosine follows."),
    click.option("--final", default=0.01, show_default=True, help="Last rate as a fraction of the first."),
    click.option("--average", default=0.999, show_default=True, help="Decay of the averaged weights, which ship."),
    click.option("--seed", default=0, show_default=True),
    click.option("--half/--full", default=True, show_default=True, help="bfloat16 autocast."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
    click.option("--threads", default=0, help="CPU threads; 0 leaves it to torch."),
    click.option("--checkpoint-minutes", default=5.0, show_default=True),
    click.option("--evaluate-minutes", default=15.0, show_default=True),
)  # fmt: skip
_SIMILARITY = click.option(
    "--similarity", default=0.0, show_default=True, help="Share of MS-SSIM in the distortion; wants --crop 192."
)
_PRESET = click.option("--preset", type=click.Choice(sorted(PRESETS)), default="vqc-1", show_default=True)


def _stage_options(command: Command) -> Command:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _say(line: str) -> None:
    click.echo(line, err=True)


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong with a file, a folder or the surroundings ends the command with one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is not installed: pip install 'vqcodec[train]'") from error
    except (VqcError, OSError, ValueError) as error:
        raise click.ClickException(one_line(str(error))) from error


def _train(stage: str, options: dict[str, Any], preset: str = "vqc-1") -> Path:
    with _told():
        from vqcodec.training import stages
        from vqcodec.training.trainer import Intervals, TrainingPlan

        run_options = stages.RunOptions(
            data=options["data"],
            valid=options["valid"],
            valid_count=options["valid_count"],
            folder=options["run"],
            log=options["log"] or options["run"] / "log.csv",
            device=options["device"],
            threads=options["threads"],
            intervals=Intervals(
                checkpoint_minutes=options["checkpoint_minutes"], evaluate_minutes=options["evaluate_minutes"]
            ),
        )
        try:
            plan = TrainingPlan(stage, **{f.name: options[f.name] for f in fields(TrainingPlan) if f.name in options})
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        return stages.train(run_options, plan, options["init"], preset, options["resume"], _say)


def _export(
    state_file: Path, out: Path, valid: Path | None, valid_count: int, blend: Path | None = None, share: float = 0.0
) -> None:
    with _told():
        from vqcodec.training import stages

        stages.write_weights(state_file, out, stages.validation_photos(valid, valid_count), _say, blend, share)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Train a model from a folder of photographs; see docs/TRAINING.md."""


@group.command()
@_PRESET
@_SIMILARITY
@_stage_options
def joint(preset: str, **options: Any) -> None:
    """Stage 1: transforms, codebooks and prior together."""
    _train("joint", options, preset)


@group.command()
@_stage_options
def prior(**options: Any) -> None:
    """Stage 2: the prior alone, on the indices of frozen transforms; give it --init or --resume."""
    if not (options["init"] or options["resume"]):
        raise click.UsageError("the prior needs transforms: give --init or --resume")
    _train("prior", options)


@group.command()
@click.option("--run", type=_FOLDER, required=True, help="The run's folder.")
@click.option("--out", type=_PATH, required=True, help="Weights file to write.")
@click.option("--valid", type=_FOLDER, help="Photographs to measure the result on.")
@click.option("--valid-count", default=16, show_default=True, help="How many of them; 0 means all.")
@click.option("--blend", type=_FILE, help="Weights file or state of another run, to be averaged with this one.")
@click.option("--share", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Part of --blend.")
def export(run: Path, out: Path, valid: Path | None, valid_count: int, blend: Path | None, share: float) -> None:
    """Stage 3: write the weights file, with the prior in integers."""
    _export(run / STATE_FILE, out, valid, valid_count, blend, share)


@group.command("all")
@_PRESET
@click.option("--prior-steps", type=_COUNT, default=5_000, show_default=True, help="Length of stage 2.")
@click.option("--prior-minutes", default=0.0, help="Length of stage 2 in minutes of training, instead of steps.")
@click.option("--out", type=_PATH, required=True, help="Weights file to write.")
@_SIMILARITY
@_stage_options
def all_stages(preset: str, prior_steps: int, prior_minutes: float, out: Path, **options: Any) -> None:
    """All three stages; the runs lie in the folders joint and prior of --run."""

    def stage(name: str, **changed: Any) -> Path:
        run = options["run"] / name
        begun = (run / STATE_FILE).exists()
        return _train(name, options | changed | {"run": run, "resume": options["resume"] and begun}, preset)

    state = stage("joint")
    state = stage("prior", init=state, steps=prior_steps, minutes=prior_minutes)
    _export(state, out, options["valid"], options["valid_count"])


def main(args: list[str]) -> None:
    """Entry point of ``vqcodec train``."""
    group.main(args, prog_name="vqcodec train")

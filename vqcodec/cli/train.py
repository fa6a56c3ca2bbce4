"""``vqcodec train``: one command per stage, and one that runs all.  torch is imported when a stage runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vqcodec.config import PRESETS
from vqcodec.errors import VqcError, one_line
from vqcodec.training import STATE_FILE, WEIGHTS_FILE

if TYPE_CHECKING:  # imports torch
    from vqcodec.training.stages import RunOptions
    from vqcodec.training.trainer import TrainingPlan

Command = TypeVar("Command", bound=Callable[..., None])
_PATH = click.Path(path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_COUNT = click.IntRange(min=1)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_LABELS = click.option(
    "--labels", type=_FOLDER, help="Folder of class folders to train on instead of --data: a prior for each class."
)
_INIT = click.option("--init", type=_FILE, help="Start from a weights file or the state of another run.")
_INIT_WEIGHTS = click.option("--init", type=_FILE, help="Weights file to start from.")
_OPTIONS = (
    click.option("--data", type=_FOLDER, help="Folder of photographs to train on."),
    click.option("--flip/--no-flip", default=True, show_default=True, help="Mirror half of the crops, or none."),
    click.option(
        "--color-jitter",
        type=click.FloatRange(0, 1),
        default=0.0,
        show_default=True,
        help="Share of the crops that get another saturation and another colour of light.",
    ),
    click.option("--valid", type=_FOLDER, help="Folder of photographs to evaluate on."),
    click.option("--valid-count", default=16, show_default=True, help="Number of them to use; 0 means all."),
    click.option("--run", type=_PATH, default="runs/vqc-1", show_default=True, help="Folder of the run."),
    click.option("--log", type=_PATH, help="CSV file to append to. Default: log.csv in the run's folder."),
    click.option("--resume", is_flag=True, help="Continue the run in the folder --run."),
    click.option("--steps", type=_COUNT, default=10_000, show_default=True, help="Length of the run in steps."),
    click.option("--minutes", default=0.0, help="Length of the run in minutes of training, instead of --steps."),
    click.option("--batch", type=_COUNT, default=16, show_default=True, help="Crops per step and process."),
    click.option("--crop", type=_COUNT, default=128, show_default=True, help="Edge of the crops in pixels."),
    click.option("--rate", default=5e-4, show_default=True, help="Peak learning rate."),
    click.option("--warmup", default=300, show_default=True, help="Steps of linear warm-up to the peak rate."),
    click.option("--hold", default=0.4, show_default=True, help="Fraction of the run at the peak rate."),
    click.option("--final", default=0.01, show_default=True, help="Last rate as a fraction of the peak."),
    click.option("--average", default=0.999, show_default=True, help="Decay of the averaged, exported weights."),
    click.option("--seed", default=0, show_default=True, help="Random seed of weights and crops."),
    click.option("--half/--full", default=True, show_default=True, help="Use bfloat16 where it is faster."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda[:N]."),
    click.option("--threads", default=0, help="CPU threads; 0 leaves the number to torch."),
    click.option("--checkpoint-minutes", default=5.0, show_default=True, help="Minutes between checkpoints."),
    click.option("--evaluate-minutes", default=15.0, show_default=True, help="Minutes between evaluations."),
)  # fmt: skip
_SIMILARITY = click.option(
    "--similarity",
    default=0.0,
    show_default=True,
    help="Share of MS-SSIM in the distortion, 0 to 1; use it with --crop 192.",
)
_UPPER_SHARE = click.option(
    "--upper-share",
    default=0.2,
    show_default=True,
    help="Share of the crops in the upper 30 % of the quality range.",
)
_PRESET = click.option(
    "--preset", type=click.Choice(sorted(PRESETS)), default="vqc-1", show_default=True, help="Model configuration."
)

_CROPS = click.option(
    "--crops", type=_COUNT, default=20_000, show_default=True, help="Crops to encode, once; training goes through them."
)


def _stage_options(command: Command) -> Command:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _echo(line: str) -> None:
    click.echo(line, err=True)


@contextmanager
def _click_errors() -> Iterator[None]:
    """Turn errors of files, folders and the environment into a one-line error message."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is not installed: pip install 'vqcodec[train]'") from error
    except (VqcError, OSError, ValueError) as error:
        raise click.ClickException(one_line(str(error))) from error


def _options_and_plan(stage: str, options: dict[str, Any]) -> tuple["RunOptions", "TrainingPlan"]:
    """Return a stage's options as the training code takes them."""
    labels = options.get("labels")
    if "labels" in options and (options["data"] is None) == (labels is None):
        raise click.UsageError("give --data, a folder of photographs, or --labels, a folder of class folders")
    if "labels" not in options and options["data"] is None and not options["resume"]:
        raise click.UsageError("give --data, a folder of photographs")
    from vqcodec.training import stages
    from vqcodec.training.trainer import Intervals, TrainingPlan

    try:
        plan = TrainingPlan(stage, **{f.name: options[f.name] for f in fields(TrainingPlan) if f.name in options})
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    run_options = stages.RunOptions(
        data=labels or options["data"],
        labelled=labels is not None,
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
    return run_options, plan


def _train(stage: str, options: dict[str, Any], preset: str = "vqc-1") -> Path:
    with _click_errors():
        from vqcodec.training import stages

        run_options, plan = _options_and_plan(stage, options)
        return stages.train(run_options, plan, options["init"], preset, options["resume"], _echo)


def _export(
    state_file: Path,
    out: Path,
    valid: Path | None,
    valid_count: int,
    blend: Path | None = None,
    share: float = 0.0,
    lifelike: Path | None = None,
) -> None:
    with _click_errors():
        from vqcodec.training import stages

        photos = stages.validation_photos(valid, valid_count)
        stages.write_weights(state_file, out, photos, _echo, blend, share, lifelike)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Train a model on a folder of photographs; see docs/TRAINING.md."""


@group.command()
@_PRESET
@_SIMILARITY
@_UPPER_SHARE
@_LABELS
@_INIT
@_stage_options
def joint(preset: str, **options: Any) -> None:
    """Stage 1: train transforms, codebooks and prior together."""
    _train("joint", options, preset)


@group.command()
@_UPPER_SHARE
@_LABELS
@_INIT
@_stage_options
def prior(**options: Any) -> None:
    """Stage 2: train the prior alone, on the indices of frozen transforms; needs --init or --resume."""
    if not (options["init"] or options["resume"]):
        raise click.UsageError("training the prior needs trained transforms: give --init or --resume")
    _train("prior", options)


@group.command()
@_CROPS
@_SIMILARITY
@_UPPER_SHARE
@_INIT_WEIGHTS
@_stage_options
def finetune(crops: int, **options: Any) -> None:
    """Train synthesis and prior on indices that the encoder of the weights file --init chooses."""
    if not (options["init"] or options["resume"]):
        raise click.UsageError("fine-tuning needs a trained model: give --init or --resume")
    with _click_errors():
        from vqcodec.training import stages

        run_options, plan = _options_and_plan("finetune", options)
        stages.finetune(run_options, plan, options["init"], crops, options["resume"], _echo)


@group.command()
@_CROPS
@_INIT_WEIGHTS
@_stage_options
def lifelike(crops: int, **options: Any) -> None:
    """Train a second synthesis for the weights file --init, for 'vqcodec decode --realism'."""
    if not (options["init"] or options["resume"]):
        raise click.UsageError("a second synthesis needs a trained model: give --init or --resume")
    with _click_errors():
        from vqcodec.training import stages

        run_options, plan = _options_and_plan("lifelike", options)
        stages.train_lifelike(run_options, plan, options["init"], crops, options["resume"], _echo)


@group.command()
@click.option("--run", type=_FOLDER, required=True, help="Folder of the run.")
@click.option("--out", type=_PATH, required=True, help="Weights file to write.")
@click.option("--valid", type=_FOLDER, help="Folder of photographs to evaluate on.")
@click.option("--valid-count", default=16, show_default=True, help="Number of them to use; 0 means all.")
@click.option("--blend", type=_FILE, help="Weights file, or state of another run of this model, to average with.")
@click.option(
    "--share", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Weight of --blend in the average."
)
@click.option("--lifelike", type=_FILE, help="Weights file whose second synthesis is carried over.")
def export(
    run: Path,
    out: Path,
    valid: Path | None,
    valid_count: int,
    blend: Path | None,
    share: float,
    lifelike: Path | None,
) -> None:
    """Stage 3: write the weights file, with the prior in integers.

    Of a run of 'train lifelike': the weights that it began with, and the second synthesis, which --blend averages with
    that of another weights file.
    """
    if (run / WEIGHTS_FILE).exists():
        if valid or lifelike:
            raise click.UsageError("--valid and --lifelike are not for runs of 'train lifelike'")
        with _click_errors():
            from vqcodec.training import stages

            stages.write_lifelike(run / STATE_FILE, out, _echo, blend, share)
        return
    _export(run / STATE_FILE, out, valid, valid_count, blend, share, lifelike)


@group.command()
@click.option("--data", type=_FOLDER, required=True, help="Folder of class folders to train on.")
@click.option("--test", type=_FOLDER, help="Folder of class folders to measure the accuracy on.")
@click.option("--out", type=_PATH, required=True, help="File to write.")
@click.option("--steps", type=_COUNT, default=1000, show_default=True, help="Training steps.")
@click.option("--batch", type=_COUNT, default=64, show_default=True, help="Crops per step.")
@click.option("--crop", type=_COUNT, default=32, show_default=True, help="Edge of the crops in pixels.")
@click.option("--seed", default=0, show_default=True, help="Random seed of weights and crops.")
@click.option("--flip/--no-flip", default=True, show_default=True, help="Mirror half of the crops, or none.")
def classifier(data: Path, test: Path | None, out: Path, **options: Any) -> None:
    """Train a small classifier, for 'vqcodec sample --keep'."""
    with _click_errors():
        from vqcodec.training import stages

        stages.make_classifier(data, test, out, echo=_echo, **options)


@group.command("all")
@_PRESET
@click.option("--prior-steps", type=_COUNT, default=5_000, show_default=True, help="Length of stage 2 in steps.")
@click.option(
    "--prior-minutes", default=0.0, help="Length of stage 2 in minutes of training, instead of --prior-steps."
)
@click.option("--out", type=_PATH, required=True, help="Weights file to write.")
@_SIMILARITY
@_UPPER_SHARE
@_LABELS
@_INIT
@_stage_options
def all_stages(preset: str, prior_steps: int, prior_minutes: float, out: Path, **options: Any) -> None:
    """Run all three stages, in the folders joint and prior of --run."""
    with _click_errors():
        from vqcodec.training import stages

        stages.check_one_process()

    def run_stage(name: str, **changed: Any) -> Path:
        run = options["run"] / name
        begun = (run / STATE_FILE).exists()
        return _train(name, options | changed | {"run": run, "resume": options["resume"] and begun}, preset)

    state = run_stage("joint")
    state = run_stage("prior", init=state, steps=prior_steps, minutes=prior_minutes)
    _export(state, out, options["valid"], options["valid_count"])


def main(args: list[str]) -> None:
    """Run ``vqcodec train`` with ``args``."""
    group.main(args, prog_name="vqcodec train")

"""Train and measure the members, keep what is done, write the folder of the report: the ``bottlenecks`` command.

A finished run is kept as ``runs/NAME.json`` with its pictures beside it, and the next study with the same key skips it.
The key covers data, sizes, steps, batch and seed, not the code.
"""

import hashlib
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.bottlenecks.data import VIEWS, Digits, Photographs, RotatedDigits, Source, open_photographs
from benchmarks.bottlenecks.measure import Measured, measure
from benchmarks.bottlenecks.page import write_page
from benchmarks.bottlenecks.protocol import Member
from benchmarks.bottlenecks.table import markdown
from benchmarks.bottlenecks.training import Loop, plan_of
from benchmarks.defaults import MEMBERS
from benchmarks.environment import environment
from benchmarks.errors import Diverged
from benchmarks.report.build import Progress

SHOWN = 8
"""Pictures of each kind in the report."""


@dataclass(frozen=True)
class Study:
    """Settings of a study."""

    members: tuple[Member, ...]
    data: Path | None
    """Folder of photographs; None for digits."""
    steps: int
    seed: int
    out: Path
    command: str
    """Command line that repeats the study."""


def run(study: Study, tell: Callable[[str], None], progress: Progress) -> list[dict[str, Any]]:
    """Make the missing runs; write ``bottlenecks.json``, ``table.md`` and ``index.html``; return all runs' records."""
    pictures = open_photographs(study.data, study.seed) if study.data else Digits(study.seed)
    if isinstance(pictures, Photographs):
        for name in pictures.left_out:
            tell(f"{name} is left out: it cannot be read or is too small")
    rotated = RotatedDigits(study.seed)
    sources: dict[str, Source] = {member.run: rotated if member.rotated else pictures for member in study.members}
    (study.out / "runs").mkdir(parents=True, exist_ok=True)
    missing = [m for m in study.members if _read(study, m, sources[m.run]) is None]
    if len(missing) < len(study.members):
        tell(f"{len(study.members) - len(missing)} of {len(study.members)} runs exist already")
    diverged: dict[str, str] = {}
    for _ in progress(_train(study, missing, sources, diverged), len(missing) * study.steps):
        pass
    for name, why in diverged.items():
        tell(f"{name} is left out: {why}")
    found = [record for m in study.members if (record := _read(study, m, sources[m.run]))]
    summary = {
        "data": pictures.name,
        "command": study.command,
        "left_out": diverged,
        "environment": {**environment(), "threads": torch.get_num_threads()},
        "shapes": {source.name: asdict(source.shape) for source in (pictures, rotated)},
        "runs": [{key: value for key, value in record.items() if key != "key"} for record in found],
    }
    _replace(study.out / "bottlenecks.json", json.dumps(summary, indent=1) + "\n")
    _replace(study.out / "table.md", markdown(summary))
    write_page(study.out / "index.html", summary, study.out / "runs")
    return found


def command_line(data: Path | None, members: Sequence[str], steps: int, seed: int) -> str:
    """Return the command that repeats a study, with names instead of local paths."""
    words = ["python", "-m", "benchmarks", "bottlenecks"]
    words += ["--data", data.resolve().name] if data else []
    words += ["--members", ",".join(members)] if set(members) != set(MEMBERS) else []
    words += ["--steps", str(steps)]
    words += ["--seed", str(seed)] if seed else []
    return shlex.join(words)


def stem(name: str) -> str:
    """Return the name of a run's files, without suffix."""
    return name.replace(" ", "-")


def _train(
    study: Study, members: Sequence[Member], sources: dict[str, Source], diverged: dict[str, str]
) -> Iterator[None]:
    """Make the runs of ``members``; yield after each step."""
    for member in members:
        source = sources[member.run]
        loop = Loop(member, source, plan_of(study.steps, source.shape.batch, study.seed))
        try:
            trained = yield from loop.run()
        except Diverged as error:
            diverged[member.run] = str(error)
            continue
        measured = measure(member, trained.model, trained.prior, source.held_out, SHOWN)
        _save_pictures(study.out / "runs", member, source.held_out, measured)
        record = {
            "key": _key(study, member, source),
            **{field: getattr(member, field) for field in ("run", "name", "setting", "group", "paper", "idea")},
            "data": source.name,
            "steps": study.steps,
            "batch": source.shape.batch,
            "parameters": sum(p.numel() for p in trained.model.parameters()),
            "seconds_per_step": trained.seconds_per_step,
            "processor_seconds_per_step": trained.processor_seconds_per_step,
            **{field: getattr(measured, field) for field in ("psnr", "detail", "bpp", "rate", "numbers")},
            "course": trained.course,
        }
        _replace(_path(study, member), json.dumps(record, indent=1) + "\n")


def _path(study: Study, member: Member) -> Path:
    return study.out / "runs" / f"{stem(member.run)}.json"


def _key(study: Study, member: Member, source: Source) -> str:
    """Return a hash of all that a run depends on besides the code."""
    parts = [member.run, source.digest, asdict(source.shape), study.steps, study.seed]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read(study: Study, member: Member, source: Source) -> dict[str, Any] | None:
    """Return the record of a finished run with the same key, or None."""
    path = _path(study, member)
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record if record["key"] == _key(study, member, source) else None


def _replace(path: Path, text: str) -> None:
    """Write a file whole, so that an interruption leaves the old one."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def _save_pictures(folder: Path, member: Member, x: Tensor, measured: Measured) -> None:
    """Write rows of pictures: originals, reconstructions, samples, upright pictures."""
    # Of rotated digits, all views of one digit; else pictures from the whole set.
    chosen = slice(2 * VIEWS, 3 * VIEWS) if member.rotated else slice(0, None, len(x) // SHOWN)
    rows = {"originals": x, "reconstructions": measured.reconstructions, "upright": measured.upright}
    for kind, pictures in rows.items():
        if pictures is not None:
            _save_row(folder / f"{stem(member.run)}-{kind}.png", pictures[chosen][:SHOWN])
    _save_row(folder / f"{stem(member.run)}-samples.png", measured.samples)


def _save_row(path: Path, pictures: Tensor) -> None:
    """Write pictures (N, C, S, S) side by side, losslessly."""
    row = (255 * pictures.clamp(0, 1)).round().byte().permute(2, 0, 3, 1).flatten(1, 2)
    Image.fromarray(row.expand(-1, -1, 3).contiguous().numpy()).save(path)

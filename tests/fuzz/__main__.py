"""Run one target, or some inputs again: ``python -m tests.fuzz TARGET [SECONDS] [OPTION...] [FILE...]``.

Options are libFuzzer's.  The corpus stays in ``.fuzz/TARGET`` and grows from run to run; what was found lies beside it
as ``crash-*``.
"""

import random
import sys
from pathlib import Path

import atheris

from tests.fuzz import TARGETS, load

FOLDER = Path(__file__).parents[2] / ".fuzz"
SECONDS = "60"
MAX_LENGTH = 4096
SLOWEST = 60
"""Seconds after which a slow input counts as a finding."""


def main(arguments: list[str]) -> None:
    """Run until the time is up or an input fails."""
    if not arguments or arguments[0] not in TARGETS:
        sys.exit(f"usage: fuzz {'|'.join(TARGETS)} [SECONDS] [libFuzzer's options]")
    name, *rest = arguments
    seconds = rest.pop(0) if rest and rest[0].isdigit() else SECONDS
    with atheris.instrument_imports(include=list(TARGETS[name])):
        target = load(name)
    corpus = FOLDER / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number:02d}").write_bytes(seed)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        def change(part: bytes) -> bytes:
            return bytes(atheris.Mutate(part, max_size))

        return target.mutate(data, change, random.Random(seed))[:max_size]

    limits = [f"-max_total_time={seconds}", f"-max_len={MAX_LENGTH}", f"-timeout={SLOWEST}", "-len_control=0"]
    inputs = [] if any(not option.startswith("-") for option in rest) else [str(corpus)]
    arguments = [sys.argv[0], *limits, f"-artifact_prefix={FOLDER / name}/", *rest, *inputs]
    atheris.Setup(arguments, target.check, custom_mutator=mutate if hasattr(target, "mutate") else None)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])

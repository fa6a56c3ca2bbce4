"""The numbers of a study as a table: cost of a run, and rows in Markdown."""

from collections.abc import Mapping
from typing import Any

from benchmarks.bottlenecks.protocol import NATS_PER_BIT

Record = Mapping[str, Any]
"""A run in ``bottlenecks.json``."""

NUMBERS = (
    ("perplexity", "Perplexity", ".1f"),
    ("used codewords", "Used codewords", ".1f"),
    ("active units", "Active units", ".0%"),
    ("ELBO", "ELBO, nats", ".0f"),
    ("IWAE bound", "IWAE, nats", ".0f"),
    ("AIS bound", "AIS, nats", ".0f"),
)
"""Numbers that have a column: key, title, format."""


def cost(record: Record, summary: Mapping[str, Any]) -> float | None:
    """Return rate and distortion of a run as one number, the Lagrangian of its loss in nats per pixel; None if no rate.

    It compares runs at different rates, under the sigma that all were trained with.
    """
    if record["bpp"] is None:
        return None
    shape = summary["shapes"][record["data"]]
    error = shape["channels"] * 10 ** (-record["psnr"] / 10)
    return float(error / (2 * shape["sigma"] ** 2) + NATS_PER_BIT * record["bpp"])


def markdown(summary: Mapping[str, Any]) -> str:
    """Return the table of all runs in Markdown."""
    titles = ["Run", "Rate, bpp", "PSNR, dB", "Cost, nats", "Detail", *(title for _, title, _ in NUMBERS)]
    lines = [f"| {' | '.join(titles)} |", f"|---|{'---:|' * (len(titles) - 1)}"]
    for run in summary["runs"]:
        values = [(run["bpp"], ".3f"), (run["psnr"], ".2f"), (cost(run, summary), ".3f"), (run["detail"], ".2f")]
        values += [(run["numbers"].get(key), form) for key, _, form in NUMBERS]
        cells = ["-" if value is None else format(value, form) for value, form in values]
        lines.append(f"| {' | '.join([run['run'], *cells])} |")
    return "\n".join(lines) + "\n"

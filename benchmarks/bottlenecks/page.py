"""Write the HTML page of a study: rate against PSNR, the course of the codes, a sortable table, pictures."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image
from plotly import graph_objects

from benchmarks.bottlenecks.table import NUMBERS, Record, cost
from benchmarks.report import sections
from benchmarks.report.figures import plain, set_axes
from benchmarks.report.sections import Cell, Section, bullets, lines, number, picture, table

COLOURS = {
    "no code": "#7f7f7f",
    "continuous code": "#1f77b4",
    "discrete code": "#d62728",
    "loss": "#9467bd",
    "transform": "#8c564b",
    "symmetry": "#2ca02c",
}
"""Colour of each group of members."""
COURSES = {"used codewords": "Used codewords", "perplexity": "Perplexity", "active units": "Active units"}
"""Statistics drawn over the training, and their headings."""


def write_page(path: Path, summary: Mapping[str, Any], pictures: Path) -> None:
    """Write the page of a study's ``summary``; ``pictures`` is the folder of its rows of pictures."""
    records: Sequence[Record] = summary["runs"]
    columns = ["Member", "Rate, bpp", "Kind", "PSNR, dB", "Cost, nats", "Detail", *(title for _, title, _ in NUMBERS)]
    columns += ["ms per step", "of the processor", "Parameters", "More"]
    shown = (
        _pictures(record, pictures, first=record["data"] not in {other["data"] for other in records[:i]})
        for i, record in enumerate(records)
    )
    sections.write_page(
        path,
        f"Bottlenecks and transforms on {summary['data']}",
        f"{len(records)} runs, same transforms, data and steps. {summary['environment']['date']}",
        [
            Section(
                "Quality against rate",
                "Higher and further left is better. One point per run, at the rate that its loss leads to; the dotted "
                "line is the autoencoder whose latents have no code. Tap a name to hide a group.",
                figure=_rates(records),
            ),
            Section("All numbers", html=table(columns, [_row(record, summary) for record in records])),
            *(
                Section(
                    f"{heading} over the training",
                    "A codebook has collapsed where few codewords are used; a VAE where few units are active.",
                    figure=lines("step", key, _courses(records, key)),
                )
                for key, heading in COURSES.items()
            ),
            Section("Reconstructions and samples", html="\n".join(shown)),
            Section("Method", html=bullets(_method(summary))),
        ],
    )


def _rates(records: Sequence[Record]) -> dict[str, Any]:
    """Draw a point for each run with a rate, and a line for the PSNR of each run without one."""
    figure = graph_objects.Figure()
    rated = [record for record in records if record["bpp"] is not None and record["group"] != "symmetry"]
    for group, colour in COLOURS.items():
        members = [record for record in rated if record["group"] == group]
        figure.add_scatter(
            x=[record["bpp"] for record in members],
            y=[record["psnr"] for record in members],
            text=[record["run"] for record in members],
            name=group,
            mode="markers+text",
            textposition=["top center" if i % 2 else "bottom center" for i in range(len(members))],
            marker={"size": 9, "color": colour},
            hovertemplate="%{text}: %{x:.3f} bpp, %{y:.2f} dB<extra></extra>",
            visible=bool(members),
        )
    plain_ae = [record for record in records if record["run"] == "ae"]
    if plain_ae:
        figure.add_hline(y=plain_ae[0]["psnr"], line_dash="dot", annotation_text="ae, no code")
    set_axes(figure, "bits per pixel", "PSNR, dB")
    return plain(figure)


def _courses(records: Sequence[Record], key: str) -> dict[str, list[tuple[float, float]]]:
    """Return the course of a statistic of the held-out pictures' code, for each run that has it."""
    courses = {
        record["run"]: [(point["step"], point[key]) for point in record["course"] if key in point] for record in records
    }
    return {run: points for run, points in courses.items() if points}


def _row(record: Record, summary: Mapping[str, Any]) -> list[str | Cell | None]:
    """Return the row of a run in the table."""
    numbers = dict(record["numbers"])
    look = f'<i style="background:{COLOURS[record["group"]]}"></i>'
    return [
        Cell(record["run"], f'{look}<span title="{escape(record["idea"])}">{escape(record["run"])}</span>'),
        number(record["bpp"], ".3f"),
        record["rate"],
        number(record["psnr"], ".2f"),
        number(cost(record, summary), ".3f"),
        number(record["detail"], ".2f"),
        *(number(numbers.pop(key, None), form) for key, _, form in NUMBERS),
        number(1e3 * record["seconds_per_step"], ".0f"),
        number(1e3 * record["processor_seconds_per_step"], ".0f"),
        number(record["parameters"], ",d"),
        "; ".join(f"{key} {value:.3g}" for key, value in numbers.items()),
    ]


def _pictures(record: Record, folder: Path, first: bool) -> str:
    """Return the rows of pictures of a run, with the originals if it is the ``first`` on its data."""
    stem = record["run"].replace(" ", "-")
    parts = [f"<h3>{escape(record['run'])}</h3><p class=note>{escape(record['idea'])} ({escape(record['paper'])})</p>"]
    for kind in (*(["originals"] if first else []), "reconstructions", "upright", "samples"):
        path = folder / f"{stem}-{kind}.png"
        if path.exists():
            with Image.open(path) as image:
                parts.append(picture(image, f"{kind} of {record['run']}"))
    return "\n".join(parts)


def _method(summary: Mapping[str, Any]) -> list[str]:
    environment = summary["environment"]
    runs = summary["runs"]
    lines = [
        "Every member minimises squared error / (2 sigma&sup2;) plus its own loss, in nats, with the same sigma, "
        "random numbers, batches, optimizer (Adam) and steps.",
        "Rate: a VAE's is its KL, with reconstructions from samples of the posterior; a discrete code's is the "
        "cross-entropy of a small autoregressive prior trained beside it, beside its fixed-length rate (groups &times; "
        "log2 K per position) and its own (last column). Latents without a code have no rate.",
        "Cost: squared error / (2 sigma&sup2;) plus rate, in nats per pixel: what a codec's loss is at this sigma.",
        "PSNR is that of the mean squared error over all held-out pictures, rounded to 8 bits. Detail is the energy of "
        "the Laplacian over that of the originals: below 1 means blurred.",
        "Active units: latents whose posterior mean has a variance above 0.01 over pictures. Bounds on log p(x), in "
        "nats per picture: ELBO, 64 importance samples, annealed importance sampling.",
        f"Command: <code>{escape(summary['command'])}</code>",
        f"{escape(str(environment['processor']))}, {environment['cores']} cores, {environment['threads']} threads; "
        f"{escape(str(environment['system']))}, Python {environment['python']}, torch {environment['torch']}.",
    ]
    for name, shape in summary["shapes"].items():
        lines.append(f"{escape(name)}: " + ", ".join(f"{key} {value}" for key, value in shape.items()) + ".")
    lines += sorted({f"{run['steps']} steps of {run['batch']} pictures ({escape(run['data'])})." for run in runs})
    lines += [f"Left out: {escape(name)} ({escape(why)})." for name, why in summary["left_out"].items()]
    return lines

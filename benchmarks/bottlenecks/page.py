"""Write the HTML page of a study: rate against PSNR, the course of the codes, a sortable table, pictures.

The page needs no network; style and script of tables are those of the rate-distortion report.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from plotly import graph_objects
from plotly.offline import get_plotlyjs

from benchmarks.bottlenecks.table import NUMBERS, Record, cost
from benchmarks.report.figures import FONT, GRID, plain

COLOURS = {
    "no code": "#7f7f7f",
    "continuous code": "#1f77b4",
    "discrete code": "#d62728",
    "loss": "#9467bd",
    "transform": "#8c564b",
    "symmetry": "#2ca02c",
}
"""Colour of each group of members."""
COURSES = ("used codewords", "perplexity", "active units")
"""Statistics drawn over the training."""

_TEXT = ("Member", "Kind", "More")
"""Columns of text."""
_REPORT = files("benchmarks.report") / "assets"
_OWN = files("benchmarks.bottlenecks") / "assets"


def write_page(path: Path, summary: Mapping[str, Any], pictures: Path) -> None:
    """Write the page of a study's ``summary``; ``pictures`` is the folder of its rows of pictures."""
    records: Sequence[Record] = summary["runs"]
    figures = {"rates": _rates(records)} | {name: _course(records, name) for name in COURSES}
    columns = ["Member", "Rate, bpp", "Kind", "PSNR, dB", "Cost, nats", "Detail", *(title for _, title, _ in NUMBERS)]
    columns += ["ms per step", "of the processor", "Parameters", "More"]
    environment = summary["environment"]
    template = Template((_OWN / "page.html").read_text(encoding="utf-8"))
    page = template.substitute(
        title=f"Bottlenecks and transforms on {escape(summary['data'])}",
        lead=f"{len(records)} runs, same transforms, data and steps. {environment['date']}",
        style=(_REPORT / "page.css").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        table_script=(_REPORT / "table.js").read_text(encoding="utf-8"),
        data=json.dumps(figures).replace("<", "\\u003c"),  # no string may end the script element
        table_head="".join(
            f'<th data-kind="{"text" if title in _TEXT else "number"}"><button>{title}</button></th>'
            for title in columns
        ),
        table_rows="\n".join(_row(record, summary) for record in records),
        pictures="\n".join(
            _pictures(record, pictures, first=record["data"] not in {other["data"] for other in records[:i]})
            for i, record in enumerate(records)
        ),
        method="\n".join(f"    <li>{line}</li>" for line in _method(summary)),
    )
    path.write_text(page, encoding="utf-8")


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
    _set_up(figure, "bits per pixel", "PSNR, dB")
    return plain(figure)


def _course(records: Sequence[Record], key: str) -> dict[str, Any]:
    """Draw a statistic of the held-out pictures' code over the training, a line for each run that has it."""
    figure = graph_objects.Figure()
    for record in records:
        points = [(point["step"], point[key]) for point in record["course"] if key in point]
        if points:
            x, y = zip(*points, strict=True)
            figure.add_scatter(x=x, y=y, name=record["run"], mode="lines")
    _set_up(figure, "step", key)
    return plain(figure)


def _set_up(figure: graph_objects.Figure, x: str, y: str) -> None:
    figure.update_layout(
        font=FONT,
        margin={"l": 55, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "yanchor": "top", "y": -0.16, "x": 0},
        plot_bgcolor="white",
    )
    figure.update_xaxes(title=x, gridcolor=GRID, zeroline=False)
    figure.update_yaxes(title=y, gridcolor=GRID, zeroline=False)


def _row(record: Record, summary: Mapping[str, Any]) -> str:
    """Return the row of a run in the table."""
    numbers = dict(record["numbers"])
    look = f'<i style="background:{COLOURS[record["group"]]}"></i>'
    cells = [
        (record["run"], f'{look}<span title="{escape(record["idea"])}">{escape(record["run"])}</span>'),
        _number(record["bpp"], ".3f"),
        (record["rate"],) * 2,
        _number(record["psnr"], ".2f"),
        _number(cost(record, summary), ".3f"),
        _number(record["detail"], ".2f"),
        *(_number(numbers.pop(key, None), form) for key, _, form in NUMBERS),
        _number(1e3 * record["seconds_per_step"], ".0f"),
        _number(1e3 * record["processor_seconds_per_step"], ".0f"),
        _number(record["parameters"], ",d"),
    ]
    more = "; ".join(f"{key} {value:.3g}" for key, value in numbers.items())
    cells.append((more, escape(more)))
    row = "".join(f'<td data-value="{escape(value)}">{text}</td>' for value, text in cells)
    return f"      <tr>{row}</tr>"


def _number(value: float | None, form: str) -> tuple[str, str]:
    """Return sort key and text of a number."""
    return ("", "-") if value is None else (str(value), format(value, form))


def _pictures(record: Record, folder: Path, first: bool) -> str:
    """Return the rows of pictures of a run, with the originals if it is the ``first`` on its data."""
    stem = record["run"].replace(" ", "-")
    parts = [f"<h3>{escape(record['run'])}</h3><p class=note>{escape(record['idea'])} ({escape(record['paper'])})</p>"]
    for kind in (*(["originals"] if first else []), "reconstructions", "upright", "samples"):
        path = folder / f"{stem}-{kind}.png"
        if path.exists():
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            parts.append(
                f'<figure><img src="data:image/png;base64,{data}" alt="{kind} of {escape(record["run"])}">'
                f"<figcaption>{kind}</figcaption></figure>"
            )
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

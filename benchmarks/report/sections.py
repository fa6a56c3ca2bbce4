"""A self-contained HTML page of sections: text, tables, plotly figures and pictures.  It needs no network."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image
from plotly import graph_objects
from plotly.offline import get_plotlyjs

from benchmarks.report.figures import FONT, GRID, plain

_ASSETS = files("benchmarks.report") / "assets"


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    heading: str
    note: str
    """Text."""
    html: str = ""
    """Tables and pictures."""
    figure: Mapping[str, Any] | None = None
    """A figure of :func:`lines`."""


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write the page."""
    figures = {f"figure-{i}": section.figure for i, section in enumerate(sections) if section.figure}
    body = []
    for i, section in enumerate(sections):
        plot = f'<div id="figure-{i}" class="plot"></div>' if section.figure else ""
        note = f'<p class="note">{escape(section.note)}</p>'
        body.append(f"<section>\n<h2>{escape(section.heading)}</h2>\n{note}\n{plot}{section.html}\n</section>")
    page = Template((_ASSETS / "sections.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        lead=escape(lead),
        style=(_ASSETS / "page.css").read_text(encoding="utf-8"),
        plotly=get_plotlyjs() if figures else "",
        table_script=(_ASSETS / "table.js").read_text(encoding="utf-8"),
        data=json.dumps(figures).replace("<", "\\u003c"),  # no string may end the script element
        sections="\n".join(body),
    )
    path.write_text(page, encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[str | float | None]]) -> str:
    """Return a sortable table; numbers with four significant digits, None as a dash."""
    kinds = ["text" if any(isinstance(row[i], str) for row in rows) else "number" for i in range(len(head))]
    heads = "".join(
        f'<th data-kind="{kind}"><button>{escape(text)}</button></th>' for text, kind in zip(head, kinds, strict=True)
    )
    body = "\n".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _cell(value: str | float | None) -> str:
    if value is None:
        return '<td data-value="">-</td>'
    text = value if isinstance(value, str) else f"{value:.4g}"
    return f'<td data-value="{escape(str(value))}">{escape(text)}</td>'


def picture(image: Image.Image, caption: str) -> str:
    """Return a picture with its caption; small ones are enlarged without smoothing."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def lines(x: str, y: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
    """Return a figure with a line for each curve of points (x, y)."""
    figure = graph_objects.Figure()
    for name, points in curves.items():
        figure.add_scatter(x=[p[0] for p in points], y=[p[1] for p in points], name=name, mode="lines+markers")
    figure.update_layout(
        font=FONT,
        margin={"l": 55, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "yanchor": "top", "y": -0.16, "x": 0},
        plot_bgcolor="white",
    )
    figure.update_xaxes(title=x, gridcolor=GRID, zeroline=False)
    figure.update_yaxes(title=y, gridcolor=GRID, zeroline=False)
    return plain(figure)

"""A self-contained HTML page of sections: text, tables, plotly figures, pictures, a slider.  It needs no network."""

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

from benchmarks.report.figures import plain, set_axes

_ASSETS = files("benchmarks.report") / "assets"


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    heading: str
    note: str = ""
    """Text."""
    html: str = ""
    """Tables, pictures, lists."""
    figure: Mapping[str, Any] | None = None
    """A figure of :func:`lines`, or another in plotly's JSON."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table whose text is not its value."""

    value: str | float
    """What the column is sorted by."""
    html: str


def write_page(
    path: Path, title: str, lead: str, sections: Sequence[Section], scenes: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write the page.

    ``scenes`` are shown by :func:`slider`: each has a ``title``, ``width`` and ``height``, and for every name that can
    be chosen a ``caption`` and a ``source``.
    """
    figures = {f"figure-{i}": section.figure for i, section in enumerate(sections) if section.figure}
    body = []
    for i, section in enumerate(sections):
        plot = f'<div id="figure-{i}" class="plot"></div>' if section.figure else ""
        note = f'<p class="note">{escape(section.note)}</p>' if section.note else ""
        body.append(f"<section>\n<h2>{escape(section.heading)}</h2>\n{note}\n{plot}{section.html}\n</section>")
    page = Template(asset("sections.html")).substitute(
        title=escape(title),
        lead=escape(lead),
        style=asset("page.css"),
        plotly=get_plotlyjs() if figures else "",
        scripts=asset("table.js") + asset("compare.js"),
        data=json.dumps({"figures": figures, "scenes": scenes}).replace("<", "\\u003c"),  # may not end the script
        sections="\n".join(body),
    )
    path.write_text(page, encoding="utf-8")


def asset(name: str) -> str:
    """Return a part of the pages."""
    return (_ASSETS / name).read_text(encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[str | float | Cell | None]]) -> str:
    """Return a sortable table; numbers with four significant digits, None as a dash."""
    known = [[cell.value if isinstance(cell, Cell) else cell for cell in row] for row in rows]
    kinds = ["text" if any(isinstance(row[i], str) for row in known) else "number" for i in range(len(head))]
    heads = "".join(
        f'<th data-kind="{kind}"><button>{escape(text)}</button></th>' for text, kind in zip(head, kinds, strict=True)
    )
    body = "\n".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _cell(cell: str | float | Cell | None) -> str:
    if cell is None:
        return '<td data-value="">-</td>'
    if not isinstance(cell, Cell):
        cell = Cell(cell, escape(cell) if isinstance(cell, str) else f"{cell:.4g}")
    return f'<td data-value="{escape(str(cell.value))}">{cell.html}</td>'


def number(value: float | None, form: str) -> Cell | None:
    """Return a cell with a number in a format of its own."""
    return None if value is None else Cell(value, format(value, form))


def slider(names: Mapping[str, str], left: str, right: str) -> str:
    """Return a slider over two pictures of a scene; ``names`` -> labels can be chosen, first ``left`` and ``right``."""

    def options(chosen: str) -> str:
        return "".join(
            f'<option value="{escape(name)}"{" selected" if name == chosen else ""}>{escape(label)}</option>'
            for name, label in names.items()
        )

    return Template(asset("slider.html")).substitute(left=options(left), right=options(right))


def bullets(items: Sequence[str]) -> str:
    """Return a list of items, which are HTML."""
    return '<ul class="note">\n' + "\n".join(f"<li>{item}</li>" for item in items) + "\n</ul>"


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
    set_axes(figure, x, y)
    return plain(figure)

"""Figures of the HTML page, as JSON for plotly's script."""

import json
import math
from collections.abc import Mapping
from typing import Any

from plotly import graph_objects

from benchmarks.rd.codecs import Vqc
from benchmarks.rd.results import Metric, Result
from benchmarks.report.plots import RATE_TICKS, SHOWN_BPP
from benchmarks.report.style import Look

_FONT = {"family": "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", "size": 13}
_GRID = "#e6e9ed"
_WORSE = "#7f7f7f"
"""Bars of pictures where vqcodec needs more bits than JPEG."""


def curves(metric: Metric, results: Mapping[str, Result], codec_looks: Mapping[str, Look]) -> dict[str, Any]:
    """Draw the rate-distortion curves of all codecs in one metric."""
    figure = graph_objects.Figure()
    for name, result in results.items():
        if metric.key not in result.results:
            continue
        look = codec_looks[name]
        figure.add_scatter(
            x=result.results["bpp"],
            y=result.values_db(metric),
            customdata=result.results.get("quality"),
            name=look.label,
            mode="lines+markers",
            line={"color": look.colour, "width": look.width, "dash": "dash" if look.dashed else "solid"},
            marker={"size": 6},
            hovertemplate="%{x:.3f} bpp, %{y:.2f} dB"
            + ("" if result.source else "<br>quality %{customdata}")
            + "<extra>%{fullData.name}</extra>",
        )
    set_axes(figure, "bits per pixel", f"{metric.title}, dB")
    figure.update_layout(hoverlabel={"align": "left"})
    figure.update_xaxes(
        type="log",
        range=[math.log10(bound) for bound in SHOWN_BPP],
        tickvals=RATE_TICKS,
        ticktext=[f"{tick:g}" for tick in RATE_TICKS],
    )
    return plain(figure)


def bars(image_rates: Mapping[str, float]) -> dict[str, Any]:
    """Draw a bar for each picture's BD-rate in percent, the first picture on top."""
    names = list(image_rates)[::-1]
    figure = graph_objects.Figure()
    figure.add_bar(
        x=[image_rates[name] for name in names],
        y=names,
        orientation="h",
        marker={"color": [Vqc.colour if image_rates[name] < 0 else _WORSE for name in names]},
        hovertemplate="%{y}: %{x:+.1f} %<extra></extra>",
    )
    figure.update_layout(
        font=_FONT,
        margin={"l": 10, "r": 10, "t": 10, "b": 40},
        height=70 + 22 * len(names),
        plot_bgcolor="white",
        bargap=0.35,
    )
    figure.update_xaxes(title="BD-rate, %", gridcolor=_GRID, zerolinecolor="#1c1e21")
    figure.update_yaxes(automargin=True, type="category")
    return plain(figure)


def set_axes(figure: graph_objects.Figure, x: str, y: str) -> None:
    """Set the look that figures share, and the titles of the axes."""
    figure.update_layout(
        font=_FONT,
        margin={"l": 55, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "yanchor": "top", "y": -0.16, "x": 0},
        plot_bgcolor="white",
    )
    figure.update_xaxes(title=x, gridcolor=_GRID, zeroline=False)
    figure.update_yaxes(title=y, gridcolor=_GRID, zeroline=False)


def plain(figure: graph_objects.Figure) -> dict[str, Any]:
    """Return the figure as JSON, without plotly's default theme, which is longer than the data."""
    figure.update_layout(template=None)
    found: dict[str, Any] = json.loads(figure.to_json())
    return found

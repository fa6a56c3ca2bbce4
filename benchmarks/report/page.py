"""Write the HTML page: interactive curves, a sortable table, pictures to compare.

The page needs no network: plotly's script, which draws the curves, is part of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from benchmarks.rd.bdrate import BdRate
from benchmarks.rd.codecs import is_vqc
from benchmarks.rd.results import DIRECTIONS, MS_SSIM, PSNR, Result, common_metrics, measured
from benchmarks.report.figures import bars, curves
from benchmarks.report.scenes import Scene
from benchmarks.report.sections import asset, slider
from benchmarks.report.style import Look, curve_looks
from benchmarks.report.summary import Summary, percent


def write_page(
    path: Path,
    summary: Summary,
    results: Mapping[str, Result],
    scenes: Sequence[Scene],
    image_rates: Mapping[str, float],
) -> None:
    """Write the page; ``image_rates`` are the BD-rates of the first vqc model by picture, in percent."""
    codec_looks = curve_looks(results)
    data = {
        "curves": [
            {"title": metric.title, "figure": curves(metric, results, codec_looks)}
            for metric in common_metrics(results)
        ],
        "scenes": [asdict(scene) for scene in scenes],
        "bars": bars(image_rates) if image_rates else None,
    }
    count = f"{summary.images} picture{'s' if summary.images > 1 else ''}"
    page = Template(asset("page.html")).substitute(
        title=f"vqcodec beside JPEG on {escape(summary.dataset)}",
        lead=f"{count}, {len(measured(results))} codecs, decoded from files on disk. {summary.environment['date']}",
        style=asset("page.css"),
        plotly=get_plotlyjs(),
        script=asset("table.js") + asset("compare.js") + asset("page.js"),
        data=json.dumps(data).replace("<", "\\u003c"),  # no string may end the script element
        headlines=_headlines(summary, codec_looks),
        table_head="".join(
            f'<th data-kind="{"text" if i == 0 else "number"}"><button>{title}</button></th>'
            for i, title in enumerate(_columns(summary))
        ),
        table_rows="\n".join(_row(summary, name, results[name], look) for name, look in codec_looks.items()),
        table_note=_table_note(summary),
        scenes_section=_scenes_section() if scenes else "",
        images_section=asset("images.html") if image_rates else "",
        method="\n".join(f"    <li>{line}</li>" for line in _method(summary, results)),
    )
    path.write_text(page, encoding="utf-8")


def _scenes_section() -> str:
    names = {"original": "original", "codec": "vqcodec", "jpeg": "JPEG"}
    return Template(asset("scenes.html")).substitute(slider=slider(names, left="jpeg", right="codec"))


def _headlines(summary: Summary, codec_looks: Mapping[str, Look]) -> str:
    tiles = []
    for name in filter(is_vqc, codec_looks):
        for metric in (PSNR, MS_SSIM):
            rating = summary.rating(name, metric)
            if rating and rating.percent is not None:
                text = f"bits of {codec_looks[name].label} compared with JPEG at equal {metric.title}"
                tiles.append(f'  <p class="headline"><strong>{_minus(rating)}</strong><span>{text}</span></p>')
    return '<div class="headlines">\n' + "\n".join(tiles) + "\n</div>" if tiles else ""


def _columns(summary: Summary) -> list[str]:
    columns = ["Codec", "BD-rate, PSNR", "Overlap, dB", "Points"]
    if summary.bpp_range:
        columns.append("BD-rate, PSNR, {:g} to {:g} bpp".format(*summary.bpp_range))
    return [*columns, "BD-rate, MS-SSIM", "Overlap, dB", "Encode, s", "Decode, s"]


def _row(summary: Summary, name: str, result: Result, look: Look) -> str:
    psnr, ms_ssim = (summary.rating(name, metric) for metric in (PSNR, MS_SSIM))
    cells = [
        (look.label, f'<i style="background:{look.colour}"></i>{escape(look.label)}'),
        _rating_cell(psnr),
        _overlap_cell(psnr),
        (str(len(result.results["bpp"])),) * 2,
    ]
    if summary.bpp_range:
        cells.append(_rating_cell(summary.rating(name, PSNR, in_range=True)))
    cells += [_rating_cell(ms_ssim), _overlap_cell(ms_ssim)]
    for direction in DIRECTIONS:
        seconds = None if result.source else result.median_time(direction)
        cells.append(("", "-") if seconds is None else (f"{seconds}", f"{seconds:.3f}"))
    row = "".join(f'<td data-value="{escape(value)}">{text}</td>' for value, text in cells)
    return f"      <tr{' class=ours' if is_vqc(name) else ''}>{row}</tr>"


def _rating_cell(rating: BdRate | None) -> tuple[str, str]:
    return ("", "-") if rating is None or rating.percent is None else (str(rating.percent), _minus(rating))


def _minus(rating: BdRate | None) -> str:
    """Format a BD-rate with a typographic minus sign."""
    return percent(rating).replace("-", "&minus;")


def _overlap_cell(rating: BdRate | None) -> tuple[str, str]:
    if rating is None or rating.overlap is None:
        return "", "-"
    low, high = rating.overlap
    return str(high - low), f"{low:.1f} to {high:.1f}"


def _table_note(summary: Summary) -> str:
    return (
        "BD-rate: how many more bits (negative: fewer) than Pillow&rsquo;s JPEG with <code>optimize=True</code> for "
        "the same quality, averaged over the range of qualities that both reach (&ldquo;overlap&rdquo;; MS-SSIM in "
        "dB), PCHIP interpolation. Times are per picture, the median over qualities, with "
        f"{summary.environment['jobs']} processes running. Click a column&rsquo;s name to sort by it."
    )


def _method(summary: Summary, results: Mapping[str, Result]) -> list[str]:
    environment = summary.environment
    lines = [
        "Rate is 8 &times; the bytes of the file &divide; the pixels of the original. Every file was written to disk "
        "and decoded; metrics compare 8-bit RGB pictures and are averaged over pictures.",
        f"Command: <code>{escape(summary.command)}</code>",
        f"{escape(str(environment['processor']))}, {environment['cores']} cores, {environment['jobs']} processes with "
        f"{environment['threads']} thread{'s' if environment['threads'] != 1 else ''} each; "
        f"{escape(str(environment['system']))}, Python {environment['python']}.",
    ]
    lines += [f"{escape(result.label)}: {escape(result.description)}{_source(result)}." for result in results.values()]
    lines += [f"Left out: {escape(name)} ({escape(why)})." for name, why in summary.left_out.items()]
    return lines


def _source(result: Result) -> str:
    return f', <a href="{escape(result.source)}">source</a>' if result.source else ""

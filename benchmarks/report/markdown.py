"""Write a report as a page of Markdown, for the documentation."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from benchmarks.rd.bdrate import BdRate
from benchmarks.rd.codecs import is_vqc
from benchmarks.rd.results import DIRECTIONS, MS_SSIM, PSNR, Result, measured
from benchmarks.report.summary import Summary, percent

PICTURE = "rd.png"


def write_markdown(target: Path, summary: Summary, results: Mapping[str, Result], picture: Path) -> None:
    """Write ``target``, and copy the picture into a folder with its name beside it."""
    folder = target.parent / target.stem.lower()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(picture, folder / PICTURE)
    target.write_text(_page(summary, results, f"{folder.name}/{PICTURE}"), encoding="utf-8")


def _page(summary: Summary, results: Mapping[str, Result], picture: str) -> str:
    environment = summary.environment
    lines = [
        f"# Results on {summary.dataset}",
        "",
        f"Made on {environment['date']} by",
        "",
        "```",
        summary.command,
        "```",
        "",
        "[BENCHMARKS.md](BENCHMARKS.md) says how to run it and what is measured.",
        "",
        f"![Quality against bits per pixel]({picture})",
        "",
        *_ratings(summary, results),
        "",
        "BD-rate: bits compared with Pillow's JPEG (`optimize=True`, 4:2:0) at equal quality, averaged over the "
        "overlap: the range of qualities that both reach, MS-SSIM in dB. Times are wall-clock seconds per picture, the "
        f"median over qualities, with {environment['jobs']} processes at work; models were loaded before.",
        "",
    ]
    ours = measured(results)
    for name in filter(is_vqc, ours):
        lines += [f"## {ours[name].label}, quality by quality", "", *_points(ours[name]), ""]
    lines += ["## Measured with", ""]
    lines.append(f"- {environment['processor']}, {environment['cores']} cores; {environment['system']}")
    lines += [f"- {result.label}: {result.description}" for result in ours.values()]
    published = [result for name, result in results.items() if name not in ours]
    lines += [f"- {result.label}: {result.description}, [source]({result.source})" for result in published]
    lines += [f"- left out: {name} ({why})" for name, why in summary.left_out.items()]
    return "\n".join(lines) + "\n"


def _ratings(summary: Summary, results: Mapping[str, Result]) -> list[str]:
    head = ["codec", "BD-rate, PSNR", "overlap, dB", "points"]
    if summary.bpp_range:
        head.append("BD-rate, PSNR, {:g} to {:g} bpp".format(*summary.bpp_range))
    head += ["BD-rate, MS-SSIM", "overlap, dB", "encode, s", "decode, s"]
    rows = []
    for name, result in results.items():
        psnr, ms_ssim = summary.rating(name, PSNR), summary.rating(name, MS_SSIM)
        row = [result.label, percent(psnr), _overlap(psnr), str(len(result.results["bpp"]))]
        if summary.bpp_range:
            row.append(percent(summary.rating(name, PSNR, in_range=True)))
        row += [percent(ms_ssim), _overlap(ms_ssim)]
        row += ["-" if result.source else f"{result.median_time(direction):.3f}" for direction in DIRECTIONS]
        rows.append(row)
    return table(head, rows)


def _overlap(rating: BdRate | None) -> str:
    return "{:.1f} to {:.1f}".format(*rating.overlap) if rating and rating.overlap else "-"


def _points(result: Result) -> list[str]:
    series = result.results
    head = ["quality", "bpp", "PSNR, dB"]
    columns = [[f"{v:g}" for v in series["quality"]], [f"{v:.3f}" for v in series["bpp"]]]
    columns.append([f"{v:.2f}" for v in series[PSNR.key]])
    if MS_SSIM.key in series:
        head.append("MS-SSIM")
        columns.append([f"{v:.4f}" for v in series[MS_SSIM.key]])
    return table(head, [list(row) for row in zip(*columns, strict=True)])


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table with all columns but the first right-aligned."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(row)} |" for row in [head, rule, *rows]]

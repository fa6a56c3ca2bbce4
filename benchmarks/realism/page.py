"""Write the page of a study: a table of all measures, and pictures to compare with a slider."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.report import sections
from benchmarks.report.scenes import crop_centre, data_url
from benchmarks.report.sections import Cell, Section, bullets, slider, table

COLUMNS = {
    "quality": ("Quality", "{:g}"),
    "variant": ("Picture", "{}"),
    "bpp": ("Rate, bpp", "{:.3f}"),
    "psnr": ("PSNR, dB", "{:.2f}"),
    "mse": ("Squared error", "{:.1f}"),
    "lpips": ("LPIPS, AlexNet", "{:.4f}"),
    "lpips-vgg": ("LPIPS, VGG", "{:.4f}"),
    "dists": ("DISTS", "{:.4f}"),
    "frechet": ("Fréchet distance", "{:.3f}"),
}
"""Title and format of each column of the table."""


@dataclass(frozen=True)
class View:
    """A picture and its caption."""

    caption: str
    image: Image.Image


@dataclass(frozen=True)
class Scene:
    """One picture as the codecs decode it: the original first."""

    title: str
    views: Sequence[View]

    def to_json(self) -> dict[str, Any]:
        """Return title, size and views, each by its name: the caption up to a colon."""
        shown = [crop_centre(view.image) for view in self.views]
        views = {
            view.caption.partition(":")[0]: {"caption": view.caption, "source": data_url(image)}
            for view, image in zip(self.views, shown, strict=True)
        }
        return {"title": self.title, "width": shown[0].width, "height": shown[0].height, **views}


def write_page(path: Path, summary: Mapping[str, Any], scenes: Sequence[Scene]) -> None:
    """Write the page of a study's ``summary``."""
    names = [view.caption.partition(":")[0] for view in scenes[0].views]
    rows = [[_cell(row[key], form) for key, (_, form) in COLUMNS.items()] for row in summary["rows"]]
    sections.write_page(
        path,
        f"Faithful and lifelike pictures of {summary['dataset']}",
        f"{summary['images']} pictures, {summary['environment']['date']}",
        [
            Section(
                "Compare two pictures of one stream",
                "Faithful, lifelike and the mixture between them are decoded from the same file. The other codecs "
                "have at least as many bytes, where their lowest quality allows more. Of large pictures, the centre "
                "is shown at full resolution.",
                slider({name: name for name in names}, left="faithful", right="lifelike"),
            ),
            Section(
                "All numbers",
                "Means over the pictures. Except for PSNR, less is better. LPIPS with AlexNet is part of the "
                "training's loss; LPIPS with VGG, DISTS (on features of EfficientNet-Lite0, all with the same weight) "
                "and the Fréchet distance (of features of EfficientNet-Lite0, over patches of 64x64 pixels) are not. "
                "Click a column's name to sort by it.",
                table([title for title, _ in COLUMNS.values()], rows),
            ),
            Section(
                "Method",
                html=bullets(
                    [
                        f"Command: <code>{escape(summary['command'])}</code>",
                        f"Model: <code>{summary['model'][:16]}</code>; every picture is coded as indices, never "
                        "exactly.",
                    ]
                ),
            ),
        ],
        [scene.to_json() for scene in scenes],
    )


def _cell(value: str | float, form: str) -> str | Cell:
    return value if isinstance(value, str) else Cell(value, form.format(value))

"""Write the page of a study: a table of all measures, and pictures to compare with a slider.

The page needs no network; style and scripts are those of the rate-distortion report.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from benchmarks.report.scenes import crop_centre, data_url

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

_REPORT = files("benchmarks.report") / "assets"
_OWN = files("benchmarks.realism") / "assets"


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
    page = Template(
        (_OWN / "page.html").read_text(encoding="utf-8")
    ).substitute(
        title=f"Faithful and lifelike pictures of {escape(summary['dataset'])}",
        lead=f"{summary['images']} pictures, {summary['environment']['date']}",
        style=(_REPORT / "page.css").read_text(encoding="utf-8"),
        script="".join((_REPORT / name).read_text(encoding="utf-8") for name in ("table.js", "compare.js")),
        data=json.dumps([scene.to_json() for scene in scenes]).replace("<", "\\u003c"),  # no string may end the script
        table_head="".join(
            f'<th data-kind="{"text" if key == "variant" else "number"}"><button>{title}</button></th>'
            for key, (title, _) in COLUMNS.items()
        ),
        table_rows="\n".join(_row(row) for row in summary["rows"]),
        left="".join(f"<option{' selected' if name == 'faithful' else ''}>{escape(name)}</option>" for name in names),
        right="".join(f"<option{' selected' if name == 'lifelike' else ''}>{escape(name)}</option>" for name in names),
        command=escape(summary["command"]),
        model=summary["model"][:16],
    )
    path.write_text(page, encoding="utf-8")


def _row(row: Mapping[str, Any]) -> str:
    cells = "".join(
        f'<td data-value="{escape(str(row[key]))}">{escape(form.format(row[key]))}</td>'
        for key, (_, form) in COLUMNS.items()
    )
    return f"      <tr>{cells}</tr>"

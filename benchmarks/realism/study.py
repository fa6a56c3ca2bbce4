"""Measure every picture at every realism, and at the same bytes in other codecs."""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.environment import environment
from benchmarks.errors import FeaturesUnavailable
from benchmarks.features import EfficientNetLite, frechet_distance
from benchmarks.rd.codecs import Choice, PillowCodec, open_codecs
from benchmarks.rd.codecs import Codec as AnyCodec
from benchmarks.rd.datasets import Dataset
from benchmarks.rd.metrics import IDENTICAL_DB
from benchmarks.realism.features import dists, patch_features
from benchmarks.realism.page import COLUMNS, Scene, View, write_page
from vqcodec import Codec, metrics
from vqcodec.training.perceptual import PerceptualDistance

REALISMS = (0.0, 0.5, 1.0)
RIVALS = ("jpeg", "webp", "avif")
SHOWN = 10
"""Pictures that the page shows, evenly spaced."""


@dataclass(frozen=True)
class Study:
    """Settings of a study."""

    dataset: Dataset
    model: str | None
    weights: Path | None
    qualities: Sequence[float]
    out: Path
    command: str


@dataclass
class Variant:
    """The pictures of one codec at one realism, at one quality of vqcodec."""

    quality: float
    label: str
    bytes: list[int] = field(default_factory=list)
    scores: list[dict[str, float]] = field(default_factory=list)
    features: list[Tensor] = field(default_factory=list)

    def record(self, pixels: int, originals: Tensor) -> dict[str, Any]:
        """Return the means, given the number of pixels and the originals' features."""
        means = {key: float(np.mean([score[key] for score in self.scores])) for key in self.scores[0]}
        frechet = frechet_distance(originals, torch.cat(self.features))
        rate = 8 * sum(self.bytes) / pixels
        return {"quality": self.quality, "variant": self.label, "bpp": rate, **means, "frechet": frechet}


@dataclass(frozen=True)
class Seen:
    """A picture and its features in each network."""

    pixels: Tensor
    """(1, 3, H, W) in [0, 1]."""
    alex: list[Tensor]
    vgg: list[Tensor]
    efficientnet: list[Tensor]


class Measures:
    """The networks that compare pictures."""

    def __init__(self) -> None:
        """Raises :class:`FeaturesUnavailable` if a package with weights is not installed."""
        self.efficientnet = EfficientNetLite()
        try:
            self.alex, self.vgg = PerceptualDistance("alex"), PerceptualDistance("vgg")
        except ModuleNotFoundError as error:
            raise FeaturesUnavailable(f"{error.name} is not installed: pip install 'vqcodec[bench]'") from error

    @torch.inference_mode()
    def see(self, image: Image.Image) -> Seen:
        """Return a picture as all networks see it."""
        x = _to_tensor(image)
        return Seen(x, self.alex.features(x), self.vgg.features(x), self.efficientnet.stages(x))

    @torch.inference_mode()
    def compare(self, original: Seen, decoded: Seen) -> dict[str, float]:
        """Return squared error, PSNR, LPIPS of both networks and DISTS."""
        mse = (original.pixels - decoded.pixels).square().mean().item() * 255**2
        return {
            "mse": mse,
            "psnr": min(metrics.psnr_of_mse(max(mse, 1e-12)), IDENTICAL_DB),
            "lpips": self.alex.compare(original.alex, decoded.alex).item(),
            "lpips-vgg": self.vgg.compare(original.vgg, decoded.vgg).item(),
            "dists": dists(original.efficientnet, decoded.efficientnet),
        }


def run(study: Study, tell: Callable[[str], None], progress: Callable[..., Iterable[Any]]) -> list[dict[str, Any]]:
    """Measure, write ``realism.json`` and ``index.html``, and return the means of each variant."""
    codec = Codec(study.model, model_path=study.weights, device="cpu")
    rivals = [loaded.codec for loaded in open_codecs([Choice(name) for name in RIVALS], tell).loaded]
    measures = Measures()
    photos = study.dataset.photos
    shown = {photo.name for photo in photos[:: max(1, len(photos) // SHOWN)][:SHOWN]}
    originals, pixels = [], 0
    variants: dict[tuple[float, str], Variant] = {}
    scenes: list[Scene] = []
    tasks = [(photo, quality) for photo in photos for quality in study.qualities]
    for photo, quality in progress(tasks, len(tasks)):
        if quality == study.qualities[0]:
            original = photo.load()
            seen = measures.see(original)
            originals.append(patch_features(measures.efficientnet, seen.pixels[0]))
            pixels += original.width * original.height
        views = [View("original", original)]
        for label, data, decoded in _decoded(codec, rivals, original, quality):
            variant = variants.setdefault((quality, label), Variant(quality, label))
            variant.bytes.append(len(data))
            found = measures.see(decoded)
            variant.scores.append(measures.compare(seen, found))
            variant.features.append(patch_features(measures.efficientnet, found.pixels[0]))
            views.append(View(f"{label}: {len(data):,} bytes, {variant.scores[-1]['psnr']:.2f} dB", decoded))
        if photo.name in shown and quality == study.qualities[min(1, len(study.qualities) - 1)]:
            scenes.append(Scene(f"{photo.name}, quality {quality:g}", views))
    reference = torch.cat(originals)
    rows = [variant.record(pixels, reference) for variant in variants.values()]
    study.out.mkdir(parents=True, exist_ok=True)
    summary = {
        "dataset": study.dataset.name,
        "images": len(photos),
        "model": codec.model.sha256,
        "command": study.command,
        "environment": environment(),
        "rows": rows,
    }
    (study.out / "realism.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    write_page(study.out / "index.html", summary, scenes)
    return rows


def _decoded(
    codec: Codec, rivals: Sequence[AnyCodec], original: Image.Image, quality: float
) -> Iterator[tuple[str, bytes, Image.Image]]:
    """Yield label, file and picture of vqcodec at each realism, and of the rivals with at least as many bytes."""
    stream = codec.encode(original, quality, lossless=False)
    for realism in REALISMS:
        yield label_of(realism), stream, codec.decode(stream, realism=realism, max_pixels=0).convert("RGB")
    for rival in rivals:
        assert isinstance(rival, PillowCodec)
        data = rival.encode_at_least(original, len(stream))
        with Image.open(io.BytesIO(data)) as decoded:
            yield rival.label, data, decoded.convert("RGB")


def _to_tensor(image: Image.Image) -> Tensor:
    """Convert to (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def label_of(realism: float) -> str:
    """Return the name of vqcodec's pictures at a realism."""
    return {0.0: "faithful", 1.0: "lifelike"}.get(realism, f"realism {realism:g}")


def command_line(
    dataset: Path | None, model: str | None, weights: Path | None, images: int | None, qualities: Sequence[float]
) -> str:
    """Return the command that repeats the study, with names instead of local paths."""
    parts = ["python -m benchmarks realism"]
    parts += [f"--dataset {dataset.resolve().name}"] if dataset else []
    parts += [f"--model {model}"] if model else []
    parts += [f"--model-path {weights.name}"] if weights else []
    parts += [f"--images {images}"] if images else []
    return " ".join([*parts, f"--qualities {','.join(f'{quality:g}' for quality in qualities)}"])


def describe(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as text."""
    lines = ["  ".join(f"{title:>16}" for title, _ in COLUMNS.values())]
    lines += ["  ".join(f"{form.format(row[key]):>16}" for key, (_, form) in COLUMNS.items()) for row in rows]
    return "\n".join(lines)

"""The ``generation`` command: draw, measure, write ``generation.json``, sheets and a page."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.environment import environment
from benchmarks.errors import FeaturesUnavailable
from benchmarks.features import frechet_distance
from benchmarks.generation import features as networks
from benchmarks.generation.features import Features
from benchmarks.generation.measures import (
    ClassifierPlan,
    classification_accuracy,
    inception_score,
    precision_recall,
)
from benchmarks.generation.pictures import Pictures, RealPictures, to_tensor
from benchmarks.report.build import Progress
from benchmarks.report.sections import Section, lines, picture, table, write_page
from vqcodec import Codec
from vqcodec.codec.sampler import Sampler
from vqcodec.images.sheet import contact_sheet
from vqcodec.model.classifier import Classifier
from vqcodec.training.classifier import train_classifier
from vqcodec.training.data import Crops

TEMPERATURES = (0.6, 0.8, 1.0, 1.2)
KEPT = (1.0, 0.75, 0.5, 0.25)
"""Shares of rejection sampling."""
_SHOWN = 6
"""Samples of each class on the sheets."""
_SHOWN_WITHOUT_CLASSES = 36
_PORTION = 50
"""Pictures that are drawn at once."""


@dataclass(frozen=True)
class Study:
    """Settings of a study."""

    codec: Codec
    real: RealPictures
    features: str
    """``classifier``, ``efficientnet`` or ``inception``."""
    count: int
    """Samples per class; in all without classes."""
    quality: float
    temperature: float
    """Temperature of the samples that are rejected, shown and learned from."""
    seed: int
    plan: ClassifierPlan
    out: Path


def sample_size(codec: Codec) -> tuple[int, int]:
    """Return ``(width, height)`` of the samples: that of the crops that the model was trained on."""
    return Sampler(codec.model).default_size()


@dataclass(frozen=True)
class Drawn:
    """Samples, and how sure the classifier of real pictures is of their class."""

    pictures: Pictures
    scores: Tensor
    """(N,) log-probability of the class asked for."""

    def best(self, count: int, share: float, classes: int) -> Pictures:
        """Return for each class the likeliest ``count`` of its first ``count / share`` samples."""
        chosen = []
        for number in range(max(1, classes)):
            own = (self.pictures.labels == number).nonzero()[:, 0][: round(count / share)]
            chosen.append(own[self.scores[own].topk(min(count, len(own))).indices])
        rows = torch.cat(chosen)
        return Pictures(self.pictures.pixels[rows], self.pictures.labels[rows])


def run(study: Study, tell: Callable[[str], None], progress: Progress) -> dict[str, Any]:
    """Draw and measure; write the report and return its numbers."""
    real, classes = study.real, study.real.classes
    classifier: Classifier | None = None
    if classes:
        crops = Crops(list(real.train.pixels), study.plan.seed, labels=real.train.labels.tolist(), flip=False)
        edge = min(sample_size(study.codec))
        tell("training a classifier of the real pictures")
        classifier = train_classifier(crops, classes, steps=study.plan.steps, batch=study.plan.batch, crop=edge)
    features = _features(study.features, classifier)
    shares = KEPT if classifier else (1.0,)
    pool = round(study.count / min(shares))
    wanted = dict.fromkeys(TEMPERATURES, study.count) | {study.temperature: pool}
    drawn: dict[float, list[Pictures]] = {}

    def draw() -> Iterator[None]:
        for temperature, count in wanted.items():
            parts = drawn.setdefault(temperature, [])
            for number, label in enumerate(classes or (None,)):
                for start in range(0, count, _PORTION):
                    parts.append(_draw(study, number, label, start, min(_PORTION, count - start), temperature))
                    yield

    portions = sum(-(-count // _PORTION) for count in wanted.values()) * max(1, len(classes))
    for _ in progress(draw(), portions):
        pass
    sets = {temperature: _joined(parts, classifier) for temperature, parts in drawn.items()}
    reference = features(real.train.floats())[0]

    def measure(pictures: Pictures) -> dict[str, float]:
        known, logits = features(pictures.floats())
        precision, recall = precision_recall(reference, known)
        numbers = {
            "frechet_distance": frechet_distance(reference, known),
            "inception_score": inception_score(logits),
            "precision": precision,
            "recall": recall,
        }
        if classifier:
            numbers["recognised"] = classifier.accuracy(pictures.floats(), pictures.labels)
        return numbers

    tell("measuring")
    by_share = [{"keep": s, **measure(sets[study.temperature].best(study.count, s, len(classes)))} for s in shares]
    by_temperature = [{"temperature": t, **measure(sets[t].best(study.count, 1.0, len(classes)))} for t in TEMPERATURES]
    record: dict[str, Any] = {
        "data": real.name,
        "model": study.codec.model.id,
        "features": features.name,
        "classes": list(classes),
        "samples": study.count * max(1, len(classes)),
        "real": {"train": len(real.train), "held out": len(real.held_out)},
        "size": list(sample_size(study.codec)),
        "quality": study.quality,
        "kept_temperature": study.temperature,
        "seed": study.seed,
        "environment": environment(),
        "held_out": measure(real.held_out),
        "keep": by_share,
        "temperature": by_temperature,
    }
    if classes:
        tell("training classifiers of the samples")
        record["accuracy_of_real"] = classification_accuracy(real.train, real.held_out, classes, study.plan)
        for row in record["keep"]:
            row["cas"] = classification_accuracy(
                sets[study.temperature].best(study.count, row["keep"], len(classes)), real.held_out, classes, study.plan
            )
    _write(study, record, sets[study.temperature].pictures, reference, features)
    return record


def _features(name: str, classifier: Classifier | None) -> Features:
    if name == "classifier":
        if classifier is None:
            raise FeaturesUnavailable("a classifier needs class folders: use --features efficientnet")
        return networks.of_classifier(classifier)
    return networks.efficientnet() if name == "efficientnet" else networks.inception()


def _draw(study: Study, number: int, label: str | None, start: int, count: int, temperature: float) -> Pictures:
    """Draw pictures of a class; each portion has its own seed."""
    known = study.codec.model.config.classes
    images = study.codec.sample(
        count,
        quality=study.quality,
        temperature=temperature,
        seed=(study.seed << 32) + (number << 20) + start,
        label=label if label in known else None,
    )
    return Pictures(to_tensor(images), torch.full((count,), number))


def _joined(parts: Sequence[Pictures], classifier: Classifier | None) -> Drawn:
    every = Pictures(torch.cat([p.pixels for p in parts]), torch.cat([p.labels for p in parts]))
    if classifier is None:
        return Drawn(every, torch.zeros(len(every)))
    logits = networks.of_classifier(classifier)(every.floats())[1]
    return Drawn(every, logits.log_softmax(1).gather(1, every.labels[:, None])[:, 0])


def _write(study: Study, record: dict[str, Any], drawn: Pictures, reference: Tensor, features: Features) -> None:
    """Write JSON, sheets and page."""
    study.out.mkdir(parents=True, exist_ok=True)
    (study.out / "generation.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    classes = max(1, len(study.real.classes))
    shown = _SHOWN if study.real.classes else _SHOWN_WITHOUT_CLASSES
    rows = torch.cat([(drawn.labels == number).nonzero()[:shown, 0] for number in range(classes)])
    known = features(Pictures(drawn.pixels[rows], drawn.labels[rows]).floats())[0]
    nearest = study.real.train.pixels[torch.cdist(known, reference).argmin(1)]
    pairs = [image for pair in zip(_images(drawn.pixels[rows]), _images(nearest), strict=True) for image in pair]
    sheet = contact_sheet(_images(drawn.pixels[rows]), shown if classes > 1 else None)
    beside = contact_sheet(pairs, 2 * (shown if classes > 1 else 6))
    sheet.save(study.out / "samples.png")
    beside.save(study.out / "nearest.png")
    _write_page(study.out / "index.html", record, sheet, beside)


def _images(pixels: Tensor) -> list[Image.Image]:
    return [Image.fromarray(p.permute(1, 2, 0).numpy()) for p in pixels]


_TITLES = {
    "frechet_distance": "Frechet distance",
    "inception_score": "Inception score",
    "precision": "Precision",
    "recall": "Recall",
    "recognised": "Recognised",
    "cas": "CAS",
}


def _write_page(path: Path, record: dict[str, Any], sheet: Image.Image, beside: Image.Image) -> None:
    sets = [("held-out real pictures", record["held_out"])]
    sets += [(f"keep {row['keep']:g}", row) for row in record["keep"]]
    sets += [(f"temperature {row['temperature']:g}", row) for row in record["temperature"]]
    rows: list[list[str | float | None]] = [[name, *(row.get(key) for key in _TITLES)] for name, row in sets]
    accuracy = record.get("accuracy_of_real")
    if accuracy is not None:
        rows[0][-1] = accuracy
    environment = record["environment"]

    def curve(sweep: str, key: str) -> list[tuple[float, float]]:
        return [(row[sweep], row[key]) for row in record[sweep]]

    write_page(
        path,
        f"Samples of {record['model']} beside {record['data']}",
        f"{record['samples']} samples of {'x'.join(map(str, record['size']))} pixels, {record['real']['train']} real "
        f"pictures, features: {record['features']}. {environment['date']}",
        [
            Section(
                "Numbers",
                "Frechet distance, precision and recall compare with the real pictures that the model was trained on; "
                "the first row is the same for held-out ones. Recognised: a classifier of real pictures finds the "
                "class asked for. CAS: the accuracy on held-out pictures of a classifier that was trained on samples; "
                "in the first row, on real pictures. Numbers of different features cannot be compared.",
                table(["Set", *_TITLES.values()], rows),
            ),
            Section(
                "Rejection",
                "Keeping the samples that the classifier finds likeliest trades diversity for quality. Temperature "
                f"{record['kept_temperature']:g}.",
                figure=lines(
                    "share kept",
                    "Frechet distance, precision, recall",
                    {_TITLES[k]: curve("keep", k) for k in ("frechet_distance", "precision", "recall")},
                ),
            ),
            Section(
                "Temperature",
                "The Frechet distance against the temperature of all symbols.",
                figure=lines(
                    "temperature",
                    "Frechet distance, precision, recall",
                    {_TITLES[k]: curve("temperature", k) for k in ("frechet_distance", "precision", "recall")},
                ),
            ),
            Section("Samples", "A row for each class.", picture(sheet, "samples, none rejected")),
            Section(
                "Samples beside their nearest real pictures",
                "In pairs: a sample, then the real picture with the nearest features, among those of the training.",
                picture(beside, "sample and nearest real picture"),
            ),
        ],
    )


def describe(record: dict[str, Any], write: Callable[[str], None]) -> None:
    """Write the numbers, a line for each set."""

    def line(name: str, row: dict[str, float]) -> str:
        return f"{name:18}" + "  ".join(f"{title} {row[key]:.3f}" for key, title in _TITLES.items() if key in row)

    write(line("held out", record["held_out"]))
    for sweep in ("keep", "temperature"):
        for row in record[sweep]:
            write(line(f"{sweep} {row[sweep]:g}", row))
    if "accuracy_of_real" in record:
        write(f"accuracy of a classifier trained on real pictures: {record['accuracy_of_real']:.3f}")

"""The stages of training that ``vqcodec train`` runs: joint, prior, fine-tuning, lifelike training, and export."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from torch import Tensor

from vqcodec.codec.encoder import Encoder
from vqcodec.config import PRESETS
from vqcodec.errors import OutputExists, VqcError
from vqcodec.files import read_bytes, write_atomically
from vqcodec.model.device import find_device
from vqcodec.training import STATE_FILE, WEIGHTS_FILE
from vqcodec.training.classifier import train_classifier
from vqcodec.training.data import Crops, find_class_folders, find_photos, load_photos
from vqcodec.training.evaluate import evaluate, rounding_cost
from vqcodec.training.export import export, from_weights, is_weights
from vqcodec.training.finetune import FinetuneRun
from vqcodec.training.indexed_crops import IndexedCrops
from vqcodec.training.lifelike import HIGHEST, LifelikeRun, averaged_synthesis, carried_over
from vqcodec.training.network import Network, load_state, under_prefix, update_average
from vqcodec.training.perceptual import PerceptualDistance
from vqcodec.training.trainer import Intervals, Trainer, TrainingPlan, fresh_network, sample_quality
from vqcodec.weights import registry
from vqcodec.weights.classifier import write_classifier
from vqcodec.weights.lifelike import add_lifelike

Echo = Callable[[str], None]


@dataclass(frozen=True)
class RunOptions:
    """Inputs, outputs and resources of a training run."""

    data: Path | None
    """Folder of training photographs: class folders with ``labelled``.  Needed only where crops are not encoded yet."""
    labelled: bool
    """Train a class-conditional prior."""
    valid: Path | None
    """Folder of validation photographs."""
    valid_count: int
    """Validation photographs to use; 0 means all."""
    folder: Path
    """The run's folder, for its state and statistics."""
    log: Path
    """CSV file to append to."""
    intervals: Intervals
    device: str = "auto"
    threads: int = 0
    """CPU threads; 0 leaves the number to torch."""


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Raise ``ValueError`` with the file's name where ``path`` cannot be read as what it should be."""
    try:
        yield
    except VqcError as error:
        raise ValueError(f"{path}: {error}") from error
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: neither a weights file nor the state of a run") from error


def network_from(path: Path) -> Network:
    """Return the network of a weights file, or the averaged network of a run's state.

    Raises ``ValueError`` if the file is neither.
    """
    with _naming(path):
        if is_weights(path):
            return from_weights(path)
        config, tensors, _ = load_state(path)
        network = Network(config)
        network.load_state_dict(under_prefix("average", tensors))
        return network


def _model_from(path: Path) -> registry.Model:
    """Return the model of a weights file.  Raises ``ValueError`` if it is none."""
    with _naming(path):
        return registry.load_weights(path)


def with_classes(network: Network, classes: tuple[str, ...]) -> Network:
    """Return a network with the same weights whose prior knows classes; their vectors start at zero.

    Raises ``ValueError`` if it knows others already.
    """
    if not classes or network.config.classes == classes:
        return network
    if network.config.classes:
        raise ValueError(f"the prior knows the classes {', '.join(network.config.classes)}, not {', '.join(classes)}")
    extended = Network(replace(network.config, classes=classes))
    extended.load_state_dict(network.state_dict(), strict=False)
    return extended


def make_classifier(
    folder: Path, test: Path | None, out: Path, *, steps: int, batch: int, crop: int, seed: int, flip: bool, echo: Echo
) -> None:
    """Train a classifier on a folder of class folders and write it; measure it on those of ``test``."""
    files, labels, classes = find_class_folders(folder)
    crops = Crops(load_photos(files), seed, labels=labels, flip=flip)
    classifier = train_classifier(crops, classes, steps=steps, batch=batch, crop=crop)
    facts: dict[str, object] = {"steps": steps, "batch": batch, "crop": crop, "seed": seed, "pictures": len(files)}
    if test is not None:
        files, labels, others = find_class_folders(test)
        if others != classes:
            raise ValueError(f"{test}: its class folders differ from those of {folder}")
        photos = load_photos(files)
        right = [
            classifier.accuracy(p[None].float() / 255, torch.tensor([n])) for p, n in zip(photos, labels, strict=True)
        ]
        facts["accuracy"] = round(sum(right) / len(right), 4)
        echo(f"accuracy {100 * sum(right) / len(right):.1f} % on {len(right)} pictures")
    write_classifier(out, classifier, facts)
    echo(f"{out}: {out.stat().st_size} bytes, {len(classes)} classes")


def validation_photos(folder: Path | None, count: int) -> list[Tensor]:
    """Read ``count`` photos of the validation folder, every n-th from the first, all if 0; none without a folder."""
    if folder is None:
        return []
    files = find_photos(folder)
    count = count or len(files)
    return load_photos(files[:: max(1, len(files) // count)][:count])


def name_of(path: Path) -> str:
    """Return the name of a run, given its state, or of a weights file: what facts about weights call them."""
    return path.parent.name if path.name == STATE_FILE else path.name


def check_one_process() -> None:
    """Raise ``ValueError`` under ``torchrun``, whose processes would write the same files."""
    if dist.is_torchelastic_launched():
        raise ValueError("torchrun is for 'train joint' and 'train prior': start this command without it")


def _set_threads(options: RunOptions) -> None:
    if options.threads:
        torch.set_num_threads(options.threads)


def _state_file(options: RunOptions, resume: bool) -> Path:
    """Return the path of the run's state.

    Raises :class:`OutputExists` if there is one and ``resume`` is false, ``FileNotFoundError`` in the opposite case.
    """
    state_file = options.folder / STATE_FILE
    if resume and not state_file.exists():
        raise FileNotFoundError(f"{state_file} does not exist, so there is no run to continue: leave out --resume")
    if state_file.exists() and not resume:
        raise OutputExists(f"{state_file} exists already: continue that run with --resume, or choose another --run")
    return state_file


def train(options: RunOptions, plan: TrainingPlan, start: Path | None, preset: str, resume: bool, echo: Echo) -> Path:
    """Run a training stage and return its state file.

    Starts from ``start`` (a weights file or a run's state), or from scratch with the configuration ``preset``.  Under
    ``torchrun`` each process trains on its own crops.  ``echo`` receives progress lines.  Raises
    :class:`OutputExists` if the folder holds a run and ``resume`` is false.
    """
    _set_threads(options)
    state_file = _state_file(options, resume)
    device = find_device(options.device)
    distributed = dist.is_torchelastic_launched()
    if distributed and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if device.type == "cuda":
            torch.cuda.set_device(dist.get_rank() % torch.cuda.device_count())
    data = _data(options)
    files, labels, classes = find_class_folders(data) if options.labelled else (None, None, ())
    photos = load_photos(files or find_photos(data))
    crops = Crops(photos, plan.seed, labels=labels, flip=plan.flip, color_jitter=plan.color_jitter)
    if resume:
        start = state_file
    if start:
        network = with_classes(network_from(start), classes)
    else:
        config = replace(PRESETS[preset], classes=classes)
        network = fresh_network(config, crops, plan.seed, plan.crop)
    trainer = Trainer(options.folder, plan, network, crops, device)
    if resume:
        with _naming(state_file):
            trainer.resume()
    for line in trainer.fit(options.intervals, options.log, validation_photos(options.valid, options.valid_count)):
        echo(line)
    return state_file


def _data(options: RunOptions) -> Path:
    """Return the folder of training photographs.  Raises ``ValueError`` if none is given."""
    if options.data is None:
        raise ValueError("training needs photographs: give --data, a folder of them")
    return options.data


def _load_crops(path: Path) -> IndexedCrops:
    """Read crops that were encoded before.  Raises ``ValueError`` if the file is damaged or missing."""
    try:
        return IndexedCrops.load(path)
    except (SafetensorError, LookupError, TypeError, ValueError, FileNotFoundError) as error:
        raise ValueError(f"{path}: no encoded crops of a run: start another run without --resume") from error


def _encode_crops(
    options: RunOptions,
    plan: TrainingPlan,
    model: registry.Model,
    count: int,
    position: Callable[[Tensor], Tensor],
    device: torch.device,
    echo: Echo,
) -> IndexedCrops:
    """Encode ``count`` crops of the training photographs; ``position`` as for :meth:`IndexedCrops.make`.

    Raises ``ValueError`` if that is less than a batch.
    """
    if count < plan.batch:
        raise ValueError(f"{count} crops are less than a batch of {plan.batch}: raise --crops or lower --batch")
    photos = load_photos(find_photos(_data(options)))
    crops = Crops(photos, plan.seed, flip=plan.flip, color_jitter=plan.color_jitter)
    encoder = Encoder(model, copy.deepcopy(model.vqvae).to(device), device, tints=False)
    return IndexedCrops.make(encoder, crops, count, plan.crop, position, echo)


def finetune(options: RunOptions, plan: TrainingPlan, start: Path, count: int, resume: bool, echo: Echo) -> Path:
    """Train synthesis and prior on indices that the encoder of the weights file ``start`` chooses.

    Returns the run's state file.  The first start encodes ``count`` crops, which are used from then on.  Raises
    :class:`OutputExists` as :func:`train` does.
    """
    check_one_process()
    _set_threads(options)
    state_file = _state_file(options, resume)
    device = find_device(options.device)
    cache = options.folder / "crops.safetensors"
    if not resume:
        model = _model_from(start)
        if model.config.classes:
            raise ValueError(f"{start}: its prior knows classes; fine-tune a model without them")
        knots = model.config.knots - 1

        def position(uniform: Tensor) -> Tensor:
            return sample_quality(uniform, model.config, plan.upper_share) / knots

        _encode_crops(options, plan, model, count, position, device, echo).save(cache)
    network = network_from(state_file if resume else start)
    run = FinetuneRun(options.folder, plan, network, _load_crops(cache), device)
    if resume:
        with _naming(state_file):
            run.resume()
    for line in run.fit(options.intervals, options.log, validation_photos(options.valid, options.valid_count)):
        echo(line)
    return state_file


def train_lifelike(options: RunOptions, plan: TrainingPlan, start: Path, count: int, resume: bool, echo: Echo) -> Path:
    """Train a second synthesis for the weights file ``start``, and return the run's state file.

    The first start copies the weights into the run's folder, and encodes ``count`` crops; both are used from then on.
    A second synthesis that the weights have is trained further.  Raises :class:`OutputExists` as :func:`train` does.
    """
    check_one_process()
    _set_threads(options)
    state_file = _state_file(options, resume)
    device = find_device(options.device)
    distance = PerceptualDistance()  # before the crops are encoded: it may not be installed
    weights, cache = options.folder / WEIGHTS_FILE, options.folder / "crops.safetensors"
    if not resume:
        options.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(weights, read_bytes(start))
        cache.unlink(missing_ok=True)
    model = _model_from(weights)
    if not cache.exists():
        _encode_crops(options, plan, model, count, lambda uniform: uniform * HIGHEST, device, echo).save(cache)
    first = registry.load_lifelike(model) if model.has_lifelike else model.vqvae.pixel_synthesis
    run = LifelikeRun(options.folder, plan, model, first, _load_crops(cache), distance, device)
    if resume:
        with _naming(state_file):
            run.resume()
    for line in run.fit(options.intervals, options.log, validation_photos(options.valid, options.valid_count)):
        echo(line)
    return state_file


def write_lifelike(state_file: Path, out: Path, echo: Echo, blend: Path | None = None, share: float = 0.0) -> None:
    """Write the weights that a second synthesis was trained for, and it with them; nothing else changes.

    With ``blend``, a weights file, it is ``1 - share`` times this run's plus ``share`` times that of the file.
    """
    with _naming(state_file):
        _, _, facts = load_state(state_file)
        state = averaged_synthesis(state_file)
    facts |= {"run": name_of(state_file)}
    weights = state_file.parent / WEIGHTS_FILE
    if blend is not None:
        _model_from(blend)
        other = carried_over(blend, weights)
        state = {name: torch.lerp(tensor.float(), other[name], share) for name, tensor in state.items()}
        facts |= {"blended_with": name_of(blend), "share": share}
    write_atomically(out, add_lifelike(read_bytes(weights), state, facts))
    echo(f"{out}: {out.stat().st_size} bytes, model {registry.load_weights(out).sha256}")


def write_weights(
    state_file: Path,
    out: Path,
    photos: list[Tensor],
    echo: Echo,
    blend: Path | None = None,
    share: float = 0.0,
    lifelike: Path | None = None,
) -> None:
    """Export a run's averaged network to ``out``; with ``photos``, evaluate it and the cost of its integers first.

    With ``blend`` (a weights file or a run's state) the weights are ``1 - share`` times this run's plus ``share`` times
    the other's: between two runs of one lineage, averages trade one objective for the other (Wortsman et al., "Model
    soups", ICML 2022).  With ``lifelike``, a weights file, its second synthesis is carried over.  Raises ``ValueError``
    if the configurations differ.
    """
    if lifelike is not None:
        _model_from(lifelike).check_realism()  # before anything is written
    network = network_from(state_file)
    _, _, facts = load_state(state_file)
    facts |= {"run": name_of(state_file)}
    if blend is not None:
        other = network_from(blend)
        if other.config != network.config:
            raise ValueError(f"{blend}: its model configuration differs, so that the runs cannot be blended")
        update_average(network, other, 1 - share)
        facts |= {"blended_with": name_of(blend), "share": share}
    if photos:
        evaluation = evaluate(network, photos)
        cost = rounding_cost(network, photos)
        echo(f"BD-rate against JPEG {evaluation.summary()}; integer arithmetic costs {100 * cost:.2f} % of the rate")
        facts |= {
            "bd_rate_jpeg_valid": round(evaluation.bd_rate, 2),
            "bd_rate_ms_ssim_valid": round(evaluation.bd_rate_ms_ssim, 2),
            "rounding_cost": round(cost, 5),
        }
    export(network, out, facts)
    if lifelike is not None:
        write_atomically(out, add_lifelike(read_bytes(out), carried_over(lifelike, out), {"run": name_of(lifelike)}))
    echo(f"{out}: {out.stat().st_size} bytes, sha256 {registry.load_weights(out).sha256}")

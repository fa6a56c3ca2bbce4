"""Class-conditional priors: trained from class folders, exact in integers, without effect on streams."""

import dataclasses

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from tests.support.internals import every_index
from tests.support.tiny import TINY, random_grids, tiny_network
from vqcodec import Codec
from vqcodec.cli.train import group
from vqcodec.codec.encoder import TILE_LOG2
from vqcodec.codec.sampler import Sampler
from vqcodec.coding.grids import code_lengths
from vqcodec.config import from_json, to_json
from vqcodec.errors import InvalidWeights
from vqcodec.model.grids import Grids
from vqcodec.model.prior import slice_bits
from vqcodec.stream.container import HASH_BYTES, Header, Layout, read_stream
from vqcodec.training import stages
from vqcodec.training.data import Crops, find_class_folders, load_photos
from vqcodec.training.export import export, from_weights
from vqcodec.training.network import Network
from vqcodec.weights.classifier import load_classifier
from vqcodec.weights.registry import load_weights

NAMED = dataclasses.replace(TINY, classes=("dark", "bright"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Class folders of dark and bright pictures."""
    folder = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for name, mean in (("bright", 190), ("dark", 60)):
        (folder / name).mkdir()
        for i in range(4):
            pixels = np.clip(rng.normal(mean, 12, (40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((48, 40)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def network():
    network = tiny_network(config=NAMED)
    with torch.no_grad():
        for level in network.prior:
            level.classes.normal_(0, 3)
    return network


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("conditional") / "named.safetensors"
    export(network, path, {})
    return path


@pytest.fixture(scope="module")
def model(weights):
    return load_weights(weights)


def test_classes_are_part_of_the_configuration():
    assert from_json(to_json(NAMED)) == NAMED and from_json(to_json(TINY)).classes == ()
    for classes in (("a", "a"), ("",), (3,)):
        with pytest.raises(ValueError, match="classes"):
            dataclasses.replace(TINY, classes=classes)


@pytest.mark.parametrize("label", [0, 1, -1])
def test_training_and_integer_form_agree_for_every_class(network, model, label):
    header = Header(model.hash, 128, 96, Layout.RGB, 100, TILE_LOG2)
    (grids,) = Sampler(model).grids(header, 1, 0, 1.0, model.config.classes[label] if label >= 0 else None)
    quality = torch.tensor([TINY.knot_position(100)])
    coarse = coarse_tensor = None
    for level, predict, prior in zip(
        every_index(grids), network.prior.given(torch.tensor([label])), model.priors, strict=True
    ):
        indices = torch.from_numpy(level)[None].long()
        with torch.no_grad():
            expected = float(sum(slice_bits(predict(indices, coarse_tensor, quality), indices)))
        own, other = (prior if number < 0 else prior.of_class(number) for number in (label, 0 if label else 1))
        assert code_lengths(own, [level], coarse, [100])[0] == pytest.approx(expected, rel=2e-3)
        assert code_lengths(other, [level], coarse, [100])[0] > 1.005 * expected
        coarse, coarse_tensor = [level], indices


def test_classes_change_samples_and_not_streams(network, weights, tmp_path, photo):
    """A stream is coded without class: the vectors change nothing but the hash of the model."""
    named = Codec(model_path=weights, device="cpu")
    dark, bright, none = (named.sample(1, size=(32, 32), label=label)[0] for label in ("dark", "bright", None))
    assert len({image.tobytes() for image in (dark, bright, none)}) == 3
    same = Network(TINY)
    same.load_state_dict({name: t for name, t in network.state_dict().items() if not name.endswith(".classes")})
    export(same, tmp_path / "plain.safetensors", {})
    plain = Codec(model_path=tmp_path / "plain.safetensors", device="cpu")
    ours, theirs = (codec.encode(photo.crop((0, 0, 64, 48)), lossless=False) for codec in (named, plain))
    hashed = slice(5, 5 + HASH_BYTES)
    assert ours[hashed] == named.model.hash and theirs[hashed] == plain.model.hash
    assert [s.payload for s in read_stream(ours).sections] == [s.payload for s in read_stream(theirs).sections]


def test_a_prior_learns_its_classes():
    """The vectors of two classes alone, one of sparse and one of busy grids, shorten unseen grids of their class."""
    prior = tiny_network(config=dataclasses.replace(TINY, classes=("sparse", "busy"))).prior[0]
    labels, quality = torch.tensor([0, 0, 0, 1, 1, 1]), torch.ones(6)

    def bits(first_seed, given):
        zeros = [0.97 if label == 0 else 0.3 for label in labels]
        grids = [random_grids([(4, 4), (8, 8)], first_seed + i, TINY, share)[0] for i, share in enumerate(zeros)]
        indices = torch.from_numpy(np.stack(grids)).long()
        return sum(slice_bits(prior(indices, None, quality, given), indices)).mean()

    optimizer = torch.optim.Adam([prior.classes], 0.2)
    for _ in range(10):
        optimizer.zero_grad()
        bits(0, labels).backward()
        optimizer.step()
    with torch.no_grad():
        right, none, wrong = (float(bits(50, given)) for given in (labels, torch.full_like(labels, -1), 1 - labels))
    assert right < 0.95 * none and right < 0.9 * wrong


def test_weights_files_keep_the_classes(network, weights):
    restored = from_weights(weights)
    assert restored.config.classes == ("dark", "bright")
    for level, known in zip(restored.prior, network.prior, strict=True):
        torch.testing.assert_close(level.classes, known.classes, atol=1 / 64, rtol=0)


def test_networks_learn_classes_later(network):
    plain = tiny_network()
    extended = stages.with_classes(plain, ("dark", "bright"))
    assert extended.config == NAMED and not extended.prior[0].classes.any()
    grids = Grids(tuple(torch.from_numpy(g)[None].long() for g in random_grids([(2, 2), (4, 4)])))
    quality = torch.tensor([1.0])
    torch.testing.assert_close(extended.eval().prior.bits(grids, quality), plain.prior.bits(grids, quality))
    assert stages.with_classes(network, ()) is network
    with pytest.raises(ValueError, match="knows the classes"):
        stages.with_classes(network, ("cat", "dog"))


def test_batches_carry_labels(folders):
    files, labels, classes = find_class_folders(folders)
    assert classes == ("bright", "dark") and labels == [0] * 4 + [1] * 4 and len(files) == 8
    crops = Crops(load_photos(files), 3, labels=labels)
    x, given = crops.labelled(7, 16, 32)
    torch.testing.assert_close(x, crops.batch(7, 16, 32))
    assert ((x.mean((1, 2, 3)) < 0.5).long() == given).all()
    assert (Crops(load_photos(files), 3).labelled(7, 4, 32)[1] == -1).all()
    (ramp,) = [torch.arange(40).expand(3, 32, 40).to(torch.uint8)]
    rising = Crops([ramp], 0, flip=False).batch(0, 16, 32)
    assert (rising[..., -1] > rising[..., 0]).all()


@pytest.mark.parametrize("broken", ["no folders", "empty folder"])
def test_folders_that_are_no_class_folders(tmp_path, broken):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    if broken == "empty folder":
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
    with pytest.raises(FileNotFoundError, match="class folder" if broken == "no folders" else "no photographs"):
        find_class_folders(tmp_path)


def test_training_from_the_command_line(folders, tmp_path):
    run, out = tmp_path / "run", tmp_path / "digits.safetensors"
    common = ["--batch", "2", "--crop", "32", "--full", "--steps", "2"]
    arguments = ["joint", "--preset", "digits", "--labels", str(folders), "--no-flip", "--run", str(run / "joint")]
    result = CliRunner().invoke(group, [*arguments, *common])
    assert result.exit_code == 0, result.output
    state = str(run / "joint" / "state.safetensors")
    arguments = ["prior", "--labels", str(folders), "--init", state, "--run", str(run / "prior")]
    assert CliRunner().invoke(group, [*arguments, *common]).exit_code == 0
    assert CliRunner().invoke(group, ["export", "--run", str(run / "prior"), "--out", str(out)]).exit_code == 0
    codec = Codec(model_path=out, device="cpu")
    assert codec.model.config.classes == ("bright", "dark")
    assert codec.sample(label="dark")[0].size == (32, 32)
    for given in ([], ["--data", str(folders), "--labels", str(folders)]):
        assert CliRunner().invoke(group, ["joint", *given, *common]).exit_code == 2


def test_classifiers_are_trained_and_stored(folders, tmp_path):
    out = tmp_path / "classifier.safetensors"
    arguments = ["classifier", "--data", str(folders), "--test", str(folders), "--out", str(out)]
    result = CliRunner().invoke(group, [*arguments, "--steps", "20", "--batch", "8"])
    assert result.exit_code == 0 and "accuracy 100.0 % on 8 pictures" in result.stderr
    classifier = load_classifier(out)
    assert classifier.classes == ("bright", "dark")
    dark = torch.full((1, 3, 24, 40), 0.2)
    assert classifier(dark).argmax() == 1 and classifier.features(dark).shape == (1, 128)


def test_files_that_are_no_classifiers_are_refused(tmp_path, tiny_weights):
    for content in (b"", b"x" * 100, tiny_weights.read_bytes()):
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(InvalidWeights, match="not a classifier"):
            load_classifier(path)

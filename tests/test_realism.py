"""Lifelike pictures: a second synthesis of the same stream, and mixtures of the two."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load

import vqcodec
from tests.support.tiny import second_synthesis, tiny_network
from vqcodec import Box, Codec, pillow_plugin
from vqcodec.batch import decode_folder
from vqcodec.batch.folders import FolderOptions
from vqcodec.batch.tasks import Weights
from vqcodec.cli import main
from vqcodec.codec import decoder, synthesis
from vqcodec.codec.synthesis import PictureSynthesis
from vqcodec.config import lifelike_share, quality_step
from vqcodec.errors import InvalidRealism, InvalidWeights, RealismUnavailable
from vqcodec.training.export import export
from vqcodec.weights import lifelike, registry


@pytest.fixture(scope="module")
def codec(lifelike_weights):
    return Codec(model_path=lifelike_weights, device="cpu")


@pytest.fixture(scope="module")
def picture(photo):
    return photo.crop((40, 30, 260, 190))


@pytest.fixture(scope="module")
def stream(codec, picture):
    return codec.encode(picture, 20, lossless=False)


def pixels(image):
    return np.asarray(image).astype(int)


def test_the_stream_and_the_faithful_picture_are_those_of_the_model_alone(codec, tiny_codec, picture, stream):
    assert stream == tiny_codec.encode(picture, 20, lossless=False)
    faithful = tiny_codec.decode(stream)
    assert pixels(codec.decode(stream)).tolist() == pixels(faithful).tolist()
    assert pixels(tiny_codec.decode(stream, realism=0)).tolist() == pixels(faithful).tolist()


def test_the_lifelike_picture_is_that_of_the_second_synthesis(codec, stream):
    other = tiny_network()
    found = other.vqvae.pixel_synthesis.load_state_dict(second_synthesis(), strict=False)
    assert set(found.missing_keys) == {"transform.analysis", "transform.synthesis"} and not found.unexpected_keys
    opened, own = codec._open(stream, 0, partial=False)
    (grids,) = own.grids([opened])
    expected = PictureSynthesis(other.vqvae, torch.device("cpu"), lambda: other.vqvae.pixel_synthesis)
    wanted = expected.pixels(opened.header, grids).astype(int)
    found = pixels(codec.decode(stream, realism=1))
    assert abs(found - wanted).max() <= 1  # weights are stored in 16 bits
    assert abs(found - pixels(codec.decode(stream))).max() > 10


def test_mixtures_lie_on_the_line_between(codec, stream):
    faithful, lifelike_ = (pixels(codec.decode(stream, realism=end)) for end in (0, 1))
    for share in (0.25, 0.5, 0.9):
        wanted = (1 - share) * faithful + share * lifelike_
        assert abs(pixels(codec.decode(stream, realism=share)) - wanted).max() <= 1


def test_it_fades_with_quality(codec, picture):
    assert [lifelike_share(quality_step(quality)) for quality in (0, 49, 61, 100)] == [1, 1, 0, 0]
    shares = [lifelike_share(step) for step in range(256)]
    assert shares == sorted(shares, reverse=True) and len(set(shares)) > 20
    for quality, same in ((40, False), (55, False), (61, True), (90, True)):
        data = codec.encode(picture, quality, lossless=False)
        assert (pixels(codec.decode(data, realism=1)) == pixels(codec.decode(data))).all() == same


def test_windows_strips_regions_and_batches(codec, stream, monkeypatch):
    whole = pixels(codec.decode(stream, realism=0.7))
    monkeypatch.setattr(synthesis, "WINDOW", 64)
    monkeypatch.setattr(decoder, "STRIP", 64)
    assert abs(pixels(codec.decode(stream, realism=0.7)) - whole).max() <= 1
    strips = list(codec.decode_strips(stream, realism=0.7))
    assert len(strips) > 2 and abs(pixels(np.concatenate([np.asarray(s) for s in strips])) - whole).max() <= 1
    part = codec.decode_region(stream, Box(50, 60, 90, 70), realism=0.7)
    assert abs(pixels(part) - whole[60:130, 50:140]).max() <= 1
    results = list(codec.decode_batch([stream, b"", stream], realism=0.7))
    assert [r.error is None for r in results] == [True, False, True]
    assert all(abs(pixels(r.image) - whole).max() <= 1 for r in results if r.image)


def test_threads_change_pixels_by_one_level_at_most(codec, stream):
    count = torch.get_num_threads()
    seen = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            seen.append(pixels(codec.decode(stream, realism=1)))
    finally:
        torch.set_num_threads(count)
    assert abs(seen[0] - seen[1]).max() <= 1


def test_it_is_loaded_when_it_is_first_asked_for(lifelike_weights, stream, monkeypatch):
    loaded = []
    monkeypatch.setattr(registry, "_lifelike_cache", {})
    build = registry._build_lifelike
    monkeypatch.setattr(registry, "_build_lifelike", lambda *given: loaded.append(given) or build(*given))
    codec = Codec(model_path=lifelike_weights, device="cpu")
    codec.decode(stream)
    codec.decode_preview(stream)
    assert not loaded
    for _ in range(2):
        codec.decode(stream, realism=0.1)
    assert len(loaded) == 1


def test_a_model_without_it_refuses(tiny_codec, stream, picture, codec):
    with pytest.raises(RealismUnavailable, match="model tiny has no second synthesis: realism must be 0"):
        tiny_codec.decode(stream, realism=0.5)
    with pytest.raises(RealismUnavailable):
        tiny_codec.decode_region(stream, Box(0, 0, 5, 5), realism=1)
    with pytest.raises(RealismUnavailable):
        tiny_codec.decode_strips(stream, realism=1)
    (result,) = tiny_codec.decode_batch([stream], realism=1)
    assert isinstance(result.error, RealismUnavailable)
    exact = tiny_codec.encode(picture, lossless=True)
    assert (pixels(tiny_codec.decode(exact, realism=1)) == pixels(picture)).all()


@pytest.mark.parametrize("realism", [-0.1, 1.1, float("nan"), "1", None])
def test_no_other_numbers(codec, stream, realism):
    with pytest.raises(InvalidRealism, match="realism must be a number from 0 to 1, not"):
        codec.decode(stream, realism=realism)
    with pytest.raises(InvalidRealism):
        codec.decode_batch([], realism=realism)


# Weights files


def test_the_hash_is_that_of_the_file_without_it(tiny_weights, lifelike_weights):
    plain, both = tiny_weights.read_bytes(), lifelike_weights.read_bytes()
    assert lifelike.model_sha256(both) == lifelike.model_sha256(plain) == hashlib.sha256(plain).hexdigest()
    one, other = (registry.load_weights(path) for path in (tiny_weights, lifelike_weights))
    assert one.hash == other.hash and (one.has_lifelike, other.has_lifelike) == (False, True)
    found = registry.find_config(one.hash, lifelike_weights)
    assert found == ("lifelike", one.config)


def test_shipped_weights_keep_their_hash_with_it():
    content = registry.weights_file("vqc-1").read_bytes()
    known = lifelike.model_sha256(content)
    state = {"out.weight": torch.zeros(3, 5), "out.bias": torch.ones(7)}
    more = lifelike.add_lifelike(content, state, {})
    assert lifelike.model_sha256(more) == known
    assert {name: tensor.tolist() for name, tensor in lifelike.read_lifelike(more).items()} == {
        name: tensor.tolist() for name, tensor in state.items()
    }
    assert lifelike.add_lifelike(more, {"out.bias": torch.zeros(1)}, {}) == lifelike.add_lifelike(
        content, {"out.bias": torch.zeros(1)}, {}
    )
    before, after = load(content), load(more)  # readable by the library, other arrays unchanged
    own = [name for name in before if not name.startswith(lifelike.PREFIX)]
    assert own and all(torch.equal(before[name], after[name]) for name in own)


def test_any_other_change_changes_the_hash(tiny_weights, lifelike_weights):
    both = lifelike_weights.read_bytes()
    known = lifelike.model_sha256(both)
    other = bytearray(both)
    start = 8 + int.from_bytes(both[:8], "little")
    other[start + 100] ^= 1  # the first arrays are the model's
    assert lifelike.model_sha256(bytes(other)) != known
    assert lifelike.model_sha256(both.replace(b'"facts"', b'"fakts"')) != known


def refused(path: Path, content: bytes, match: str) -> None:
    path.write_bytes(content)
    with pytest.raises(InvalidWeights, match=match):
        registry.load_lifelike(registry.load_weights(path))


def test_damage_to_it_is_found_when_it_is_loaded(tiny_weights, lifelike_weights, tmp_path):
    path, plain, both = tmp_path / "a.safetensors", tiny_weights.read_bytes(), lifelike_weights.read_bytes()
    half = second_synthesis()["out.bias"].to(torch.float16).numpy().tobytes()
    refused(path, both.replace(half, half[::-1]), "the second synthesis is damaged: its hash differs")
    state = second_synthesis()
    refused(
        path, lifelike.add_lifelike(plain, state | {"out.bias": torch.zeros(3)}, {}), "do not fit the configuration"
    )
    refused(path, lifelike.add_lifelike(plain, {"out.bias": torch.zeros(3)}, {}), "do not fit the configuration")
    endless = state | {"out.bias": torch.full_like(state["out.bias"], torch.inf)}
    refused(path, lifelike.add_lifelike(plain, endless, {}), "not finite")
    path.write_bytes(both)
    model = registry.load_weights(path)
    export(tiny_network(3), path, {})
    with pytest.raises(InvalidWeights, match="the file changed since the model was loaded"):
        registry.load_lifelike(model)


def test_a_file_of_another_writer_is_refused(tiny_weights):
    content = tiny_weights.read_bytes()
    length = int.from_bytes(content[:8], "little")
    spaced = content[8 : 8 + length].replace(b'{"dtype"', b'{ "dtype"')
    spaced += b" " * (-len(spaced) % 8)
    foreign = len(spaced).to_bytes(8, "little") + spaced + content[8 + length :]
    with pytest.raises(InvalidWeights, match="would change the model's hash"):
        lifelike.add_lifelike(foreign, second_synthesis(), {})


def test_arrays_stay_aligned(tiny_weights, lifelike_weights):
    """The library maps files into memory and views arrays there, which needs addresses that suit their types."""
    with safe_open(lifelike_weights, "pt") as file, safe_open(tiny_weights, "pt") as plain:
        for name in plain.keys():  # noqa: SIM118 (not a dict)
            assert torch.equal(file.get_tensor(name), plain.get_tensor(name))
        for name, tensor in second_synthesis().items():
            assert torch.equal(file.get_tensor(f"lifelike.{name}"), tensor.half())


# Entrances


def command(*arguments):
    return CliRunner().invoke(main.main, arguments, prog_name="vqcodec")


def test_command(lifelike_weights, tiny_weights, codec, stream, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.vqc").write_bytes(stream)
    common = ("decode", "--model-path", str(lifelike_weights), "a.vqc")
    assert command(*common, "--realism", "0.5", "a.png").exit_code == 0
    assert abs(pixels(Image.open("a.png")) - pixels(codec.decode(stream, realism=0.5))).max() <= 1
    result = command("decode", "--realism", "1", "--model-path", str(tiny_weights), "a.vqc", "b.png")
    assert result.exit_code == 1 and not Path("b.png").exists()
    assert result.stderr == "vqcodec: a.vqc: model tiny has no second synthesis: realism must be 0\n"
    assert command(*common, "--realism", "1.5", "b.png").exit_code == 2
    assert command(*common, "--realism", "1", "--preview", "b.png").exit_code == 2
    assert "realism     0 to 1" in command("models", "--model-path", str(lifelike_weights)).stdout
    assert '"realism": false' in command("models", "--json", "--model-path", str(tiny_weights)).stdout


def test_folders(lifelike_weights, codec, stream, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.vqc").write_bytes(stream)
    options = FolderOptions(weights=Weights(None, str(lifelike_weights), "cpu"))
    (result,) = decode_folder(tmp_path / "a", tmp_path / "b", realism=1.0, folder_options=options)
    assert result.error is None
    found = Image.open(tmp_path / "b" / "1.png")
    assert abs(pixels(found) - pixels(codec.decode(stream, realism=1))).max() <= 1


def test_pillow(codec, stream, monkeypatch):
    monkeypatch.setattr(pillow_plugin, "_codec", codec)
    with Image.open(io.BytesIO(stream)) as image:
        image.realism = 1
        assert abs(pixels(image) - pixels(codec.decode(stream, realism=1))).max() <= 1
    with Image.open(io.BytesIO(stream)) as image:
        assert abs(pixels(image) - pixels(codec.decode(stream))).max() <= 1


def test_functions_take_it_too(tmp_path, picture):
    data = vqcodec.encode(picture, 20, lossless=True)
    assert (pixels(vqcodec.decode(data, realism=1)) == pixels(picture)).all()
    (tmp_path / "a.vqc").write_bytes(data)
    vqcodec.decode_file(tmp_path / "a.vqc", tmp_path / "a.png", realism=0.5)
    assert (pixels(Image.open(tmp_path / "a.png")) == pixels(picture)).all()

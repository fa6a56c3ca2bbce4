"""Picture <-> bytes with a tiny model: every size, batches, damage, the wrong model."""

import dataclasses
import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import vqcodec
from tests.support.internals import decode_grids, decode_streams
from tests.support.tiny import tiny_network
from vqcodec import defaults, errors, metrics
from vqcodec.batch.jobs import Job
from vqcodec.codec import analysis, decoder, encoder, levels, synthesis
from vqcodec.codec.rate_control import Goal
from vqcodec.codec.tiles import Box
from vqcodec.coding import grids as coding_grids
from vqcodec.coding.traversal import walk
from vqcodec.images import metadata
from vqcodec.images.reading import Picture, ReadOptions
from vqcodec.stream.container import Layout, read_stream, write_stream
from vqcodec.stream.metadata import Metadata
from vqcodec.training.export import export


def picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 9 + c) + np.cos(y / 7 - c) for c in rng.uniform(0, 6, 3)], -1)
    return np.clip(waves * 60 + 128 + rng.normal(0, 9, waves.shape), 0, 255).astype(np.uint8)


def indices_of(codec, data):
    return decode_grids(codec, [read_stream(data)])[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (16, 16), (17, 31), (64, 48), (33, 65)])
def test_every_size_comes_back(tiny_codec, size):
    height, width = size
    image = tiny_codec.decode(tiny_codec.encode(picture(height, width), 60))
    assert image.size == (width, height) and image.mode == "RGB"


def test_decoded_indices_are_the_encoded_ones(tiny_codec, monkeypatch):
    """Decoding returns the indices that the encoder's traversal returned."""
    walked = []

    def spy(*args):
        walked.append(walk(*args))
        return walked[-1]

    monkeypatch.setattr(coding_grids, "walk", spy)
    data = tiny_codec.encode(picture(50, 70), 80)
    encoded, walked[:] = list(walked), []
    for level, grid in enumerate(indices_of(tiny_codec, data)):
        np.testing.assert_array_equal(grid, encoded[level][0])


def test_company_and_threads_change_nothing(tiny_codec):
    pictures = [picture(40, 56, 1), picture(17, 90, 2), picture(64, 64, 3)]
    steps = [40, 128, 250]
    together = tiny_codec._encode_pictures([Picture(p, Layout.RGB) for p in pictures], steps)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            alone = [
                tiny_codec._encode_pictures([Picture(p, Layout.RGB)], [s])[0]
                for p, s in zip(pictures, steps, strict=True)
            ]
            assert alone == together
            batch = decode_streams(tiny_codec, [read_stream(d) for d in together])
            for data, image in zip(together, batch, strict=True):
                difference = np.int16(image) - np.int16(tiny_codec.decode(data))
                assert np.abs(difference).max() <= 1
    finally:
        torch.set_num_threads(threads)


def test_settings_of_the_caller_change_nothing(tiny_codec):
    pixels = picture(40, 56)
    expected = tiny_codec.encode(pixels, 50)
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        torch.set_default_dtype(torch.float64)
        grids = indices_of(tiny_codec, expected)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision(precision)
    for a, b in zip(grids, indices_of(tiny_codec, expected), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_process_decodes_the_same(tiny_codec, tiny_weights, tmp_path):
    data = tiny_codec.encode(picture(40, 56), 50)
    (tmp_path / "a.vqc").write_bytes(data)
    script = (
        "import sys, hashlib, vqcodec; from vqcodec.stream.container import read_stream\n"
        "codec = vqcodec.Codec(model_path=sys.argv[1], device='cpu')\n"
        "grids = codec._decoder.grids([read_stream(open(sys.argv[2], 'rb').read())])[0]\n"
        "print(hashlib.sha256(b''.join(g.read().tobytes() for g in grids)).hexdigest())"
    )
    command = [sys.executable, "-c", script, str(tiny_weights), str(tmp_path / "a.vqc")]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    here = hashlib.sha256(b"".join(g.tobytes() for g in indices_of(tiny_codec, data))).hexdigest()
    assert there == here


def test_tiles_are_coded_on_their_own(tiny_codec, monkeypatch):
    pixels = picture(80, 130)
    whole = indices_of(tiny_codec, tiny_codec.encode(pixels, 50))
    monkeypatch.setattr(encoder, "TILE_LOG2", 6)
    data = tiny_codec.encode(pixels, 50)
    stream = read_stream(data)
    assert [s.tile for s in stream.sections] == [0, 1, 2, 3, 4, 5] * 2
    assert tiny_codec.decode(data).size == (130, 80)
    assert [g.shape for g in indices_of(tiny_codec, data)] == [g.shape for g in whole]


def test_tiles_are_walked_some_at_a_time(tiny_codec, monkeypatch):
    monkeypatch.setattr(encoder, "TILE_LOG2", 6)
    data = tiny_codec.encode(picture(80, 200), 50)
    walks = []
    monkeypatch.setattr(coding_grids, "walk", lambda *args: walks.append(len(args[1].shapes)) or walk(*args))
    monkeypatch.setattr(levels, "GROUP_PIXELS", 3 * 64 * 64)
    assert tiny_codec.encode(picture(80, 200), 50) == data
    assert tiny_codec.decode(data).size == (200, 80)
    assert sorted(walks) == [3] * 4 + [5] * 4  # the second row's tiles are lower, and the last column's narrower


def test_grey_stays_grey(tiny_codec):
    grey = picture(30, 40)[:, :, 0]
    assert tiny_codec.decode(tiny_codec.encode(grey)).mode == "L"


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_mode_alpha_and_metadata_come_back(tiny_codec, mode):
    image = Image.fromarray(np.dstack([picture(30, 40), picture(30, 40, 1)[:, :, 0]])).convert(mode)
    metadata.attach(image, Metadata(icc=b"profile", exif=b"II*\0data", xmp=b"<x/>"))
    back = tiny_codec.decode(tiny_codec.encode(image))
    assert back.mode == mode and metadata.from_image(back) == metadata.from_image(image)
    if "A" in mode:
        assert back.getchannel("A").tobytes() == image.getchannel("A").tobytes()


def test_flat_alpha_costs_next_to_nothing(tiny_codec):
    pixels = picture(30, 40)
    opaque = np.dstack([pixels, np.full((30, 40), 255, np.uint8)])
    assert len(tiny_codec.encode(opaque)) - len(tiny_codec.encode(pixels)) < 20


def test_losses_raise_a_warning(tiny_codec):
    with pytest.warns(errors.VqcWarning, match="16 bits"):
        tiny_codec.encode(Image.new("I;16", (16, 16)))
    with pytest.raises(errors.LossRefused, match="16 bits"):
        tiny_codec.encode(Image.new("I;16", (16, 16)), options=ReadOptions(strict=True))


def test_higher_quality_is_larger(tiny_codec):
    sizes = [len(tiny_codec.encode(picture(64, 96), quality)) for quality in (0, 50, 100)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


@pytest.mark.parametrize("quality", [-1, 100.5, float("nan"), 10**400, None, "50"])
def test_quality_out_of_range(tiny_codec, quality):
    with pytest.raises(errors.InvalidQuality):
        tiny_codec.encode(picture(16, 16), quality)


@pytest.mark.parametrize("source", [None, 5, io.StringIO("VQC"), np.zeros(9, np.uint8)])
def test_invalid_stream_sources(tiny_codec, source):
    with pytest.raises(errors.NotAVqcFile, match="is neither bytes nor a path nor a binary file"):
        tiny_codec.decode(source)


@pytest.mark.parametrize("source", [None, 5, b"photo.png"])
def test_invalid_picture_sources(tiny_codec, source):
    with pytest.raises(errors.InvalidImage, match="is not a path, a binary file, a PIL image or an array"):
        tiny_codec.encode(source)


def test_impossible_file_names(tiny_codec):
    for call in (tiny_codec.encode, tiny_codec.decode):
        with pytest.raises(errors.UnreadableFile, match="embedded null byte"):
            call("a\0b")


def test_one_source_that_cannot_be_opened(tiny_codec, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    closed = Job("-", "-").open_source()
    bad, good = tiny_codec.encode_batch([closed, picture(16, 16)])
    assert str(bad.error) == "standard input is closed" and good.data
    bad, good = tiny_codec.decode_batch([closed, good.data])
    assert str(bad.error) == "standard input is closed" and good.image


def test_another_model_is_refused(tiny_codec, tmp_path):
    export(tiny_network(seed=1), tmp_path / "other.safetensors", {})
    other = vqcodec.Codec(model_path=tmp_path / "other.safetensors", device="cpu")
    with pytest.raises(errors.ModelMismatch):
        other.decode(tiny_codec.encode(picture(16, 16)))


def test_an_unknown_model_is_named(tiny_codec):
    with pytest.raises(errors.UnknownModel, match=tiny_codec.model.hash.hex()):
        vqcodec.decode(tiny_codec.encode(picture(16, 16)))


def test_truncation_and_foreign_data(tiny_codec):
    data = tiny_codec.encode(picture(16, 16))
    for length in range(len(data)):
        with pytest.raises((errors.TruncatedStream, errors.NotAVqcFile)):
            tiny_codec.decode(data[:length])
    with pytest.raises(errors.NotAVqcFile):
        tiny_codec.decode(b"\xff\xd8\xff\xe0" + bytes(100))


def test_too_many_pixels_are_refused_before_decoding(tiny_codec):
    data = tiny_codec.encode(picture(40, 40))
    with pytest.raises(errors.ImageTooLarge):
        tiny_codec.decode(data, max_pixels=1599)
    assert tiny_codec.decode(data, max_pixels=1600).size == (40, 40)


def test_files(tiny_codec, tmp_path):
    Image.fromarray(picture(20, 24)).save(tmp_path / "a.png")
    (tmp_path / "a.vqc").write_bytes(tiny_codec.encode(tmp_path / "a.png"))
    assert tiny_codec.decode(tmp_path / "a.vqc").size == (24, 20)
    with open(tmp_path / "a.vqc", "rb") as file:
        assert tiny_codec.decode(file).size == (24, 20)


def test_info_decodes_nothing(tiny_codec):
    data = tiny_codec.encode(picture(20, 24), 40)
    told = vqcodec.info(data)
    assert (told.width, told.height, told.layout, told.quality) == (24, 20, "rgb", 40.0)
    assert told.bytes == len(data) and told.model is None and told.model_hash == tiny_codec.model.hash.hex()
    assert sum(s["bytes"] for s in told.sections) < len(data)


def test_damaged_weights_are_refused(tiny_weights, tmp_path):
    content = tiny_weights.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-100])
    with pytest.raises(errors.InvalidWeights):
        vqcodec.Codec(model_path=tmp_path / "cut.safetensors")
    with pytest.raises(errors.MissingFile):
        vqcodec.Codec(model_path=tmp_path / "none.safetensors")


def test_batches_equal_single_calls(tiny_codec, tmp_path):
    Image.fromarray(picture(20, 24)).save(tmp_path / "a.png")
    pictures = [picture(40, 56, 1), tmp_path / "a.png", picture(17, 90, 2), Image.fromarray(picture(40, 56, 3))]
    results = list(tiny_codec.encode_batch(iter(pictures), 60))
    assert [r.index for r in results] == [0, 1, 2, 3] and not any(r.error for r in results)
    assert [r.data for r in results] == [tiny_codec.encode(p, 60) for p in pictures]
    decoded = list(tiny_codec.decode_batch(r.data for r in results))
    assert [r.image.size for r in decoded] == [(56, 40), (24, 20), (90, 17), (56, 40)]
    for result, alone in zip(decoded, results, strict=True):
        assert np.abs(np.int16(result.image) - np.int16(tiny_codec.decode(alone.data))).max() <= 1


def test_one_bad_picture_never_loses_the_others(tiny_codec, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    results = list(tiny_codec.encode_batch([picture(16, 16), tmp_path / "bad.png", picture(16, 16)]))
    assert [type(r.error) for r in results] == [type(None), errors.InvalidImage, type(None)]
    assert results[1].data is None and results[0].data == results[2].data
    good = results[0].data
    damaged = bytearray(good)
    damaged[-1] ^= 1
    decoded = list(tiny_codec.decode_batch([good, bytes(damaged), tmp_path / "absent.vqc", good, b"", good[:30]]))
    assert [type(r.error) for r in decoded] == [
        type(None),
        errors.CorruptStream,
        errors.MissingFile,
        type(None),
        errors.TruncatedStream,
        errors.TruncatedStream,
    ]
    assert decoded[3].image.size == (16, 16)


def test_entropy_coded_damage_costs_its_own_stream_only(tiny_codec):
    """A section with a right checksum and a wrong payload is detected during a group's traversal."""
    good = tiny_codec.encode(picture(40, 40))
    stream = read_stream(good)
    sections = [dataclasses.replace(s, payload=s.payload + b"\1\0\0\0") for s in stream.sections]
    bad = write_stream(stream.header, sections)
    results = list(tiny_codec.decode_batch([good, bad, good]))
    assert [type(r.error) for r in results] == [type(None), errors.CorruptStream, type(None)]


def test_batches_refuse_a_wrong_quality_at_once(tiny_codec):
    with pytest.raises(errors.InvalidQuality):
        tiny_codec.encode_batch([], 101)


@pytest.mark.parametrize("box", [Box(0, 0, 300, 200), Box(130, 70, 40, 33), Box(299, 199, 1, 1), Box(3, 150, 290, 9)])
def test_a_region_is_the_crop_of_the_whole(tiny_codec, monkeypatch, box):
    monkeypatch.setattr(encoder, "TILE_LOG2", 6)
    data = tiny_codec.encode(picture(200, 300), 70)
    whole = np.int16(tiny_codec.decode(data))
    region = np.int16(tiny_codec.decode_region(data, box))
    assert np.abs(region - whole[box.top : box.bottom, box.left : box.right]).max() <= 1


def test_a_region_needs_its_tiles_only(tiny_codec, monkeypatch):
    monkeypatch.setattr(encoder, "TILE_LOG2", 7)
    data = tiny_codec.encode(picture(20, 1500), 70)
    seen = []
    monkeypatch.setattr(
        decoder, "decode_grids", lambda *given: seen.append(len(given[1])) or coding_grids.decode_grids(*given)
    )
    tiny_codec.decode_region(data, Box(700, 3, 50, 10))
    assert max(seen) <= 4  # of 12


def test_a_region_has_alpha_and_metadata(tiny_codec):
    image = Image.fromarray(np.dstack([picture(50, 60), picture(50, 60, 1)[:, :, 0]]))
    metadata.attach(image, Metadata(xmp=b"<x/>"))
    region = tiny_codec.decode_region(tiny_codec.encode(image), Box(10, 20, 30, 25))
    assert region.mode == "RGBA" and region.info["xmp"] == b"<x/>"
    assert region.getchannel("A").tobytes() == image.crop((10, 20, 40, 45)).getchannel("A").tobytes()


def test_regions_outside_are_refused(tiny_codec):
    with pytest.raises(errors.InvalidRegion):
        tiny_codec.decode_region(tiny_codec.encode(picture(16, 16)), Box(10, 10, 10, 10))


def test_large_pictures_are_analysed_in_windows(tiny_codec, monkeypatch):
    """A seam would change many indices; rounding may change a few."""
    monkeypatch.setattr(encoder, "TILE_LOG2", 6)
    whole = indices_of(tiny_codec, tiny_codec.encode(picture(200, 300), 90, effort=0))
    for name, value in (("WHOLE_PIXELS", 0), ("WINDOW_WIDTH", 128), ("WINDOW_HEIGHT", 64), ("MARGIN", 1000)):
        monkeypatch.setattr(analysis, name, value)
    parts = indices_of(tiny_codec, tiny_codec.encode(picture(200, 300), 90, effort=0))
    for one, other in zip(parts, whole, strict=True):
        assert np.mean(one != other) < 0.001


@pytest.mark.parametrize("effort", [1, 3])
def test_effort_works_window_by_window(tiny_codec, monkeypatch, effort):
    """Windows change only indices that their margin does not cover."""
    monkeypatch.setattr(encoder, "TILE_LOG2", 6)
    pixels = picture(130, 300)
    plain = indices_of(tiny_codec, tiny_codec.encode(pixels, 90, effort=0))
    whole = indices_of(tiny_codec, tiny_codec.encode(pixels, 90, effort=effort))
    for name, value in (("WHOLE_PIXELS", 0), ("WINDOW_WIDTH", 128), ("WINDOW_HEIGHT", 64)):
        monkeypatch.setattr(analysis, name, value)
    parts = indices_of(tiny_codec, tiny_codec.encode(pixels, 90, effort=effort))
    for a, b, c in zip(plain, whole, parts, strict=True):
        assert np.mean(b != c) < 0.2 * np.mean(a != b)


def test_windows_are_refined_once(tiny_codec, monkeypatch):
    """Each window is refined once, not once per level."""
    monkeypatch.setattr(encoder, "TILE_LOG2", 6)
    for name, value in (("WHOLE_PIXELS", 0), ("WINDOW_WIDTH", 128), ("WINDOW_HEIGHT", 64)):
        monkeypatch.setattr(analysis, name, value)
    refined = []
    first_choice = analysis.first_choice
    monkeypatch.setattr(analysis, "first_choice", lambda *args: refined.append(1) or first_choice(*args))
    tiny_codec.encode(picture(130, 300), 90)
    assert len(refined) == 3 * 3


def test_unknown_efforts(tiny_codec):
    for wrong in (-1, len(defaults.EFFORTS), 1.0, None):
        with pytest.raises(errors.InvalidEffort):
            tiny_codec.encode(picture(16, 16), effort=wrong)
        with pytest.raises(errors.InvalidEffort):
            tiny_codec.encode_batch([], effort=wrong)


def test_encoding_inside_inference_mode(tiny_codec):
    with torch.inference_mode():
        inside = tiny_codec.encode(picture(40, 40))
    assert inside == tiny_codec.encode(picture(40, 40))


def test_large_pictures_are_painted_in_windows(tiny_codec, monkeypatch):
    data = tiny_codec.encode(picture(200, 300), 70)
    whole = np.int16(tiny_codec.decode(data))
    preview = tiny_codec.decode_preview(data)
    monkeypatch.setattr(synthesis, "WINDOW", 96)
    assert np.abs(np.int16(tiny_codec.decode(data)) - whole).max() <= 1
    assert tiny_codec.decode_preview(data).tobytes() == preview.tobytes()


def test_a_preview_needs_the_top_only(tiny_codec, monkeypatch):
    data = tiny_codec.encode(picture(50, 70), 90)
    levels = []
    monkeypatch.setattr(coding_grids, "walk", lambda *args: levels.append(1) or walk(*args))
    preview = tiny_codec.decode_preview(data)
    assert preview.size == (70, 50) and preview.mode == "RGB" and len(levels) == 1


@pytest.mark.parametrize("kind, factor", [("bpp", 1.3), ("size", 0.8), ("psnr", 1)])
def test_goals(tiny_codec, kind, factor):
    image = Image.fromarray(picture(64, 96))
    middle = tiny_codec.encode(image)
    value = {
        "bpp": 8 * len(middle) / (64 * 96),
        "size": len(middle),
        "psnr": metrics.psnr(np.asarray(image), np.asarray(tiny_codec.decode(middle))),
    }[kind]
    goal = Goal(kind, value * factor)
    reached = tiny_codec.encode_to_goal(image, goal)
    assert abs(goal.miss(reached.value)) <= 1 and reached.trials <= 8
    assert reached.data == tiny_codec.encode(image, reached.quality)


def test_a_goal_is_searched_at_the_default_effort_first(tiny_codec, monkeypatch):
    efforts = []
    encode = tiny_codec._encoder.encode
    monkeypatch.setattr(tiny_codec._encoder, "encode", lambda *args: efforts.append(args[3]) or encode(*args))
    goal = Goal("size", 0.8 * len(tiny_codec.encode(picture(64, 64), lossless=False)))
    efforts.clear()
    reached = tiny_codec.encode_to_goal(picture(64, 64), goal, effort=3, lossless=False)
    assert abs(goal.miss(reached.value)) <= 1 and reached.trials == len(efforts)
    assert set(efforts) == {defaults.EFFORT, 3} and efforts == sorted(efforts)
    assert reached.data == tiny_codec.encode(picture(64, 64), reached.quality, effort=3, lossless=False)


def test_a_goal_out_of_reach(tiny_codec):
    with pytest.raises(errors.GoalOutOfReach, match="cannot reach 90.00 dB: quality"):
        tiny_codec.encode_to_goal(picture(64, 96), Goal("psnr", 90))


# Damaged streams


def damaged(stream, *lost):
    """Return the bytes of a stream with changed payloads in the sections of the given numbers."""
    data = bytearray(write_stream(stream.header, stream.sections))
    for number in lost:
        at = data.index(stream.sections[number].payload)
        data[at] ^= 1
    return bytes(data)


def test_what_is_intact_of_a_damaged_stream_is_decoded_and_the_rest_told(tiny_codec, monkeypatch):
    monkeypatch.setattr(encoder, "TILE_LOG2", 6)
    data = tiny_codec.encode(picture(64, 192), 70)
    stream = read_stream(data)
    whole = indices_of(tiny_codec, data)
    broken = damaged(stream, 1, 5)  # the top of the second tile, the bottom of the third
    with pytest.raises(errors.CorruptStream, match="'top' of tile 1"):
        tiny_codec.decode(broken)
    with pytest.warns(errors.VqcWarning) as told:
        image = tiny_codec.decode(broken, partial=True)
    assert image.size == (192, 64)
    assert [str(w.message) for w in told] == [
        "incomplete: section 'top' of tile 1 is damaged (checksum)",
        "incomplete: section 'bottom' of tile 2 is damaged (checksum)",
    ]
    (grids,) = decode_grids(tiny_codec, [read_stream(broken, partial=True)])
    for level, (found, expected) in enumerate(zip(grids, whole, strict=True)):
        tile = found.shape[2] // 3
        np.testing.assert_array_equal(found[:, :, :tile], expected[:, :, :tile])
        assert not found[:, :, tile : 2 * tile].any()  # without its top, a bottom cannot be decoded
        assert found[:, :, 2 * tile :].any() == (level == 0)
    (result,) = tiny_codec.decode_batch([broken], partial=True)
    assert len(result.remarks) == 2 and result.image.tobytes() == image.tobytes()


def test_a_stream_that_ends_after_its_top_gives_the_preview(tiny_codec):
    data = tiny_codec.encode(picture(50, 70), 70)
    short = data[: data.index(read_stream(data).sections[1].payload)]
    with pytest.raises(errors.TruncatedStream):
        tiny_codec.decode(short)
    with pytest.warns(errors.VqcWarning, match="incomplete: truncated: section 'bottom' needs"):
        image = tiny_codec.decode(short, partial=True)
    assert image.tobytes() == tiny_codec.decode_preview(data).tobytes()


def test_partial_decoding_needs_a_top(tiny_codec):
    data = tiny_codec.encode(picture(50, 70), 70)
    for broken in (damaged(read_stream(data), 0), data[:25]):
        with pytest.raises((errors.CorruptStream, errors.TruncatedStream)):
            tiny_codec.decode(broken, partial=True)


def test_a_small_damaged_file_is_a_small_picture_too(tiny_codec):
    """Missing sections cost nothing, so a short file must not give a large picture."""
    stream = read_stream(tiny_codec.encode(np.zeros((64, 64, 3), np.uint8), 0, lossless=False))
    header = dataclasses.replace(stream.header, width=4096, height=4096, tile_log2=6)
    cut = dataclasses.replace(stream, header=header, damage=(errors.TruncatedStream("truncated"),))
    with pytest.raises(errors.MalformedStream, match="too few grid bytes for a 4096x4096 picture"):
        decode_streams(tiny_codec, [cut])


def test_a_lost_alpha_plane_leaves_the_colours(tiny_codec):
    image = Image.fromarray(np.dstack([picture(50, 60), picture(50, 60, 1)[:, :, 0]]))
    stream = read_stream(tiny_codec.encode(image))
    with pytest.warns(errors.VqcWarning, match="'alpha' is damaged"):
        assert tiny_codec.decode(damaged(stream, 2), partial=True).mode == "RGB"

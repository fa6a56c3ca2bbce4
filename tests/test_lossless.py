"""Exact pictures: stored without loss, and by default where they are the better buy."""

import dataclasses
import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import vqcodec
from tests.support.streams import join, split
from tests.test_codec import picture
from vqcodec import Box, Goal, errors
from vqcodec.codec import choice, drawn, exact
from vqcodec.codec.choice import better_buy
from vqcodec.codec.drawn import looks_drawn
from vqcodec.codec.encoder import Coded
from vqcodec.codec.exact import encode_exact
from vqcodec.images.reading import Picture, read_picture
from vqcodec.stream import container
from vqcodec.stream.container import BEST_QUALITY, NO_MODEL, Header, Layout, Section, SectionKind, read_stream
from vqcodec.stream.planes import FAST, SMALL, write_planes

SIZES = [(1, 1), (1, 23), (19, 1), (7, 5), (64, 64), (65, 130)]
MODES = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}


def drawing(height, width, channels=(3,), colours=6, seed=0):
    """Return a picture of some flat rectangles, lines and a little noise, in few values."""
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 256, (colours, *channels), np.uint8)
    pixels = np.zeros((height, width, *channels), np.uint8) + palette[0]
    for _ in range(12):
        top, left = rng.integers(height), rng.integers(width)
        pixels[top : top + rng.integers(1, 20), left : left + rng.integers(1, 30)] = palette[rng.integers(colours)]
    return pixels


def image_of(mode, size):
    image = Image.fromarray(drawing(*size, MODES[mode]))
    image.info["xmp"] = b"<x/>"
    return image


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Pillow's, of the mode of an array
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
def test_every_way_of_decoding_gives_the_pixels_back(tiny_codec, monkeypatch, mode, size):
    monkeypatch.setattr(exact, "TILE_LOG2", 6)  # the largest picture has six tiles
    image = image_of(mode, size)
    data = tiny_codec.encode(image, lossless=True)
    stream = read_stream(data)
    assert stream.is_exact and vqcodec.info(data).exact
    assert stream.header.model_hash == NO_MODEL and stream.header.quality == BEST_QUALITY
    (from_batch,) = tiny_codec.decode_batch([data])
    for back in (vqcodec.decode(data), tiny_codec.decode_preview(data), from_batch.image):
        assert back.mode == mode and back.info["xmp"] == b"<x/>"
        np.testing.assert_array_equal(np.asarray(back), np.asarray(image))
    strips = [np.asarray(strip) for strip in tiny_codec.decode_strips(data)]
    assert len(strips) == -(-size[0] // 64)
    np.testing.assert_array_equal(np.vstack(strips), np.asarray(image))
    for box in (Box(0, 0, 1, 1), Box(size[1] // 3, size[0] // 2, size[1] // 2 + 1, size[0] // 3 + 1)):
        part = np.asarray(tiny_codec.decode_region(data, box))
        np.testing.assert_array_equal(part, box.of(np.asarray(image)))


def test_a_region_needs_its_tiles_only(tiny_codec, monkeypatch):
    monkeypatch.setattr(exact, "TILE_LOG2", 6)
    data = tiny_codec.encode(drawing(130, 130), lossless=True)
    decoded = []
    monkeypatch.setattr(exact, "read_planes", lambda payload, shape, *_: decoded.append(shape) or np.zeros(shape))
    tiny_codec.decode_region(data, Box(70, 10, 58, 60))
    assert decoded == [(64, 64, 3), (64, 64, 3)]


def test_photographs_are_stored_as_indices_and_drawings_exactly(tiny_codec, photo):
    streams = [tiny_codec.encode(pixels) for pixels in (np.asarray(photo)[:80, :80], drawing(80, 80))]
    assert [read_stream(data).is_exact for data in streams] == [False, True]
    together = [one.data for one in tiny_codec.encode_batch([np.asarray(photo)[:80, :80], drawing(80, 80)])]
    assert together == streams
    assert not read_stream(tiny_codec.encode(drawing(80, 80), lossless=False)).is_exact
    assert read_stream(tiny_codec.encode(photo.crop((0, 0, 80, 80)), lossless=True)).is_exact


@pytest.mark.parametrize("size", [(5, 3), (90, 130)])
def test_bytes_and_psnr_never_fall_with_quality(tiny_codec, size):
    pixels, last = drawing(*size), (0, 0.0)
    for quality in range(0, 101, 10):
        data = tiny_codec.encode(pixels, quality)
        value = vqcodec.metrics.psnr(pixels, np.asarray(tiny_codec.decode(data)))
        assert len(data) >= last[0] and value >= last[1]
        last = len(data), value


LAMBDAS = [0.0006 * 1.03**step for step in range(256)]
RATES = st.lists(st.tuples(st.integers(30, 4000), st.integers(1, 2000)), min_size=1, max_size=6)


@settings(max_examples=40)
@given(RATES, st.integers(0, 99), st.integers(12, 60))
def test_the_switch_keeps_the_order_of_any_encoder_that_minimises_the_cost(points, first, stride):
    """``points`` are bytes of indices, and the error of every sample that goes with them."""
    pixels = np.repeat(drawing(60, 60, (1,), seed=3), 3, 2)
    shown = Picture(pixels, Layout.GREY)
    header = Header(bytes(8), 60, 60, Layout.GREY, 0, 10)

    def decoded(coded):
        error = int(coded.data[-4:].decode()) ** 0.5 / 45
        return np.where(pixels > 127, pixels - round(error), pixels + round(error)).astype(np.uint8)

    def cost(point, lambda_):
        return 8 * point[0] + lambda_ * round(point[1] ** 0.5 / 45) ** 2 * 3600

    last = 0, -math.inf
    for lambda_ in LAMBDAS[first::stride]:
        size, error = min(points, key=lambda point: cost(point, lambda_))
        coded = Coded(header, b"%*d%04d" % (size - 4, 0, error), [])
        data = better_buy(shown, [], 0, coded, lambda_, decoded)
        value = math.inf if data != coded.data else -(round(error**0.5 / 45) ** 2)
        assert len(data) >= last[0] and value >= last[1]
        last = len(data), value


def test_the_cheaper_one_is_taken():
    shown = Picture(drawing(60, 60), Layout.RGB)
    size = len(encode_exact(shown, [], FAST))

    def taken(more, error, lambda_):
        coded = Coded(Header(bytes(8), 60, 60, Layout.RGB, 0, 10), bytes(size + more), [])
        off = np.where(shown.pixels > 127, shown.pixels - error, shown.pixels + error).astype(np.uint8)
        return better_buy(shown, [], 0, coded, lambda_, lambda _: off) != coded.data

    assert taken(1, 0, 0.1) and not taken(0, 0, 0.1)  # bytes decide
    assert not taken(-10, 2, 79 / 4 / 3600) and taken(-10, 2, 81 / 4 / 3600)  # ten bytes against the error


def test_the_sign_is_cheap_for_pictures_of_any_size(monkeypatch, photo):
    seen = []
    monkeypatch.setattr(drawn, "write_planes", lambda planes, effort: seen.append(planes) or b"")
    looks_drawn(Picture(np.zeros((3000, 5000, 3), np.uint8), Layout.RGB))
    looks_drawn(Picture(np.zeros((1, 5000, 3), np.uint8), Layout.GREY))
    assert [planes.shape for planes in seen] == [(96, 96, 3), (1, 96)]
    assert seen[0].flags.c_contiguous


def test_the_sign(photo):
    assert not looks_drawn(read_picture(photo)) and not looks_drawn(read_picture(photo.convert("L")))
    for channels in ((), (3,)):
        assert all(looks_drawn(read_picture(drawing(*size, channels))) for size in [*SIZES, (500, 700)])


@pytest.mark.parametrize(
    ("effort", "drawn", "photographed"), [(0, FAST, FAST), (1, SMALL, FAST), (2, SMALL, FAST), (3, SMALL, SMALL)]
)
def test_effort_goes_where_it_pays(tiny_codec, monkeypatch, effort, drawn, photographed):
    used = []
    monkeypatch.setattr(choice, "encode_exact", lambda picture, extras, effort: used.append(effort) or b"")
    for pixels in (drawing(64, 64), picture(64, 64)):
        tiny_codec.encode(pixels, effort=effort, lossless=True)
    assert used == [drawn, photographed]


def test_the_decoder_is_asked_only_where_sizes_do_not_decide():
    shown = Picture(picture(40, 40), Layout.RGB)
    coded = Coded(Header(bytes(8), 40, 40, Layout.RGB, 0, 10), bytes(9), [])
    assert better_buy(shown, [], 1, coded, 1.0, lambda _: pytest.fail("decoded")) == coded.data
    shown = Picture(drawing(60, 60), Layout.RGB)
    coded = dataclasses.replace(coded, data=bytes(9999))
    assert better_buy(shown, [], 1, coded, 1.0, lambda _: pytest.fail("decoded")) != coded.data


# Goals


def goal_reached(codec, goal, **options):
    reached = codec.encode_to_goal(drawing(90, 130), goal, **options)
    return reached, read_stream(reached.data).is_exact


def test_goals_that_the_exact_picture_meets(tiny_codec):
    size = len(tiny_codec.encode(drawing(90, 130), lossless=True))
    for goal in (Goal("size", size), Goal("size", 20 * size), Goal("bpp", 9.0), Goal("psnr", 90)):
        for lossless in (None, True):
            reached, is_exact = goal_reached(tiny_codec, goal, lossless=lossless)
            assert is_exact and len(reached.data) == size and reached.quality == 100
            known = {"size": size, "bpp": 8 * size / 90 / 130, "psnr": math.inf}
            assert reached.value == known[goal.kind] and reached.trials >= 1


def test_goals_that_the_exact_picture_misses(tiny_codec):
    with pytest.raises(errors.GoalOutOfReach, match=r"^cannot reach 60 bytes: the exact picture takes \d+ bytes$"):
        goal_reached(tiny_codec, Goal("size", 60), lossless=True)
    with pytest.raises(errors.GoalOutOfReach, match="cannot reach 20 bytes: quality 0 gives"):
        goal_reached(tiny_codec, Goal("size", 20))
    with pytest.raises(errors.GoalOutOfReach, match="cannot reach 1.00 dB: quality 0 gives"):
        goal_reached(tiny_codec, Goal("psnr", 1))


def test_goals_without_exact_pictures(tiny_codec):
    size = len(tiny_codec.encode(drawing(90, 130), 50, lossless=False))
    reached, is_exact = goal_reached(tiny_codec, Goal("size", size), lossless=False)
    assert not is_exact and abs(len(reached.data) / size - 1) <= 0.02
    with pytest.raises(errors.GoalOutOfReach, match="cannot reach 90.00 dB: quality"):
        goal_reached(tiny_codec, Goal("psnr", 90), lossless=False)


def test_sizes_are_not_missed_where_the_exact_picture_is_too_large(tiny_codec):
    """The picture of least quality is smaller than the exact one, so that a goal between them is met by indices."""
    pixels = np.random.default_rng(0).integers(0, 2, (256, 256), np.uint8) * 255
    exact_size = len(tiny_codec.encode(pixels, lossless=True))
    least = len(tiny_codec.encode(pixels, 0, lossless=False))
    assert looks_drawn(read_picture(pixels)) and least < exact_size
    reached = tiny_codec.encode_to_goal(pixels, Goal("size", least))
    assert not read_stream(reached.data).is_exact and abs(len(reached.data) / least - 1) <= 0.02


# Damage and forgery


def test_every_changed_byte_is_detected(tiny_codec):
    data = tiny_codec.encode(image_of("RGBA", (30, 41)), lossless=True)
    for at in range(len(data)):
        for change in (0x01, 0xFF):
            broken = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
            with pytest.raises(errors.VqcError):
                read_stream(broken)
    for length in range(len(data)):
        with pytest.raises(errors.VqcError):
            read_stream(data[:length])


def test_missing_tiles_are_grey(tiny_codec, monkeypatch):
    monkeypatch.setattr(exact, "TILE_LOG2", 6)
    pixels = drawing(70, 130)
    data = bytearray(tiny_codec.encode(pixels, lossless=True))
    with pytest.raises(errors.CorruptStream, match="section 'exact' of tile 5 is damaged"):
        tiny_codec.decode(bytes(data[:-1]) + bytes([data[-1] ^ 1]))
    with pytest.warns(errors.VqcWarning, match="incomplete: section 'exact' of tile 5 is damaged"):
        image = tiny_codec.decode(bytes(data[:-1]) + bytes([data[-1] ^ 1]), partial=True)
    expected = pixels.copy()
    expected[64:, 128:] = 128
    np.testing.assert_array_equal(np.asarray(image), expected)


def test_a_lost_picture_is_an_error(tiny_codec):
    data = tiny_codec.encode(image_of("RGB", (30, 41)), lossless=True)
    with pytest.raises(errors.CorruptStream, match="section 'exact' is damaged"):
        tiny_codec.decode(data[:30] + bytes([data[30] ^ 1]) + data[31:], partial=True)


def test_a_small_damaged_file_is_a_small_picture(tiny_codec):
    """Missing sections cost nothing, so a short file must not give a large picture."""
    header = Header(NO_MODEL, 8000, 8000, Layout.RGB, BEST_QUALITY, 11)
    start = container.write_header(header)
    with pytest.raises(errors.MalformedStream, match="too few bytes of pixels for a 8000x8000 picture: 4"):
        tiny_codec.decode(join(start, [(SectionKind.EXACT.value, b"\0\1\2\3")], ended=False), partial=True)


def test_a_small_file_is_a_small_picture(tiny_codec):
    """A payload has a byte for 2 ** 14 pixels at least; zeros fill it up."""
    pixels = np.full((1024, 1600), 9, np.uint8)
    data = tiny_codec.encode(pixels, lossless=True)
    np.testing.assert_array_equal(np.asarray(tiny_codec.decode(data)), pixels)
    head, ((kind, payload),) = split(data)
    assert len(payload) == 100 and payload.endswith(b"\0")
    with pytest.raises(errors.MalformedStream, match="too few bytes of pixels for a 1600x1024 picture: 99"):
        tiny_codec.decode(join(head, [(kind, payload[:-1])]))
    for forged in (payload[:-1] + b"\1", payload + b"\0"):
        with pytest.raises(errors.MalformedStream, match="section 'exact' is flat"):
            tiny_codec.decode(join(head, [(kind, forged)]))


def test_every_tile_has_bytes_enough(tiny_codec):
    header = container.write_header(Header(NO_MODEL, 1024, 1000, Layout.GREY, BEST_QUALITY, 9))
    tiles = [b"\0\7" + bytes(14), b"\0\7" + bytes(30), *[b"\0\7" + bytes(14)] * 2]
    with pytest.raises(errors.MalformedStream, match="is flat and has 32 bytes, not 16"):
        tiny_codec.decode(join(header, [(SectionKind.EXACT.value, tile) for tile in tiles]))
    tiles[0], tiles[1] = tiles[0][:15], tiles[0]
    with pytest.raises(errors.MalformedStream, match="section 'exact' has 15 bytes, too few for 512x512 pixels"):
        tiny_codec.decode_region(join(header, [(SectionKind.EXACT.value, tile) for tile in tiles]), Box(0, 0, 1, 1))


def test_tiles_have_a_limit(tiny_codec):
    header = Header(NO_MODEL, 4096, 4096, Layout.RGB, BEST_QUALITY, 12)
    data = container.write_stream(header, [Section(SectionKind.EXACT, 0, bytes(1024))])
    with pytest.raises(errors.ImageTooLarge, match="tiles of 4096x4096 pixels"):
        tiny_codec.decode_region(data, Box(0, 0, 1, 1), max_pixels=0)
    with pytest.raises(errors.ImageTooLarge, match="4096x4096 is 16777216 pixels"):
        tiny_codec.decode(data, max_pixels=1 << 20)


PIXELS = Section(SectionKind.EXACT, 0, b"\0\7")
LEVEL = Section(SectionKind.LEVEL_0, 0, b"")


@pytest.mark.parametrize(
    ("sections", "changes", "said"),
    [
        ([PIXELS], {"model_hash": b"12345678"}, "the picture is exact, but the header names a model"),
        (
            [PIXELS],
            {"layout": Layout.RGB, "tint": (255, 9, 9)},
            "the picture is exact, but the header names a model, a tint",
        ),
        ([PIXELS], {"quality": 254}, "or a lower quality"),
        ([PIXELS], {"width": 70}, "1 exact sections do not cover 2 tiles"),
        ([PIXELS, PIXELS], {}, "section 'exact' of tile 0 is out of order"),
        ([PIXELS, LEVEL], {}, "section 'top' of tile 0 is out of order"),
        ([LEVEL, PIXELS], {}, "section 'exact' of tile 0 is out of order"),
        ([Section(SectionKind.XMP, 0, b""), PIXELS], {}, "out of order"),
        ([PIXELS, Section(SectionKind.ALPHA, 0, b"")], {}, "an alpha section"),
    ],
)
def test_sections_that_contradict_each_other_are_refused(sections, changes, said):
    header = dataclasses.replace(Header(NO_MODEL, 9, 8, Layout.GREY, BEST_QUALITY, 6), **changes)
    with pytest.raises(errors.MalformedStream, match=said):
        container.write_stream(header, sections)


@pytest.mark.parametrize(
    "payload",
    [b"\0\7\7\7", b"\x09", write_planes(picture(8, 9)), write_planes(picture(9, 8))[:-9], b"\3" + bytes(40)],
)
def test_payloads_of_another_picture_are_refused(tiny_codec, payload):
    header = Header(NO_MODEL, 8, 9, Layout.GREY, BEST_QUALITY, 6)
    data = container.write_stream(header, [Section(SectionKind.EXACT, 0, payload)])
    try:
        image = tiny_codec.decode(data)
    except errors.MalformedStream as error:
        assert "section 'exact'" in str(error)
    else:
        assert image.size == (8, 9)


# Interfaces


def test_pillow_saves_exactly(tiny_codec):
    vqcodec.register_pillow(tiny_codec)
    image, file = image_of("RGBA", (30, 41)), io.BytesIO()
    image.save(file, "VQC", lossless=True)
    vqcodec.register_pillow()  # exact pictures need no model
    with Image.open(file) as back:
        back.load()
        np.testing.assert_array_equal(np.asarray(back), np.asarray(image))
    head, pieces = split(file.getvalue())
    assert [kind for kind, _ in pieces] == [SectionKind.EXACT.value, SectionKind.ALPHA.value, SectionKind.XMP.value]
    assert head[5:13] == NO_MODEL

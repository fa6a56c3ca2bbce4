"""The container: literal bytes, round trips, and detection of any damage."""

import dataclasses
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.errors import (
    CorruptStream,
    MalformedStream,
    NotAVqcFile,
    TruncatedStream,
    UnsupportedFeature,
    UnsupportedVersion,
    VqcError,
)
from vqcodec.stream import container
from vqcodec.stream.container import Header, Layout, Section, SectionKind, Stream

HASH = bytes(range(8))
HEADER = Header(HASH, width=768, height=512, layout=Layout.RGB, quality=128, tile_log2=10)
SECTIONS = (Section(SectionKind.LEVEL_0, 0, b"top"), Section(SectionKind.LEVEL_1, 0, b"bottom!"))
GOLDEN = bytes.fromhex(
    "8f565143 01 0001020304050607 1a 80 8006 8004"  # magic, version, model, layout and tile, quality, edges
    "00 03 bfad255a 746f70"  # kind, length, CRC-32, payload
    "41 07 2aab4e30 626f74746f6d21"
)

tints = st.permutations(range(3)).flatmap(
    lambda order: st.tuples(st.integers(0, 255), st.integers(0, 254)).map(
        lambda rest: tuple((*rest, 255)[place] for place in order)
    )
)
headers = st.builds(
    Header,
    model_hash=st.binary(min_size=8, max_size=8),
    width=st.integers(1, container.MAX_EDGE),
    height=st.integers(1, container.MAX_EDGE),
    layout=st.sampled_from(Layout),
    quality=st.integers(0, 255),
    tile_log2=st.integers(container.MIN_TILE_LOG2, container.MAX_TILE_LOG2),
) | st.builds(
    Header,
    model_hash=st.just(HASH),
    width=st.integers(1, container.MAX_EDGE),
    height=st.integers(1, 300),
    layout=st.sampled_from([Layout.RGB, Layout.RGBA]),
    quality=st.integers(0, 255),
    tile_log2=st.integers(container.MIN_TILE_LOG2, container.MAX_TILE_LOG2),
    tint=tints,
)


@st.composite
def streams(draw):
    """Generate valid streams of 1 to 6 tiles and 1 to 4 levels, with and without metadata."""
    rows, columns = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    header = dataclasses.replace(
        draw(headers), tile_log2=6, width=64 * columns - draw(st.integers(0, 63)), height=64 * rows
    )
    levels = list(SectionKind)[: draw(st.integers(1, 4))]
    kinds = [(kind, tile) for kind in levels for tile in range(rows * columns)]
    kinds += [(SectionKind.ALPHA, 0)] * header.layout.has_alpha
    kinds += [(k, 0) for k in (SectionKind.ICC, SectionKind.EXIF, SectionKind.XMP) if draw(st.booleans())]
    return Stream(header, tuple(Section(kind, tile, draw(st.binary(max_size=300))) for kind, tile in kinds))


def with_section(kind: int, payload: bytes = b"?") -> bytes:
    """Return the golden stream with one more section of ``kind`` at its end and right checksums."""
    head = container.write_header(HEADER)
    out = head
    for code, body in ((0x00, b"top"), (0x01, b"bottom!"), (kind | 0x40, payload)):
        prefix = bytes([code, len(body)])
        out += prefix + container._checksum(head, prefix, 0, body) + body
    return out


def test_golden_bytes():
    assert container.write_stream(HEADER, SECTIONS) == GOLDEN
    assert container.read_stream(GOLDEN) == Stream(HEADER, SECTIONS)


@given(streams())
def test_round_trip(stream):
    data = container.write_stream(stream.header, stream.sections)
    assert container.read_stream(data) == stream


@given(headers)
def test_header_round_trip_and_size(header):
    data = container.write_header(header)
    assert len(data) <= (23 if header.tint is None else 26) <= container.MAX_HEADER_BYTES
    assert container.read_header(data + b"more") == (header, len(data))


@given(st.binary(max_size=100), st.booleans())
def test_noise_raises_only_our_errors(noise, after_magic):
    with pytest.raises(VqcError):
        container.read_stream(container.MAGIC + b"\x01" + noise if after_magic else noise)


def test_every_truncation_is_reported():
    for size in range(len(GOLDEN)):
        with pytest.raises(TruncatedStream, match=r"^truncated: "):
            container.read_stream(GOLDEN[:size])


def test_truncation_names_the_section_and_the_bytes():
    with pytest.raises(TruncatedStream, match=r"^truncated: section 'bottom' needs 7 bytes, 4 left$"):
        container.read_stream(GOLDEN[:-3])
    with pytest.raises(TruncatedStream, match=r"^truncated: the width needs 1 byte, 0 left$"):
        container.read_stream(GOLDEN[:15])


def test_truncation_names_the_tile_where_there_are_several():
    header = dataclasses.replace(HEADER, tile_log2=9)
    data = container.write_stream(header, [Section(SectionKind.LEVEL_0, i, b"1234") for i in range(2)])
    with pytest.raises(TruncatedStream, match="section 'top' of tile 1 needs 4 bytes, 1 left"):
        container.read_stream(data[:-3])


def test_every_flipped_bit_is_reported():
    allowed = {
        **dict.fromkeys(range(4), (NotAVqcFile,)),
        **dict.fromkeys([4], (UnsupportedVersion,)),
        **dict.fromkeys(range(5, 13), (CorruptStream,)),
        **dict.fromkeys(range(13, 14), (CorruptStream, MalformedStream, UnsupportedFeature)),
        **dict.fromkeys(range(14, 15), (CorruptStream,)),
    }
    other = (
        CorruptStream,
        MalformedStream,
        TruncatedStream,
    )  # a damaged length asks for bytes that are not there
    for bit in range(8 * len(GOLDEN)):
        damaged = bytearray(GOLDEN)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(allowed.get(bit // 8, other)):
            container.read_stream(bytes(damaged))


@given(streams(), st.data())
def test_flipped_bit_of_any_stream_is_reported(stream, data):
    damaged = bytearray(container.write_stream(stream.header, stream.sections))
    bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VqcError):
        container.read_stream(bytes(damaged))


def test_other_formats_are_refused():
    for data in (b"\xff\xd8\xff\xe0 a JPEG", b"\x89PNG", b"\x00"):
        with pytest.raises(NotAVqcFile, match=r"^not a vqc file$"):
            container.read_stream(data)


def test_newer_version_is_named_whatever_follows_it():
    with pytest.raises(UnsupportedVersion, match="format version 2"):
        container.read_stream(container.MAGIC + b"\x02")


def test_swapped_tiles_are_reported():
    header = dataclasses.replace(HEADER, tile_log2=9)
    data = container.write_stream(header, [Section(SectionKind.LEVEL_0, i, bytes([i]) * 4) for i in range(2)])
    head, first, second = data[:-20], bytearray(data[-20:-10]), bytearray(data[-10:])
    first[0], second[0] = second[0], first[0]  # the flag of the last section stays last
    with pytest.raises(CorruptStream):
        container.read_stream(head + bytes(second + first))


def test_bytes_after_the_last_section_are_refused():
    with pytest.raises(MalformedStream, match="1 byte after the last section"):
        container.read_stream(GOLDEN + b"\0")


def test_unknown_sections_are_skipped_only_if_they_say_so():
    assert container.read_stream(with_section(0xBF)) == Stream(HEADER, SECTIONS)
    with pytest.raises(UnsupportedFeature, match="kind 0x3f"):
        container.read_stream(with_section(0x3F))


def test_alpha_section_and_layout_need_each_other():
    with pytest.raises(MalformedStream, match="an alpha section, but the layout is rgb"):
        container.read_stream(with_section(0x08))
    for layout in (Layout.GREY_ALPHA, Layout.RGBA):
        with pytest.raises(MalformedStream, match=f"no alpha section, but the layout is {layout.label}"):
            container.write_stream(dataclasses.replace(HEADER, layout=layout), SECTIONS)


def test_missing_sections_are_reported(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(container, "_check_order", lambda *_: None)
        data = container.write_stream(dataclasses.replace(HEADER, layout=Layout.RGBA), SECTIONS)
        headless = container.write_stream(HEADER, SECTIONS[1:])
    stream = container.read_stream(data, partial=True)
    assert stream.sections == SECTIONS and "no alpha section" in str(stream.damage[0])
    with pytest.raises(MalformedStream, match="out of order"):
        container.read_stream(headless, partial=True)


@pytest.mark.parametrize("tint", [(255, 255, 255), (254, 10, 3), (0, 0, 0)])
def test_only_one_spelling_of_a_tint(tint):
    good = container.write_header(dataclasses.replace(HEADER, tint=(9, 255, 40)))
    assert good[-3:] == bytes((9, 255, 40))
    with pytest.raises(MalformedStream, match="tint"):
        container.read_header(good[:-3] + bytes(tint))
    with pytest.raises(MalformedStream, match="tint"):
        dataclasses.replace(HEADER, tint=tint)


def test_a_tint_needs_colours_and_indices():
    with pytest.raises(MalformedStream, match="a grey picture with a tint"):
        dataclasses.replace(HEADER, layout=Layout.GREY, tint=(9, 255, 40))
    exact = Header(container.NO_MODEL, 9, 9, Layout.RGB, container.BEST_QUALITY, 6, tint=(9, 255, 40))
    with pytest.raises(MalformedStream, match="exact, but the header names a model, a tint"):
        container.write_stream(exact, [Section(SectionKind.EXACT, 0, b"")])


def test_a_header_ends_with_its_tint():
    data = container.write_header(dataclasses.replace(HEADER, tint=(9, 255, 40)))
    with pytest.raises(TruncatedStream, match="truncated: the tint needs 3 bytes, 2 left"):
        container.read_header(data[:-1])


def test_layouts():
    assert [layout.mode for layout in Layout] == ["L", "RGB", "LA", "RGBA"]
    for layout in Layout:
        assert Layout.of(layout.is_grey, layout.has_alpha) is layout


def test_a_search_asks_for_no_more_than_the_file_has(tmp_path):
    """A file object allocates the size that it is asked to read: four gigabytes for these 29 bytes."""
    path = tmp_path / "absurd.vqc"
    path.write_bytes(container.write_header(HEADER) + b"\x90" + b"\xff\xff\xff\xff\x0f" + bytes(4))
    tracemalloc.start()
    try:
        with open(path, "rb") as file:
            assert container.find_sections(file, {SectionKind.ICC}) == []
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("spelling", ["80808080 01", "8600", "00", "ffffffff 0f"])
def test_edges_out_of_range_or_not_in_shortest_form(spelling):
    data = GOLDEN[:15] + bytes.fromhex(spelling) + GOLDEN[17:]
    with pytest.raises(MalformedStream):
        container.read_stream(data)


LEVELS = [Section(SectionKind.LEVEL_0, 0, b""), Section(SectionKind.LEVEL_1, 0, b"")]


@pytest.mark.parametrize(
    "sections",
    [
        [],
        LEVELS[::-1],
        LEVELS[1:],
        [LEVELS[0], LEVELS[0]],
        [LEVELS[0], Section(SectionKind.ICC, 0, b""), LEVELS[1]],
        [*LEVELS, Section(SectionKind.XMP, 0, b""), Section(SectionKind.ICC, 0, b"")],
        [*LEVELS, Section(SectionKind.ICC, 1, b"")],
        [Section(SectionKind.LEVEL_0, 1, b"")],
    ],
)
def test_sections_out_of_order_are_refused(sections):
    with pytest.raises(MalformedStream):
        container.write_stream(HEADER, sections)


def test_levels_must_cover_all_tiles():
    header = dataclasses.replace(HEADER, tile_log2=9)
    with pytest.raises(MalformedStream, match="1 level sections do not cover 2 tiles"):
        container.write_stream(header, LEVELS[:1])


@pytest.mark.parametrize(
    "change",
    [
        {"model_hash": b""},
        {"width": 0},
        {"height": 1 << 28},
        {"quality": 256},
        {"tile_log2": 5},
        {"tile_log2": 16},
    ],
)
def test_header_refuses_what_the_format_cannot_say(change):
    with pytest.raises(MalformedStream):
        dataclasses.replace(HEADER, **change)


def test_tile_grid():
    assert container.tile_grid(HEADER) == (1, 1)
    assert container.tile_grid(dataclasses.replace(HEADER, tile_log2=6, width=65)) == (8, 2)

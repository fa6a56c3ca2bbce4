"""What must hold for any input: frequencies, rANS and the container, with inputs that hypothesis thinks of."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.support.streams import join, repair, split, split_raw
from tests.test_container import streams
from vqcodec.coding.frequencies import TABLE, frequencies, logit_gaps
from vqcodec.coding.rans import AnsDecoder, AnsEncoder
from vqcodec.errors import CorruptStream, MalformedStream, VqcError
from vqcodec.stream import container
from vqcodec.stream.container import SectionKind

BESIDE = frozenset(kind for kind in SectionKind if not kind.is_level)
FAR = 1 << 22

logits = arrays.arrays(
    np.int64, st.tuples(st.integers(1, 8), st.integers(2, 40)), elements=st.integers(-FAR, FAR) | st.integers(-300, 0)
)
shortfall_rows = arrays.arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(2, 40)))


@given(logits, st.integers(-FAR, FAR))
def test_frequencies_depend_on_differences_only(rows, shift):
    short = logit_gaps(rows.astype(np.float32))
    np.testing.assert_array_equal(short, np.minimum(rows.max(1, keepdims=True) - rows, 255))
    np.testing.assert_array_equal(short, logit_gaps((rows + shift).astype(np.float32)))
    found = frequencies(short)
    assert found.min() >= 1 and (found.max(1) == TABLE[0]).all() and (found == np.round(found)).all()


@given(st.lists(shortfall_rows, max_size=4), st.randoms(use_true_random=False), st.integers(0, 30))
def test_rans_round_trip(tables, random, least):
    tables = [frequencies(table) for table in tables]
    chunks = [np.array([random.randrange(table.shape[1]) for _ in table], np.int32) for table in tables]
    pusher = AnsEncoder()
    for symbols, table in zip(reversed(chunks), reversed(tables), strict=True):
        pusher.push(symbols, table)
    data = pusher.to_bytes(least)
    assert len(data) >= 4 * least and data.rstrip(b"\0") == pusher.to_bytes().rstrip(b"\0")
    ideal = sum(np.log2(t.sum(1) / t[np.arange(len(t)), s]).sum() for s, t in zip(chunks, tables, strict=True))
    assert 8 * len(data) <= max(32 * least, ideal + 64)
    popper = AnsDecoder(data, least)
    for symbols, table in zip(chunks, tables, strict=True):
        np.testing.assert_array_equal(popper.pop(table), symbols)
    popper.finish()


@given(st.binary(max_size=24), shortfall_rows, st.integers(0, 4))
def test_any_payload_is_the_only_one_for_its_symbols(data, table, least):
    try:
        popper = AnsDecoder(data, least)
        symbols = popper.pop(frequencies(table))
        popper.finish()
    except (CorruptStream, MalformedStream):
        return
    pusher = AnsEncoder()
    pusher.push(symbols, frequencies(table))
    assert pusher.to_bytes(least) == data


@given(streams())
def test_a_search_finds_what_reading_finds(stream):
    data = container.write_stream(stream.header, stream.sections)
    found = container.find_sections(io.BytesIO(data), BESIDE)
    assert found == [section for section in stream.sections if section.kind in BESIDE]
    assert join(*split(data)) == data == repair(data)


@given(streams(), st.data())
def test_mended_damage_is_refused_or_read_as_it_stands(stream, data):
    """Behind the checksums: what is accepted is spelled in the only way there is."""
    damaged = bytearray(container.write_stream(stream.header, stream.sections))
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255)), max_size=3)):
        damaged[at] = value
    mended = repair(bytes(damaged))
    try:
        found = container.read_stream(mended)
    except VqcError:
        return
    if len(found.sections) == len(split_raw(mended)[1]):  # otherwise some were skipped
        assert container.write_stream(found.header, found.sections) == mended

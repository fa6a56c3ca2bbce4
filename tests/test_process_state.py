"""No call changes the state of the process: warning filters, limits; and what a forked process may do."""

import io
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from PIL import Image

from tests.support import builders
from vqcodec.errors import VqcError, VqcWarning
from vqcodec.images.modes import Remark, collected_remarks, warn

TAGS = {60_000 + i: (builders.ASCII, b"some more text here\0") for i in range(300)}
MANY_TAGS = builders.png(builders.quarters(16), (b"eXIf", builders.exif({274: (builders.SHORT, [1]), **TAGS})))


def test_threads_leave_the_filters_and_limits_alone(tiny_codec):
    before, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: tiny_codec.encode(io.BytesIO(MANY_TAGS)), range(24)))
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == before and limit == Image.MAX_IMAGE_PIXELS


def test_remarks_are_collected_in_their_own_thread():
    def collect(number: int) -> list[Remark]:
        with collected_remarks() as remarks:
            for _ in range(50):
                warn(Remark(str(number)))
        return remarks

    with ThreadPoolExecutor(4) as pool:
        for number, remarks in enumerate(pool.map(collect, range(8))):
            assert [remark.text for remark in remarks] == [str(number)] * 50
    with pytest.warns(VqcWarning, match="outside"):
        warn(Remark("outside"))


def test_a_forked_process_is_refused(tiny_codec, monkeypatch):
    data = tiny_codec.encode(builders.quarters(16))
    monkeypatch.setattr("os.getpid", lambda: -1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for call in (tiny_codec.encode, tiny_codec.decode):
        with pytest.raises(VqcError, match="forked process"):
            call(builders.quarters(16) if call == tiny_codec.encode else data)
    (result,) = tiny_codec.encode_batch([builders.quarters(16)])
    assert "forked process" in str(result.error)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert tiny_codec.encode(builders.quarters(16)) == data

"""A short run of the damage program, and its detection of faulty readers."""

from tests.support import damage
from tests.support.streams import repair
from vqcodec.stream import container


def test_no_damage_passes_or_escapes(tiny_codec):
    report = damage.campaign(tiny_codec, 6_000, step=11)
    assert not report.failures
    assert len({kind for kind, _, _ in report.outcomes}) >= 18
    assert sum(n for (_, _, outcome), n in report.outcomes.items() if outcome == "decoded") > 50


def test_a_reader_without_checks_is_detected(tiny_codec, monkeypatch):
    original = container.read_stream
    monkeypatch.setattr(container, "read_stream", lambda data: original(repair(data)))
    report = damage.campaign(tiny_codec, 200)
    assert any("UNDETECTED" in failure for failure in report.failures)


def test_a_panic_is_detected(tiny_codec, monkeypatch):
    class Panic(BaseException):
        pass

    def panic(*_, **__):
        raise Panic

    monkeypatch.setattr(tiny_codec, "decode", panic)
    report = damage.campaign(tiny_codec, 2_000, step=7)
    assert any("Panic" in failure for failure in report.failures)

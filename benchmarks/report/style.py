"""Line styles of codecs, the same in every plot.

vqcodec has the widest line, so that the main comparison is seen first, and published curves are dashed.  Colours of
measured codecs are those of their classes.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.rd.codecs import Vqc, codec_class, codec_label, is_vqc
from benchmarks.rd.results import Result, measured

_PUBLISHED = ("#b2abd2", "#80b1d3", "#8dd3c7", "#fb9a99", "#bc80bd", "#999999")
"""Colours of published curves, in turn: paler than those of the codecs."""


@dataclass(frozen=True)
class Look:
    """Line style of one codec."""

    label: str
    colour: str
    width: float
    """In points."""
    dashed: bool


def looks(codecs: list[str]) -> dict[str, Look]:
    """Return the look of each codec; every further vqc model has a colour of its own."""
    models = [name for name in codecs if is_vqc(name)]
    found = {}
    for name in codecs:
        colour = codec_class(name).colour
        if is_vqc(name) and name != models[0]:
            colour = Vqc.more_colours[(models.index(name) - 1) % len(Vqc.more_colours)]
        found[name] = Look(codec_label(name), colour, 2.6 if is_vqc(name) else 1.6, dashed=False)
    return found


def curve_looks(results: Mapping[str, Result]) -> dict[str, Look]:
    """Return the look of each curve of a report, measured or published."""
    ours = measured(results)
    published = [name for name in results if name not in ours]
    return looks(list(ours)) | {
        name: Look(results[name].label, colour, 1.2, dashed=True)
        for name, colour in zip(published, itertools.cycle(_PUBLISHED), strict=False)
    }

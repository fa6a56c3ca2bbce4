"""Line styles of codecs, the same in every plot.

JPEG is dashed and vqcodec has the widest line, so that the main comparison is seen first.  Labels and colours are those
of the codecs' classes.
"""

from dataclasses import dataclass

from benchmarks.rd.codecs import ANCHOR, Vqc, codec_class, codec_label, is_vqc


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
        found[name] = Look(codec_label(name), colour, 2.6 if is_vqc(name) else 1.6, name == ANCHOR)
    return found

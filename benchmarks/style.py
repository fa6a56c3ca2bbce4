"""How codecs look in every plot: one colour, dash and label each.

The colours are Okabe and Ito's (2008), told apart by colour-blind readers; JPEG is black and dashed, vqcodec vermilion
and the widest line, so that the comparison that matters is seen first.
"""

from dataclasses import dataclass

from benchmarks.codecs import ANCHOR, LABELS, VQC, is_vqc

_COLOURS = {
    "jpeg": "#000000",
    "jpeg444": "#7f7f7f",
    "webp": "#009e73",
    "jpeg2000": "#0072b2",
    "avif": "#e69f00",
    "jxl": "#56b4e9",
    VQC: "#d55e00",
}
_OTHER_MODELS = ("#cc79a7", "#8c510a", "#6a3d9a")


@dataclass(frozen=True)
class Look:
    """Of one codec."""

    label: str
    colour: str
    width: float
    """In points."""
    dashed: bool


def looks(codecs: list[str]) -> dict[str, Look]:
    """Codec name -> how it looks among these; models beyond the first get colours of their own."""
    models = [name for name in codecs if is_vqc(name)]
    found = {}
    for name in codecs:
        if is_vqc(name):
            place = models.index(name)
            colour = _COLOURS[VQC] if place == 0 else _OTHER_MODELS[(place - 1) % len(_OTHER_MODELS)]
        else:
            colour = _COLOURS[name]
        found[name] = Look(label(name), colour, 2.6 if is_vqc(name) else 1.6, name == ANCHOR)
    return found


def label(name: str) -> str:
    """A codec's name as people write it."""
    return "vqcodec" if name == VQC else LABELS.get(name, name.replace(f"{VQC}:", "vqcodec "))

"""Colours that a file describes by numbers instead of an ICC profile, and the profile that means the same.

Sources: primaries and transfer functions of ITU-T H.273, tables 2 and 3; profiles of ICC.1:2010.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]


@dataclass(frozen=True)
class Power:
    """A curve from sample ``x``, 0 to 1, to linear light: ``(a x + b) ** gamma`` from ``x = d`` on, ``c x`` below."""

    gamma: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0


Curve = Power | npt.NDArray[np.uint16]
"""A formula, or a table of linear light, 0 to 65535, at evenly spaced samples."""
SRGB_CURVE = Power(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""IEC 61966-2-1."""
LINEAR = Power(1.0)
_BT709_CURVE = Power(1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CURVES = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15), _BT709_CURVE),
    4: Power(2.2),
    5: Power(2.8),
    7: Power(1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4.0, 0.0913),
    8: LINEAR,
    13: SRGB_CURVE,
}
"""Curves by their number in H.273, as far as 8 bits and the range of sRGB can show them."""
D65: Point = (0.3127, 0.3290)
_BT709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65)
_PRIMARIES: dict[int, tuple[Point, Point, Point, Point]] = {
    1: _BT709,
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    10: ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1 / 3, 1 / 3)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
}
"""Red, green, blue and white, by their number in H.273."""
_ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65)
_NAMES = (b"r", b"g", b"b")
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


@dataclass(frozen=True)
class Colours:
    """Meaning of a picture's samples: ``curves`` to linear light, one or three, and the colours of full red, green
    and blue and of white as CIE x, y."""

    curves: tuple[Curve, ...]
    red: Point = _BT709[0]
    green: Point = _BT709[1]
    blue: Point = _BT709[2]
    white: Point = D65

    def profile(self, grey: bool) -> bytes:
        """Return an ICC profile with this meaning, version 4, of grey or RGB; none (empty) if there cannot be one.

        RGB values are adapted from the white to D50 as Bradford proposed (ICC.1:2010, annex E).
        """
        if any(isinstance(curve, Power) and not 0.1 < curve.gamma < 10 for curve in self.curves):
            return b""
        try:
            with np.errstate(all="ignore"):
                adapted, columns = self._matrices()
        except np.linalg.LinAlgError:
            return b""
        if not np.abs([adapted, columns]).max() < 4:  # also if it is no number
            return b""
        tags = [(b"desc", _text("by the numbers in the file")), (b"cprt", _text("no copyright"))]
        tags += [(b"wtpt", _xyz(_D50)), (b"chad", b"sf32" + bytes(4) + _fixed(adapted.flat))]
        if grey:
            tags.append((b"kTRC", _curve(self.curves[0])))
        else:
            tags += [(name + b"XYZ", _xyz(column)) for name, column in zip(_NAMES, columns.T, strict=True)]
            curves = self.curves if len(self.curves) == 3 else self.curves * 3
            tags += [(name + b"TRC", _curve(curve)) for name, curve in zip(_NAMES, curves, strict=True)]
        return _profile(b"GRAY" if grey else b"RGB ", tags)

    def _matrices(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the adaptation from the white to D50, and the XYZ values of full red, green and blue under D50."""
        corners = np.stack([_to_xyz(point) for point in (self.red, self.green, self.blue)], 1)
        white = _to_xyz(self.white)
        cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
        adaptation = np.linalg.inv(_BRADFORD) @ (cones[:, None] * _BRADFORD)
        return adaptation, adaptation @ (corners * np.linalg.solve(corners, white))


SRGB = Colours((SRGB_CURVE,))
ADOBE_RGB = Colours((Power(563 / 256),), *_ADOBE_RGB)
"""Adobe RGB (1998)."""


def of_numbers(primaries: int, transfer: int) -> Colours | None:
    """Return what two numbers of H.273 say; unspecified ones mean sRGB.

    None: one of them is unknown, or stands for a range of light that 8 bits of sRGB cannot show (PQ, HLG).
    """
    curve = _CURVES.get(13 if transfer == 2 else transfer)
    corners = _PRIMARIES.get(1 if primaries == 2 else primaries)
    return None if curve is None or corners is None else Colours((curve,), *corners)


def _to_xyz(point: Point) -> npt.NDArray[np.float64]:
    x, y = point
    return np.array([x, y, 1 - x - y]) / (y or 1e-9)


def _fixed(values: Iterable[float]) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


def _xyz(values: npt.NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _curve(curve: Curve) -> bytes:
    if not isinstance(curve, Power):
        return b"curv" + bytes(4) + struct.pack(">I", len(curve)) + curve.astype(">u2").tobytes()
    if curve == Power(curve.gamma):
        return b"para" + bytes(8) + _fixed([curve.gamma])
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed([curve.gamma, curve.a, curve.b, curve.c, curve.d])


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(content), 28) + content


def _profile(space: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    start, body, places = 128 + 4 + 12 * len(tags), b"", dict[bytes, int]()
    for _, content in tags:
        if content not in places:
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
    table = b"".join(name + struct.pack(">II", places[content], len(content)) for name, content in tags)
    head = struct.pack(">I4xI4s4s4s12x4s", start + len(body), 0x04200000, b"mntr", space, b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + _fixed(_D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body

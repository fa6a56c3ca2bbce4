"""Colours that a file describes by numbers instead of an ICC profile, and the profile that means the same.

Sources: primaries and transfer functions of ITU-T H.273, tables 2 and 3; profiles of ICC.1:2010.
"""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]
Curve = npt.NDArray[np.float64]
"""Linear light, 0 to 1, at evenly spaced values of a sample from 0 to 1."""

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
_SAMPLES = 1024
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


@dataclass(frozen=True)
class Colours:
    """What the samples of a picture mean: ``curves`` to linear light, one or three, and the colours of full red, green
    and blue and of white as CIE x, y."""

    curves: tuple[Curve, ...]
    red: Point = _BT709[0]
    green: Point = _BT709[1]
    blue: Point = _BT709[2]
    white: Point = D65

    def profile(self, grey: bool) -> bytes:
        """Return an ICC profile with this meaning, version 2, of grey or RGB; none (empty) if there cannot be one.

        RGB values are adapted from the white to D50 as Bradford proposed (ICC.1:2010, annex E).
        """
        try:
            columns = self._columns()
        except np.linalg.LinAlgError:
            return b""
        if not np.isfinite(columns).all() or np.abs(columns).max() > 4:
            return b""
        tags = [
            (b"desc", _description("by the numbers in the file")),
            (b"cprt", b"text" + bytes(4) + b"no copyright\0"),
        ]
        tags.append((b"wtpt", _xyz(_D50)))
        if grey:
            tags.append((b"kTRC", _curve(self.curves[0])))
        else:
            tags += [(name + b"XYZ", _xyz(column)) for name, column in zip((b"r", b"g", b"b"), columns.T, strict=True)]
            curves = self.curves if len(self.curves) == 3 else self.curves * 3
            tags += [(name + b"TRC", _curve(curve)) for name, curve in zip((b"r", b"g", b"b"), curves, strict=True)]
        return _profile(b"GRAY" if grey else b"RGB ", tags)

    def _columns(self) -> npt.NDArray[np.float64]:
        """Return the XYZ values of full red, green and blue under D50, as columns."""
        corners = np.stack([_to_xyz(point) for point in (self.red, self.green, self.blue)], 1)
        white = _to_xyz(self.white)
        scaled = corners * np.linalg.solve(corners, white)
        cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
        adapted: npt.NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ (cones[:, None] * (_BRADFORD @ scaled))
        return adapted


def srgb_curve() -> Curve:
    """Return the curve of sRGB (IEC 61966-2-1)."""
    x = np.linspace(0, 1, _SAMPLES)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def gamma_curve(gamma: float) -> Curve:
    """Return the curve ``x ** gamma``."""
    curve: Curve = np.linspace(0, 1, _SAMPLES) ** gamma
    return curve


def adobe_rgb() -> Colours:
    """Return the colours of Adobe RGB (1998)."""
    return Colours((gamma_curve(563 / 256),), *_ADOBE_RGB)


def of_numbers(primaries: int, transfer: int) -> Colours | None:
    """Return what two numbers of H.273 say; unspecified ones mean sRGB.

    None: one of them is unknown, or stands for a range of light that 8 bits of sRGB cannot show (PQ, HLG).
    """
    curve = _transfer(13 if transfer == 2 else transfer)
    corners = _PRIMARIES.get(1 if primaries == 2 else primaries)
    return None if curve is None or corners is None else Colours((curve,), *corners)


def _transfer(number: int) -> Curve | None:
    x = np.linspace(0, 1, _SAMPLES)
    if number in (1, 6, 11, 12, 14, 15):  # BT.709, and what has its curve between 0 and 1
        return np.where(x < 0.081, x / 4.5, ((x + 0.099) / 1.099) ** (1 / 0.45))
    if number == 7:  # SMPTE ST 240
        return np.where(x < 0.0913, x / 4.0, ((x + 0.1115) / 1.1115) ** (1 / 0.45))
    if number == 13:
        return srgb_curve()
    gammas = {4: 2.2, 5: 2.8, 8: 1.0}
    return gamma_curve(gammas[number]) if number in gammas else None


def _to_xyz(point: Point) -> npt.NDArray[np.float64]:
    x, y = point
    return np.array([x, y, 1 - x - y]) / (y or 1e-9)


def _xyz(values: npt.NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


def _curve(curve: Curve) -> bytes:
    values = np.clip(np.round(curve * 65535), 0, 65535).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", len(values)) + values.tobytes()


def _description(text: str) -> bytes:
    content = text.encode() + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(content)) + content + bytes(78)


def _profile(space: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags:
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = start + len(body)
    head = struct.pack(">I4xI4s4s4s12x4s", size, 0x02400000, b"mntr", space, b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + b"".join(struct.pack(">i", round(float(v) * 65536)) for v in _D50)
    return head.ljust(128, b"\0") + table + body

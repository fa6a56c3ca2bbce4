"""Divide pictures into tiles, which are entropy-coded independently, and find the tiles that a rectangle depends on.

Transforms see whole pictures; only the entropy coding is tiled.  Tiles are numbered in raster order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vqcodec.codec.grid import Grid
from vqcodec.config import ModelConfig
from vqcodec.errors import InvalidRegion
from vqcodec.stream.container import Header, Stream, tile_grid

T = TypeVar("T")


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: its left and top edges, width and height."""

    left: int
    top: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.left},{self.top},{self.width},{self.height}"

    @property
    def right(self) -> int:
        """The first column to the right of it."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.top + self.height

    def check_inside(self, width: int, height: int) -> None:
        """Raise :class:`InvalidRegion` if it is empty or not inside a picture of that size."""
        if self.width < 1 or self.height < 1 or min(self.left, self.top) < 0:
            raise InvalidRegion(f"region {self} is empty or starts outside the picture")
        if self.right > width or self.bottom > height:
            raise InvalidRegion(f"region {self} does not fit into the {width}x{height} picture")

    def grown(self, margin: int, unit: int, width: int, height: int) -> "Box":
        """Return the box with a margin on each side, aligned to ``unit`` and cut at the borders of the picture."""
        left, top = (max(0, (edge - margin) // unit * unit) for edge in (self.left, self.top))
        right = min(width, -(-(self.right + margin) // unit) * unit)
        bottom = min(height, -(-(self.bottom + margin) // unit) * unit)
        return Box(left, top, right - left, bottom - top)

    def moved(self, left: int, top: int) -> "Box":
        """Return the same rectangle in coordinates with another origin."""
        return replace(self, left=self.left - left, top=self.top - top)

    def intersection(self, other: "Box") -> "Box | None":
        """Return the part that both have in common, None without one."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        width, height = min(self.right, other.right) - left, min(self.bottom, other.bottom) - top
        return Box(left, top, width, height) if min(width, height) > 0 else None

    def of(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a view of the pixels in the box, of an array (H, W, ...)."""
        return array[self.top : self.bottom, self.left : self.right]

    def positions(self, stride: int, unit: int) -> tuple[slice, slice]:
        """Return the rows and columns of a grid with ``stride`` pixels per position that lie in the box.

        Right and bottom edges are rounded up to multiples of ``unit``, the coarsest stride: pictures are padded to it.
        """
        bottom, right = (-(-edge // unit) * unit for edge in (self.bottom, self.right))
        return slice(self.top // stride, bottom // stride), slice(self.left // stride, right // stride)


def tile_boxes(header: Header) -> list[Box]:
    """Return the rectangles of all tiles in raster order."""
    edge = 1 << header.tile_log2
    return [
        Box(left, top, min(edge, header.width - left), min(edge, header.height - top))
        for top in range(0, header.height, edge)
        for left in range(0, header.width, edge)
    ]


def cut(stream: Stream, box: Box) -> tuple[Stream, Box]:
    """Return a stream of only those tiles that the box touches, and the box in the coordinates of that picture.

    Tiles are coded independently, so some of them form a complete stream.  The alpha plane is left out.
    """
    header = stream.header
    edge = 1 << header.tile_log2
    rows = range(box.top // edge, -(-box.bottom // edge))
    columns = range(box.left // edge, -(-box.right // edge))
    across = tile_grid(header)[1]
    numbers = {row * across + column: number for number, (row, column) in enumerate(product(rows, columns))}
    left, top = columns.start * edge, rows.start * edge
    part = replace(
        header,
        width=min(columns.stop * edge, header.width) - left,
        height=min(rows.stop * edge, header.height) - top,
    )
    sections = [replace(s, tile=numbers[s.tile]) for s in stream.sections if s.kind.is_tiled and s.tile in numbers]
    return Stream(part, tuple(sections), stream.damage), box.moved(left, top)


class Tiling:
    """The tiles of one level of a batch of pictures, as one list: all tiles of the first picture, then the next."""

    def __init__(self, headers: Sequence[Header], stride: int, shapes: Sequence[tuple[int, int]]):
        """``stride`` is the level's pixels per position, ``shapes`` the ``(rows, columns)`` of each picture's grid."""
        self._shapes, self._stride = shapes, stride
        self._edges = [max(1, (1 << header.tile_log2) // stride) for header in headers]
        self._counts = [tile_grid(header) for header in headers]

    @classmethod
    def of_level(cls, headers: Sequence[Header], config: ModelConfig, level: int) -> "Tiling":
        """Return the tiles of one level of a model."""
        shapes = [config.grid_shapes(header.height, header.width)[level] for header in headers]
        return cls(headers, config.levels[level].stride, shapes)

    @cached_property
    def owners(self) -> list[int]:
        """The number of the picture that each tile belongs to."""
        return self.repeat(range(len(self._counts)))

    @cached_property
    def windows(self) -> list[tuple[slice, slice]]:
        """Rows and columns of every tile in its picture's grid."""
        result = []
        for (height, width), (rows, columns), edge in zip(self._shapes, self._counts, self._edges, strict=True):
            for top, left in product(range(0, rows * edge, edge), range(0, columns * edge, edge)):
                result.append((slice(top, min(top + edge, height)), slice(left, min(left + edge, width))))
        return result

    @cached_property
    def tile_shapes(self) -> list[tuple[int, int]]:
        """``(rows, columns)`` of every tile's grid."""
        return [(y.stop - y.start, x.stop - x.start) for y, x in self.windows]

    def portions(self, pixels: int, among: Iterable[int] | None = None) -> list[list[int]]:
        """Split the tiles, or those in ``among``, into portions of at most so many pixels, or of a single tile."""
        portions: list[list[int]] = []
        held = 0
        for i in range(len(self.tile_shapes)) if among is None else among:
            height, width = self.tile_shapes[i]
            held += height * width * self._stride**2
            if not portions or held > pixels:
                portions.append([])
                held = height * width * self._stride**2
            portions[-1].append(i)
        return portions

    def repeat(self, per_picture: Sequence[T]) -> list[T]:
        """Repeat one value per picture for each of its tiles."""
        return [
            value
            for value, (rows, columns) in zip(per_picture, self._counts, strict=True)
            for _ in range(rows * columns)
        ]

    def group(self, per_tile: Sequence[T]) -> list[list[T]]:
        """Group one value per tile into a list per picture."""
        left = iter(per_tile)
        return [[next(left) for _ in range(rows * columns)] for rows, columns in self._counts]

    def blank(self, groups: int) -> list[Grid]:
        """Return a grid of ``groups`` indices at each position, all zero, for every picture."""
        return [Grid(groups, *shape) for shape in self._shapes]

"""Picture <-> bytes: composes image, model, coding and bitstream.  Every step is somebody else's.

Both directions work on lists: all pictures (and all tiles of each) go through the prior's wavefronts together.  What
one picture becomes does not depend on its company.
"""

import copy
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vqcodec import metrics, zoo
from vqcodec.alpha import read_alpha, write_alpha
from vqcodec.bitstream import Header, Section, SectionKind, Stream, read_stream, write_stream
from vqcodec.coding.ports import Cheapest, Reader, Writer
from vqcodec.coding.traversal import Canvas, Indices, walk
from vqcodec.config import QUALITY_STEPS
from vqcodec.errors import DeviceUnavailable, InvalidQuality, MalformedStream, ModelMismatch, UnknownModel, VqcWarning
from vqcodec.files import AnyPath, picture_format, read_bytes, save_image_atomically, write_atomically
from vqcodec.grouping import GROUP_PIXELS, in_groups
from vqcodec.image import AS_IS, MAX_PIXELS, Picture, Pixels, ReadOptions, Source, check_size, read_picture, to_pil
from vqcodec.metadata import read_metadata, write_metadata
from vqcodec.model.transform import Message
from vqcodec.modes import Remark
from vqcodec.painting import Painter
from vqcodec.search import Goal, search
from vqcodec.tiles import Box, Tiling, cut

_LEVELS = (SectionKind.LEVEL_0, SectionKind.LEVEL_1, SectionKind.LEVEL_2, SectionKind.LEVEL_3)
TILE_LOG2 = 10
"""Tiles of 1024 pixels: pictures up to that size are one tile and pay nothing."""
DEFAULT_QUALITY = 50.0

StreamSource = bytes | AnyPath | BinaryIO


@dataclass(frozen=True)
class StreamInfo:
    """What a file says of itself without being decoded."""

    version: int
    model: str | None
    """Id of the model, None if it is not known here."""
    model_hash: str
    width: int
    height: int
    layout: str
    quality: float
    tile: int
    grids: list[list[int]]
    """``[rows, columns]`` per level; empty without the model."""
    sections: list[dict[str, int | str]]
    bytes: int
    bpp: float


@dataclass(frozen=True)
class Encoded:
    """One of the results of :meth:`Codec.encode_batch`: ``data``, or ``error``."""

    index: int
    data: bytes | None = None
    error: Exception | None = None
    remarks: tuple[Remark, ...] = ()
    seconds: float = 0.0
    """Its share of the time."""


@dataclass(frozen=True)
class Decoded:
    """One of the results of :meth:`Codec.decode_batch`: ``image``, or ``error``."""

    index: int
    image: Image.Image | None = None
    error: Exception | None = None
    seconds: float = 0.0
    """Its share of the time."""


@dataclass(frozen=True)
class Reached:
    """What :meth:`Codec.encode_to_goal` found."""

    data: bytes
    quality: float
    value: float
    """Of the kind that the goal is of."""
    trials: int
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class _Coded:
    header: Header
    data: bytes
    grids: list[Indices]


class Codec:
    """Encodes and decodes with one model, whose weights are loaded once.  Instances may be shared between threads."""

    def __init__(
        self, model: str | None = None, *, model_path: str | os.PathLike[str] | None = None, device: str = "auto"
    ):
        """``model`` is an id of :func:`vqcodec.models`; ``model_path`` names a weights file instead.

        A model that is named this way is used for every stream; otherwise streams are decoded with the shipped model
        that their header names.  ``device`` is ``auto``, ``cpu`` or ``cuda[:N]`` and concerns the transforms only.
        """
        self.device = _device(device)
        self._chosen = model is not None or model_path is not None
        self.model = zoo.load_model(model) if model_path is None else zoo.load_weights(model_path)
        vqvae = self.model.vqvae
        self._vqvae = vqvae if self.device.type == "cpu" else copy.deepcopy(vqvae).to(self.device)
        self._painter = Painter(self._vqvae, self.device)

    def encode(
        self,
        image: Source,
        quality: float = DEFAULT_QUALITY,
        *,
        max_pixels: int = MAX_PIXELS,
        options: ReadOptions = AS_IS,
    ) -> bytes:
        """A picture (path, binary file, PIL image, or uint8 array (H, W) or (H, W, 3|4)) -> the bytes of a stream.

        Args:
            image: the picture.
            quality: 0 to 100, continuous; higher is better and larger.
            max_pixels: larger pictures are refused; 0 lifts the limit.
            options: what is kept of alpha and metadata.

        Raises:
            InvalidImage, ImageTooLarge, InvalidQuality.  Of what is lost on the way a :class:`VqcWarning` tells.
        """
        step = quality_step(quality)
        picture = read_picture(image, max_pixels, options)
        for remark in picture.remarks:
            if remark.loses:
                warnings.warn(remark.text, VqcWarning, stacklevel=2)
        return self.encode_pictures([picture], [step])[0]

    def decode(self, data: StreamSource, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
        """The bytes of a stream, or a path or binary file that holds them -> a PIL image.

        Its mode is L, LA, RGB or RGBA; ``info`` has what the stream holds of ``icc_profile``, ``exif`` and ``xmp``.

        Raises:
            NotAVqcFile, UnsupportedVersion, UnsupportedFeature, TruncatedStream, CorruptStream, MalformedStream,
            UnknownModel, ModelMismatch, ImageTooLarge.
        """
        stream = read_stream(_read(data))
        return self._for(stream).decode_streams([stream], max_pixels=max_pixels)[0]

    def encode_batch(
        self,
        images: Iterable[Source],
        quality: float = DEFAULT_QUALITY,
        *,
        max_pixels: int = MAX_PIXELS,
        options: ReadOptions = AS_IS,
    ) -> Iterator[Encoded]:
        """Like :meth:`encode` for many pictures, in their order; one that fails has its ``error`` and ends nothing.

        Pictures of similar size are coded together, which is faster and changes no byte.  Only a few are held at a
        time, so ``images`` may be a generator of any length.

        Raises:
            InvalidQuality.
        """
        step = quality_step(quality)

        def read(image: Source) -> Picture:
            return read_picture(image, max_pixels, options)

        def size(picture: Picture) -> tuple[int, int]:
            return picture.pixels.shape[:2]

        def work(pictures: Sequence[Picture]) -> list[bytes]:
            return self.encode_pictures(pictures, [step] * len(pictures))

        return (
            Encoded(o.index, o.result, o.error, o.prepared.remarks if o.prepared else (), o.seconds)
            for o in in_groups(images, read, size, work)
        )

    def decode_batch(self, streams: Iterable[StreamSource], *, max_pixels: int = MAX_PIXELS) -> Iterator[Decoded]:
        """Like :meth:`decode` for many streams, in their order; one that fails has its ``error`` and ends nothing."""

        def read(data: StreamSource) -> Stream:
            stream = read_stream(_read(data))
            self._for(stream)._check(stream, max_pixels)
            return stream

        def size(stream: Stream) -> tuple[int, int]:
            return stream.header.height, stream.header.width

        def work(streams: Sequence[Stream]) -> list[Image.Image]:
            if len({stream.header.model_hash for stream in streams}) > 1:
                return [self._for(stream).decode_streams([stream], max_pixels=0)[0] for stream in streams]
            return self._for(streams[0]).decode_streams(streams, max_pixels=0)

        return (Decoded(o.index, o.result, o.error, o.seconds) for o in in_groups(streams, read, size, work))

    def encode_to_goal(
        self, image: Source, goal: Goal, *, max_pixels: int = MAX_PIXELS, options: ReadOptions = AS_IS
    ) -> Reached:
        """The picture at the quality that comes nearest to a size, a rate or a PSNR: within 2 % or 0.1 dB.

        The picture is read, and its alpha plane and metadata are coded, only once; at most 8 qualities are tried.
        PSNR is that of the colours, before alpha.

        Raises:
            GoalOutOfReach, and what :meth:`encode` raises.
        """
        picture = read_picture(image, max_pixels, options)
        beside = _sections_beside(picture)
        height, width = picture.pixels.shape[:2]
        streams: dict[int, bytes] = {}

        def measure(step: int) -> float:
            (coded,) = self._code([picture], [step], [beside])
            streams[step] = coded.data
            if goal.kind == "size":
                return len(coded.data)
            if goal.kind == "bpp":
                return metrics.bits_per_pixel(len(coded.data), width, height)
            decoded = to_pil(Picture(self._painter.paint(coded.header, coded.grids), picture.layout.opaque)).convert(
                "RGB"
            )
            return metrics.psnr(picture.pixels, np.asarray(decoded))

        found = search(goal, measure)
        return Reached(streams[found.step], quality_of(found.step), found.reached, found.trials, picture.remarks)

    def encode_pictures(self, pictures: Sequence[Picture], steps: Sequence[int]) -> list[bytes]:
        """Pictures with their quality steps -> streams."""
        return [coded.data for coded in self._code(pictures, steps, [_sections_beside(p) for p in pictures])]

    @torch.inference_mode()
    def _code(self, pictures: Sequence[Picture], steps: Sequence[int], beside: Sequence[list[Section]]) -> list[_Coded]:
        """Pictures with their quality steps, and the sections that follow the levels, -> streams and their indices."""
        config, vqvae = self.model.config, self._vqvae
        headers = [
            Header(self.model.hash, p.pixels.shape[1], p.pixels.shape[0], p.layout, step, TILE_LOG2)
            for p, step in zip(pictures, steps, strict=True)
        ]
        qualities = [self._painter.quality(step) for step in steps]
        pyramids = [vqvae.analyse(self._to_tensor(p), quality) for p, quality in zip(pictures, qualities, strict=True)]
        messages: list[Message | None] = [None] * len(pictures)
        sections: list[list[Section]] = [[] for _ in pictures]
        result: list[list[Indices]] = [[] for _ in pictures]
        coarse: list[Indices] | None = None
        for level, prior in enumerate(self.model.priors):
            latents = [
                vqvae.latents(level, pyramid, message, quality)[0].cpu().numpy()
                for pyramid, message, quality in zip(pyramids, messages, qualities, strict=True)
            ]
            tiling = Tiling(headers, config.levels[level].stride, [z.shape[1:] for z in latents])
            codebooks = [q.codebook.cpu().numpy() for q in vqvae.quantizers[level]]
            split, qualities_of_tiles = tiling.split(latents), tiling.repeat(steps)
            tiles: list[Indices] = []
            coded: list[bytes] = []
            for some in tiling.portions(GROUP_PIXELS):
                canvas = Canvas(prior, tiling.tile_shapes[some])
                writer = Writer(len(canvas.shapes), Cheapest(canvas, split[some], codebooks))
                tiles += walk(prior, canvas, coarse and coarse[some], qualities_of_tiles[some], writer)
                coded += writer.to_bytes()
            for parts, payloads in zip(sections, tiling.group(coded), strict=True):
                parts += [Section(_LEVELS[level], tile, payload) for tile, payload in enumerate(payloads)]
            for grids, grid in zip(result, tiling.join(tiles), strict=True):
                grids.append(grid)
            if level + 1 < len(config.levels):
                messages = [
                    vqvae.advance(
                        level, vqvae.dequantize(level, self._painter.to_indices(grids[level])), message, quality
                    )
                    for grids, message, quality in zip(result, messages, qualities, strict=True)
                ]
            coarse = tiles
        return [
            _Coded(header, write_stream(header, levels + others), grids)
            for header, levels, others, grids in zip(headers, sections, beside, result, strict=True)
        ]

    def decode_preview(self, data: StreamSource, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
        """A coarse picture at full size, from the top grid alone; alpha and metadata as :meth:`decode` gives them."""
        stream = read_stream(_read(data))
        return self._for(stream)._preview(stream, max_pixels)

    def decode_region(self, data: StreamSource, box: Box, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
        """Only a rectangle: the crop of what :meth:`decode` gives, up to one level of rounding.

        Of a large picture only the tiles that it needs are decoded.  ``max_pixels`` is about the rectangle.

        Raises:
            InvalidRegion, and what :meth:`decode` raises.
        """
        stream = read_stream(_read(data))
        return self._for(stream)._region(stream, box, max_pixels)

    def decode_streams(self, streams: Sequence[Stream], *, max_pixels: int = MAX_PIXELS) -> list[Image.Image]:
        """Streams, all made with this codec's model, -> images."""
        every = self.decode_grids(streams, max_pixels=max_pixels)
        return [
            _image(stream, self._painter.paint(stream.header, grids))
            for stream, grids in zip(streams, every, strict=True)
        ]

    def _preview(self, stream: Stream, max_pixels: int) -> Image.Image:
        (grids,) = self.decode_grids([stream], max_pixels=max_pixels, levels=1)
        return _image(stream, self._painter.preview(stream.header, grids[0]))

    def _region(self, stream: Stream, box: Box, max_pixels: int) -> Image.Image:
        header = stream.header
        box.check_inside(header.width, header.height)
        check_size(box.width, box.height, max_pixels)
        if header.layout.has_alpha:  # that plane is not tiled
            check_size(header.width, header.height, max_pixels)
        window = self._painter.window(header, box)
        part, inside = cut(stream, window)
        (grids,) = self.decode_grids([part], max_pixels=0)
        pixels = self._painter.paint(part.header, grids, box.moved(window.left - inside.left, window.top - inside.top))
        alpha = _alpha(stream)
        if alpha is not None:
            alpha = alpha[box.top : box.bottom, box.left : box.right]
        return to_pil(Picture(pixels, header.layout, alpha, read_metadata(stream.sections)))

    def decode_grids(
        self, streams: Sequence[Stream], *, max_pixels: int = MAX_PIXELS, levels: int | None = None
    ) -> list[list[Indices]]:
        """Streams, all made with this codec's model, -> indices (G, H, W) of all levels, or of the first ``levels``."""
        for stream in streams:
            self._check(stream, max_pixels)
        headers = [stream.header for stream in streams]
        result: list[list[Indices]] = [[] for _ in streams]
        coarse: list[Indices] | None = None
        for level, prior in enumerate(self.model.priors[:levels]):
            shapes = [self.model.config.grid_shapes(header.height, header.width)[level] for header in headers]
            tiling = Tiling(headers, self.model.config.levels[level].stride, shapes)
            payloads = [s.payload for stream in streams for s in stream.sections if s.kind is _LEVELS[level]]
            steps = tiling.repeat([header.quality for header in headers])
            tiles: list[Indices] = []
            for some in tiling.portions(GROUP_PIXELS):
                reader = Reader(payloads[some])
                canvas = Canvas(prior, tiling.tile_shapes[some])
                tiles += walk(prior, canvas, coarse and coarse[some], steps[some], reader)
                reader.finish()
            for grids, grid in zip(result, tiling.join(tiles), strict=True):
                grids.append(grid)
            coarse = tiles
        return result

    def _for(self, stream: Stream) -> "Codec":
        """The codec that decodes a stream: this one, or that of the shipped model which the stream names."""
        if self._chosen or stream.header.model_hash == self.model.hash:
            return self
        return Codec(_model_of(stream.header), device=str(self.device))

    def _check(self, stream: Stream, max_pixels: int) -> None:
        """That this codec can decode the stream, before anything of its size is allocated."""
        header = stream.header
        if header.model_hash != self.model.hash:
            raise ModelMismatch(f"made with model {header.model_hash.hex()}, not {self.model.id}")
        check_size(header.width, header.height, max_pixels)
        levels = {section.kind for section in stream.sections if section.kind.is_level}
        if len(levels) != len(self.model.config.levels):
            raise MalformedStream(f"{len(levels)} levels, model {self.model.id} has {len(self.model.config.levels)}")
        if min(1 << header.tile_log2, 1 << TILE_LOG2) < self.model.config.stride:
            raise MalformedStream(f"tiles of {1 << header.tile_log2} pixels are too small for this model")

    def _to_tensor(self, picture: Picture) -> Tensor:
        """(1, 3, H, W) in [0, 1]; the last row and column repeat up to a multiple of the coarsest stride."""
        x = torch.from_numpy(picture.pixels).to(self.device).permute(2, 0, 1)[None].float() / 255
        stride = self.model.config.stride
        return F.pad(x, (0, -x.shape[3] % stride, 0, -x.shape[2] % stride), mode="replicate")


def encode(image: Source, quality: float = DEFAULT_QUALITY, *, model: str | None = None) -> bytes:
    """A picture -> the bytes of a stream, on the CPU; see :meth:`Codec.encode`."""
    return Codec(model, device="cpu").encode(image, quality)


def decode(data: StreamSource) -> Image.Image:
    """The bytes of a stream, or a path or binary file that holds them -> a PIL image; see :meth:`Codec.decode`."""
    stream = read_stream(_read(data))
    return codec_of(stream).decode_streams([stream])[0]


def encode_file(
    source: AnyPath, target: AnyPath, quality: float = DEFAULT_QUALITY, *, model: str | None = None
) -> None:
    """Encode a picture file; ``target`` is replaced whole or not at all."""
    write_atomically(target, encode(source, quality, model=model))


def decode_file(source: AnyPath, target: AnyPath) -> None:
    """Decode to a picture file whose format follows the suffix of ``target``."""
    save_image_atomically(decode(source), target, picture_format(Path(target).suffix))


def info(data: StreamSource, *, model_path: AnyPath | None = None) -> StreamInfo:
    """What a stream says of itself.  Its checksums are verified, nothing is decoded.

    ``model_path`` names a weights file that is to be known beside the shipped ones.
    """
    content = _read(data)
    stream = read_stream(content)
    header = stream.header
    name = zoo.find_model(header.model_hash)
    model = zoo.load_model(name) if name else None
    if model_path is not None and (other := zoo.load_weights(model_path)).hash == header.model_hash:
        name, model = other.id, other
    grids = model.config.grid_shapes(header.height, header.width) if model else []
    return StreamInfo(
        version=header.version,
        model=name,
        model_hash=header.model_hash.hex(),
        width=header.width,
        height=header.height,
        layout=header.layout.label,
        quality=quality_of(header.quality),
        tile=1 << header.tile_log2,
        grids=[list(shape) for shape in grids],
        sections=[
            {"name": s.kind.label, "tile": s.tile, "bytes": len(s.payload), "bits": 8 * len(s.payload)}
            for s in stream.sections
        ],
        bytes=len(content),
        bpp=8 * len(content) / (header.width * header.height),
    )


def quality_step(quality: float) -> int:
    """The step that a stream stores for a quality of 0 to 100.  Raises :class:`InvalidQuality`."""
    if not 0 <= quality <= 100:
        raise InvalidQuality(f"quality {quality:g} is not between 0 and 100")
    return round(quality * (QUALITY_STEPS - 1) / 100)


def quality_of(step: int) -> float:
    """The quality that a step of the header stands for, to one digit."""
    return round(step * 100 / (QUALITY_STEPS - 1), 1)


def codec_of(stream: Stream) -> Codec:
    """A codec on the CPU with the shipped model that made a stream.  Raises :class:`UnknownModel`."""
    return Codec(_model_of(stream.header), device="cpu")


def _model_of(header: Header) -> str:
    """Id of the shipped model that made a stream."""
    name = zoo.find_model(header.model_hash)
    if name is None:
        raise UnknownModel(f"made with model {header.model_hash.hex()}, which is not known here")
    return name


def _image(stream: Stream, pixels: Pixels) -> Image.Image:
    """Decoded pixels (H, W, 3) with what else the stream holds."""
    return to_pil(Picture(pixels, stream.header.layout, _alpha(stream), read_metadata(stream.sections)))


def _sections_beside(picture: Picture) -> list[Section]:
    """What follows the levels in a stream."""
    alpha = [] if picture.alpha is None else [Section(SectionKind.ALPHA, 0, write_alpha(picture.alpha))]
    return alpha + write_metadata(picture.metadata)


def _alpha(stream: Stream) -> Pixels | None:
    """The alpha plane (H, W), if there is one."""
    for section in stream.sections:
        if section.kind is SectionKind.ALPHA:
            return read_alpha(section.payload, stream.header.width, stream.header.height)
    return None


def _read(data: StreamSource) -> bytes:
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    return read_bytes(data) if isinstance(data, str | os.PathLike) else data.read()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("only cpu and cuda are supported")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceUnavailable(f"device {name!r}: {str(error).splitlines()[0]}") from error
    return device

"""Image <-> bytes with one loaded model: the object that applications hold.

It reads pictures and streams, finds the model of each, and leaves the work to ``encoder.py`` and ``decoder.py``.
"""

import copy
import operator
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
from PIL import Image

from vqcodec import defaults, metrics
from vqcodec.codec.decoder import Decoder
from vqcodec.codec.encoder import Coded, Encoder, sections_beside
from vqcodec.codec.rate_control import Goal, search
from vqcodec.codec.results import Decoded, Encoded, Reached
from vqcodec.codec.tiles import Box
from vqcodec.coding.traversal import Indices
from vqcodec.concurrency import threads
from vqcodec.concurrency.grouping import map_in_groups
from vqcodec.config import quality_of, quality_step
from vqcodec.errors import InvalidEffort, NotAVqcFile, UnknownModel, VqcWarning
from vqcodec.files import AnyPath, read_bytes
from vqcodec.images.modes import Remark
from vqcodec.images.reading import (
    AS_IS,
    Picture,
    Pixels,
    ReadOptions,
    Source,
    check_size,
    read_picture,
    to_pil,
)
from vqcodec.model.device import find_device
from vqcodec.model.torch_state import isolated_torch_state
from vqcodec.stream.container import Header, Stream, read_stream
from vqcodec.weights import registry

StreamSource = bytes | AnyPath | BinaryIO


class Codec:
    """Encodes and decodes with one model, whose weights are loaded once.  Instances may be shared between threads.

    Decoding gives the same indices on every machine and pixels within one level; encoding gives the same bytes again on
    the same machine.  Nothing that is set of torch around a call (autocast, inference mode, gradients, default dtype)
    changes either.  Other thread counts, libraries or devices may make the encoder choose otherwise, and what it
    writes then decodes to what it chose.
    """

    def __init__(
        self, model: str | None = None, *, model_path: str | os.PathLike[str] | None = None, device: str = "auto"
    ):
        """``model`` is an id of :func:`vqcodec.models`; ``model_path`` names a weights file, which goes before it.

        A model that is named this way is used for every stream; otherwise streams are decoded with the shipped model
        that their header names.  ``device`` is ``auto``, ``cpu`` or ``cuda[:N]`` and concerns the transforms only.
        """
        self.device = find_device(device)
        self._chosen = model is not None or model_path is not None
        self.model = registry.load_model(model) if model_path is None else registry.load_weights(model_path)
        vqvae = self.model.vqvae
        if self.device.type != "cpu":
            with isolated_torch_state():
                vqvae = copy.deepcopy(vqvae).to(self.device)
        self._encoder = Encoder(self.model, vqvae, self.device)
        self._decoder = Decoder(self.model, vqvae, self.device)

    def encode(
        self,
        image: Source,
        quality: float = defaults.QUALITY,
        *,
        effort: int = defaults.EFFORT,
        max_pixels: int = defaults.MAX_PIXELS,
        options: ReadOptions = AS_IS,
    ) -> bytes:
        """A picture (path, binary file, PIL image, or uint8 array (H, W) or (H, W, 3|4)) -> the bytes of a stream.

        Args:
            image: the picture.
            quality: 0 to 100, continuous; higher is better and larger.
            effort: 0 to 3; higher is slower to encode and smaller.  Decoding is the same.
            max_pixels: larger pictures are refused; 0 lifts the limit.
            options: what is kept of alpha and metadata.

        Raises:
            InvalidImage, ImageTooLarge, InvalidQuality, InvalidEffort.  Of what is lost a :class:`VqcWarning` tells.
        """
        step = quality_step(quality)
        check_effort(effort)
        picture = read_picture(image, max_pixels, options)
        _warn(picture.remarks)
        return self.encode_pictures([picture], [step], effort)[0]

    def decode(
        self, data: StreamSource, *, max_pixels: int = defaults.MAX_PIXELS, partial: bool = False
    ) -> Image.Image:
        """The bytes of a stream, or a path or binary file that holds them -> a PIL image.

        Its mode is L, LA, RGB or RGBA; ``info`` has what the stream holds of ``icc_profile``, ``exif`` and ``xmp``.
        With ``partial``, a damaged stream gives what its intact sections hold, and a :class:`VqcWarning` for each
        defect: where the bottom is missing the picture is coarse, where the top is missing too it is grey.

        Raises:
            NotAVqcFile, UnsupportedVersion, UnsupportedFeature, TruncatedStream, CorruptStream, MalformedStream,
            UnknownModel, ModelMismatch, ImageTooLarge.
        """
        stream, decoder = self._open(data, max_pixels, partial)
        _warn(defects(stream))
        return decoder.decode([stream])[0]

    def encode_batch(
        self,
        images: Iterable[Source],
        quality: float = defaults.QUALITY,
        *,
        effort: int = defaults.EFFORT,
        max_pixels: int = defaults.MAX_PIXELS,
        options: ReadOptions = AS_IS,
    ) -> Iterator[Encoded]:
        """Like :meth:`encode` for many pictures, in their order; one that fails has its ``error`` and ends nothing.

        Pictures of similar size are coded together, and several groups at once in threads, which is faster and changes
        no byte.  Only a few are held at a time, so ``images`` may be a generator of any length.

        Raises:
            InvalidQuality, InvalidEffort.
        """
        step = quality_step(quality)
        check_effort(effort)

        def read(image: Source) -> Picture:
            return read_picture(image, max_pixels, options)

        def size(picture: Picture) -> tuple[int, int]:
            return picture.pixels.shape[:2]

        def work(pictures: Sequence[Picture]) -> list[bytes]:
            return self.encode_pictures(pictures, [step] * len(pictures), effort)

        return (
            Encoded(o.index, o.result, o.error, o.prepared.remarks if o.prepared else (), o.seconds)
            for o in map_in_groups(images, read, size, work, threads.default_threads())
        )

    def decode_batch(
        self, streams: Iterable[StreamSource], *, max_pixels: int = defaults.MAX_PIXELS, partial: bool = False
    ) -> Iterator[Decoded]:
        """Like :meth:`decode` for many streams, in their order; one that fails has its ``error`` and ends nothing."""

        def read(data: StreamSource) -> Stream:
            return self._open(data, max_pixels, partial)[0]

        def size(stream: Stream) -> tuple[int, int]:
            return stream.header.height, stream.header.width

        def work(streams: Sequence[Stream]) -> list[Image.Image]:
            if len({stream.header.model_hash for stream in streams}) > 1:
                return [self._for(stream)._decoder.decode([stream])[0] for stream in streams]
            return self._for(streams[0])._decoder.decode(streams)

        return (
            Decoded(o.index, o.result, o.error, defects(o.prepared) if o.prepared else (), o.seconds)
            for o in map_in_groups(streams, read, size, work, threads.default_threads())
        )

    def decode_strips(self, data: StreamSource, *, max_pixels: int = defaults.MAX_PIXELS) -> Iterator[Image.Image]:
        """Like :meth:`decode`, some rows at a time: images of full width, from the top.

        For a picture that is too large to hold (``max_pixels=0`` where it is too large for :meth:`decode`, too).  All
        indices are decoded first, 1.5 bytes for each pixel; metadata come with every strip.  Raises what
        :meth:`decode` raises: at once what the stream's frame shows, with the first strip what lies in its sections.
        """
        stream, decoder = self._open(data, max_pixels, partial=False)
        return decoder.strips(stream)

    def encode_to_goal(
        self,
        image: Source,
        goal: Goal,
        *,
        effort: int = defaults.EFFORT,
        max_pixels: int = defaults.MAX_PIXELS,
        options: ReadOptions = AS_IS,
    ) -> Reached:
        """The picture at the quality that comes nearest to a size, a rate or a PSNR: within 2 % or 0.1 dB.

        The picture is read, and its alpha plane and metadata are coded, only once; at most 8 qualities are tried.
        PSNR is that of the colours, before alpha.

        Raises:
            GoalOutOfReach, and what :meth:`encode` raises.
        """
        check_effort(effort)
        picture = read_picture(image, max_pixels, options)
        beside = sections_beside(picture)
        height, width = picture.pixels.shape[:2]
        streams: dict[int, bytes] = {}

        def measure(step: int) -> float:
            (coded,) = self._encoder.encode([picture], [step], [beside], effort)
            streams[step] = coded.data
            if goal.kind == "size":
                return len(coded.data)
            if goal.kind == "bpp":
                return metrics.bits_per_pixel(len(coded.data), width, height)
            return metrics.psnr(picture.pixels, self._decoded_colours(coded))

        found = search(goal, measure)
        return Reached(streams[found.step], quality_of(found.step), found.reached, found.trials, picture.remarks)

    def encode_pictures(
        self, pictures: Sequence[Picture], steps: Sequence[int], effort: int = defaults.EFFORT
    ) -> list[bytes]:
        """Pictures with their quality steps -> streams."""
        beside = [sections_beside(picture) for picture in pictures]
        return [coded.data for coded in self._encoder.encode(pictures, steps, beside, effort)]

    def decode_preview(
        self, data: StreamSource, *, max_pixels: int = defaults.MAX_PIXELS, partial: bool = False
    ) -> Image.Image:
        """A coarse picture at full size, from the top grid alone; alpha and metadata as :meth:`decode` gives them.

        Raises what :meth:`decode` raises.
        """
        stream, decoder = self._open(data, max_pixels, partial)
        _warn(defects(stream))
        return decoder.preview(stream)

    def decode_region(
        self, data: StreamSource, box: Box, *, max_pixels: int = defaults.MAX_PIXELS, partial: bool = False
    ) -> Image.Image:
        """Only a rectangle: the crop of what :meth:`decode` gives, up to one level of rounding.

        Of a large picture only the tiles that it needs are decoded.  ``max_pixels`` is about the rectangle.

        Raises:
            InvalidRegion, and what :meth:`decode` raises.
        """
        stream, decoder = self._open(data, 0, partial)
        header = stream.header
        box.check_inside(header.width, header.height)
        check_size(box.width, box.height, max_pixels)
        if header.layout.has_alpha:  # that plane is not tiled
            check_size(header.width, header.height, max_pixels)
        _warn(defects(stream))
        return decoder.region(stream, box)

    def decode_streams(self, streams: Sequence[Stream], *, max_pixels: int = defaults.MAX_PIXELS) -> list[Image.Image]:
        """Streams, all made with this codec's model, -> images."""
        for stream in streams:
            self._decoder.check(stream, max_pixels)
        return self._decoder.decode(streams)

    def decode_grids(self, streams: Sequence[Stream], *, max_pixels: int = defaults.MAX_PIXELS) -> list[list[Indices]]:
        """Streams, all made with this codec's model, -> indices (G, H, W) of all levels."""
        for stream in streams:
            self._decoder.check(stream, max_pixels)
        return self._decoder.grids(streams)

    def _decoded_colours(self, coded: Coded) -> Pixels:
        """What decoding will give, without alpha: (H, W, 3)."""
        pixels = self._decoder.painter.paint(coded.header, coded.grids)
        return np.asarray(to_pil(Picture(pixels, coded.header.layout.opaque)).convert("RGB"))

    def _open(self, data: StreamSource, max_pixels: int, partial: bool) -> tuple[Stream, Decoder]:
        """A stream, checked, and who decodes it."""
        stream = read_stream(read_source(data), partial=partial)
        decoder = self._for(stream)._decoder
        decoder.check(stream, max_pixels)
        return stream, decoder

    def _for(self, stream: Stream) -> "Codec":
        """The codec that decodes a stream: this one, or that of the shipped model which the stream names."""
        if self._chosen or stream.header.model_hash == self.model.hash:
            return self
        return Codec(_model_of(stream.header), device=str(self.device))


def defects(stream: Stream) -> tuple[Remark, ...]:
    """What is missing of a damaged stream, for people."""
    return tuple(Remark(f"incomplete: {error}") for error in stream.damage)


def _warn(remarks: Sequence[Remark]) -> None:
    """Tell the caller of a public method what is lost."""
    for remark in remarks:
        if remark.loses:
            warnings.warn(remark.text, VqcWarning, stacklevel=3)


def check_effort(effort: int) -> None:
    """Raise :class:`InvalidEffort` unless the encoder knows it."""
    try:
        known = operator.index(effort) in defaults.EFFORTS
    except TypeError:
        known = False
    if not known:
        raise InvalidEffort(f"effort {effort!s} is not one of 0 to {max(defaults.EFFORTS)}")


def codec_of(stream: Stream) -> Codec:
    """A codec on the CPU with the shipped model that made a stream.  Raises :class:`UnknownModel`."""
    return Codec(_model_of(stream.header), device="cpu")


def _model_of(header: Header) -> str:
    """Id of the shipped model that made a stream."""
    name = registry.find_model(header.model_hash)
    if name is None:
        raise UnknownModel(f"made with model {header.model_hash.hex()}, which is not known here")
    return name


def read_source(data: StreamSource) -> bytes:
    """The bytes of a stream, wherever they are."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if isinstance(data, str | os.PathLike):
        return read_bytes(data)
    content = data.read() if hasattr(data, "read") else None
    if not isinstance(content, bytes):
        raise NotAVqcFile(f"{type(data).__name__} is neither bytes nor a path nor a binary file")
    return content

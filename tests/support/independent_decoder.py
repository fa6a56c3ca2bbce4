"""A second decoder of indices and exact pixels, written from docs/FORMAT.md alone: slow, plain, sharing no code.

Python integers, numpy int64 for the tables, zlib for the checksum, Pillow for PNG and WebP; no torch, no constriction,
nothing of ``vqcodec``.
"""

import hashlib
import io
import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

T = [round(2 ** (16 - k / 16)) for k in range(256)]
PAST = [(-2, -2), (-2, -1), (-2, 0), (-2, 1), (-2, 2), (-1, -2), (-1, -1), (-1, 0), (-1, 1), (0, -2), (0, -1)]
NEAR = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0)]
SQUARE = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
WINDOW = [(dy, dx) for dy in range(-6, 1) for dx in range(-6, 7) if dx + 2 * dy < 0]
TYPES = {"I8": np.int8, "I16": np.int16, "I32": np.int32, "F16": np.float16, "F32": np.float32}


def read_weights(path):
    """A safetensors file: a length, JSON, then the arrays -> (config, integer arrays)."""
    content = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    entries, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = entries.pop("__metadata__")
    assert metadata["format"] == "vqcodec-weights-1"
    arrays = {}
    for name, entry in entries.items():
        if name.startswith("prior."):
            start, end = entry["data_offsets"]
            array = np.frombuffer(body[start:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
            arrays[name.removeprefix("prior.")] = array.astype(np.int64)
    return json.loads(metadata["config"]), arrays


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def read_container(data):
    """-> (width, height, quality step, tile edge, {(level, tile): payload})."""
    assert data[:5] == b"\x8fVQC\x01"
    edge, quality = 1 << (data[13] & 0x0F), data[14]
    width, at = varint(data, 15)
    height, at = varint(data, at)
    head, payloads, counts, last = data[:at], {}, {}, False
    while not last:
        start, kind, last = at, data[at] & ~0x40, bool(data[at] & 0x40)
        length, body = varint(data, at + 1)
        tile = counts.get(kind, 0)
        counts[kind] = tile + 1
        (crc,) = struct.unpack("<I", data[body : body + 4])
        payload = data[body + 4 : body + 4 + length]
        assert tile < 128  # one byte of varint
        assert zlib.crc32(head + data[start:body] + bytes([tile]) + payload) == crc
        payloads[kind, tile] = payload
        at = body + 4 + length
    assert at == len(data)
    return width, height, quality, edge, payloads


class Rans:
    def __init__(self, payload, least=0):
        self.words = list(struct.unpack(f"<{len(payload) // 4}I", payload))
        assert len(self.words) >= least
        while len(self.words) <= least and self.words and self.words[-1] == 0:
            self.words.pop()
        assert not self.words or self.words[-1]
        self.state = 0
        for _ in range(2):
            self.refill()

    def refill(self):
        if self.words:
            self.state = self.state << 32 | self.words.pop()

    def symbol(self, frequencies, place):
        size, total = len(frequencies), sum(frequencies)
        scale = float(2**24 - size) / float(total)
        counts, below = [], 0
        for k, frequency in enumerate(frequencies):
            counts.append(math.floor(float(below) * scale) + k)
            below += frequency
        counts.append(2**24)
        value = self.state % 2**24
        chosen = max(k for k in range(size) if counts[k] <= value)
        self.state = (self.state >> 24) * (counts[chosen + 1] - counts[chosen]) + value - counts[chosen]
        if self.state < 2**32:
            self.refill()
        return chosen

    def finish(self):
        assert self.state == 0 and not self.words


class Fixed:
    """Replace the coder: return known indices, and hash the frequencies."""

    def __init__(self, indices):
        self.indices, self.hash = indices, hashlib.sha256()

    def symbol(self, frequencies, place):
        self.hash.update(struct.pack(f"<{len(frequencies)}I", *frequencies))
        return self.indices[place]

    def finish(self):
        pass


class Level:
    """The prior of one level on one tile."""

    def __init__(self, arrays, name, config, quality):
        self.a, self.name, self.config, self.q = arrays, name, config, quality
        self.channels = config["prior"]["channels"]

    def linear(self, name, x):
        weight, bias = self.a[f"{self.name}.{name}.weight"], self.a[f"{self.name}.{name}.bias"]
        total = x @ weight + bias
        exponents = self.a[f"{self.name}.{name}.exponent"]
        return np.array(
            [int(v) >> int(e) if e >= 0 else int(v) << -int(e) for v, e in zip(total, exponents, strict=True)]
        )

    def embed(self, name, slices, indices):
        parts, at = [], 0
        for s, config in enumerate(slices):
            table = self.a[f"{self.name}.{name}.{s}"]
            parts += [table[g, indices[at + g]] for g in range(config["groups"])]
            at += config["groups"]
        return np.concatenate(parts)

    def over(self, taps, grid, y, x, width):
        empty = np.zeros(width, np.int64)
        return np.concatenate([grid.get((y + dy, x + dx), empty) for dy, dx in taps])

    def context(self, slices, coarse):
        _, rows, columns = coarse.shape
        places = [(y, x) for y in range(rows) for x in range(columns)]
        e = {(y, x): self.embed("context.embedding", slices, coarse[:, y, x]) for y, x in places}
        width = len(e[0, 0])
        u = {p: act(self.linear("context.first", self.over(SQUARE, e, *p, width))) for p in places}
        v = {p: act(u[p] + self.linear("context.second", self.over(SQUARE, u, *p, self.channels))) for p in places}
        up = {p: np.clip(self.linear("context.up", v[p]), -255, 255) for p in places}
        return lambda y, x: up[y // 2, x // 2][2 * (y % 2) + x % 2 :: 4]

    def attend(self, h, y, x, memory):
        heads = self.config["prior"]["attention_heads"]
        query, key, value = (np.clip(self.linear(f"attention.{n}", h), -255, 255) for n in ("query", "key", "value"))
        memory[y, x] = key, value
        bias, results = self.a[f"{self.name}.attention.bias"], []
        for i in range(heads):
            part = slice(16 * i, 16 * i + 16)
            scores, values = [int(bias[i, 0])], [np.zeros(16, np.int64)]
            for j, (dy, dx) in enumerate(WINDOW):
                if (y + dy, x + dx) in memory:
                    k, v = memory[y + dy, x + dx]
                    scores.append(int(query[part] @ k[part]) // 64 + int(bias[i, 1 + j]))
                    values.append(v[part])
            weights = [T[min(max(scores) - s, 255)] for s in scores]
            results.append(8 * sum(w * v for w, v in zip(weights, values, strict=True)) // sum(weights))
        return self.linear("attention.out", np.concatenate(results))

    def decode(self, source, shape, coarse, coarse_slices):
        rows, columns = shape
        slices = self.config["slices"]
        groups = sum(s["groups"] for s in slices)
        indices = np.zeros((groups, rows, columns), np.int64)
        width = len(self.embed("embedding", slices, indices[:, 0, 0]))
        context = self.context(coarse_slices, coarse) if coarse is not None else None
        embedded, trunk, memory = {}, {}, {}
        for t in range(columns + 2 * rows):
            wave = [(y, t - 2 * y) for y in range(rows) if 0 <= t - 2 * y < columns]
            known = {}
            for y, x in wave:
                h = self.linear("past", self.over(PAST, embedded, y, x, width)) + self.a[f"{self.name}.quality"][self.q]
                h = act(h + context(y, x)) if context else act(h)
                if self.config["prior"]["attention_heads"]:
                    h = act(h + self.attend(h, y, x, memory))
                trunk[y, x] = h
            for y, x in wave:
                near = act(self.linear("near", self.over(NEAR, trunk, y, x, self.channels)))
                known[y, x] = act(trunk[y, x] + self.linear("mix", near))
            at = 0
            for s, config in enumerate(slices):
                logits = {p: self.logits(s, config, known[p]) for p in wave}
                for g in range(config["groups"]):
                    for y, x in wave:
                        row = logits[y, x][g]
                        frequencies = [T[min(int(row.max()) - int(v), 255)] for v in row]
                        indices[at + g, y, x] = source.symbol(frequencies, (at + g, y, x))
                table = self.a[f"{self.name}.embedding.{s}"]
                for y, x in wave:
                    vectors = [table[g, indices[at + g, y, x]] for g in range(config["groups"])]
                    known[y, x] = np.concatenate([known[y, x], *vectors])
                at += config["groups"]
            for y, x in wave:
                embedded[y, x] = self.embed("embedding", slices, indices[:, y, x])
        source.finish()
        return indices

    def logits(self, s, config, x):
        u = act(self.linear(f"heads.{s}.first", x))
        u = act(u + self.linear(f"heads.{s}.third", act(self.linear(f"heads.{s}.second", u))))
        p = self.linear(f"heads.{s}.coefficients", u) + self.a[f"{self.name}.heads.{s}.quality"][self.q]
        p = np.clip(p, -1023, 1023).reshape(config["groups"], -1)
        features = self.a[f"{self.name}.heads.{s}.features"]
        exponents = self.a[f"{self.name}.heads.{s}.exponent"]
        totals = np.einsum("gr,grk->gk", p, features)
        return np.array([row >> e if e >= 0 else row << -e for row, e in zip(totals, exponents, strict=True)])


def act(x):
    return np.clip(x, 0, 255)


def decode_indices(data, weights):
    """Decode a stream with its weights file: indices (G, H, W) of every level."""
    config, arrays = read_weights(weights)
    width, height, quality, edge, payloads = read_container(data)
    levels = config["levels"]
    coarsest = levels[0]["stride"]
    tiles_down, tiles_across = -(-height // edge), -(-width // edge)
    grids = []
    for number, level in enumerate(levels):
        rows, columns = (-(-n // coarsest) << number for n in (height, width))
        grids.append(np.zeros((sum(s["groups"] for s in level["slices"]), rows, columns), np.int64))
    for tile in range(tiles_down * tiles_across):
        y, x = divmod(tile, tiles_across)
        coarse = coarse_slices = None
        for number, level in enumerate(levels):
            step = edge // level["stride"]
            part = grids[number][:, y * step : (y + 1) * step, x * step : (x + 1) * step]
            decoder = Level(arrays, str(number), level, quality)
            source = Rans(payloads[number, tile], part[0].size // 256)
            part[...] = decoder.decode(source, part.shape[1:], coarse, coarse_slices)
            coarse, coarse_slices = part, level["slices"]
    return grids


def decode_planes(payload, width, height, channels):
    """Decode lossless planes: (height, width, channels)."""
    coder, data = payload[0], payload[1:]
    if coder == 0:
        assert len(data) == channels
        return np.tile(np.array(list(data), np.uint8), (height, width, 1))
    if coder == 3:
        sizes = struct.pack("<BI", 0x2F, width - 1 + (height - 1) * 2**14)
        chunk = b"VP8L" + struct.pack("<I", 5 + len(data)) + sizes + data + b"\0" * ((5 + len(data)) % 2)
        data = b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk
    image = Image.open(io.BytesIO(data))
    assert image.size == (width, height) and image.format == ("PNG" if coder == 1 else "WEBP")
    planes = np.asarray(image).reshape(height, width, -1)
    return planes if planes.shape[2] == channels else planes[:, :, 1:2]


def decode_exact(data):
    """Decode an exact picture: (height, width, colour planes and alpha)."""
    width, height, quality, edge, payloads = read_container(data)
    assert data[5:13] == bytes(8) and quality == 255
    layout = data[13] >> 4
    pixels = np.zeros((height, width, 3 if layout in (1, 3) else 1), np.uint8)
    across = -(-width // edge)
    for tile in range(-(-height // edge) * across):
        top, left = (edge * n for n in divmod(tile, across))
        part = pixels[top : top + edge, left : left + edge]
        part[...] = decode_planes(payloads[4, tile], part.shape[1], part.shape[0], part.shape[2])
    if layout < 2:
        return pixels
    return np.dstack([pixels, decode_planes(payloads[8, 0], width, height, 1)])


def fingerprint(weights):
    """Compute the fingerprint of a weights file from its arrays."""
    config, arrays = read_weights(weights)
    total, coarse, counter = hashlib.sha256(), [None] * 3, 0
    coarse_slices = None
    for number, level in enumerate(config["levels"]):
        sizes = [s["size"] for s in level["slices"] for _ in range(s["groups"])]
        for i, (rows, columns, quality) in enumerate([(1, 1, 0), (2, 7, 100), (7, 1, 255)]):
            shape = (rows << number, columns << number)
            indices = np.zeros((len(sizes), *shape), np.int64)
            for place in np.ndindex(indices.shape):
                counter += 1
                indices[place] = counter * 2654435769 % 2**32 * sizes[place[0]] // 2**32
            source = Fixed(indices)
            Level(arrays, str(number), level, quality).decode(source, shape, coarse[i], coarse_slices)
            total.update(source.hash.digest())
            coarse[i] = indices
        coarse_slices = level["slices"]
    return total.hexdigest()

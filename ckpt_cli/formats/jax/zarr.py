"""Arrays of zarr, versions 2 and 3: a JSON header, and chunks of a regular grid, each under a key of its own or a part of a shard.

As in the zarr specifications (v2; v3 with its codecs bytes, zstd, gzip, crc32c, sharding_indexed). Elements are in C order; chunks at the
edge are as large as the others. A missing chunk is zeros, where the header gives zero as the fill value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

from ...errors import Malformed
from ...numbers.dtypes import DTYPES, DType, opaque
from ...numbers.shapes import nbytes_of, numel_of
from ...storage.compressed import CODECS, Decompressed
from ...storage.crc32c import crc32c
from ...storage.grid import Grid
from ...storage.mapped import swapped
from ...storage.storage import Fill, Slice, Storage
from ...storage.tiles import chained
from ...tensors.checkpoint import Kind
from ...tensors.tensor import Layout, Tensor
from ..encodings import strict_json

Get = Callable[[str], Storage | None]  # the value of a key below that of the array; None where there is none
_MOST_HEADER = 1 << 20
_MOST_CHUNKS = 1_000_000
_MOST_BAND = 1 << 30  # bytes of a band of chunks, which is held in memory
_TOO_LARGE = f"its chunks are too large to be put together: over {_MOST_BAND:,} bytes side by side"
_NONE = (1 << 64) - 1  # offset and length of a chunk that a shard does not have
_INDEX_ENTRY = 16  # bytes: offset and length of a chunk
_CRC_SIZE = 4

_BY_LETTER = {
    "b1": "bool", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64", "u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64",
    "f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64", "c16": "complex128",
}  # fmt: skip
_SMALL = re.compile(r"u?int[24]|float[48]_\w+|float6_\w+")  # types of ml_dtypes with less than a byte an element, kept one a byte


class Array(NamedTuple):
    """What the header of an array says.

    Attributes:
        dtype: the element type.
        layout: unpacked for types of less than a byte.
        big: whether elements have their highest byte first.
        shape: the shape of the array.
        chunks: the shape of what a key holds.
        parts: the shape of a chunk; smaller than `chunks` where a key holds a shard.
        codec: the compression of a chunk, or nothing.
        shard: where the index of a shard is, `start` or `end`; nothing where there are no shards.
        key: the key of the value with a given index in the grid.
        filled: whether a missing chunk is zeros.
    """

    dtype: DType
    layout: Layout
    big: bool
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    parts: tuple[int, ...]
    codec: str
    shard: str
    key: Callable[[tuple[int, ...]], str]
    filled: bool

    @property
    def kind(self) -> Kind:
        """Dtype, shape and layout."""
        return Kind(self.dtype, self.shape, self.layout)


def header(get: Get) -> Array | None:
    """Return the header of an array; None where there is none. Raises Malformed for any feature that is not known."""
    for name, parse in (("zarr.json", _version_3), (".zarray", _version_2)):
        raw = get(name)
        if raw is not None:
            if raw.nbytes > _MOST_HEADER:
                raise Malformed(f"its {name} has {raw.nbytes:,} bytes")
            document = strict_json.loads(raw.read())
            try:
                return parse(document)
            except (KeyError, TypeError, AttributeError, ValueError, IndexError):
                raise Malformed(f"its {name} does not say what an array is") from None
    return None


def _version_2(document: Any) -> Array:
    if document["zarr_format"] != 2 or document["order"] != "C" or document.get("filters"):
        raise Malformed("it is no plain zarr array: filters, or Fortran's order")
    compressor = document["compressor"]
    codec = compressor["id"] if compressor else ""
    dtype, layout, big = _dtype(document["dtype"])
    chunks = _axes(document["chunks"], 1)
    separator = document.get("dimension_separator", ".")
    return _checked(
        Array(
            dtype, layout, big, _axes(document["shape"], 0), chunks, chunks, codec, "", _keys("", separator), _zero(document["fill_value"])
        )
    )


def _version_3(document: Any) -> Array:
    grid, keys = document["chunk_grid"], document["chunk_key_encoding"]
    if (document["zarr_format"], document["node_type"], grid["name"]) != (3, "array", "regular") or document.get("storage_transformers"):
        raise Malformed("it is no plain zarr array")
    dtype, layout, _ = _dtype(document["data_type"])
    chunks = parts = _axes(grid["configuration"]["chunk_shape"], 1)
    codecs, shard = document["codecs"], ""
    if [codec["name"] for codec in codecs] == ["sharding_indexed"]:
        settings = codecs[0]["configuration"]
        shard, codecs, parts = settings.get("index_location", "end"), settings["codecs"], _axes(settings["chunk_shape"], 1)
        if [codec["name"] for codec in settings["index_codecs"]] != ["bytes", "crc32c"] or shard not in ("start", "end"):
            raise Malformed("the index of its shards is kept in a way that is not known")
    codec, big = _codec(codecs)
    settings = keys.get("configuration", {})
    named = {"default": ("c", "/"), "v2": ("", ".")}[keys["name"]]
    key = _keys(named[0], settings.get("separator", named[1]))
    shape = _axes(document["shape"], 0)
    return _checked(Array(dtype, layout, big, shape, chunks, parts, codec, shard, key, _zero(document["fill_value"])))


def _codec(codecs: list[Any]) -> tuple[str, bool]:
    """The compression, and whether elements are big-endian."""
    names = [codec["name"] for codec in codecs]
    if names[0] != "bytes" or len(names) > 2:
        raise Malformed(f"its codecs are not known: {', '.join(map(str, names))[:200]}")
    return "".join(names[1:]), codecs[0].get("configuration", {}).get("endian", "little") != "little"


def _checked(array: Array) -> Array:
    rank = len(array.shape)
    if array.codec not in ("", *CODECS):
        raise Malformed(f"its compression {array.codec[:50]!r} is not known", "save it again with zstd, the default")
    if not len(array.chunks) == len(array.parts) == rank or any(n % part for n, part in zip(array.chunks, array.parts, strict=True)):
        raise Malformed("its shape and its chunks do not agree")
    return array


def _axes(axes: Any, least: int) -> tuple[int, ...]:
    if type(axes) is not list or len(axes) > 32 or any(type(n) is not int or not least <= n < 1 << 63 for n in axes):
        raise Malformed(f"its shape or its chunks are no list of integers ≥ {least}")
    return tuple(axes)


def _dtype(name: Any) -> tuple[DType, Layout, bool]:
    """The dtype, its layout, and whether it is big-endian."""
    if type(name) is not str:
        raise Malformed("its dtype is no text")
    plain = re.fullmatch(r"([<>|])([biufc]\d+)", name)
    called = _BY_LETTER.get(plain[2], name) if plain else name
    dtype = DTYPES.get(called)
    if dtype is not None and dtype.elements == 1 and called != "complex32":
        return dtype, Layout.PLAIN, bool(plain and plain[1] == ">")
    if _SMALL.fullmatch(called):
        return opaque(called, 1), Layout.PLAIN if dtype is None else Layout.UNPACKED, False
    raise Malformed(f"its dtype {name[:50]!r} is not known")


def _zero(value: Any) -> bool:
    return value is None or (type(value) in (int, float, bool) and value == 0) or value in ([0, 0], [0.0, 0.0])


def _keys(first: str, separator: Any) -> Callable[[tuple[int, ...]], str]:
    if separator not in (".", "/"):
        raise Malformed("the keys of its chunks are parted in a way that is not known")

    def key(index: tuple[int, ...]) -> str:
        return separator.join([*([first] if first else []), *map(str, index)]) or "0"

    return key


def tensor(array: Array, get: Get) -> Tensor:
    """Return the array as a tensor whose chunks are decoded when they are read. Raises Malformed."""
    counts = [-(-n // part) for n, part in zip(array.shape, array.parts, strict=True)]
    if numel_of(tuple(counts)) > _MOST_CHUNKS:
        raise Malformed(f"it has over {_MOST_CHUNKS:,} chunks")
    source = _Chunks(array, get)
    chunks = {index: source.chunk(index) for index in product(*map(range, counts))}
    nbytes = nbytes_of(array.dtype, array.shape)
    storage: Storage
    if array.parts[1:] == array.shape[1:]:  # chunks follow one another
        storage = next(iter(chunks.values())) if len(chunks) == 1 else chained(list(chunks.values()))
        storage = storage if storage.nbytes == nbytes else Slice(storage, 0, nbytes)
    else:
        fill = Fill(b"\0", nbytes)
        storage = Grid(chunks, fill, array.shape, array.parts, array.dtype.nbytes, limit=_MOST_BAND, refusal=_TOO_LARGE)
    storage = swapped(storage, array.dtype.part) if array.big else storage
    if array.layout:
        return Tensor(array.dtype, array.shape, storage, None, 0, array.layout)
    return Tensor.whole(array.dtype, array.shape, storage)


class _Chunks:
    """The chunks of an array by their index in its grid, decoded when they are read."""

    def __init__(self, array: Array, get: Get) -> None:
        self.array, self.get = array, get
        self.nbytes = nbytes_of(array.dtype, array.parts)
        self.inner = [n // part for n, part in zip(array.chunks, array.parts, strict=True)]
        self.shards: dict[tuple[int, ...], tuple[Storage, bytes] | None] = {}

    def chunk(self, index: tuple[int, ...]) -> Storage:
        raw = self._in_shard(index) if self.array.shard else self.get(self.array.key(index))
        if raw is None:
            if not self.array.filled:
                raise Malformed(f"its chunk {self.array.key(index)} is not there", "download or copy it again")
            return Fill(b"\0", self.nbytes)
        if self.array.codec:
            return Decompressed(raw, self.array.codec, self.nbytes)
        if raw.nbytes != self.nbytes:
            raise Malformed(f"its chunk {self.array.key(index)} has {raw.nbytes:,} bytes, not {self.nbytes:,}")
        return raw

    def _in_shard(self, index: tuple[int, ...]) -> Storage | None:
        outer = tuple(i // n for i, n in zip(index, self.inner, strict=True))
        if outer not in self.shards:
            self.shards[outer] = self._shard(outer)
        shard = self.shards[outer]
        if shard is None:
            return None
        number = 0  # of the chunk within the shard, in C order
        for i, n in zip(index, self.inner, strict=True):
            number = number * n + i % n
        at = number * _INDEX_ENTRY
        offset, length = int.from_bytes(shard[1][at : at + 8], "little"), int.from_bytes(shard[1][at + 8 : at + 16], "little")
        if offset == length == _NONE:
            return None
        if offset + length > shard[0].nbytes:
            raise Malformed(f"truncated: {offset + length - shard[0].nbytes:,} bytes of a shard are missing", "download or copy it again")
        return Slice(shard[0], offset, length)

    def _shard(self, outer: tuple[int, ...]) -> tuple[Storage, bytes] | None:
        """A shard, and its index: the offset and length of each chunk."""
        raw = self.get(self.array.key(outer))
        if raw is None:
            return None
        size = _INDEX_ENTRY * numel_of(tuple(self.inner)) + _CRC_SIZE
        if size > raw.nbytes:
            raise Malformed("truncated: a shard is shorter than its index", "download or copy it again")
        start = 0 if self.array.shard == "start" else raw.nbytes - size
        index = raw.read(start, start + size)
        if len(index) <= _MOST_HEADER and crc32c(index[:-_CRC_SIZE]) != int.from_bytes(index[-_CRC_SIZE:], "little"):
            raise Malformed("the CRC-32C of a shard's index is not that of its bytes", "download or copy it again")
        return raw, index

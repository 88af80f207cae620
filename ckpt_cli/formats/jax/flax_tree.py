"""Flax's trees in msgpack: every array under the path by which it is reached, everything else as objects.

As in flax/serialization.py: extension 1 is an array and 3 a numpy scalar, each msgpack again: [shape, dtype's name, bytes]; 2 is a complex
number, [real, imaginary]. An array of over 2^30 bytes is a map:

    {"__msgpack_chunked_array__": true, "shape": {"0": n, …}, "chunks": {"0": array, …}}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ...errors import Malformed
from ...numbers.dtypes import DTYPES, DType, opaque
from ...numbers.shapes import numel_of
from ...storage.file import File
from ...storage.storage import Extent, Storage
from ...storage.tiles import chained
from ...tensors.checkpoint import Checkpoint, Foreign
from ...tensors.tensor import Layout, Tensor
from ..encodings.object_nodes import Dict, List
from ..encodings.object_walk import Path, joined, names
from .msgpack import Reader, Span

ARRAY, COMPLEX, SCALAR = 1, 2, 3
CHUNKED = "__msgpack_chunked_array__"
_MOST_KEYS = 30_000_000  # of all paths together
_MOST_AXES = 64
_MOST_HELD = 1 << 20  # bytes of an object that is no text


class Leaf(NamedTuple):
    """What a path leads to: the node as it was read."""

    path: Path
    node: Any

    @property
    def scalar(self) -> bool:
        return type(self.node) is Span and self.node.kind == "ext" and self.node.code == SCALAR


class Tree(NamedTuple):
    """What only this format understands of a checkpoint: each name's leaf, in the order of the file, and the paths of its lists."""

    file: File
    leaves: dict[str, Leaf]
    lists: frozenset[Path]


def read_tree(file: File) -> Checkpoint:
    """Raises Malformed."""
    reader = Reader(file)
    lists: set[Path] = set()
    tensors: dict[Path, Tensor] = {}
    others: list[Leaf] = []
    every: list[Leaf] = []
    for leaf in _leaves(reader.read(0, file.size), lists):
        every.append(leaf)
        tensor = _tensor(reader, leaf)
        if tensor is None:
            others.append(leaf)
        else:
            tensors[leaf.path] = tensor
    if not tensors:
        raise Malformed("the msgpack tree holds no array of Flax")
    called = names(list(tensors), [leaf.path for leaf in others])
    by_path = dict(zip([*tensors, *(leaf.path for leaf in others)], called, strict=True))
    objects = {by_path[leaf.path]: _plain(reader, leaf.node) for leaf in others}
    found = {by_path[path]: tensor for path, tensor in tensors.items()}
    return Checkpoint(found, objects=objects, rest=Tree(file, {by_path[leaf.path]: leaf for leaf in every}, frozenset(lists)))


def _leaves(root: Any, lists: set[Path]) -> Iterator[Leaf]:
    """All that is no container, and containers that are empty, in file order."""
    waiting, keys = [Leaf((), root)], 0
    while waiting:
        leaf = waiting.pop()
        path, node = leaf
        pairs = node.pairs if type(node) is Dict else list(enumerate(node.items)) if type(node) is List else []
        if not pairs or _is_chunked(node):
            yield leaf
            continue
        if type(node) is List:
            lists.add(path)
        keys += len(pairs) * (len(path) + 1)
        if keys > _MOST_KEYS:
            raise Malformed("the msgpack tree is too deep and too wide")
        waiting.extend([Leaf((*path, key), value) for key, value in reversed(pairs)])


def _is_chunked(node: Any) -> bool:
    return type(node) is Dict and any(key == CHUNKED for key, _ in node.pairs)


def _tensor(reader: Reader, leaf: Leaf) -> Tensor | None:
    """The array that a leaf is, or None. Raises Malformed, which says the path."""
    node = leaf.node
    try:
        if _is_chunked(node):
            return _joined(reader, node)
        if type(node) is Span and node.kind == "ext" and node.code in (ARRAY, SCALAR):
            return _array(reader, node)
    except Malformed as error:
        raise Malformed(f"{joined(leaf.path) or 'the array'}: {error.what}", error.mend) from None
    return None


def _array(reader: Reader, span: Span) -> Tensor:
    parts = reader.read(span.start, span.start + span.nbytes)
    parts = parts.items if type(parts) is List else []
    if len(parts) != 3 or type(parts[1]) is not str or type(parts[2]) is not Span or parts[2].kind != "bin":
        raise Malformed("its extension is not shape, dtype and bytes")
    shape = _shape(parts[0].items if type(parts[0]) is List else None)
    data = Extent(reader.file, parts[2].start, parts[2].nbytes)
    if span.code == SCALAR and shape:
        raise Malformed("a numpy scalar has axes")
    return _typed(parts[1], shape, data)


def _shape(axes: Any) -> tuple[int, ...]:
    if axes is None or len(axes) > _MOST_AXES or any(type(n) is not int or not 0 <= n < 1 << 63 for n in axes):
        raise Malformed(f"its shape is no list of at most {_MOST_AXES} integers ≥ 0")
    return tuple(axes)


def _typed(name: str, shape: tuple[int, ...], data: Storage) -> Tensor:
    """The tensor of numpy's dtype `name`; one that is not known here is listed as what it is."""
    dtype = DTYPES.get(name)
    if dtype is not None and dtype.elements == 1 and name != "complex32":
        return Tensor.whole(dtype, shape, data)
    return Tensor(*_opaque(name, shape, data), Layout.PLAIN if dtype is None else Layout.UNPACKED)


def _opaque(name: str, shape: tuple[int, ...], data: Storage) -> tuple[DType, tuple[int, ...], Storage, None, int]:
    count = numel_of(shape)
    if not 0 < len(name) <= 64 or not name.isprintable() or (count == 0) != (data.nbytes == 0) or (count and data.nbytes % count):
        raise Malformed(f"its dtype {name[:64]!r} is not known")
    return opaque(name, data.nbytes // count if count else 1), shape, data, None, 0


def _joined(reader: Reader, node: Dict) -> Tensor:
    """The array that is kept in chunks."""
    parts = dict(node.pairs)
    chunks = [_chunk(reader, chunk) for chunk in _numbered(parts.get("chunks"))]
    if not chunks or len({chunk.dtype.name for chunk in chunks}) > 1:
        raise Malformed("its chunks are none, or of several dtypes")
    dtype = chunks[0].dtype
    if not dtype.addressable:
        raise Malformed(f"its chunks are of dtype {dtype.name}")
    return Tensor.whole(dtype, _shape(_numbered(parts.get("shape"))), chained([chunk.storage for chunk in chunks]))


def _chunk(reader: Reader, node: Any) -> Tensor:
    if type(node) is not Span or node.kind != "ext" or node.code != ARRAY:
        raise Malformed("a chunk is no array")
    return _array(reader, node)


def _numbered(node: Any) -> list[Any]:
    """The values of {"0": …, "1": …}, in order."""
    found = dict(node.pairs) if type(node) is Dict else {}
    if type(node) is not Dict or set(found) != {str(i) for i in range(len(found))}:
        raise Malformed("its shape and chunks are not maps that count from 0")
    return [found[str(i)] for i in range(len(found))]


def _plain(reader: Reader, node: Any) -> Any:
    """What a leaf that is no array says."""
    if type(node) is Dict:
        return {}
    if type(node) is List:
        return []
    if type(node) is not Span:
        return node
    if node.kind == "bin" and node.nbytes <= _MOST_HELD:
        return reader.file.read(node.start, node.nbytes)
    if node.kind == "ext" and node.code == COMPLEX:
        parts = reader.read(node.start, node.start + node.nbytes)
        if type(parts) is List and len(parts.items) == 2 and all(type(part) in (int, float) for part in parts.items):
            return complex(*parts.items)
    kind = f"msgpack extension {node.code}" if node.kind == "ext" else {"bin": "bytes"}.get(node.kind, node.kind)
    return Foreign(kind, f"{node.nbytes:,} bytes")

"""Reads Flax's trees in msgpack: each array under the path that leads to it, everything else as objects.

As in flax/serialization.py: extension 1 is an array and 3 a numpy scalar, each msgpack again: [shape, dtype's name, bytes]; 2 is a complex
number, [real, imaginary]. An array of over 2^30 bytes is a map:

    {"__msgpack_chunked_array__": true, "shape": {"0": n, …}, "chunks": {"0": array, …}}

The bytes of arrays are little-endian, in C order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ...errors import Malformed
from ...numbers.dtypes import DTYPES, opaque
from ...numbers.shapes import numel_of
from ...storage.file import File
from ...storage.storage import Extent, Storage
from ...storage.tiles import chained
from ...tensors.checkpoint import Checkpoint, Foreign, Undecoded
from ...tensors.tensor import Layout, Tensor
from ..encodings.object_names import Path, joined, names
from ..encodings.object_nodes import Dict, List
from .msgpack import MsgpackReader, Span, ValueKind

ARRAY, COMPLEX, SCALAR = 1, 2, 3  # types of extensions
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
        """Whether it is a numpy scalar."""
        return type(self.node) is Span and self.node.kind == ValueKind.EXTENSION and self.node.code == SCALAR


class FlaxTree(NamedTuple):
    """What only this format understands of a checkpoint.

    Attributes:
        file: The file that it was read from.
        leaves: The leaf of each name, in the order of the file.
        lists: The paths of the lists; other containers are maps.
    """

    file: File
    leaves: dict[str, Leaf]
    lists: frozenset[Path]


def read_tree(file: File) -> Checkpoint:
    """Read the tree, but no elements of arrays. Raises Malformed where it is broken, or holds no array."""
    reader = MsgpackReader(file)
    lists: set[Path] = set()
    tensors: dict[Path, Tensor] = {}
    others: list[Leaf] = []
    leaves: list[Leaf] = []
    for leaf in _leaves(reader.value(0, file.size), lists):
        leaves.append(leaf)
        tensor = _tensor(reader, leaf)
        if tensor is None:
            others.append(leaf)
        else:
            tensors[leaf.path] = tensor
    if not tensors:
        raise Malformed("the msgpack tree holds no array of Flax")
    paths = [*tensors, *(leaf.path for leaf in others)]
    name_of = dict(zip(paths, names(list(tensors), [leaf.path for leaf in others]), strict=True))
    objects = {name_of[leaf.path]: _object(reader, leaf.node) for leaf in others}
    undecoded = {
        name: Undecoded(value.text, Extent(file, leaf.node.start, leaf.node.nbytes))
        for leaf in others
        if isinstance(value := objects[name := name_of[leaf.path]], Foreign)
    }
    return Checkpoint(
        {name_of[path]: tensor for path, tensor in tensors.items()},
        objects=objects,
        undecoded=undecoded,
        rest=FlaxTree(file, {name_of[leaf.path]: leaf for leaf in leaves}, frozenset(lists)),
    )


def _leaves(root: Any, lists: set[Path]) -> Iterator[Leaf]:
    """Yield all that is no container, and empty containers, in file order; `lists` gets the paths of lists."""
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


def _tensor(reader: MsgpackReader, leaf: Leaf) -> Tensor | None:
    """Return the array that a leaf is, or None. Raises Malformed, with the path."""
    node = leaf.node
    try:
        if _is_chunked(node):
            return _chunked_array(reader, node)
        if type(node) is Span and node.kind == ValueKind.EXTENSION and node.code in (ARRAY, SCALAR):
            return _array(reader, node)
    except Malformed as error:
        raise Malformed(f"{joined(leaf.path) or 'the array'}: {error.what}", error.mend) from None
    return None


def _array(reader: MsgpackReader, span: Span) -> Tensor:
    node = reader.value(span.start, span.start + span.nbytes)
    items = node.items if type(node) is List else []
    if len(items) != 3 or type(items[1]) is not str or type(items[2]) is not Span or items[2].kind != ValueKind.BYTES:
        raise Malformed("its extension is not shape, dtype and bytes")
    shape = _shape(items[0].items if type(items[0]) is List else None)
    data = Extent(reader.file, items[2].start, items[2].nbytes)
    if span.code == SCALAR and shape:
        raise Malformed("a numpy scalar has axes")
    return _typed(items[1], shape, data)


def _shape(axes: Any) -> tuple[int, ...]:
    if axes is None or len(axes) > _MOST_AXES or any(type(n) is not int or not 0 <= n < 1 << 63 for n in axes):
        raise Malformed(f"its shape is no list of at most {_MOST_AXES} integers ≥ 0")
    return tuple(axes)


def _typed(name: str, shape: tuple[int, ...], data: Storage) -> Tensor:
    """Return a tensor of numpy's dtype `name`; where that is not known, an opaque one."""
    dtype = DTYPES.get(name)
    if dtype is not None and dtype.elements == 1 and name != "complex32":
        return Tensor.whole(dtype, shape, data)
    count = numel_of(shape)
    if not 0 < len(name) <= 64 or not name.isprintable() or (count == 0) != (data.nbytes == 0) or (count and data.nbytes % count):
        raise Malformed(f"its dtype {name[:64]!r} is not known")
    element = opaque(name, data.nbytes // count if count else 1)
    return Tensor(element, shape, data, None, 0, Layout.PLAIN if dtype is None else Layout.UNPACKED)


def _chunked_array(reader: MsgpackReader, node: Dict) -> Tensor:
    parts = dict(node.pairs)
    chunks = [_chunk(reader, chunk) for chunk in _numbered(parts.get("chunks"))]
    if not chunks or len({chunk.dtype.name for chunk in chunks}) > 1:
        raise Malformed("its chunks are none, or of several dtypes")
    dtype = chunks[0].dtype
    if not dtype.addressable:
        raise Malformed(f"its chunks are of dtype {dtype.name}")
    return Tensor.whole(dtype, _shape(_numbered(parts.get("shape"))), chained([chunk.storage for chunk in chunks]))


def _chunk(reader: MsgpackReader, node: Any) -> Tensor:
    if type(node) is not Span or node.kind != ValueKind.EXTENSION or node.code != ARRAY:
        raise Malformed("a chunk is no array")
    return _array(reader, node)


def _numbered(node: Any) -> list[Any]:
    """Return the values of the map {"0": …, "1": …}, in order."""
    values = dict(node.pairs) if type(node) is Dict else {}
    if type(node) is not Dict or set(values) != {str(i) for i in range(len(values))}:
        raise Malformed("its shape and chunks are not maps that count from 0")
    return [values[str(i)] for i in range(len(values))]


def _object(reader: MsgpackReader, node: Any) -> Any:
    """Return the value of a leaf that is no array; what is too large or not known as its type and size."""
    if type(node) is Dict:
        return {}
    if type(node) is List:
        return []
    if type(node) is not Span:
        return node
    if node.kind == ValueKind.BYTES and node.nbytes <= _MOST_HELD:
        return reader.file.read(node.start, node.nbytes)
    if node.kind == ValueKind.EXTENSION and node.code == COMPLEX:
        parts = reader.value(node.start, node.start + node.nbytes)
        if type(parts) is List and len(parts.items) == 2 and all(type(part) in (int, float) for part in parts.items):
            return complex(*parts.items)
    names = {ValueKind.BYTES: "bytes", ValueKind.EXTENSION: f"msgpack extension {node.code}"}
    return Foreign(names.get(node.kind, str(node.kind)), f"{node.nbytes:,} bytes")

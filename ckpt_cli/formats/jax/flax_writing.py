"""Writes a checkpoint as Flax's tree in msgpack: what was read goes back to its path; other names are divided at their dots."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ...disk.layout import FileLayout
from ...errors import CannotHold, Malformed
from ...storage.storage import Extent, Slice, Storage
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Layout, Tensor
from ..encodings.object_names import Path, joined, names
from .flax_tree import ARRAY, CHUNKED, COMPLEX, SCALAR, FlaxTree, Leaf
from .msgpack import DEEPEST, LONGEST_TEXT, Span, ValueKind
from .msgpack_packing import head, packed

_MOST_CHUNK = 1 << 30  # bytes: MAX_CHUNK_SIZE of flax/serialization.py


class _NewLeaf(NamedTuple):
    """A leaf that is written: a Tensor (`scalar`: as a numpy scalar), a Span of the file that was read, or a plain value."""

    name: str
    value: Any
    scalar: bool = False


def write_tree(checkpoint: Checkpoint, file_layout: FileLayout) -> None:
    """Write the tree. Raises CannotHold before the first byte."""
    leaves = _new_leaves(checkpoint)
    paths = _paths(checkpoint, [leaf.name for leaf in leaves])
    root = _nested(paths, leaves)
    lists = checkpoint.rest.lists if isinstance(checkpoint.rest, FlaxTree) else frozenset()
    for piece in _pieces(root, lists, checkpoint):
        if isinstance(piece, Storage):
            file_layout.put(piece)
        else:
            file_layout.write(piece)


def holdable(value: Any) -> bool:
    """Whether msgpack can hold an object that is no array."""
    if type(value) in (dict, list, tuple):
        return not value
    try:
        packed(value)
    except (TypeError, UnicodeEncodeError):
        return type(value) is complex
    return True


def _read_leaves(checkpoint: Checkpoint) -> dict[str, Leaf]:
    """Return the leaves of the tree that the checkpoint was read from, by name; none where it comes from another format."""
    return checkpoint.rest.leaves if isinstance(checkpoint.rest, FlaxTree) else {}


def _new_leaves(checkpoint: Checkpoint) -> list[_NewLeaf]:
    """Return all that is to be written: first what was read, in the order of its file."""
    before = _read_leaves(checkpoint)
    leaves: list[_NewLeaf] = []
    for name, tensor in checkpoint.items():
        _check_holdable(name, tensor, bool(before))
        leaf = before.get(checkpoint.sources.get(name, name))
        leaves.append(_NewLeaf(name, tensor, leaf is not None and leaf.scalar and not tensor.shape))
    if not leaves:
        raise CannotHold("a msgpack tree without an array cannot be told from other files", "write another format")
    read = checkpoint.origin.read.objects if checkpoint.origin and before else {}
    for name, value in checkpoint.objects.items():
        if name in before and value is read.get(name):
            leaves.append(_NewLeaf(name, before[name].node if type(before[name].node) is Span else value))
        elif before:
            _check_packs(name, value)
            leaves.append(_NewLeaf(name, value))
        elif holdable(value):
            leaves.append(_NewLeaf(name, value))
    place = {name: index for index, name in enumerate(before)}
    return sorted(leaves, key=lambda leaf: place.get(checkpoint.sources.get(leaf.name, leaf.name), len(place)))


def _check_packs(name: str, value: Any) -> None:
    """Raise CannotHold for an object that was made and has no place in msgpack."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        inner = [*each, *each.values()] if type(each) is dict else each if type(each) is list else []
        waiting += inner
        if not inner and not holdable(each):
            raise CannotHold(
                f"msgpack has no place for {name}: an integer of over 64 bits, or a text that is no Unicode", "give another value"
            )


def _check_holdable(name: str, tensor: Tensor, from_flax: bool) -> None:
    """Raise CannotHold for a tensor that Flax could not restore; opaque ones stay where Flax wrote them."""
    plain = not tensor.layout and tensor.dtype.addressable and tensor.dtype.name != "complex32"
    if not plain and not (from_flax and tensor.dtype.kind == "O" and tensor.layout in (Layout.PLAIN, Layout.UNPACKED)):
        kind = tensor.layout or tensor.dtype.name
        raise CannotHold(f"Flax msgpack cannot hold {name}, which is {kind}", f"leave it out: --drop '{name}'")


def _paths(checkpoint: Checkpoint, wanted: Sequence[str]) -> list[Path]:
    """Return a path for each name, such that reading gives the names back. Raises CannotHold where there is none."""
    before = _read_leaves(checkpoint)
    lists = checkpoint.rest.lists if isinstance(checkpoint.rest, FlaxTree) else frozenset()
    for divide in (_divided, lambda name: tuple(name.split("."))):
        path_of = {name: before[name].path if name in before else _by_position(divide(name), lists) for name in wanted}
        paths = _without_leaves_above(list(path_of.values()))
        wrong = next((path for path in paths if len(path) > DEEPEST or not all(map(_is_key, path))), None)
        if wrong is not None:
            raise CannotHold(f"Flax msgpack cannot hold the name {joined(wrong)[:80]!r}", "rename it")
        try:
            if names(paths, []) == list(wanted):
                return paths
        except Malformed:
            continue
    raise CannotHold("two names would be one path in a msgpack tree", "rename one of them")


def _is_key(key: Any) -> bool:
    return type(key) is int or (
        key != CHUNKED and len(key.encode(errors="replace")) <= LONGEST_TEXT and not re.search("[\\ud800-\\udfff]", key)
    )


def _divided(name: str) -> Path:
    r"""Return the keys of a name: divided at dots, but for those that are escaped (`a\.b`)."""
    return tuple(re.sub(r"\\(.)", r"\1", part) for part in re.findall(r"(?:^|\.)((?:[^.\\]|\\.|\\$)*)", name, re.DOTALL))


def _by_position(path: Path, lists: frozenset[Path]) -> Path:
    """The path with numbers for the keys of lists."""
    known: Path = ()
    for key in path:
        known = (*known, int(key) if known in lists and key.isdecimal() and len(key) < 10 else key)
    return known


def _without_leaves_above(paths: list[Path]) -> list[Path]:
    """Make the rest of a path one key, with its dots, where another leaf stands on the way: `a.b` beside `a`."""
    leaves, free = set(paths), []
    for path in paths:
        above = next((depth for depth in range(len(path)) if path[:depth] in leaves), None)
        if above:
            path = (*path[: above - 1], joined(path[above - 1 :]))
        free.append(path)
    return free


def _nested(paths: list[Path], leaves: list[_NewLeaf]) -> Any:
    """Return dicts in dicts with the leaves at their paths; the only leaf where its path is empty."""
    if paths == [()]:
        return leaves[0]
    root: dict[Any, Any] = {}
    for path, leaf in zip(paths, leaves, strict=True):
        parent = root
        for key in path[:-1]:
            parent = parent.setdefault(key, {})
        parent[path[-1]] = leaf
    return root


def _pieces(root: Any, lists: frozenset[Path], checkpoint: Checkpoint) -> Iterator[bytes | Storage]:
    """Yield the bytes and storages of the tree, one after another."""
    waiting: list[tuple[Path, Any]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, bytes):
            yield node
        elif isinstance(node, _NewLeaf):
            yield from _leaf(node, checkpoint)
        elif path in lists and list(node) == list(range(len(node))):
            yield head(ValueKind.ARRAY, len(node))
            waiting += [((*path, key), value) for key, value in reversed(node.items())]
        else:
            yield head(ValueKind.MAP, len(node))
            for key, value in reversed(node.items()):
                # a list that lost items becomes what Flax makes of lists: a map from "0" on
                waiting += [((*path, key), value), ((), packed(str(key) if path in lists else key))]


def _leaf(leaf: _NewLeaf, checkpoint: Checkpoint) -> Iterator[bytes | Storage]:
    value = leaf.value
    if isinstance(value, Tensor):
        yield from _tensor(value, SCALAR if leaf.scalar else ARRAY)
    elif type(value) is Span:
        yield Extent(checkpoint.rest.file, value.head, value.start + value.nbytes - value.head)
    elif type(value) is complex:
        yield head(ValueKind.EXTENSION, 19, COMPLEX) + head(ValueKind.ARRAY, 2) + packed(value.real) + packed(value.imag)
    else:
        yield _packed_whole(value)


def _packed_whole(value: Any) -> bytes:
    """A plain value with all that it holds."""
    if type(value) is dict:
        return head(ValueKind.MAP, len(value)) + b"".join(packed(key) + _packed_whole(each) for key, each in value.items())
    if type(value) in (list, tuple):
        return head(ValueKind.ARRAY, len(value)) + b"".join(map(_packed_whole, value))
    return packed(value)


def _tensor(tensor: Tensor, code: int) -> Iterator[bytes | Storage]:
    """Yield an array as an extension of type `code`; a large one in chunks."""
    elements = tensor.elements()
    if elements.nbytes <= _MOST_CHUNK:
        yield from _array(tensor.shape, tensor.dtype.name, elements, code)
        return
    size = max(1, _MOST_CHUNK // tensor.dtype.nbytes) * tensor.dtype.nbytes
    starts = range(0, elements.nbytes, size)
    yield head(ValueKind.MAP, 3) + packed(CHUNKED) + packed(True) + packed("shape")
    yield head(ValueKind.MAP, len(tensor.shape))
    for axis, n in enumerate(tensor.shape):
        yield packed(str(axis)) + packed(n)
    yield packed("chunks") + head(ValueKind.MAP, len(starts))
    for index, start in enumerate(starts):
        chunk = Slice(elements, start, min(size, elements.nbytes - start))
        yield packed(str(index))
        yield from _array((chunk.nbytes // tensor.dtype.nbytes,), tensor.dtype.name, chunk, code)


def _array(shape: tuple[int, ...], dtype: str, elements: Storage, code: int) -> Iterator[bytes | Storage]:
    before = head(ValueKind.ARRAY, 3) + head(ValueKind.ARRAY, len(shape)) + b"".join(map(packed, shape))
    before += packed(dtype) + head(ValueKind.BYTES, elements.nbytes)
    yield head(ValueKind.EXTENSION, len(before) + elements.nbytes, code) + before
    yield elements

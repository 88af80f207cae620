"""A checkpoint as Flax's tree in msgpack: what was read goes back to its path; other names are divided at their dots."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ...disk.layout import FileLayout
from ...errors import CannotHold, Malformed
from ...storage.storage import Extent, Slice, Storage
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Layout, Tensor
from ..encodings.object_walk import Path, joined, names
from . import msgpack
from .flax_tree import ARRAY, CHUNKED, COMPLEX, SCALAR, Leaf, Tree
from .msgpack import DEEPEST, LONGEST_TEXT, Span

_MOST_CHUNK = 1 << 30  # bytes: MAX_CHUNK_SIZE of flax/serialization.py


class _Entry(NamedTuple):
    """One leaf that is to be written: a Tensor (`scalar`: as a numpy scalar), a Span of the file it was read from, or a plain value."""

    name: str
    value: Any
    scalar: bool = False


def write_tree(checkpoint: Checkpoint, file_layout: FileLayout) -> None:
    """Raises CannotHold before the first byte."""
    entries = _entries(checkpoint)
    paths = _paths(checkpoint, [entry.name for entry in entries])
    root = _nested(paths, entries)
    lists = checkpoint.rest.lists if isinstance(checkpoint.rest, Tree) else frozenset()
    for piece in _pieces(root, lists, checkpoint):
        if isinstance(piece, Storage):
            file_layout.put(piece)
        else:
            file_layout.write(piece)


def holdable(value: Any) -> bool:
    """Whether msgpack has a place for an object that is no array."""
    if type(value) in (dict, list, tuple):
        return not value
    try:
        msgpack.packed(value)
    except (TypeError, UnicodeEncodeError):
        return type(value) is complex
    return True


def _known(checkpoint: Checkpoint) -> dict[str, Leaf]:
    return checkpoint.rest.leaves if isinstance(checkpoint.rest, Tree) else {}


def _entries(checkpoint: Checkpoint) -> list[_Entry]:
    """All that is to be written, what was read in the order of its file."""
    known = _known(checkpoint)
    found: list[_Entry] = []
    for name, tensor in checkpoint.items():
        _check(name, tensor, bool(known))
        leaf = known.get(checkpoint.sources.get(name, name))
        found.append(_Entry(name, tensor, leaf is not None and leaf.scalar and not tensor.shape))
    if not found:
        raise CannotHold("a msgpack tree without an array cannot be told from other files", "write another format")
    for name, value in checkpoint.objects.items():
        if name in known:
            found.append(_Entry(name, known[name].node if type(known[name].node) is Span else value))
        elif holdable(value):
            found.append(_Entry(name, value))
    place = {name: number for number, name in enumerate(known)}
    return sorted(found, key=lambda entry: place.get(checkpoint.sources.get(entry.name, entry.name), len(place)))


def _check(name: str, tensor: Tensor, own: bool) -> None:
    """Raises CannotHold for what Flax could not restore; what it wrote itself (`own`) stays."""
    plain = not tensor.layout and tensor.dtype.addressable and tensor.dtype.name != "complex32"
    if not plain and not (own and tensor.dtype.kind == "O" and tensor.layout in (Layout.PLAIN, Layout.UNPACKED)):
        kind = tensor.layout or tensor.dtype.name
        raise CannotHold(f"Flax msgpack cannot hold {name}, which is {kind}", f"leave it out: --drop '{name}'")


def _paths(checkpoint: Checkpoint, wanted: Sequence[str]) -> list[Path]:
    """A path for each name, such that the names are read back as they are. Raises CannotHold where there is none."""
    known = _known(checkpoint)
    for divide in (_divided, lambda name: tuple(name.split("."))):
        kept = {name: known[name].path if name in known else divide(name) for name in wanted}
        paths = _without_leaves_above(list(kept.values()))
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
    r"""The keys of a name: parted at dots, but for those that are escaped (`a\.b`)."""
    return tuple(re.sub(r"\\(.)", r"\1", part) for part in re.findall(r"(?:^|\.)((?:[^.\\]|\\.|\\$)*)", name, re.DOTALL))


def _without_leaves_above(paths: list[Path]) -> list[Path]:
    """Where another leaf stands in the way of a path, the rest of it is one key, with its dots: `a.b` beside `a`."""
    leaves, found = set(paths), []
    for path in paths:
        above = next((depth for depth in range(len(path)) if path[:depth] in leaves), None)
        if above:
            path = (*path[: above - 1], joined(path[above - 1 :]))
        found.append(path)
    return found


def _nested(paths: list[Path], entries: list[_Entry]) -> Any:
    """Maps in maps, as dicts; leaves are entries."""
    if paths == [()]:
        return entries[0]
    root: dict[Any, Any] = {}
    for path, entry in zip(paths, entries, strict=True):
        here = root
        for key in path[:-1]:
            here = here.setdefault(key, {})
        here[path[-1]] = entry
    return root


def _pieces(root: Any, lists: frozenset[Path], checkpoint: Checkpoint) -> Iterator[bytes | Storage]:
    """The tree's bytes and storages, one after another."""
    waiting: list[tuple[Path, Any]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, bytes):
            yield node
        elif isinstance(node, _Entry):
            yield from _leaf(node, checkpoint)
        elif path in lists and list(node) == list(range(len(node))):
            yield msgpack.head("array", len(node))
            waiting += [((*path, key), value) for key, value in reversed(node.items())]
        else:
            yield msgpack.head("map", len(node))
            for key, value in reversed(node.items()):
                # what is left of a list becomes what Flax makes of lists: a map from "0" on
                waiting += [((*path, key), value), ((), msgpack.packed(str(key) if path in lists else key))]


def _leaf(entry: _Entry, checkpoint: Checkpoint) -> Iterator[bytes | Storage]:
    value = entry.value
    if isinstance(value, Tensor):
        yield from _tensor(value, SCALAR if entry.scalar else ARRAY)
    elif type(value) is Span:
        yield Extent(checkpoint.rest.file, value.head, value.start + value.nbytes - value.head)
    elif type(value) is complex:
        yield msgpack.head("ext", 19, COMPLEX) + msgpack.head("array", 2) + msgpack.packed(value.real) + msgpack.packed(value.imag)
    elif type(value) in (dict, list, tuple):
        yield msgpack.head("map" if type(value) is dict else "array", 0)
    else:
        yield msgpack.packed(value)


def _tensor(tensor: Tensor, code: int) -> Iterator[bytes | Storage]:
    elements = tensor.elements()
    if elements.nbytes <= _MOST_CHUNK:
        yield from _array(tensor.shape, tensor.dtype.name, elements, code)
        return
    size = max(1, _MOST_CHUNK // tensor.dtype.nbytes) * tensor.dtype.nbytes
    starts = range(0, elements.nbytes, size)
    yield msgpack.head("map", 3) + msgpack.packed(CHUNKED) + msgpack.packed(True) + msgpack.packed("shape")
    yield msgpack.head("map", len(tensor.shape))
    for axis, n in enumerate(tensor.shape):
        yield msgpack.packed(str(axis)) + msgpack.packed(n)
    yield msgpack.packed("chunks") + msgpack.head("map", len(starts))
    for number, start in enumerate(starts):
        chunk = Slice(elements, start, min(size, elements.nbytes - start))
        yield msgpack.packed(str(number))
        yield from _array((chunk.nbytes // tensor.dtype.nbytes,), tensor.dtype.name, chunk, code)


def _array(shape: tuple[int, ...], dtype: str, elements: Storage, code: int) -> Iterator[bytes | Storage]:
    before = msgpack.head("array", 3) + msgpack.head("array", len(shape)) + b"".join(map(msgpack.packed, shape))
    before += msgpack.packed(dtype) + msgpack.head("bin", elements.nbytes)
    yield msgpack.head("ext", len(before) + elements.nbytes, code) + before
    yield elements

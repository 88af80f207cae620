"""HDF5 files: groups, datasets and attributes, as plain values, and where in the file the data of each dataset lie.

As in the HDF5 File Format Specification 3.0. The library that reads it is C, and may crash, hang or eat all memory on a file that means it
to: it runs in a forked child with limits on time and memory, which answers in JSON, and never in this process. Each place in the
answer is held against the file before it is believed. Data are read where they lie; chunks are decoded here (deflate, shuffle).
"""

from __future__ import annotations

import os
from base64 import b64decode
from itertools import pairwise
from signal import SIG_DFL, SIGINT, SIGKILL, SIGTERM, SIGXCPU, signal
from typing import Any, NamedTuple, NoReturn

from ...errors import Malformed, ReadError
from ...numbers.dtypes import DTYPES, DType, opaque
from ...numbers.shapes import contiguous_strides, nbytes_of
from ...storage.mapped import swapped
from ...storage.storage import Extent, Fill, Memory, Slice, Storage
from ...tensors.tensor import Layout, Tensor

_SECONDS = 7  # of processor time; any file that people made takes a small part of it
_WAIT = 16  # seconds by the clock
_ROOM = 1 << 30  # bytes of memory above what this process has
_MOST_ANSWER = 512 << 20
_NO_MEMORY = 3  # the status of a child that had none left
_MOST_AXES = 32
_MOST_UNWRITTEN = 4 << 30  # bytes that a dataset may be beyond all that the file could hold of it

_LETTERS = {"f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64", "c16": "complex128", "b1": "bool", "bfloat16": "bfloat16"}
_LETTERS |= {f"{kind}{size}": f"{word}{8 * size}" for kind, word in (("i", "int"), ("u", "uint")) for size in (1, 2, 4, 8)}


class Attribute(NamedTuple):
    """A small value beside an object. `kind` is its type, as hdf5_walk tells it; `value` bytes, or a list of them where that is `texts`."""

    name: str
    kind: list[Any]
    shape: tuple[int, ...] | None
    value: Any

    @property
    def texts(self) -> list[str] | None:
        """Its elements where they are text."""
        if self.kind[0] == "texts":
            return [raw.decode("utf-8", "replace") for raw in self.value]
        if self.kind[0] == "text":
            size = self.kind[1]
            pieces = [self.value[at : at + size] for at in range(0, len(self.value), size)]
            return [piece.rstrip(b"\0").decode("utf-8", "replace") for piece in pieces]
        return None

    @property
    def text(self) -> str | None:
        """What it says, where it is one text."""
        texts = self.texts
        return texts[0] if texts and self.shape == () else None


class Node(NamedTuple):
    """An object of the file. `kind`: group, dataset, text, or what else it is; `to` is where a link leads."""

    path: str
    kind: str
    attributes: list[Attribute]
    told: dict[str, Any]

    def attribute(self, name: str) -> Attribute | None:
        return next((each for each in self.attributes if each.name == name), None)

    def as_attribute(self) -> Attribute:
        """The elements of a dataset of texts, which were read with the header."""
        return Attribute(self.path, self.told["type"], _shape(self.told["shape"]), _value(self.told))


class Tree(NamedTuple):
    """What a file holds: its objects by path, groups before what is in them, and the tensors among them."""

    nodes: dict[str, Node]
    tensors: dict[str, Tensor]

    def texts(self, path: str, name: str) -> list[str]:
        """The texts of an attribute, which Keras divides into name0, name1, … where they are many."""
        node = self.nodes.get(path)
        found = {each.name: each for each in node.attributes} if node else {}
        if name in found:
            return found[name].texts or []
        parts: list[str] = []
        for number in range(len(found)):
            parts += found[f"{name}{number}"].texts or [] if f"{name}{number}" in found else []
        return parts


def read(source: Storage) -> Tree:
    """What the HDF5 file whose bytes are `source` holds. Raises Malformed, ReadError."""
    import json

    _check_length(source)
    answer = json.loads(_answer(source))
    if "error" in answer:
        raise Malformed(f"the HDF5 file is broken: {answer['error']}")
    nodes = {told["path"]: _node(told) for told in answer["objects"]}
    if len(nodes) != len(answer["objects"]):
        raise Malformed("two objects of the HDF5 file have one name")
    places = _Places(source)
    tensors = {path: places.tensor(node) for path, node in nodes.items() if node.kind == "dataset"}
    places.check_apart()
    return Tree(nodes, tensors)


def _check_length(source: Storage) -> None:
    """The superblock says how long the file is: one that was cut off is told without the library."""
    head = source.read(0, min(64, source.nbytes))
    if len(head) < 48:
        raise Malformed("truncated: the superblock of the HDF5 file is not whole", "download or copy it again")
    at = {0: 40, 1: 44, 2: 28, 3: 28}.get(head[8])
    width = head[13] if head[8] < 2 else head[9]
    if at is None or width != 8:
        return
    missing = int.from_bytes(head[at : at + 8], "little") - source.nbytes
    if missing > 0:
        raise Malformed(f"truncated: {missing:,} bytes of the HDF5 file are missing", "download or copy it again")


def _answer(source: Storage) -> bytes:
    """What the child says of the file, as JSON."""
    if not hasattr(os, "fork"):
        raise ReadError("HDF5 is read in a process of its own, and this system cannot fork one")
    mine, childs = os.pipe()
    child = os.fork()
    if child == 0:
        _child(source, childs)
    os.close(childs)
    said = None
    try:
        said = _heard(mine)
    finally:
        os.close(mine)
        if said is None:
            os.kill(child, SIGKILL)
        status = os.waitpid(child, 0)[1]
    if said is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == SIGXCPU):
        raise Malformed("the HDF5 file keeps its reader busy without an end")
    if status or not said:
        raise Malformed(f"the HDF5 file makes its reader fail: {_why(status)}")
    return said


def _heard(pipe: int) -> bytes | None:
    """All that comes through the pipe; None where it takes too long or has no end."""
    from select import select
    from time import monotonic

    end, said = monotonic() + _WAIT, bytearray()
    while select([pipe], [], [], max(0, end - monotonic()))[0]:
        piece = os.read(pipe, 1 << 16)
        if not piece:
            return bytes(said)
        said += piece
        if len(said) > _MOST_ANSWER:
            break
    return None


def _why(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"it crashes with signal {os.WTERMSIG(status)}"
    return "it needs too much memory" if os.WEXITSTATUS(status) == _NO_MEMORY else f"status {os.WEXITSTATUS(status)}"


def _child(source: Storage, pipe: int) -> NoReturn:
    """The child: walk the file within limits, write what is found, end. Nothing of it reaches a terminal."""
    status = 1
    try:
        _confine()
        said = memoryview(_said(source))
        while said:
            said = said[os.write(pipe, said) :]
        status = 0
    except MemoryError:
        status = _NO_MEMORY
    except BaseException:
        pass
    os._exit(status)


def _confine() -> None:
    """Limits on time and memory; no core, no words of the C library, nothing to clean up where it is killed."""
    import faulthandler
    import resource

    faulthandler.disable()
    for number in (SIGINT, SIGTERM, SIGXCPU):
        signal(number, SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with open("/proc/self/statm" if os.path.exists("/proc/self/statm") else os.devnull) as file:
        pages = int((file.read().split() or ["0"])[0])
    spent = int(sum(os.times()[:2]))
    for what, most in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + _ROOM),
        (resource.RLIMIT_CPU, spent + _SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, hard))


def _said(source: Storage) -> bytes:
    import json

    from . import hdf5_walk

    try:
        answer: dict[str, Any] = {"objects": hdf5_walk.walk(hdf5_walk.Window(lambda at, count: source.read(at, at + count), source.nbytes))}
    except MemoryError:
        raise
    except Exception as error:
        answer = {"error": (str(*error.args[:1]).splitlines() or [type(error).__name__])[0][:300]}
    return json.dumps(answer).encode()


def _node(told: dict[str, Any]) -> Node:
    attributes = [Attribute(each["name"], each["type"], _shape(each["shape"]), _value(each)) for each in told.pop("attributes", ())]
    path = told["path"]
    try:
        path.encode()
    except UnicodeEncodeError:
        raise Malformed(f"the name {path!r} is not UTF-8") from None
    kind = told["kind"]
    if kind == "dataset" and (told["type"][0] not in ("plain", "opaque") or told["shape"] is None):
        kind = "text" if told["type"][0] in ("text", "texts") else "object"
    return Node(path, kind, attributes, told)


def _shape(shape: list[int] | None) -> tuple[int, ...] | None:
    return None if shape is None else tuple(shape)


def _value(told: dict[str, Any]) -> Any:
    """The elements: bytes, or a list of them where each is a text of its own length."""
    value = told["value"]
    return [text.encode("latin-1") for text in value] if isinstance(value, list) else b64decode(value)


class _Places:
    """The data of a file's datasets: where they lie, each place held against the file; two names of one dataset have one storage."""

    def __init__(self, source: Storage) -> None:
        self.source = source
        self.made: dict[tuple[int, ...], Tensor] = {}
        self.spans: list[tuple[int, int, str]] = []

    def tensor(self, node: Node) -> Tensor:
        address = tuple(node.told["address"])
        if address not in self.made:
            try:
                self.made[address] = self._tensor(node)
            except Malformed as error:
                raise Malformed(f"dataset {node.path!r}: {error.what}", error.mend) from None
        return self.made[address]

    def check_apart(self) -> None:
        """Raises Malformed where two datasets share bytes of the file."""
        for (_, stop, one), (start, _, two) in pairwise(sorted(self.spans)):
            if start < stop:
                raise Malformed(f"the data of {one!r} and {two!r} overlap at byte {start:,}")

    def _tensor(self, node: Node) -> Tensor:
        dtype, big = _dtype(node)
        shape = node.told["shape"]
        if len(shape) > _MOST_AXES or any(type(n) is not int or n < 0 for n in shape):
            raise Malformed(f"a shape of {len(shape)} axes")
        shape = tuple(shape)
        storage = self._storage(node, dtype, shape)
        storage = swapped(storage, dtype.part) if big and dtype.part > 1 else storage
        if dtype.kind == "O":
            return Tensor.view(dtype, shape, storage, contiguous_strides(shape), 0, Layout.OPAQUE)
        return Tensor.whole(dtype, shape, storage)

    def _storage(self, node: Node, dtype: DType, shape: tuple[int, ...]) -> Storage:
        nbytes, layout = nbytes_of(dtype, shape), node.told["layout"]
        if layout == "compact":
            return Memory(_value(node.told))
        if layout not in ("contiguous", "chunked"):
            raise Malformed(
                "its data are kept outside of it, and are not looked for" if layout == "external" else "it is made of others (virtual)"
            )
        if layout == "contiguous" and node.told["offset"] is not None and nbytes:
            return self._extent(node.told["offset"], nbytes, node.path)
        if nbytes > _MOST_UNWRITTEN and nbytes > 2000 * self.source.nbytes:
            raise Malformed(f"it has {nbytes:,} bytes, which this file cannot hold")
        fill = Fill(b64decode(node.told["fill"]), nbytes)
        if layout == "contiguous" or not nbytes or not node.told["chunks"]:
            return fill
        from .hdf5_chunks import chunk_of, chunked

        chunks = [chunk_of(each, node.told["chunk"], shape) for each in node.told["chunks"]]
        pieces = {chunk.place: (self._extent(chunk.at, chunk.nbytes, node.path), chunk.mask) for chunk in chunks}
        return chunked(pieces, fill, shape, tuple(node.told["chunk"]), dtype.nbytes, node.told["filters"], node.path)

    def _extent(self, at: Any, nbytes: int, path: str) -> Storage:
        if type(at) is not int or at < 0 or at + nbytes > self.source.nbytes:
            raise Malformed(f"its {nbytes:,} bytes lie outside of the file", "download or copy it again")
        self.spans.append((at, at + nbytes, path))
        if isinstance(self.source, Extent):
            return Extent(self.source.file, self.source.place() + at, nbytes)
        return Slice(self.source, at, nbytes)


def _dtype(node: Node) -> tuple[DType, bool]:
    """The element type, and whether it lies in the file with its highest byte first.

    Keras keeps a bfloat16 as opaque bytes, and says in an attribute `dtype` what they are.
    """
    kind, name = node.told["type"][0], node.told["type"][1]
    if kind == "plain":
        return DTYPES[_LETTERS[name.lstrip("<>|")]], name[0] == ">"
    said = node.attribute("dtype")
    known = DTYPES.get(said.text or "") if said else None
    if known and known.nbytes == name and known.elements == 1:
        return known, False
    return opaque(f"|V{name}", name), False

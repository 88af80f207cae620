"""ONNX: a graph with its weights in one protobuf message, or with the weights in files of raw bytes beside it.

    ModelProto { ir_version = 1, graph = 7 { node = 1, initializer = 5 { dims = 1, type = 2, name = 8, raw_data = 9 } }, opset_import = 8 }

Specified in onnx.proto and docs/ExternalData.md of onnx/onnx. Peculiarities:
- The weights are the graph's initialisers, by their names; sparse ones, texts, and those of subgraphs (If, Loop) are objects.
- Elements are raw little-endian bytes, or numbers in a field of their kind: packed floats are raw bytes, packed varints are decoded.
- External data lie in files below the model's folder, and nowhere else. What lies twice at one place is tied.
- Values are overwritten where they lie. A graph is not built, nor rewired: no other format is converted to ONNX, and names, dtypes and
  shapes, which nodes refer to, stay what they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from ...errors import CannotHold, Malformed, about
from ...numbers.dtypes import DTYPES, DType
from ...numbers.shapes import nbytes_of, show_shape
from ...storage.file import File, is_plain, leads_out
from ...storage.storage import Extent, Storage
from ...tensors.checkpoint import Checkpoint, Foreign
from ...tensors.tensor import Tensor
from .. import Format, changed_storages, formats

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch
    from ...disk.saving import FileToWrite
    from .graph import Proto, Sparse

_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64",
    12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz",
    19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4", 23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
    27: "float6_e2m3fn", 28: "float6_e3m2fn",
}  # fmt: skip
_STRING = 8
_RAW = 9
# The field in which elements of a type lie, where they are not raw: float_data and double_data as they are, the others as varints.
_FLOATS = {"float32": 4, "complex64": 4, "float64": 10, "complex128": 10}
_VARINTS = {"int64": 7, "uint64": 11, "uint32": 11}


class Parts(NamedTuple):
    """The files of a model beside itself: what the model calls them, and those of them whose checksum it has."""

    files: dict[str, File]
    summed: set[str]


class Onnx(Format):
    name = "onnx"
    title = "ONNX (values are edited in place)"
    called = "ONNX"
    suffixes = (".onnx",)
    patches = ties = metadata = objects = True

    def sniff(self, file: File) -> bool:
        if file.head[:1] != b"\x08":
            return False
        from .graph import begins_as_one

        return begins_as_one(file)

    def read(self, file: File) -> Checkpoint:
        from .graph import Model

        model = Model(file)
        weights = _Weights(file)
        objects = {path: Foreign(*_told(found)) for path, found in model.besides.items()}
        for proto in model.weights:
            if proto.type == _STRING:
                objects[proto.name] = Foreign(*_told(proto))
            else:
                weights.add(proto)
        weights.check_apart()
        return Checkpoint(weights.tensors, model.metadata, objects, rest=Parts(weights.files, weights.summed))

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        raise CannotHold("an ONNX file holds a graph, and of that only the values can change", "convert it to another format first")

    def check(self, checkpoint: Checkpoint) -> None:
        _patches(checkpoint)

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        return _patches(checkpoint)[0]

    def outputs(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """The files that change; in a new place all of them, under the names that the model has for them."""
        from ...disk.saving import FileToWrite

        patches = _patches(checkpoint)
        here = checkpoint.origin is not None and os.path.realpath(path) == os.path.realpath(checkpoint.origin.path)
        names = [path, *(os.path.join(os.path.dirname(path), location) for location in _parts(checkpoint).files)]
        for target, patch in zip(names, patches, strict=True):
            if here and not patch.changes:
                continue
            if not here and target != path and _is(target, patch.file):
                if patch.changes:
                    raise CannotHold(f"the values in {target} belong to the model that was read, too", "write to another folder, or -i")
                continue
            yield FileToWrite(target, lambda file_layout: self.write(checkpoint, file_layout), patch)

    def parts(self, checkpoint: Checkpoint) -> list[File]:
        return [*super().parts(checkpoint), *_parts(checkpoint).files.values()]


def _parts(checkpoint: Checkpoint) -> Parts:
    return checkpoint.rest if isinstance(checkpoint.rest, Parts) else Parts({}, set())


def _is(path: str, file: File) -> bool:
    try:
        info = os.stat(path)
    except OSError:
        return False
    return (info.st_dev, info.st_ino) == file.identity


def _patches(checkpoint: Checkpoint) -> list[Patch]:
    """What changes in the model, and in each file beside it. Raises CannotHold where more than values did, or these cannot."""
    from ...disk.patch import Patch, changes

    pairs = changed_storages(checkpoint)
    origin = checkpoint.origin
    if origin is None or origin.format != Onnx.name:
        raise CannotHold("an ONNX file holds a graph, which weights alone do not make", "write .safetensors, or edit the .onnx itself")
    if pairs is None:
        raise CannotHold("names, dtypes, shapes and ties in an ONNX file belong to its graph", "only values are edited: set, reinit")
    parts = _parts(checkpoint)
    found: list[Patch] = [Patch(file, [], []) for file in (origin.file, *parts.files.values())]
    homes = {patch.file: patch for patch in found}
    summed = {parts.files[location] for location in parts.summed}
    for before, after in pairs:
        if not isinstance(before, Extent):
            names = [name for name, tensor in checkpoint.items() if tensor.storage is after]
            raise CannotHold(f"{names[0]} is kept as numbers of any length: it is read, not edited", "leave it out by a pattern")
        if before.file in summed:
            raise CannotHold(f"the model has a checksum of {before.file.path}, which would not hold", "leave what is in it out")
        homes[before.file].changes.extend(changes(before.place(), before, after))
    return [patch._replace(changes=sorted(patch.changes, key=lambda change: change.at)) for patch in found]


class _Weights:
    """The tensors of a model as they are found; external files are opened once."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.tensors: dict[str, Tensor] = {}
        self.files: dict[str, File] = {}
        self.summed: set[str] = set()
        self._storages: dict[tuple[int, int, int], Extent] = {}
        self._folder = os.path.dirname(os.path.abspath(file.path))

    def add(self, proto: Proto) -> None:
        if proto.name in self.tensors:
            raise Malformed(f"there are two tensors {proto.name!r}")
        if proto.type not in _DTYPES:
            raise Malformed(f"tensor {proto.name!r}: data type {proto.type:,} is not known")
        dtype = DTYPES[_DTYPES[proto.type]]
        try:
            self.tensors[proto.name] = Tensor.whole(dtype, proto.dims, self._storage(proto, dtype))
        except Malformed as error:
            raise Malformed(f"tensor {proto.name!r}: {error.what}", error.mend, error.where) from None

    def check_apart(self) -> None:
        """Raises Malformed where two tensors overlap: an edit of one would change a part of the other."""
        for (file, begin, nbytes), (other, next_begin, _) in pairwise(sorted(self._storages)):
            if file == other and begin + nbytes > next_begin:
                raise Malformed(f"tensors overlap at byte {next_begin:,} of {self._storages[other, next_begin, _].file.path}")

    def _storage(self, proto: Proto, dtype: DType) -> Storage:
        from ..encodings.varints import Varints

        nbytes, data = nbytes_of(dtype, proto.dims), proto.data
        if proto.external is not None:
            return self._external(proto.external, nbytes)
        if data is None:
            if nbytes:
                raise Malformed(f"shape {show_shape(proto.dims)} has {nbytes:,} bytes, and no data are there")
            return self._extent(self.file, 0, 0)
        if data.number in (_RAW, _FLOATS.get(dtype.name)):
            return self._extent(self.file, data.start, data.nbytes)
        count = nbytes // dtype.nbytes
        if data.number != _VARINTS.get(dtype.name, 5) or dtype.name in _FLOATS:
            raise Malformed(f"elements of {dtype.name} in field {data.number}, where they have no place")
        if not count <= data.nbytes <= 10 * count:
            raise Malformed(f"{data.nbytes:,} bytes do not hold {count:,} numbers")
        return Varints(Extent(self.file, data.start, data.nbytes), dtype, count)

    def _extent(self, file: File, begin: int, nbytes: int) -> Storage:
        """The bytes of a file; of those that are named twice, the same storage."""
        if not nbytes:
            return Extent(file, begin, 0)
        key = [self.file, *self.files.values()].index(file), begin, nbytes
        return self._storages.setdefault(key, Extent(file, begin, nbytes))

    def _external(self, said: dict[str, str], nbytes: int) -> Storage:
        location = said.get("location", "")
        file = self.files.get(location) or self._opened(location)
        self.files[location] = file
        if said.get("checksum"):
            self.summed.add(location)
        begin, length = _number(said, "offset", 0), _number(said, "length", nbytes)
        if length != nbytes:
            raise Malformed(f"the shape takes {nbytes:,} bytes, its external data are said to be {length:,}")
        if begin + nbytes > file.size:
            missing = begin + nbytes - file.size
            raise Malformed(f"truncated: {missing:,} bytes of {location!r} are missing", "download or copy it again", file.path)
        return self._extent(file, begin, nbytes)

    def _opened(self, location: str) -> File:
        """A file below the model's folder."""
        if len(self.files) >= 1 << 12 or ":" in location or not is_plain(location):
            raise Malformed(f"its external data are in {location!r}, which is no plain path below the folder")
        path = os.path.join(self._folder, location)
        if leads_out(path, self._folder):
            raise Malformed(f"its external data {location!r} are a link that leads out of the folder")
        with about(path):
            return File(path)


def _number(said: dict[str, str], key: str, default: int) -> int:
    text = said.get(key, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise Malformed(f"{key} of its external data is {text!r:.40}, no number")
    return int(text)


def _told(found: Proto | Sparse) -> tuple[str, str]:
    """Type and text of what is no plain weight."""
    from .graph import Sparse

    if isinstance(found, Sparse):
        count = found.values.dims[0] if len(found.values.dims) == 1 else 0
        return "sparse initializer", f"{_named(found.values.type)} {show_shape(found.dims)}, {count:,} values"
    return "initializer", f"{_named(found.type)} {show_shape(found.dims)}"


def _named(kind: int) -> str:
    return "string" if kind == _STRING else _DTYPES.get(kind, f"type {kind}")


formats.add(Onnx.name, Onnx())

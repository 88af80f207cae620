"""The initialisers of an ONNX graph as tensors: their types, and where their elements lie, in the model or in files beside it.

As in onnx.proto and docs/ExternalData.md of onnx/onnx.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING

from ...disk.opening import open_file
from ...errors import Malformed, about
from ...numbers.dtypes import DTYPES, DType
from ...numbers.shapes import nbytes_of, show_shape
from ...storage.file import File, is_plain, leads_out
from ...storage.storage import Extent, Memory, Storage
from ...tensors.checkpoint import Undecoded
from ...tensors.tensor import Tensor
from .tensor_proto import SparseTensorProto

if TYPE_CHECKING:
    from .tensor_proto import TensorProto

_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64",
    12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz",
    19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4", 23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
    27: "float6_e2m3fn", 28: "float6_e3m2fn",
}  # fmt: skip
STRING = 8
_RAW = 9
# The field in which elements of a type lie, where they are not raw: float_data and double_data as they are, the others as varints.
_FLOATS = {"float32": 4, "complex64": 4, "float64": 10, "complex128": 10}
_VARINTS = {"int64": 7, "uint64": 11, "uint32": 11}


class Weights:
    """The tensors of a model, as they are added one by one; a file of external data is opened once."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.tensors: dict[str, Tensor] = {}
        self.files: dict[str, File] = {}
        self.summed: set[str] = set()
        self._storages: dict[tuple[int, int, int], Extent] = {}
        self._folder = os.path.dirname(os.path.abspath(file.path))

    def add(self, proto: TensorProto) -> None:
        """Add the tensor of an initialiser. Raises Malformed."""
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
        """Raise Malformed where two tensors overlap: an edit of one would change a part of the other."""
        for (file, begin, nbytes), (other, next_begin, _) in pairwise(sorted(self._storages)):
            if file == other and begin + nbytes > next_begin:
                raise Malformed(f"tensors overlap at byte {next_begin:,} of {self._storages[other, next_begin, _].file.path}")

    def _storage(self, proto: TensorProto, dtype: DType) -> Storage:
        """The bytes of an initialiser. Raises Malformed where they are not as many as its shape needs."""
        from ..encodings.varints import Varints

        nbytes, data = nbytes_of(dtype, proto.dims), proto.data
        if proto.external is not None:
            return self._external(proto.external, nbytes)
        if proto.inline is not None:
            return Memory(proto.inline)
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
        """A run of bytes of a file; the same storage where it was asked for before, so that both tensors are tied."""
        if not nbytes:
            return Extent(file, begin, 0)
        key = [self.file, *self.files.values()].index(file), begin, nbytes
        return self._storages.setdefault(key, Extent(file, begin, nbytes))

    def _external(self, entries: dict[str, str], nbytes: int) -> Storage:
        """The bytes of external data, from the entries that say where they are. Raises Malformed."""
        location = entries.get("location", "")
        file = self.files.get(location) or self._open(location)
        self.files[location] = file
        if entries.get("checksum"):
            self.summed.add(location)
        begin, length = _number(entries, "offset", 0), _number(entries, "length", nbytes)
        if length != nbytes:
            raise Malformed(f"the shape takes {nbytes:,} bytes, its external data are said to be {length:,}")
        if begin + nbytes > file.size:
            missing = begin + nbytes - file.size
            raise Malformed(f"truncated: {missing:,} bytes of {location!r} are missing", "download or copy it again", file.path)
        return self._extent(file, begin, nbytes)

    def _open(self, location: str) -> File:
        """A file below the model's folder. Raises Malformed for any other."""
        if len(self.files) >= 1 << 12 or ":" in location or not is_plain(location):
            raise Malformed(f"its external data are in {location!r}, which is no plain path below the folder")
        path = os.path.join(self._folder, location)
        if leads_out(path, self._folder):
            raise Malformed(f"its external data {location!r} are a link that leads out of the folder")
        with about(path):
            return open_file(path)


def undecoded(file: File, proto: TensorProto | SparseTensorProto) -> Undecoded:
    """The bytes in the model of what is listed as an object, as they are."""
    values = proto.values if isinstance(proto, SparseTensorProto) else proto
    if proto.where is None or values.external is not None:
        return Undecoded("its elements lie in another file")
    return Undecoded(" ".join(described(proto)), Extent(file, proto.where.start, proto.where.nbytes))


def _number(entries: dict[str, str], key: str, default: int) -> int:
    """The number that an entry of external data holds as text; `default` where there is none."""
    text = entries.get(key, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise Malformed(f"{key} of its external data is {text!r:.40}, no number")
    return int(text)


def described(proto: TensorProto | SparseTensorProto) -> tuple[str, str]:
    """The type and the text by which an initialiser that is no tensor here is listed."""
    if isinstance(proto, SparseTensorProto):
        count = proto.values.dims[0] if len(proto.values.dims) == 1 else 0
        return "sparse initializer", f"{_type_name(proto.values.type)} {show_shape(proto.dims)}, {count:,} values"
    return "initializer", f"{_type_name(proto.type)} {show_shape(proto.dims)}"


def _type_name(number: int) -> str:
    return "string" if number == STRING else _DTYPES.get(number, f"type {number}")

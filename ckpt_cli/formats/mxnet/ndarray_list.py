"""Reads MXNet's lists of arrays header by header; the elements between the headers are not read.

    u64 0x112, u64 0, u64 count, that many arrays, u64 count (0: they have no names), for each a u64 length and the name

    array   u32 magic; from version 2 on the storage type (i32), and where that is sparse the shape of the values; the shape;
            device type and number (2 × i32); dtype (i32); for each auxiliary array of a sparse one its dtype (i32) and shape;
            the values; the auxiliary arrays
    shape   i32 axes, then an i64 each; below version 1 the magic is the number of axes, and u32 follow

As in src/ndarray/ndarray.cc (NDArray::Save, ::Load, LegacyLoad) and include/mxnet/tuple.h. Little-endian throughout.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from ...errors import Malformed
from ...numbers.dtypes import DTYPES, DType
from ...numbers.shapes import nbytes_of, show_shape
from ...storage.file import File
from ...storage.storage import Extent
from ...tensors.tensor import Layout, Tensor

MAGIC = 0x112
VERSIONS = {0xF993FAC8: 1, 0xF993FAC9: 2, 0xF993FACA: 3}  # the magic of an array → its version
_NUMBERED = "float32 float64 float16 uint8 int32 int8 int64 bool int16 uint16 uint32 uint64 bfloat16"  # as in mshadow/base.h
FLAGS = dict(enumerate(_NUMBERED.split()))  # MXNet's number of a dtype → its name
_DTYPES = {flag: DTYPES[name] for flag, name in FLAGS.items()}
_SPARSE = {1: (Layout.SPARSE_ROW, 1), 2: (Layout.SPARSE_CSR, 2)}  # storage type → layout, and how many auxiliary arrays there are
_DEVICES = (1, 2, 3, 5)  # cpu, gpu, pinned, shared
_READ_AHEAD = 4096  # bytes
_MOST_AXES = 64
_MOST_ARRAYS = 500_000
_MOST_NAME = 1 << 20  # bytes

_WORD, _WORDS, _LONG = Struct("<i"), Struct("<ii"), Struct("<Q")


class NDArray(NamedTuple):
    """An array of the file.

    Attributes:
        tensor: The array as a tensor.
        version: The version of its header, 0 to 3.
        device: Type and number of the device that it was on.
        extent: Header and elements.
    """

    tensor: Tensor
    version: int
    device: tuple[int, int]
    extent: Extent


class NDArrayList(NamedTuple):
    """The arrays of a file. `names` is empty where the file has none, and the arrays are called by their positions."""

    arrays: list[NDArray]
    names: list[str]


def read_arrays(file: File) -> NDArrayList:
    """Read the headers and names of a whole file. Raises Malformed where it is not what MXNet writes, to the last byte."""
    cursor = _Cursor(file)
    if cursor.long() != MAGIC or cursor.long() != 0:
        raise Malformed("the file does not begin as MXNet's lists of arrays do")
    arrays = [_array(cursor, number) for number in range(cursor.count(20, "arrays"))]
    count = cursor.count(8, "names")
    if count not in (0, len(arrays)):
        raise Malformed(f"{len(arrays):,} arrays have {count:,} names")
    names = [_name(cursor) for _ in range(count)]
    if cursor.left:
        raise Malformed(f"{cursor.left:,} bytes stand after the last name")
    return NDArrayList(arrays, names)


def read_array(file: File) -> NDArray:
    """Read the header of the one array that a file is. Raises Malformed where it is not what MXNet writes, to the last byte."""
    cursor = _Cursor(file)
    array = _array(cursor, 0)
    if cursor.left:
        raise Malformed(f"{cursor.left:,} bytes stand after an array")
    return array


class _Cursor:
    """A position in the file, with a few bytes read ahead. Every count is checked against the bytes that are left."""

    def __init__(self, file: File) -> None:
        self.file, self.at = file, 0
        self._ahead, self._ahead_at = file.head, 0

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return self.file.size - self.at

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes. Raises Malformed where there are not as many."""
        skip = self.at - self._ahead_at
        if skip + count > len(self._ahead):
            self._ahead, self._ahead_at, skip = self.file.read(self.at, max(count, min(_READ_AHEAD, self.left))), self.at, 0
        self.at += count
        return self._ahead[skip : skip + count]

    def word(self) -> int:
        """Return the next i32."""
        return int(_WORD.unpack(self.take(4))[0])

    def long(self) -> int:
        """Return the next u64."""
        return int(_LONG.unpack(self.take(8))[0])

    def count(self, least: int, what: str) -> int:
        """Return the next u64, a count of things (`what`) that take at least `least` bytes each."""
        count = self.long()
        if count > self.left // least:
            raise Malformed(f"truncated: the file says it has {count:,} {what}, and ends before", "download or copy it again")
        if count > _MOST_ARRAYS:
            raise Malformed(f"the file has {count:,} {what}; over {_MOST_ARRAYS:,} are not read")
        return count

    def shape(self, axes: int | None = None, width: int = 8) -> tuple[int, ...]:
        """Return the next shape; `axes` where their number was read before, `width` the bytes of a size."""
        axes = self.word() if axes is None else axes
        if not 0 <= axes <= _MOST_AXES:
            raise Malformed(f"a shape of {axes} axes")
        raw = self.take(axes * width)
        sizes = tuple(int.from_bytes(raw[at : at + width], "little", signed=width == 8) for at in range(0, len(raw), width))
        if any(n < 0 for n in sizes):
            raise Malformed("its shape is not known")
        return sizes

    def dtype(self) -> DType:
        """Return the next dtype."""
        flag = self.word()
        if flag not in _DTYPES:
            raise Malformed(f"dtype {flag} is not known")
        return _DTYPES[flag]

    def elements(self, dtype: DType, shape: tuple[int, ...]) -> Tensor:
        """Pass over the next elements; return the tensor that they make up."""
        nbytes = nbytes_of(dtype, shape)
        if nbytes > self.left:
            missing = f"{nbytes - self.left:,} of {nbytes:,} bytes"
            raise Malformed(f"truncated: {missing} of shape {show_shape(shape)} are missing", "download or copy it again")
        extent = Extent(self.file, self.at, nbytes)
        self.at += nbytes
        return Tensor.whole(dtype, shape, extent)


def _array(cursor: _Cursor, number: int) -> NDArray:
    start = cursor.at
    try:
        tensor, version, device = _tensor(cursor)
    except Malformed as error:
        error.what = f"array {number}: {error.what}"
        raise
    return NDArray(tensor, version, device, Extent(cursor.file, start, cursor.at - start))


def _tensor(cursor: _Cursor) -> tuple[Tensor, int, tuple[int, int]]:
    """Read an array: the tensor, the version of its header, its device."""
    magic = cursor.word() & 0xFFFFFFFF
    version = VERSIONS.get(magic, 0)
    storage_type = cursor.word() if version >= 2 else 0
    if storage_type != 0 and (storage_type not in _SPARSE or version == 3):
        raise Malformed(f"storage {storage_type} is not known")
    layout, auxiliary = _SPARSE.get(storage_type, (Layout.PLAIN, 0))
    shape_of_values = cursor.shape() if layout else ()
    shape = cursor.shape() if version else cursor.shape(magic, 4)
    if not shape and version != 3:
        raise Malformed("it has no shape: it was saved before it was initialised")
    device = _WORDS.unpack(cursor.take(8))
    if device[0] not in _DEVICES or device[1] < 0:
        raise Malformed(f"device {device[0]}, {device[1]} is not known")
    dtype = cursor.dtype()
    if not layout:
        return cursor.elements(dtype, shape), version, device
    kinds = [(cursor.dtype(), cursor.shape()) for _ in range(auxiliary)]
    values = cursor.elements(dtype, shape_of_values)
    tensor = Tensor(dtype, shape, values.storage, None, 0, layout)
    tensor.parts = (*(cursor.elements(*kind) for kind in kinds), values)
    return tensor, version, device


def _name(cursor: _Cursor) -> str:
    length = cursor.long()
    if length > min(cursor.left, _MOST_NAME):
        raise Malformed(f"a name of {length:,} bytes")
    try:
        return cursor.take(length).decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("a name is not UTF-8") from None

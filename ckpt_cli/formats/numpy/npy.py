r"""Arrays as numpy.save writes them: a magic number, a version, the length of a header, the header, the elements.

    \x93NUMPY, major, minor, u16 (version 1) or u32 length, {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } padded to 64

As in numpy/lib/format.py and NEP 1. Version 2 is for long headers, 3 for headers in UTF-8 (in the others they are latin-1). The header is
a literal of Python's; `npy_literal` reads it. `npy_writing` writes arrays.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ...errors import Malformed
from ...numbers.dtypes import DTYPES, DType, opaque
from ...numbers.shapes import contiguous_strides, fortran_strides, nbytes_of, show_shape
from ...storage.mapped import swapped
from ...storage.storage import Storage
from ...tensors.tensor import Layout, Tensor
from .npy_literal import literal

MAGIC = b"\x93NUMPY"
_MOST_HEADER = 1 << 16
_MOST_ELEMENT = 1 << 31
_LETTERS = {"?": "bool", "b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
_TIMES = {"M": "datetime64", "m": "timedelta64"}
_NAMES_AND_CODES = "bool |b1 uint8 |u1 int8 |i1 uint16 <u2 int16 <i2 uint32 <u4 int32 <i4 uint64 <u8 int64 <i8 "
_NAMES_AND_CODES += "float16 <f2 float32 <f4 float64 <f8 complex64 <c8 complex128 <c16"
CODES = dict(zip(_NAMES_AND_CODES.split()[::2], _NAMES_AND_CODES.split()[1::2], strict=True))
_CODE = re.compile(r"([<>|=]?)([?biufcmMOSUVa])(\d{0,10})(\[[\w/]+\])?")


class Header(NamedTuple):
    """What stands before the elements.

    Attributes:
        descr: numpy's description of the dtype: a code such as `<f4`, or a list of fields.
        fortran: Whether the first axis varies fastest.
        shape: The shape of the array.
        size: The bytes that magic number and header take.
    """

    descr: Any
    fortran: bool
    shape: tuple[int, ...]
    size: int


class ElementType(NamedTuple):
    """The type of the elements. `big`: they are big-endian; `pickled`: a pickle of Python objects stands in their place."""

    dtype: DType
    big: bool = False
    pickled: bool = False


_PICKLED = ElementType(opaque("object", 8), pickled=True)


def header(read: Callable[[int, int], bytes], size: int) -> Header:
    """Read the header of an array.

    Args:
        read: Gives the bytes [start, stop) of the array's file.
        size: The bytes of that file.

    Raises:
        Malformed: The header is cut off, too long, or not one that numpy writes.
    """
    start = read(0, min(12, size))
    if start[:6] != MAGIC or size < 10:
        raise Malformed(
            "truncated: the header of an array is missing" if MAGIC.startswith(start[:6]) else "no array of numpy's begins here"
        )
    if start[6] not in (1, 2, 3) or start[7]:
        raise Malformed(f"version {start[6]}.{start[7]} of numpy's format is not known")
    begin = 10 if start[6] == 1 else 12
    length = int.from_bytes(start[8:begin], "little")
    if length > _MOST_HEADER:
        raise Malformed(f"the header says it has {length:,} bytes; over {_MOST_HEADER:,} are not read")
    if begin + length > size:
        raise Malformed(f"truncated: {begin + length - size:,} bytes of the header are missing", "download or copy it again")
    try:
        text = read(begin, begin + length).decode("utf-8" if start[6] == 3 else "latin-1")
    except UnicodeDecodeError:
        raise Malformed("the header is not UTF-8") from None
    return _checked(literal(text), begin + length)


def _checked(document: Any, size: int) -> Header:
    if type(document) is not dict or set(document) != {"descr", "fortran_order", "shape"}:
        raise Malformed("the header does not say descr, fortran_order and shape")
    shape, fortran = document["shape"], document["fortran_order"]
    if type(shape) is not tuple or len(shape) > 64 or any(type(n) is not int or n >= 1 << 63 for n in shape):
        raise Malformed("the shape is no tuple of integers")
    if type(fortran) is not bool:
        raise Malformed("fortran_order is neither True nor False")
    return Header(document["descr"], fortran, shape, size)


def element_type(descr: Any) -> ElementType:
    """The element type that numpy's description says. Raises Malformed for one that numpy would not take."""
    if type(descr) is list:
        size, pickled = _fields(descr)
        return _PICKLED if pickled else ElementType(opaque(_shown(descr), size))
    order, letter, width, unit = _code(descr)
    if letter == "O":
        return _PICKLED
    if letter in _TIMES:
        return ElementType(opaque(descr if order == ">" else _TIMES[letter] + unit, width))
    if letter not in _LETTERS:
        return ElementType(opaque(descr, width))
    name = "bool" if letter in "?b" and width == 1 else f"{_LETTERS[letter]}{8 * width}"
    if name in CODES:
        return ElementType(DTYPES[name], big=order == ">" and width > 1)
    if letter in "fc" and width in (12, 16, 24, 32):  # long doubles; their width is that of the machine that wrote them
        return ElementType(opaque(descr if order == ">" else name, width))
    raise Malformed(f"dtype {descr!r} is not known")


def _code(descr: Any) -> tuple[str, str, int, str]:
    """Byte order, letter, bytes an element, and the unit of a time."""
    match = _CODE.fullmatch(descr) if type(descr) is str else None
    if match is None:
        raise Malformed(f"dtype {descr!r} is not known" if type(descr) is str else "the dtype is no description of numpy's")
    order, letter, digits, unit = match.groups()
    order = order or ""
    width = int(digits) if digits else {"?": 1, "O": 8}.get(letter, 0)
    width *= 4 if letter == "U" else 1
    if width > _MOST_ELEMENT or (unit and letter not in "mM") or (letter in "biufcmM" and width == 0):
        raise Malformed(f"dtype {descr!r} is not known")
    return order, letter, width, unit or ""


def _fields(descr: list[Any]) -> tuple[int, bool]:
    """The bytes of a record, and whether Python objects are among its fields."""
    size, pickled = 0, False
    for field in descr:
        named = type(field) is tuple and len(field) in (2, 3) and (type(field[0]) is str or _titled(field[0]))
        if not named:
            raise Malformed("a field of the dtype is no name and type")
        nbytes, objects = _field(*field[1:])
        size, pickled = size + nbytes, pickled or objects
    if size > _MOST_ELEMENT:
        raise Malformed(f"an element of {size:,} bytes")
    return size, pickled


def _titled(name: Any) -> bool:
    """Whether a field's name is a pair of a title and a name."""
    return type(name) is tuple and len(name) == 2 and all(type(part) is str for part in name)


def _field(kind: Any, shape: Any = ()) -> tuple[int, bool]:
    """The bytes of a field, and whether Python objects are in it."""
    sizes = (shape,) if type(shape) is int else shape
    if type(sizes) is not tuple or any(type(n) is not int for n in sizes):
        raise Malformed("a field of the dtype has no shape of integers")
    size, pickled = _fields(kind) if type(kind) is list else (_code(kind)[2], _code(kind)[1] == "O")
    for n in sizes:
        size *= n
    return size, pickled


def _shown(descr: list[Any]) -> str:
    """A structured dtype as numpy prints it: as in the header, but without the `|` of types that have no byte order."""

    def plain(kind: Any) -> Any:
        if type(kind) is list:
            return [(field[0], plain(field[1]), *field[2:]) for field in kind]
        if type(kind) is str and kind[:1] == "|":
            return "?" if kind == "|b1" else kind[1:]
        return kind

    return repr(plain(descr))


def tensor(header: Header, storage: Storage) -> Tensor:
    """The array over `storage`, which holds its elements, or a pickle of them. Raises Malformed where the sizes do not agree."""
    element = element_type(header.descr)
    if element.pickled:
        return Tensor(element.dtype, header.shape, storage, None, 0, Layout.OBJECT)
    if nbytes_of(element.dtype, header.shape) != storage.nbytes:
        raise Malformed(f"shape {show_shape(header.shape)} of {element.dtype.name} is not {storage.nbytes:,} bytes")
    elements = swapped(storage, element.dtype.part) if element.big else storage
    strides = fortran_strides(header.shape) if header.fortran else contiguous_strides(header.shape)
    return Tensor.view(element.dtype, header.shape, elements, strides, 0, Layout.PLAIN if element.dtype.addressable else Layout.OPAQUE)


def elements_nbytes(header: Header) -> int | None:
    """The bytes that the elements take; None where they are a pickle, whose length no header says."""
    element = element_type(header.descr)
    return None if element.pickled else nbytes_of(element.dtype, header.shape)

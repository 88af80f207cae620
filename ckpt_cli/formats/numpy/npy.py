"""Arrays as numpy.save writes them: a magic, a version, the length of a header, the header, the elements.

    \\x93NUMPY, major, minor, u16 (version 1) or u32 length, {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } padded to 64

As in numpy/lib/format.py and NEP 1. Version 2 is for long headers, 3 for headers in UTF-8 (latin-1 else). The header is a literal of
Python's, and read by a reader of its own that knows strings, integers, True, False, tuples, lists and one dictionary, to a bounded depth.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ...errors import CannotHold, Malformed
from ...numbers.dtypes import DTYPES, DType, opaque
from ...numbers.shapes import contiguous_strides, nbytes_of, show_shape
from ...storage.mapped import swapped
from ...storage.storage import Storage
from ...tensors.tensor import Layout, Tensor

MAGIC = b"\x93NUMPY"
_MOST_HEADER = 1 << 16
_DEEPEST = 16
_MOST_ITEM = 1 << 31
_LETTERS = {"?": "bool", "b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
_TIMES = {"M": "datetime64", "m": "timedelta64"}
_WORDS = "bool |b1 uint8 |u1 int8 |i1 uint16 <u2 int16 <i2 uint32 <u4 int32 <i4 uint64 <u8 int64 <i8 "
_WORDS += "float16 <f2 float32 <f4 float64 <f8 complex64 <c8 complex128 <c16"
_CODES = dict(zip(_WORDS.split()[::2], _WORDS.split()[1::2], strict=True))
_CODE = re.compile(r"([<>|=]?)([?biufcmMOSUVa])(\d{0,10})(\[[\w/]+\])?")
_TOKEN = re.compile(r"""\s*(?:([(){}\[\],:])|(u?'(?:[^'\\\n]|\\.)*'|u?"(?:[^"\\\n]|\\.)*")|(\d{1,19})L?|(True|False))""")
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)


class Header(NamedTuple):
    """What stands before the elements. `descr` is numpy's description of a dtype, `size` what header and magic take in bytes."""

    descr: Any
    fortran: bool
    shape: tuple[int, ...]
    size: int


class Item(NamedTuple):
    """An element type as a header says it; `big` where its bytes are to be swapped, `pickled` where Python objects stand in their place."""

    dtype: DType
    big: bool = False
    pickled: bool = False


_PICKLED = Item(opaque("object", 8), pickled=True)


def header(read: Callable[[int, int], bytes], size: int) -> Header:
    """The header of an array of `size` bytes in all, of which `read(start, stop)` gives some. Raises Malformed."""
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
    return _said(_Literal(text).whole(), begin + length)


def _said(found: Any, size: int) -> Header:
    if type(found) is not dict or set(found) != {"descr", "fortran_order", "shape"}:
        raise Malformed("the header does not say descr, fortran_order and shape")
    shape, fortran = found["shape"], found["fortran_order"]
    if type(shape) is not tuple or len(shape) > 64 or any(type(n) is not int or n >= 1 << 63 for n in shape):
        raise Malformed("the shape is no tuple of integers")
    if type(fortran) is not bool:
        raise Malformed("fortran_order is neither True nor False")
    return Header(found["descr"], fortran, shape, size)


class _Literal:
    """A reader of the few literals that headers are made of."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def whole(self) -> Any:
        found = self._value(0)
        if self.text[self.at :].strip():
            raise Malformed("something stands after the header's dictionary")
        return found

    def _token(self) -> re.Match[str]:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            raise Malformed("the header is no literal of Python's that numpy writes")
        self.at = found.end()
        return found

    def _value(self, depth: int) -> Any:
        sign, string, number, truth = self._token().groups()
        if string:
            return _ESCAPE.sub(_unescaped, string.lstrip("u")[1:-1])
        if number:
            return int(number)
        if truth:
            return truth == "True"
        if depth > _DEEPEST or sign not in ("(", "[", "{"):
            raise Malformed("the header is no literal of Python's that numpy writes")
        return self._pairs(depth + 1) if sign == "{" else self._items(sign, depth + 1)

    def _ends(self, close: str) -> bool:
        """Whether the next sign closes what was opened; it is taken then."""
        found = _TOKEN.match(self.text, self.at)
        if found is None or found[1] != close:
            return False
        self.at = found.end()
        return True

    def _sign(self, wanted: str) -> None:
        if self._token()[1] != wanted:
            raise Malformed(f"the header lacks {wanted!r}")

    def _items(self, sign: str, depth: int) -> Any:
        close, found = ")" if sign == "(" else "]", []
        while not self._ends(close):
            found.append(self._value(depth))
            if self._ends(close):
                return found[0] if sign == "(" and len(found) == 1 else self._made(sign, found)
            self._sign(",")
        return self._made(sign, found)

    def _made(self, sign: str, found: list[Any]) -> Any:
        return tuple(found) if sign == "(" else found

    def _pairs(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self._ends("}"):
            key = self._value(_DEEPEST + 1)
            self._sign(":")
            if key in found:
                raise Malformed(f"the header says {key!r} twice")
            found[key] = self._value(depth)
            if self._ends("}"):
                return found
            self._sign(",")
        return found


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    if code:
        return chr(int(code, 16)) if int(code, 16) < 0x110000 else "\ufffd"
    return {"n": "\n", "t": "\t", "r": "\r"}.get(found[4], found[4])


def item(descr: Any) -> Item:
    """The element type that a header describes. Raises Malformed for what numpy would not take."""
    if type(descr) is list:
        size, pickled = _fields(descr)
        return _PICKLED if pickled else Item(opaque(_shown(descr), size))
    order, letter, width, unit = _code(descr)
    if letter == "O":
        return _PICKLED
    if letter in _TIMES:
        return Item(opaque(descr if order == ">" else _TIMES[letter] + unit, width))
    if letter not in _LETTERS:
        return Item(opaque(descr, width))
    name = "bool" if letter in "?b" and width == 1 else f"{_LETTERS[letter]}{8 * width}"
    if name in _CODES:
        return Item(DTYPES[name], big=order == ">" and width > 1)
    if letter in "fc" and width in (12, 16, 24, 32):  # long doubles, as wide as the machine that wrote them had it
        return Item(opaque(descr if order == ">" else name, width))
    raise Malformed(f"dtype {descr!r} is not known")


def _code(descr: Any) -> tuple[str, str, int, str]:
    """Byte order, kind, bytes an element, and a unit of time."""
    found = _CODE.fullmatch(descr) if type(descr) is str else None
    if found is None:
        raise Malformed(f"dtype {descr!r} is not known" if type(descr) is str else "the dtype is no description of numpy's")
    order, letter, digits, unit = found.groups()
    order = order or ""
    width = int(digits) if digits else {"?": 1, "O": 8}.get(letter, 0)
    width *= 4 if letter == "U" else 1
    if width > _MOST_ITEM or (unit and letter not in "mM") or (letter in "biufcmM" and width == 0):
        raise Malformed(f"dtype {descr!r} is not known")
    return order, letter, width, unit or ""


def _fields(descr: list[Any]) -> tuple[int, bool]:
    """Bytes of a record, and whether Python objects are among its fields."""
    size, pickled = 0, False
    for field in descr:
        named = type(field) is tuple and len(field) in (2, 3) and (type(field[0]) is str or _titled(field[0]))
        if not named:
            raise Malformed("a field of the dtype is no name and type")
        nbytes, objects = _field(*field[1:])
        size, pickled = size + nbytes, pickled or objects
    if size > _MOST_ITEM:
        raise Malformed(f"an element of {size:,} bytes")
    return size, pickled


def _titled(name: Any) -> bool:
    return type(name) is tuple and len(name) == 2 and all(type(part) is str for part in name)


def _field(kind: Any, shape: Any = ()) -> tuple[int, bool]:
    """Bytes of a field, and whether Python objects are in it."""
    sizes = (shape,) if type(shape) is int else shape
    if type(sizes) is not tuple or any(type(n) is not int for n in sizes):
        raise Malformed("a field of the dtype has no shape of integers")
    size, pickled = _fields(kind) if type(kind) is list else (_code(kind)[2], _code(kind)[1] == "O")
    for n in sizes:
        size *= n
    return size, pickled


def _shown(descr: list[Any]) -> str:
    """A structured dtype as numpy prints it: as it stands in the header, without the byte order where there is none."""

    def plain(kind: Any) -> Any:
        if type(kind) is list:
            return [(field[0], plain(field[1]), *field[2:]) for field in kind]
        if type(kind) is str and kind[:1] == "|":
            return "?" if kind == "|b1" else kind[1:]
        return kind

    return repr(plain(descr))


def tensor(found: Header, storage: Storage) -> Tensor:
    """The array over `storage`, which is its elements, or a pickle of them. Raises Malformed where that is too short."""
    known = item(found.descr)
    if known.pickled:
        return Tensor(known.dtype, found.shape, storage, None, 0, Layout.OBJECT)
    if nbytes_of(known.dtype, found.shape) != storage.nbytes:
        raise Malformed(f"shape {show_shape(found.shape)} of {known.dtype.name} is not {storage.nbytes:,} bytes")
    elements = swapped(storage, known.dtype.part) if known.big else storage
    strides = fortran_strides(found.shape) if found.fortran else contiguous_strides(found.shape)
    return Tensor.view(known.dtype, found.shape, elements, strides, 0, Layout.PLAIN if known.dtype.addressable else Layout.OPAQUE)


def elements_of(found: Header) -> int | None:
    """Bytes that the elements take; None where only a pickle tells."""
    known = item(found.descr)
    return None if known.pickled else nbytes_of(known.dtype, found.shape)


def fortran_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(reversed(contiguous_strides(shape[::-1])))


def written(name: str, array: Tensor, before: Header | None) -> tuple[bytes, Storage]:
    """The header and the elements of an array as numpy.save writes them. `before`: its header where it was read from one.

    Raises CannotHold for dtypes that numpy has not.
    """
    descr = _described(name, array, before)
    if array.layout == Layout.OBJECT and before:
        return _packed(descr, before.fortran, array.shape), array.storage
    whole = array.start == 0 and array.nbytes == array.storage.nbytes
    if whole and not array.contiguous and array.strides == fortran_strides(array.shape):
        return _packed(descr, True, array.shape), array.storage
    return _packed(descr, False, array.shape), array.elements()


def _described(name: str, array: Tensor, before: Header | None) -> Any:
    """numpy's description of the array's dtype; what has no name of its own (records, text) is described as it was read."""
    if not array.layout and array.dtype.name in _CODES:
        return _CODES[array.dtype.name]
    if before and array.layout and item(before.descr).dtype == array.dtype:
        return before.descr
    kind = array.layout if array.layout not in (Layout.PLAIN, Layout.OPAQUE) else array.dtype.name
    mend = "--dtype float32" if not array.layout and array.dtype.addressable else f"leave it out: --drop '{name}'"
    raise CannotHold(f"numpy has no {kind}, which {name or 'the array'} is", mend)


def _packed(descr: Any, fortran: bool, shape: tuple[int, ...]) -> bytes:
    """Magic, version, length and header, in the first version that takes them, with 1 to 64 bytes to where the elements begin."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}"
    if shape:  # room for an axis that grows
        text += " " * (21 - len(str(shape[-1 if fortran else 0])))
    raw, version = (text.encode(), 3) if max(text) > "\xff" else (text.encode("latin-1"), 1)
    version = 2 if version == 1 and len(raw) + 75 > 0xFFFF else version
    start = 10 if version == 1 else 12
    raw += b" " * (64 - (start + len(raw) + 1) % 64) + b"\n"
    return MAGIC + bytes((version, 0)) + len(raw).to_bytes(start - 8, "little") + raw

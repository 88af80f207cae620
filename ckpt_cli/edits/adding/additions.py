"""What `add` takes: `NAME=@FILE`, `NAME=@FILE#TENSOR`, `NAME:DTYPE[SHAPE]=SCHEME(…)`. A name in double quotes may hold any signs."""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import UnknownName, UsageError
from ...numbers.dtypes import DType, named
from ...numbers.shapes import nbytes_of
from ...schemes.rules import Call, PresetCall, parse_right_side
from ..expressions import Other
from ..literals import NUMBER

_DECLARED = re.compile(r"(?P<name>.*):\s*(?P<dtype>[^\s:\[\]]+)\s*(?P<shape>\[[^\[\]]*\])?\s*", re.DOTALL)
_QUOTED = re.compile(r"\s*\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_OTHER = re.compile(r"@\s*(?:\"([^\"]+)\"|'([^']+)'|([^\s#\"'][^#]*?))\s*(?:#\s*(?:\"([^\"]+)\"|'([^']+)'|([^\s].*?)))?\s*", re.DOTALL)
_WRITE = "write NAME=@FILE, NAME=@OTHER#TENSOR or NAME:DTYPE[SHAPE]=SCHEME, as in 'head.bias:float32[10]=zeros'"
_MOST_AXES = 64
_MOST_BYTES = 1 << 63
_PATTERN = re.compile(r"[*?{}]|\[[^\]]*\]$|^re:|^!")


class Addition(NamedTuple):
    """A tensor to add.

    Attributes:
        name: What it is to be called.
        dtype: Its dtype; None for that of the tensor that is taken.
        shape: Its shape; None for that of the tensor that is taken.
        what: The tensor of another file, or the scheme that fills it.
    """

    name: str
    dtype: DType | None
    shape: tuple[int, ...] | None
    what: Other | Call | PresetCall


def parse_addition(text: str) -> Addition:
    """Parse `NAME=WHAT`.

    The text is split at the first `=` where WHAT is `@FILE`, or where a scheme follows `NAME:DTYPE[SHAPE]`: names may hold `=`.

    Raises:
        UsageError: The text is none.
        UnknownName: No dtype, or no scheme, has that name.
    """
    quoted = _QUOTED.match(text)
    cuts = [at for at, char in enumerate(text) if char == "=" and at >= (quoted.end() if quoted else 0)]
    for at in cuts:
        left, right = text[:at].rstrip(), text[at + 1 :].strip()
        declared = _DECLARED.fullmatch(left)
        if right.startswith("@") or (declared and declared["shape"]):
            return _addition(left, right, quoted[0].strip() if quoted else "")
    raise _no_addition(text, cuts)


def _addition(left: str, right: str, quoted: str) -> Addition:
    taken = right.startswith("@")
    name, dtype, shape = _declaration(left.strip(), quoted, taken)
    if taken:
        return Addition(name, dtype, shape, _other(right))
    if NUMBER.match(right.lstrip("+-")) or right.startswith("["):
        raise UsageError(
            f"{right[:40]!r} is no scheme", "write constant(0.5), or NAME=@FILE.npy for a list; `ckpt set` changes what is there"
        )
    call = parse_right_side(right)
    if not isinstance(call, Call | PresetCall):
        raise UsageError(f"{name} is new: there is nothing to keep", "fill it, for instance with zeros")
    if dtype is not None and not dtype.addressable:
        raise UsageError(f"{dtype.name} has no plain elements that a scheme fills", "name a dtype such as float32")
    return Addition(name, dtype, shape, call)


def _declaration(left: str, quoted: str, taken: bool) -> tuple[str, DType | None, tuple[int, ...] | None]:
    """The name, dtype and shape that `NAME:DTYPE[SHAPE]` says; what stands in quotes is the name."""
    declared = _DECLARED.fullmatch(left, len(quoted) if quoted else 0)
    if quoted and not declared and left != quoted:
        raise UsageError(f"{left[len(quoted) :].strip()[:40]!r} behind a name in quotes is no :DTYPE[SHAPE]", _WRITE)
    if declared and declared["dtype"].isdecimal() and not declared["shape"]:
        declared = None  # TensorFlow's names end so: dense/kernel:0
    name = _unquoted(quoted) if quoted else (declared["name"] if declared else left).strip()
    if not quoted:
        _check_plain(name, left, taken)
    if not name:
        raise UsageError(f"{left[:60]!r} leaves the name empty", _WRITE)
    if not declared:
        return name, None, None
    dtype, shape = _dtype(declared["dtype"], left), _shape(declared["shape"]) if declared["shape"] else None
    if shape is not None and nbytes_of(dtype, shape) >= _MOST_BYTES:
        raise UsageError(f"no file is as large as {name} would be", "look at its shape")
    return name, dtype, shape


def _dtype(text: str, left: str) -> DType:
    try:
        return named(text)
    except UnknownName as error:
        error.mend += f" (a name with a colon stands in quotes: '\"{left[:60]}\"=…')"
        raise


def _shape(text: str) -> tuple[int, ...]:
    """The shape that `[10, 768]`, `[10x768]` or `[]` says."""
    sizes = [size.strip() for size in re.split(r"[,x]", text[1:-1])] if text[1:-1].strip() else []
    if not all(size.isascii() and size.isdecimal() and len(size) < 20 for size in sizes) or len(sizes) > _MOST_AXES:
        raise UsageError(f"{text[:60]} is no shape", "write [10], [10,768] or, for a scalar, []")
    return tuple(map(int, sizes))


def _check_plain(name: str, left: str, taken: bool) -> None:
    """Raise UsageError for a name that may be meant as a pattern, an index or the left side of an assignment: in quotes it is a name."""
    spelled = f"in quotes it is a name: '\"{name[:60]}\"{left[len(name) :][:40]}=…'"
    if name[-1:] in "+-*/" and name:
        raise UsageError(f"{name[:60]!r} ends with an operator, and add computes nothing", f"`ckpt set` does; {spelled}")
    if name.endswith("]") and taken:
        raise UsageError(f"{name[:60]!r} has a shape or an index without a dtype", f"write NAME:DTYPE[SHAPE]; {spelled}")
    if _PATTERN.search(name):
        raise UsageError(f"{name[:60]!r} is a pattern, and each new tensor has a name of its own", spelled)


def _unquoted(text: str) -> str:
    import json

    try:
        name: str = json.loads(text)
    except ValueError:
        raise UsageError(f"{text[:60]} is no text in quotes", r"a backslash in it is written \\") from None
    return name


def _other(text: str) -> Other:
    found = _OTHER.fullmatch(text)
    if not found:
        raise UsageError(f"{text[:60]!r} names no file", 'as in @other.pt#0.weight, or in quotes: @"the #1.pt"#"0.weight"')
    path, name = (next((group for group in groups if group), None) for groups in (found.groups()[:3], found.groups()[3:]))
    return Other(path or "", name)


def _no_addition(text: str, cuts: list[int]) -> UsageError:
    """The error for a text that is no addition; it says what is missing where that is a dtype and a shape."""
    for at in cuts:
        left, right = text[:at].strip(), text[at + 1 :].strip()
        try:
            parse_right_side(right)
        except (UsageError, UnknownName):
            continue
        name = left.partition(":")[0] if _DECLARED.fullmatch(left) else left.partition("[")[0]
        shape = left[left.find("[") :] if left.endswith("]") else "[10]"
        return UsageError(
            f"{text[:60]!r} says no dtype and shape of the new tensor", f"as in '{name or 'NAME'}:float32{shape}={right[:40]}'"
        )
    return UsageError(f"{text[:60]!r} adds nothing", "`ckpt set` changes what is there" if cuts and text[cuts[0] - 1] in "+-*/" else _WRITE)

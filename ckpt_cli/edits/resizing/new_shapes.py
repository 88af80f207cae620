"""What `resize` takes: `PATTERN=SHAPE`. Of each axis, SHAPE says the size, `*` for that which it has, `+N` to add or `-N` to take away."""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import EditError, UsageError
from ...numbers.dtypes import DType
from ...numbers.shapes import nbytes_of, show_shape
from ...storage.tiles import Box

_AXIS = re.compile(r"(?P<sign>[+-]?)(?P<count>[0-9]+)|\*")
_MOST_DIGITS = 19
_MOST_BYTES = 1 << 63
_AXES = re.compile(r"\s*[x×]\s*")
_WRITE = "write PATTERN=SHAPE, as in '*.wte.weight=50304x*', '+16x*' or '-16x*'"


class Axis(NamedTuple):
    """The new size of an axis: `=` and the size, or what is done to the old one (`+`, `-`) by how much."""

    sign: str
    number: int

    def resized(self, size: int) -> int:
        """The new size of an axis that has this one."""
        return {"=": self.number, "+": size + self.number, "-": size - self.number}[self.sign]


class Resizing(NamedTuple):
    """New shapes for the tensors that a pattern matches.

    Attributes:
        pattern: The pattern.
        axes: What becomes of each axis.
        text: The rule as it is written.
    """

    pattern: str
    axes: tuple[Axis, ...]
    text: str

    def resized(self, name: str, dtype: DType, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the new shape of a tensor.

        Raises:
            EditError: The tensor has another number of axes, or an axis would have no elements left.
        """
        if len(shape) != len(self.axes):
            kept = "x".join("*" * max(len(shape), 1))
            mend = f"give a size for each axis, '*' keeps it: {kept}" if shape else "a scalar has no axes"
            raise EditError(f"{name} has shape {show_shape(shape)}, and {self.text!r} speaks of {_axes(len(self.axes))}", mend)
        new = tuple(axis.resized(size) for axis, size in zip(self.axes, shape, strict=True))
        if any(size < 1 for size in new):
            at = next(at for at, size in enumerate(new) if size < 1)
            raise EditError(f"{name} has {shape[at]:,} along axis {at}, and {self.text!r} would leave {new[at]:,}", "leave one at least")
        if nbytes_of(dtype, new) >= _MOST_BYTES:
            raise EditError(f"no file is as large as {name} would be with {self.text!r}", "look at its shape")
        return new


def _axes(count: int) -> str:
    return f"{count} axis" if count == 1 else f"{count} axes"


def parse_resizing(text: str) -> Resizing:
    """Parse `PATTERN=SHAPE`. The text is split at the last `=`: a shape has none, a name may.

    Raises:
        UsageError: The text is none.
    """
    pattern, equals, shape = text.rpartition("=")
    if not equals or not pattern.strip() or not shape.strip():
        raise UsageError(f"{text[:60]!r} gives no new shape", _WRITE)
    return Resizing(pattern.strip(), tuple(_axis(axis, shape.strip()) for axis in _AXES.split(shape.strip())), text)


def _axis(text: str, shape: str) -> Axis:
    found = _AXIS.fullmatch(text)
    if not found:
        raise UsageError(
            f"{shape[:60]!r} is no shape: {text[:20]!r} is no axis", "an axis is *, 50304, +16 or -16; between them stands an x"
        )
    if found[0] == "*":
        return Axis("+", 0)
    if len(found["count"]) > _MOST_DIGITS:
        raise UsageError(f"{shape[:60]!r} is no shape: no axis is that long", _WRITE)
    return Axis(found["sign"] or "=", int(found["count"]))


class Fit(NamedTuple):
    """The box that an old and a new shape have in common: where it lies in the old tensor, and where in the new one."""

    before: Box
    after: Box


def fit(old: tuple[int, ...], new: tuple[int, ...], at_start: bool) -> Fit:
    """Return what two shapes of one rank have in common.

    Args:
        old: The old shape.
        new: The new shape.
        at_start: Whether what is added or taken away is the start of each axis, not its end.
    """
    kept = [min(before, after) for before, after in zip(old, new, strict=True)]
    return Fit(*([((size - length) * at_start, length) for size, length in zip(shape, kept, strict=True)] for shape in (old, new)))

"""Tensors as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..numbers.dtypes import DType, to_numpy
from ..numbers.text import text
from ..numbers.values import foreign, item
from .tensor import Tensor


def nested(tensor: Tensor) -> Any:
    """The values as nested lists of Python numbers; one number for a tensor of no dimensions."""
    if tensor.shape == ():
        return item(tensor.dtype, tensor.tobytes())
    values = tensor.array()
    if foreign(values.dtype):
        values = values.astype("float32")
    return values.tolist()


def printed(tensor: Tensor, precision: int | None = None, most: int | None = None, wide: int = 120) -> Iterator[str]:
    """The values, as lines in numpy's brackets, with all the digits that the dtype has, or `precision` behind the point.

    `most` given: as numpy itself prints them, in lines of `wide` characters, the middle left out where there are more. Else a line for
    each run along the last axis, none left out; over 1,000 values are not aligned, but read and spelled a block at a time.
    """
    if tensor.shape == ():
        yield text(tensor.dtype, item(tensor.dtype, tensor.tobytes()), precision)
    elif most is not None or tensor.numel <= _FEW:
        yield from _aligned(tensor, precision, most or _FEW, wide if most else 1 << 30).split("\n")
    else:
        yield from _rows(tensor, precision)


_FEW = 1000


def _aligned(tensor: Tensor, precision: int | None, most: int, wide: int) -> str:
    import numpy

    values = tensor.array()
    options: dict[str, Any] = {"threshold": most, "max_line_width": wide, "separator": " "}
    if foreign(values.dtype) or tensor.dtype.name == "float16":  # numpy says 12030 of the float16 that is 12032
        options["formatter"] = {"float_kind": lambda value: text(tensor.dtype, value, precision)}
        return numpy.array2string(values.astype("float32"), **options)
    if precision is None:
        return numpy.array2string(values, floatmode="unique", **options)
    return numpy.array2string(values, precision=precision, floatmode="fixed", suppress_small=True, **options)


def _rows(tensor: Tensor, precision: int | None) -> Iterator[str]:
    """A line for each run along the last axis: `[[1.0 2.0]`, ` [3.0 4.0]]`."""
    shape, size = tensor.shape, tensor.dtype.nbytes
    count, row = (tensor.numel // shape[-1] if shape[-1] else 0), shape[-1]
    if not count:
        yield "[]"
        return
    elements = tensor.elements()
    step = max(1, 65536 // row)
    for first in range(0, count, step):
        last = min(first + step, count)
        words = _words(tensor.dtype, elements.read(first * row * size, last * row * size), precision)
        for number in range(first, last):
            at = (number - first) * row
            opens, closes = _brackets(number, shape[:-1])
            yield " " * (len(shape) - opens) + "[" * opens + " ".join(words[at : at + row]) + "]" * closes


def _brackets(number: int, outer: tuple[int, ...]) -> tuple[int, int]:
    """How many brackets open before and close after row `number`: its own, and those of the blocks that it begins or ends."""

    def edges(at: int) -> int:
        count = 1
        for n in reversed(outer):
            at, rest = divmod(at, n)
            if rest:
                break
            count += 1
        return count

    return edges(number), edges(number + 1)


def _words(dtype: DType, data: bytes, precision: int | None) -> list[str]:
    """The elements in `data` as text. Types of 16 bits and less have few values: each is spelled once."""
    import numpy

    if dtype.kind == "c":
        return [text(dtype, item(dtype, data[at : at + dtype.nbytes]), precision) for at in range(0, len(data), dtype.nbytes)]
    values = numpy.frombuffer(data, to_numpy(dtype))
    if dtype.kind in "biu":
        return list(map(str, values.tolist()))
    if dtype.nbytes <= 2:
        codes, places = numpy.unique(numpy.frombuffer(data, f"u{dtype.nbytes}"), return_inverse=True)
        spelled = [text(dtype, item(dtype, code.tobytes()), precision) for code in codes]
        return [spelled[place] for place in places.tolist()]
    if precision is not None:
        return [text(dtype, value, precision) for value in values.tolist()]
    found: list[str] = values.astype(str).tolist()
    return found

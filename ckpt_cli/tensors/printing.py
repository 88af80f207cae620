"""The values of a tensor as text in numpy's brackets, or as nested lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..numbers.dtypes import DType, to_numpy
from ..numbers.text import text
from ..numbers.values import item, of_ml_dtypes
from .tensor import Tensor

_FEW = 1000  # values that are aligned; more are printed a block at a time
_BLOCK = 1 << 16  # values that are read at a time


def nested(tensor: Tensor) -> Any:
    """Return the values as nested lists of Python numbers; one number for a tensor without axes."""
    if tensor.shape == ():
        return item(tensor.dtype, tensor.tobytes())
    values = tensor.array()
    if of_ml_dtypes(values.dtype):
        values = values.astype("float32")
    return values.tolist()


def printed(tensor: Tensor, precision: int | None = None, most: int | None = None, wide: int = 120) -> Iterator[str]:
    """Yield the lines of the values in numpy's brackets.

    Args:
        tensor: a plain tensor.
        precision: the digits behind the point; without it, all those that the dtype has.
        most: the number of values from which on the middle is left out, and lines are broken, as numpy does it. Without it, all values
            are printed, each run along the last axis on a line; over 1,000 values are not aligned, but read and spelled block by block.
        wide: the characters of a line, where `most` is given.
    """
    if tensor.shape == ():
        yield text(tensor.dtype, item(tensor.dtype, tensor.tobytes()), precision)
    elif most is not None or tensor.numel <= _FEW:
        yield from _aligned(tensor, precision, most or _FEW, wide if most else 1 << 30).split("\n")
    else:
        yield from _rows(tensor, precision)


def _aligned(tensor: Tensor, precision: int | None, most: int, wide: int) -> str:
    """The values as numpy prints an array, in columns."""
    import numpy

    values = tensor.array()
    options: dict[str, Any] = {"threshold": most, "max_line_width": wide, "separator": " "}
    if of_ml_dtypes(values.dtype) or tensor.dtype.name == "float16":  # numpy prints the float16 12032 as 12030
        options["formatter"] = {"float_kind": lambda value: text(tensor.dtype, value, precision)}
        return numpy.array2string(values.astype("float32"), **options)
    if precision is None:
        return numpy.array2string(values, floatmode="unique", **options)
    return numpy.array2string(values, precision=precision, floatmode="fixed", suppress_small=True, **options)


def _rows(tensor: Tensor, precision: int | None) -> Iterator[str]:
    """A line for each run along the last axis: `[[1.0 2.0]`, ` [3.0 4.0]]`."""
    if not tensor.numel:
        yield "[]"
    for number, words in enumerate(runs(tensor, precision)):
        opens, closes = _brackets(number, tensor.shape[:-1])
        yield " " * (len(tensor.shape) - opens) + "[" * opens + " ".join(words) + "]" * closes


def runs(tensor: Tensor, precision: int | None = None) -> Iterator[list[str]]:
    """Yield the values as text, a list for each run along the last axis. They are read block by block.

    Args:
        tensor: a plain tensor; one without axes is one run.
        precision: the digits behind the point; without it, all those that the dtype has.
    """
    row, size = (tensor.shape or (1,))[-1], tensor.dtype.nbytes
    count = tensor.numel // row if row else 0
    elements = tensor.elements()
    step = max(1, _BLOCK // max(row, 1))
    for first in range(0, count, step):
        last = min(first + step, count)
        words = _words(tensor.dtype, elements.read(first * row * size, last * row * size), precision)
        yield from (words[at : at + row] for at in range(0, len(words), row))


def _brackets(number: int, outer: tuple[int, ...]) -> tuple[int, int]:
    """How many brackets open before and close after row `number`: its own, and those of the outer axes that begin or end there."""

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
    """The elements in `data` as text. A float of 16 bits or less has few values: each is spelled once."""
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
    words: list[str] = values.astype(str).tolist()
    return words

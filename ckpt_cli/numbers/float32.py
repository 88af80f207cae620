"""Small floats widened to float32, which holds them exactly, in buffers that are used again and again; float32 rounded to 16 bits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from .dtypes import DType, to_numpy

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]
    Block = bytes | bytearray | memoryview


class _Buffers(threading.local):
    """The buffers of a thread, by index and dtype."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[int, str], Array] = {}


_buffers = _Buffers()


def scratch(buffer_index: int, count: int, dtype: str = "float32") -> Array:
    """Return `count` elements of one of this thread's buffers, whose contents are arbitrary.

    Fresh memory for each block would cost as much as filling it.
    """
    import numpy

    key = (buffer_index, dtype)
    if key not in _buffers.arrays or _buffers.arrays[key].size < count:
        _buffers.arrays[key] = numpy.empty(count, dtype)
    return _buffers.arrays[key][:count]


def widened(block: Block, dtype: DType, wide: str = "float32", buffer_index: int = 0) -> Array:
    """Return floats as an array of a wider type.

    Args:
        block: the elements, little-endian.
        dtype: their type, no wider than `wide`.
        wide: float32 or float64.
        buffer_index: the scratch buffer that holds the result, unless the types are the same: then it is a view of the block.
    """
    import numkong
    import numpy

    values = numpy.frombuffer(block, to_numpy(dtype))
    if dtype.name == wide:
        return values
    into = scratch(buffer_index, values.size, wide)
    if dtype.nbytes == 2 and wide == "float32":
        numkong.astype(values, "float32", out=into)  # many times as fast as numpy
    else:
        into[:] = values
    return into


def narrowed(values: Array, dtype: DType, buffer_index: int = -1) -> memoryview:
    """Return float32 values as the bytes of elements of a smaller float, rounded to nearest even; beyond the largest they become infinite.

    Args:
        values: the values, contiguous.
        dtype: float32 or a smaller float.
        buffer_index: the scratch buffer that holds a result of 16 bits an element. One of float32 is a view of the values.
    """
    import numkong
    import numpy

    if dtype.name == "float32":
        return values.view("u1").data
    if dtype.nbytes != 2 or not values.size or numpy.isnan(values.max()):  # numkong rounds some NaN to infinity
        with numpy.errstate(all="ignore"):
            return values.astype(to_numpy(dtype)).view("u1").data
    into = scratch(buffer_index, values.size, "uint16").view(to_numpy(dtype))
    to: Any = dtype.name
    numkong.astype(values, to, out=into)  # many times as fast as numpy and ml_dtypes
    return into.view("u1").data


def halves(block: bytearray, buffer_index: int = 0) -> tuple[Array, Array]:
    """Return bfloat16 elements, which are the upper halves of a float32, as two float32 arrays: those of even index and those of odd index.

    The even ones are in a scratch buffer; the odd ones replace the block. Where the number of elements is odd, a zero is added.
    """
    import numpy

    pairs = numpy.frombuffer(block if len(block) % 4 == 0 else block + b"\0\0", "<u4")
    even = scratch(buffer_index, pairs.size)
    numpy.left_shift(pairs, numpy.uint32(16), out=even.view("<u4"))
    numpy.bitwise_and(pairs, numpy.uint32(0xFFFF0000), out=pairs)
    return even, pairs.view("<f4")

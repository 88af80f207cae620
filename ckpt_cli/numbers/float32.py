"""Small floats as float32, which holds them exactly, in buffers that are used again and again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from .dtypes import DType, to_numpy

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]
    Block = bytes | bytearray | memoryview


class _Own(threading.local):
    """The buffers of a thread."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[int, str], Array] = {}


_own = _Own()


def kept(slot: int, count: int, dtype: str = "float32") -> Array:
    """`count` elements of the buffer in a `slot`: fresh memory for each block costs as much as filling it."""
    import numpy

    if (slot, dtype) not in _own.buffers or _own.buffers[slot, dtype].size < count:
        _own.buffers[slot, dtype] = numpy.empty(count, dtype)
    return _own.buffers[slot, dtype][:count]


def widened(block: Block, dtype: DType, wide: str = "float32", slot: int = 0) -> Array:
    """Floats of a `dtype` that is no wider than `wide`: a view of the block, or what is in the buffer of `slot`."""
    import numkong
    import numpy

    values = numpy.frombuffer(block, to_numpy(dtype))
    if dtype.name == wide:
        return values
    into = kept(slot, values.size, wide)
    if dtype.nbytes == 2 and wide == "float32":
        numkong.astype(values, "float32", out=into)  # many times as fast as numpy
    else:
        into[:] = values
    return into


def halves(block: bytearray, slot: int = 0) -> tuple[Array, Array]:
    """Numbers in bfloat16 as float32, of which they are the upper halves: the even ones in the buffer of `slot`, the odd ones in place.

    The block is overwritten. Where the last one is an even one, a zero is behind it.
    """
    import numpy

    pairs = numpy.frombuffer(block if len(block) % 4 == 0 else block + b"\0\0", "<u4")
    even = kept(slot, pairs.size)
    numpy.left_shift(pairs, numpy.uint32(16), out=even.view("<u4"))
    numpy.bitwise_and(pairs, numpy.uint32(0xFFFF0000), out=pairs)
    return even, pairs.view("<f4")

"""Integers and small floats unpacked from bytes: a row of bytes becomes a row of values."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

# OCP Microscaling Formats 1.0, 5.3.3: sign, two bits of exponent, one of mantissa.
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)


def fields(data: Array, bits: int, count: int) -> Array:
    """Unpack integers of `bits` bits that follow one another, from the lowest bit of the first byte upwards, over all bytes of a row.

    Args:
        data: rows of bytes.
        bits: 1 to 8.
        count: how many integers a row has.
    """
    import numpy

    if bits == 8:
        return data[:, :count]
    if bits == 4:
        return nibbles(data)[:, :count]
    if 8 % bits == 0:
        shifts = numpy.arange(0, 8, bits, dtype="u1")
        small: Array = (data[:, :, None] >> shifts) & numpy.uint8((1 << bits) - 1)
        return small.reshape(len(data), -1)[:, :count]
    runs = -(-count // 8)  # eight integers take `bits` bytes
    padded = numpy.zeros((len(data), runs, bits), "u1")
    flat = padded.reshape(len(data), -1)
    flat[:, : data.shape[1]] = data[:, : flat.shape[1]]
    words = numpy.zeros((len(data), runs, 8), "u1")
    words[:, :, :bits] = padded
    shifts = numpy.arange(8, dtype="u8") * numpy.uint64(bits)
    integers: Array = (words.view("<u8") >> shifts) & numpy.uint64((1 << bits) - 1)
    return integers.astype("u1").reshape(len(data), -1)[:, :count]


def nibbles(data: Array, high_first: bool = False) -> Array:
    """Unpack two integers of 4 bits from each byte; the low ones come first, unless `high_first`."""
    wide = data.astype("<u2")
    wide = (wide << 8 | wide >> 4) if high_first else (wide | wide << 4)
    wide &= 0x0F0F
    return wide.view("u1").reshape(*data.shape[:-1], -1)


def small_floats(data: Array, dtype: str) -> Array:
    """Decode bytes that are each a float of 8 bits (a dtype of ml_dtypes) to float32, by a table."""
    if data.shape[-1] % 2:
        return _table(dtype).take(data)
    found: Array = _pairs(dtype).take(data.view("<u2"), mode="wrap").view("f4")  # 16 bits are never outside: `wrap` skips the check
    return found


@cache
def _table(dtype: str) -> Array:
    """The values of all bytes."""
    import ml_dtypes
    import numpy

    table: Array = numpy.arange(256, dtype="u1").view(getattr(ml_dtypes, dtype)).astype("f4")
    return table


@cache
def _pairs(dtype: str) -> Array:
    """The values of all pairs of bytes, as one number of 8 bytes each: half as many are looked up."""
    import numpy

    both: Array = _table(dtype).take(numpy.arange(1 << 16, dtype="<u2").view("u1").reshape(-1, 2))
    return both.view("u8").reshape(-1)


def table_pairs(table: Any, data: Array, high_first: bool = False) -> Array:
    """Look up both halves of each byte in a table of 16 float32 at once."""
    import numpy

    values = numpy.asarray(table, "f4")
    both = nibbles(numpy.arange(256, dtype="u1")[:, None], high_first)
    pairs = values[both].view("u8").reshape(-1)
    found: Array = pairs.take(data).view("f4")
    return found

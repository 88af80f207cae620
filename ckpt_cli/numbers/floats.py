"""What floats cannot hold: one table of their infinities and NaNs, which all that judges values asks.

IEEE floats are compared as integers: without the sign bit, infinities and NaNs have the largest bits (IEEE 754, 3.4). The 8-bit ones are
those of ml_dtypes (`fn`: no infinity; `uz`: no negative zero, whose bits are the one NaN).
"""

from __future__ import annotations

from typing import NamedTuple

from .dtypes import DType


class FloatFacts(NamedTuple):
    """What is known of a float.

    Attributes:
        least: the smallest bits, without the sign, of an element that is not finite; 0 where `only` says it.
        only: the bytes of the only element that is not finite.
        infinite: whether it has infinities.
        cast_to: whether torch computes in float32 for it and casts; it draws nothing in it directly.
    """

    least: int
    only: bytes = b""
    infinite: bool = True
    cast_to: bool = False


FLOATS = {
    "float16": FloatFacts(0x7C00),
    "bfloat16": FloatFacts(0x7F80),
    "float32": FloatFacts(0x7F800000),
    "float64": FloatFacts(0x7FF0000000000000),
    "complex32": FloatFacts(0x7C00),
    "complex64": FloatFacts(0x7F800000),
    "complex128": FloatFacts(0x7FF0000000000000),
    "float8_e5m2": FloatFacts(0x7C, cast_to=True),
    "float8_e4m3fn": FloatFacts(0x7F, infinite=False, cast_to=True),
    "float8_e4m3fnuz": FloatFacts(0, b"\x80", infinite=False, cast_to=True),
    "float8_e5m2fnuz": FloatFacts(0, b"\x80", infinite=False, cast_to=True),
    "float8_e4m3b11fnuz": FloatFacts(0, b"\x80", infinite=False),
    "float8_e8m0fnu": FloatFacts(0, b"\xff", infinite=False),
}


def has_infinity(dtype: DType) -> bool:
    """Return whether a float has infinities. One that is not in the table may have."""
    return dtype.name not in FLOATS or FLOATS[dtype.name].infinite


def all_finite(dtype: DType, block: bytes | bytearray | memoryview) -> bool:
    """Return False if a block has a NaN or an infinity. For a dtype that is not in the table, False means that it may have one.

    The maxima as signed and as unsigned integers decide, which takes no longer than reading the block.
    """
    facts = FLOATS.get(dtype.name)
    if facts is None:
        return False
    if facts.only:
        return facts.only not in bytes(block)
    import numpy

    bits = numpy.frombuffer(block, f"<u{dtype.part}")
    if not bits.size:
        return True
    sign = 1 << (8 * dtype.part - 1)
    return bool(numpy.maximum.reduce(bits.view(f"<i{dtype.part}")) < facts.least and numpy.maximum.reduce(bits) < sign | facts.least)

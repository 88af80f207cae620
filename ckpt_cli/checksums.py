"""CRC-32 as arithmetic: of two runs joined, and of a run in which a part was exchanged, without reading either again.

A CRC is linear over the polynomials modulo x^32 + x^26 + … + 1: appending n bytes multiplies by x^(8n). Bits are reflected, as in zlib's
crc32.c: the highest bit stands for x^0.
"""

from __future__ import annotations

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31


def joined(first: int, second: int, nbytes: int) -> int:
    """The CRC-32 of two runs one after the other; `nbytes`: the length of the second."""
    return _shifted(first, nbytes) ^ second


def exchanged(whole: int, old: int, new: int, after: int) -> int:
    """The CRC-32 of a run in which a part, whose CRC-32 was `old`, is exchanged for one as long; `after`: the bytes behind that part."""
    return whole ^ _shifted(old ^ new, after)


def _shifted(crc: int, nbytes: int) -> int:
    """`crc` · x^(8 · nbytes), by repeated squaring."""
    power, square = _ONE, _ONE >> 8  # x^0, x^8
    while nbytes:
        if nbytes & 1:
            power = _product(power, square)
        square = _product(square, square)
        nbytes >>= 1
    return _product(power, crc)


def _product(a: int, b: int) -> int:
    found = 0
    while a:
        if a & _ONE:
            found ^= b
        a = a << 1 & 0xFFFFFFFF
        b = b >> 1 ^ _POLYNOMIAL if b & 1 else b >> 1
    return found

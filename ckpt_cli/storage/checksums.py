"""CRCs of 32 bits as arithmetic: of two runs joined, and of a run in which a part was exchanged, without reading either again.

A CRC is linear over the polynomials modulo x^32 + … + 1: appending n bytes multiplies by x^(8n). Bits are reflected, as in zlib's
crc32.c: the highest bit stands for x^0.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

_ONE = 1 << 31


class Crc:
    """One such checksum. `update(data, crc)`: the checksum of all bytes so far, as of zlib.crc32."""

    def __init__(self, name: str, polynomial: int, update: Callable[[bytes | bytearray | memoryview, int], int]) -> None:
        self.name, self.polynomial, self.update = name, polynomial, update

    def of(self, data: bytes | bytearray | memoryview) -> int:
        return self.update(data, 0)

    def joined(self, first: int, second: int, nbytes: int) -> int:
        """The checksum of two runs one after the other; `nbytes`: the length of the second."""
        return self.product(self.power(nbytes), first) ^ second

    def exchanged(self, whole: int, old: int, new: int, after: int) -> int:
        """The checksum of a run in which a part, whose own was `old`, is exchanged for one as long; `after`: the bytes behind that part."""
        return whole ^ self.product(self.power(after), old ^ new)

    def power(self, nbytes: int) -> int:
        """x^(8 · nbytes), by repeated squaring."""
        power, square = _ONE, _ONE >> 8  # x^0, x^8
        while nbytes:
            if nbytes & 1:
                power = self.product(power, square)
            square = self.product(square, square)
            nbytes >>= 1
        return power

    def product(self, a: int, b: int) -> int:
        found = 0
        while a:
            if a & _ONE:
                found ^= b
            a = a << 1 & 0xFFFFFFFF
            b = b >> 1 ^ self.polynomial if b & 1 else b >> 1
        return found


CRC32 = Crc("CRC-32", 0xEDB88320, lambda data, crc: crc32(data, crc))

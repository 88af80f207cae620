"""CRCs of 32 bits as arithmetic: the checksum of two runs joined, or of a run with a part exchanged, without reading the runs again.

A CRC is linear over polynomials modulo one of degree 32: appending n bytes multiplies by x^(8n). Bits are reflected, as in zlib's crc32.c:
the highest bit stands for x^0.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

_ONE = 1 << 31


class Crc:
    """A kind of CRC.

    Attributes:
        name: what it is called.
        polynomial: its polynomial, reflected, without x^32.
        update: the checksum after more bytes, from those bytes and the checksum so far, as zlib.crc32 does it.
    """

    def __init__(self, name: str, polynomial: int, update: Callable[[bytes | bytearray | memoryview, int], int]) -> None:
        self.name, self.polynomial, self.update = name, polynomial, update

    def of(self, data: bytes | bytearray | memoryview) -> int:
        """Return the checksum of `data`."""
        return self.update(data, 0)

    def joined(self, first: int, second: int, nbytes: int) -> int:
        """Return the checksum of two runs, one after the other, from those of each; `nbytes` is the length of the second."""
        return self.product(self.power(nbytes), first) ^ second

    def exchanged(self, whole: int, old: int, new: int, after: int) -> int:
        """Return the checksum of a run in which one part is exchanged for another of the same length.

        Args:
            whole: the checksum of the run before.
            old: that of the part before.
            new: that of the part after.
            after: the number of bytes behind the part.
        """
        return whole ^ self.product(self.power(after), old ^ new)

    def power(self, nbytes: int) -> int:
        """Return x^(8 · nbytes), by repeated squaring."""
        power, square = _ONE, _ONE >> 8  # x^0, x^8
        while nbytes:
            if nbytes & 1:
                power = self.product(power, square)
            square = self.product(square, square)
            nbytes >>= 1
        return power

    def product(self, a: int, b: int) -> int:
        """Return the product of two polynomials, modulo the one of this checksum."""
        product = 0
        while a:
            if a & _ONE:
                product ^= b
            a = a << 1 & 0xFFFFFFFF
            b = b >> 1 ^ self.polynomial if b & 1 else b >> 1
        return product


CRC32 = Crc("CRC-32", 0xEDB88320, lambda data, crc: crc32(data, crc))

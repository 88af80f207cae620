"""CRC-32C (Castagnoli) with numpy, on many words at once. Polynomial and test values: RFC 3720, B.4.

Data are taken in rows of 4,096 words, each word a polynomial. To append a row, the sum of the rows before it is shifted by the length of a
row (for each word, two looked-up values are added), and the new row is added. At the end the words of the one row that is left are folded:
its first half is shifted by the length of the second and added to it, until one word is left.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from .checksums import Crc

_ONES = 0xFFFFFFFF
_WORDS = 4096
_ROW = 4 * _WORDS
_SMALL = 1024  # data shorter than this are faster byte by byte
_BEFORE_NUMPY = 1 << 18  # the same, where numpy is not imported yet


def crc32c(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """Return the CRC-32C of all bytes so far: those whose checksum is `crc`, then `data`."""
    if len(data) < (_SMALL if "numpy" in sys.modules else _BEFORE_NUMPY):
        return _byte_by_byte(data, crc)
    start = CRC32C.product(CRC32C.power(len(data)), crc ^ _ONES)
    return _register(data) ^ start ^ _ONES


def _byte_by_byte(data: bytes | bytearray | memoryview, crc: int) -> int:
    table, crc = _byte_table(), crc ^ _ONES
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ _ONES


def _register(data: bytes | bytearray | memoryview) -> int:
    """The remainder of `data` alone. Zeros, which do not change it, are put in front to fill the first row."""
    import numpy

    head = len(data) % _ROW
    row = numpy.zeros(_ROW, "u1")
    row[_ROW - head :] = numpy.frombuffer(data, "u1", head)
    words = row.view("<u4")
    low, high = _halves(_ROW)
    for at in range(head, len(data), _ROW):
        parts = words.view("<u2")
        words = low.take(parts[::2]) ^ high.take(parts[1::2])
        words ^= numpy.frombuffer(data, "<u4", _WORDS, at)
    while len(words) > 1:
        half = len(words) // 2
        parts = words[:half].view("<u2")
        low, high = _halves(4 * half)
        words = low.take(parts[::2]) ^ high.take(parts[1::2]) ^ words[half:]
    return CRC32C.product(CRC32C.power(4), int(words[0]))


@cache
def _halves(nbytes: int) -> tuple[Any, Any]:
    """Two tables: what the lower and the upper 16 bits of a word become when it is shifted by `nbytes` bytes."""
    import numpy

    power = CRC32C.power(nbytes)
    tables = []
    for first in (0, 16):
        table = numpy.zeros(1 << 16, "<u4")
        for bit in range(16):
            table[1 << bit : 2 << bit] = table[: 1 << bit] ^ numpy.uint32(CRC32C.product(power, 1 << first + bit))
        tables.append(table)
    return tables[0], tables[1]


@cache
def _byte_table() -> list[int]:
    power = CRC32C.power(1)
    return [CRC32C.product(power, byte) for byte in range(256)]


CRC32C = Crc("CRC-32C", 0x82F63B78, crc32c)

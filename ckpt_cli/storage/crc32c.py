"""CRC-32C (Castagnoli), with numpy: many words side by side, each as a polynomial that is shifted to its place and added.

A row of 4,096 words is taken at a time. The rows before it are shifted by the length of a row, which is a sum of two looked-up values for
each word; at the end the words of the one row that is left are folded, half over half. Polynomial and test values: RFC 3720, B.4.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from .checksums import Crc

_ONES = 0xFFFFFFFF
_WORDS = 4096
_ROW = 4 * _WORDS
_SMALL = 1024  # bytes that are done sooner one by one
_BEFORE_NUMPY = 1 << 18  # the same, where numpy would have to be imported


def crc32c(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """The checksum of all bytes so far; `crc` that of those before."""
    if len(data) < (_SMALL if "numpy" in sys.modules else _BEFORE_NUMPY):
        return _one_by_one(data, crc)
    start = CRC32C.product(CRC32C.power(len(data)), crc ^ _ONES)
    return _register(data) ^ start ^ _ONES


def _one_by_one(data: bytes | bytearray | memoryview, crc: int) -> int:
    table, crc = _bytes(), crc ^ _ONES
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ _ONES


def _register(data: bytes | bytearray | memoryview) -> int:
    """What `data` alone come to: they are begun with zeros, which are nothing, up to a whole row."""
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
    """What the lower and the upper 16 bits of a word become where it is shifted by `nbytes` bytes."""
    import numpy

    power = CRC32C.power(nbytes)
    found = []
    for first in (0, 16):
        table = numpy.zeros(1 << 16, "<u4")
        for bit in range(16):
            table[1 << bit : 2 << bit] = table[: 1 << bit] ^ numpy.uint32(CRC32C.product(power, 1 << first + bit))
        found.append(table)
    return found[0], found[1]


@cache
def _bytes() -> list[int]:
    power = CRC32C.power(1)
    return [CRC32C.product(power, byte) for byte in range(256)]


CRC32C = Crc("CRC-32C", 0x82F63B78, crc32c)

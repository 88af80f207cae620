"""Fingerprints: the checksums by which a file that was edited is known again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from zlib import crc32

from ..storage.descriptors import open_descriptor, read_at

_END = 1 << 16
_SAMPLES, _PAGE = 64, 4096


def size_and_fingerprint(path: str) -> tuple[int, int]:
    """Size in bytes, and fingerprint, of the file at `path`."""
    with open_descriptor(path, os.O_RDONLY) as fd:
        return os.fstat(fd).st_size, fingerprint(fd, ())


def fingerprint(fd: int, extents: Sequence[tuple[int, int]]) -> int:
    """The CRC-32 of both ends of an open file and of pages all over it, with zeros for the bytes in `extents`.

    Args:
        fd: The open file.
        extents: Offset and length of the runs that an edit overwrites; it leaves this fingerprint as it is.
    """
    size, crc = os.fstat(fd).st_size, 0
    samples = [(size * number // _SAMPLES, _PAGE) for number in range(_SAMPLES)]
    for start, length in ((0, _END), (max(0, size - _END), _END), *samples):
        data = bytearray(read_at(fd, start, length))
        for at, count in extents:
            low, high = max(at - start, 0), min(at + count - start, len(data))
            if low < high:
                data[low:high] = bytes(high - low)
        crc = crc32(data, crc)
    return crc

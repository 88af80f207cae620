"""Pickles that joblib compressed: the whole file is one stream of zlib, gzip, bzip2, xz or LZMA.

As in joblib/compressor.py. What they hold cannot be read where it lies: it is decompressed into memory, within bounds.
"""

from __future__ import annotations

from typing import Any

from ...errors import Malformed, ReadError
from ...storage.file import File

_MOST = 1 << 30  # bytes that are held in memory
_MOST_RATIO = 2000  # of those bytes, and those of the file: what deflate reaches on zeros is 1,032
_SMALL = 1 << 20  # bytes that a file may decompress to, whatever its size
_PIECE = 1 << 20

# The first byte → the module that decompresses what follows.
_MODULES = {b"\x78": "zlib", b"\x1f": "gzip", b"B": "bz2", b"\xfd": "lzma", b"\x5d": "lzma"}


def beginning(file: File, most: int) -> bytes:
    """The first decompressed bytes; none where they cannot be decompressed."""
    try:
        return _decompress(file, most)
    except Malformed:
        return b""


def decompressed(file: File) -> bytes:
    """All that a compressed file holds.

    Raises:
        Malformed: The data are broken or cut off.
        ReadError: They are too many.
    """
    most = min(_MOST, max(_SMALL, _MOST_RATIO * file.size))
    data = _decompress(file, most + 1)
    if len(data) > most:
        raise ReadError(
            f"it decompresses to over {most:,} bytes, which is not held in memory", "load it in Python, and save it without compression"
        )
    return data


def _decompress(file: File, most: int) -> bytes:
    """At most `most` bytes of what the file decompresses to."""
    machine, made, at = _machine(file.head), bytearray(), 0
    try:
        while len(made) < most and not machine.eof and (at < file.size or _is_full(machine)):
            count = 0 if _is_full(machine) else min(_PIECE, file.size - at)
            piece = getattr(machine, "unconsumed_tail", b"") or file.read(at, count)
            at += count
            made += machine.decompress(piece, most - len(made))
    except Exception as error:  # the exceptions of the modules have no common base
        raise Malformed(f"its compressed data are broken: {' '.join(str(error).split())}") from None
    if len(made) < most and not machine.eof:
        raise Malformed("truncated: its compressed data end early", "download or copy it again")
    if machine.eof and (machine.unused_data or at < file.size):
        raise Malformed("bytes stand after the end of its compressed data")
    return bytes(made)


def _is_full(machine: Any) -> bool:
    """Whether bytes that were given are still to be decompressed."""
    return bool(getattr(machine, "unconsumed_tail", b"")) or not getattr(machine, "needs_input", True)


def _machine(head: bytes) -> Any:
    """What decompresses data with such a beginning, piece by piece."""
    module = _MODULES[head[:1]]
    if module == "bz2":
        from bz2 import BZ2Decompressor

        return BZ2Decompressor()
    if module == "lzma":
        from lzma import LZMADecompressor

        return LZMADecompressor()
    from zlib import decompressobj

    return decompressobj(31 if module == "gzip" else 15)

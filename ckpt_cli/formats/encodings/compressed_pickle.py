"""Pickles that joblib compressed: the whole file is one stream of zlib, gzip, bzip2, xz or LZMA.

As in joblib/compressor.py. What they hold cannot be read where it lies: it is decompressed into memory, within bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    """The first bytes, `most` of them or a few more; fewer where the data are cut off, none where they are broken."""
    made = bytearray()
    try:
        for piece in _pieces(file, _machine(file.head), most):
            made += piece
    except Malformed:
        return b""
    return bytes(made)


def decompressed(file: File) -> bytes:
    """All that a compressed file holds.

    Raises:
        Malformed: The data are broken or cut off, or something follows them.
        ReadError: They are too many.
    """
    most = min(_MOST, max(_SMALL, _MOST_RATIO * file.size))
    machine, made = _machine(file.head), bytearray()
    for piece in _pieces(file, machine, most + 1):
        made += piece
    if len(made) > most:
        raise ReadError(f"it decompresses to over {most:,} bytes", "load it in Python, and save it without compression")
    if not machine.eof:
        raise Malformed("truncated: its compressed data end early", "download or copy it again")
    return bytes(made)


def _pieces(file: File, machine: Any, most: int) -> Iterator[bytes]:
    """What the file decompresses to, up to `most` bytes. Raises Malformed where it is broken, or goes on after the compressed data."""
    made = at = 0
    while made < most and not machine.eof and (at < file.size or _is_full(machine)):
        count = 0 if _is_full(machine) else min(_PIECE, file.size - at)
        source = getattr(machine, "unconsumed_tail", b"") or file.read(at, count)
        at += count
        try:
            piece = machine.decompress(source, most - made)
        except Exception as error:  # the exceptions of the modules have no common base
            raise Malformed(f"its compressed data are broken: {' '.join(str(error).split())}") from None
        made += len(piece)
        yield piece
    if machine.eof and (machine.unused_data or at < file.size):
        raise Malformed("bytes stand after the end of its compressed data")


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

"""Compressed files: gzip, zlib, bzip2, xz and lzma, as joblib writes them and as tars are packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..storage.file import File
from ..storage.memory_file import MemoryFile
from . import Search, within

_BLOCK = 1 << 20
MOST_OF_ONE = 256 << 20


def _zlib() -> Any:
    import zlib

    return zlib.decompressobj(47)  # gzip or zlib, whichever the header says


def _raw_deflate() -> Any:
    import zlib

    return zlib.decompressobj(-15)


def _bz2() -> Any:
    import bz2

    return bz2.BZ2Decompressor()


def _lzma() -> Any:
    import lzma

    return lzma.LZMADecompressor(memlimit=1 << 28)


# The first bytes: RFC 1952, RFC 1950 (the usual levels), bzip2, the .xz format, lzma as liblzma writes it.
_BY_MAGIC: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": _zlib, b"x\x01": _zlib, b"x\x5e": _zlib, b"x\x9c": _zlib, b"x\xda": _zlib,
    b"BZh": _bz2, b"\xfd7zXZ\0": _lzma, b"]\0\0": _lzma,
}  # fmt: skip
SURELY_COMPRESSED = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0")
WEAKLY_COMPRESSED = tuple(magic for magic in _BY_MAGIC if not magic.startswith(SURELY_COMPRESSED))
BY_METHOD = {8: _raw_deflate, 12: _bz2}  # of a zip (APPNOTE 4.4.5)


def begins_to_inflate(head: bytes) -> bool:
    """Whether the first bytes of a file are compressed data, or those of such data as far as they tell."""
    begin = next(make for magic, make in _BY_MAGIC.items() if head.startswith(magic))
    try:
        begin().decompress(head)
    except _errors():
        return False
    return True


def scan_compressed(search: Search, file: File, place: str) -> bool:
    """Search what compressed data hold."""
    begin = next(make for magic, make in _BY_MAGIC.items() if file.head.startswith(magic))
    data, wrong = inflate(search, file, begin)
    inner = within(place, "decompressed")
    if wrong:
        search.unread(f"the compressed data: {wrong}", place)
    if data and not search.look(MemoryFile(file.path, data), inner):
        search.unread("it is of no kind that is known here", inner)
    return True


def inflate(search: Search, file: File, begin: Callable[[], Any]) -> tuple[bytes, str]:
    """Inflate a file of one or more compressed streams, up to a limit.

    Returns:
        What it holds, and what is wrong with the rest; empty where nothing is.
    """
    made, at, pending = bytearray(), 0, b""
    stream, wrong = begin(), ""
    most = min(MOST_OF_ONE, search.inflated)
    try:
        while len(made) <= most:
            if not pending and at < file.size and getattr(stream, "needs_input", True):
                pending = file.read(at, min(_BLOCK, file.size - at))
                at += len(pending)
            more = stream.decompress(pending, _BLOCK)
            made += more
            pending = getattr(stream, "unconsumed_tail", b"")
            if stream.eof:
                pending = stream.unused_data
                if not pending and at >= file.size:
                    break
                stream = begin()
            elif not pending and not more and at >= file.size:
                wrong = "it is cut off"
                break
        else:
            wrong = f"what it inflates to beyond {most:,} bytes was not looked at"
    except _errors() as error:
        wrong = f"{str(error)[:80] or 'it is broken'}"
    search.inflated -= len(made)
    return bytes(made), wrong


def _errors() -> tuple[type[Exception], ...]:
    import lzma
    import zlib

    return OSError, EOFError, ValueError, zlib.error, lzma.LZMAError

"""Compressed runs of bytes, decoded from front to back in little memory: zstd and gzip.

zstd is Python's own from 3.14 on, and before that the optional package `zstandard`.
"""

from __future__ import annotations

from typing import Any

from ..errors import Malformed, ReadError
from .storage import BLOCK, Storage

_WIDEST = 1 << 27  # bytes of a window: what zstd itself allows unless it is told otherwise


class _Source:
    """A storage as a file that is read from front to back."""

    def __init__(self, storage: Storage) -> None:
        self.storage, self.at = storage, 0

    def read(self, size: int = -1) -> bytes:
        stop = self.storage.nbytes if size < 0 else min(self.storage.nbytes, self.at + size)
        data = self.storage.read(self.at, stop)
        self.at = stop
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        pass


def _zstd(source: _Source) -> Any:
    try:
        from compression.zstd import DecompressionParameter, ZstdFile  # type: ignore[import-not-found,unused-ignore]

        return ZstdFile(source, options={DecompressionParameter.window_log_max: 27})
    except ImportError:
        pass
    try:
        from zstandard import ZstdDecompressor
    except ImportError:
        raise ReadError("its arrays are compressed with zstd", "pip install 'ckpt-tool[jax]'") from None
    return ZstdDecompressor(max_window_size=_WIDEST).stream_reader(source, read_across_frames=True)  # type: ignore[arg-type,unused-ignore]


def _gzip(source: _Source) -> Any:
    from gzip import GzipFile

    return GzipFile(fileobj=source, mode="rb")  # type: ignore[call-overload]


_READERS = {"zstd": _zstd, "gzip": _gzip}
CODECS = tuple(_READERS)


class Decoded(Storage):
    """The `nbytes` bytes that `of` holds compressed. Read it from front to back; going back starts again. It must end where it should."""

    __slots__ = ("_at", "_reader", "codec", "of")

    def __init__(self, of: Storage, codec: str, nbytes: int) -> None:
        self.of, self.codec, self.nbytes = of, codec, nbytes
        self._reader: Any = None
        self._at = 0

    def divisible(self) -> bool:
        return False

    def readinto(self, start: int, view: memoryview) -> None:
        if self._reader is None or start < self._at:
            self._reader, self._at = _READERS[self.codec](_Source(self.of)), 0
        while self._at < start:
            self._take(min(BLOCK, start - self._at))
        done = 0
        while done < len(view):
            data = self._take(min(BLOCK, len(view) - done))
            view[done : done + len(data)] = data
            done += len(data)
        if self._at == self.nbytes:
            if self._read(1):
                raise self._wrong("longer")
            self._reader = None

    def _take(self, count: int) -> bytes:
        data = self._read(count)
        if not data:
            raise self._wrong("shorter")
        self._at += len(data)
        return data

    def _read(self, count: int) -> bytes:
        try:
            data: bytes = self._reader.read(count)
        except ReadError:
            raise
        except Exception as error:  # each library has a family of its own, and none in common
            self._reader = None
            raise Malformed(f"its {self.codec} data are broken: {' '.join(str(error).split()) or type(error).__name__}") from None
        return data

    def _wrong(self, how: str) -> Malformed:
        self._reader = None
        return Malformed(f"its {self.codec} data are {how} than the {self.nbytes:,} bytes that they should hold")


def decoded(data: Storage, codec: str, most: int) -> bytes:
    """All that `data` hold, which is at most `most` bytes. Raises Malformed."""
    reader = Decoded(data, codec, most + 1)
    reader._reader = _READERS[codec](_Source(data))
    found = bytearray()
    while block := reader._read(BLOCK):
        found += block
        if len(found) > most:
            raise Malformed(f"its {codec} data hold over {most:,} bytes")
    return bytes(found)

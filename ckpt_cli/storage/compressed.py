"""Data compressed with zstd or gzip, decompressed from front to back in little memory.

zstd is Python's own module from 3.14 on, and before that the optional package `zstandard`.
"""

from __future__ import annotations

from typing import Any

from ..errors import CkptError, Malformed, ReadError
from .sequential import Sequential
from .storage import READ_SIZE, Storage

_WIDEST = 27  # log2 of the bytes of a zstd window: the limit that zstd itself has by default


class _Source:
    """A storage as a file that is read from front to back, as decompressors want it."""

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

        return ZstdFile(source, options={DecompressionParameter.window_log_max: _WIDEST})
    except ImportError:
        pass
    try:
        from zstandard import ZstdDecompressor
    except ImportError:
        raise ReadError("its arrays are compressed with zstd", "pip install 'ckpt-tool[jax]'") from None
    return ZstdDecompressor(max_window_size=1 << _WIDEST).stream_reader(source, read_across_frames=True)  # type: ignore[arg-type,unused-ignore]


def _gzip(source: _Source) -> Any:
    from gzip import GzipFile

    return GzipFile(fileobj=source, mode="rb")  # type: ignore[call-overload]


_READERS = {"zstd": _zstd, "gzip": _gzip}
CODECS = tuple(_READERS)


def _read(reader: Any, codec: str, count: int) -> bytes:
    """At most `count` decompressed bytes; none at the end."""
    try:
        data: bytes = reader.read(count)
    except ReadError:
        raise
    except Exception as error:  # the exceptions of the libraries have no common base
        raise Malformed(f"its {codec} data are broken: {' '.join(str(error).split()) or type(error).__name__}") from None
    return data


class Decompressed(Sequential):
    """The `nbytes` bytes that `of` holds compressed with `codec` (one of CODECS). More or fewer bytes are Malformed."""

    __slots__ = ("_reader", "codec", "of")

    def __init__(self, of: Storage, codec: str, nbytes: int) -> None:
        self.of, self.codec = of, codec
        super().__init__(nbytes)
        self.release()

    def begin(self) -> None:
        """Open the decompressor."""
        self._reader: Any = _READERS[self.codec](_Source(self.of))

    def produce(self, wanted: int) -> bytes:
        """Return up to `wanted` decompressed bytes."""
        return _read(self._reader, self.codec, min(READ_SIZE, wanted))

    def finish(self, surplus: bool) -> None:
        """Raise Malformed where the data go on."""
        if self.produce(1):
            raise self._wrong_length("longer")

    def ended_early(self) -> CkptError:
        """Return the error for data that end too early."""
        return self._wrong_length("shorter")

    def release(self) -> None:
        """Close the decompressor."""
        self._reader = None

    def _wrong_length(self, how: str) -> Malformed:
        return Malformed(f"its {self.codec} data are {how} than the {self.nbytes:,} bytes that they should hold")


def decompressed(data: Storage, codec: str, most: int) -> bytes:
    """Return all that `data` hold.

    Raises:
        Malformed: the data are broken, or hold over `most` bytes.
    """
    reader, result = _READERS[codec](_Source(data)), bytearray()
    while block := _read(reader, codec, READ_SIZE):
        result += block
        if len(result) > most:
            raise Malformed(f"its {codec} data hold over {most:,} bytes")
    return bytes(result)

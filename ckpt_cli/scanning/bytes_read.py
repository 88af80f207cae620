"""Bytes that are searched: a part of a file, and a reader that goes through them from front to back."""

from __future__ import annotations

from ..storage.file import File, FileWindow

_AHEAD = 1 << 16


def part(file: File, start: int, nbytes: int | None = None) -> File:
    """The bytes of `file` from `start` on, as a file. Raises Malformed where there are fewer than `nbytes`."""
    return FileWindow(file, start, file.size - start if nbytes is None else nbytes)


class Reader:
    """Reads a file from byte `at` on. Raises EOFError at its end."""

    __slots__ = ("_data", "_start", "at", "file")

    def __init__(self, file: File, at: int = 0) -> None:
        self.file, self.at = file, at
        self._start, self._data = at, b""

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        begin = self.at - self._start
        if count < 0 or self.at + count > self.file.size:
            raise EOFError
        if begin < 0 or begin + count > len(self._data):
            self._start, begin = self.at, 0
            self._data = self.file.read(self.at, min(max(count, _AHEAD), self.file.size - self.at))
        self.at += count
        return self._data[begin : begin + count]

    def skip(self, count: int) -> int:
        """Pass over `count` bytes without reading them, and return where they begin."""
        if count < 0 or self.at + count > self.file.size:
            raise EOFError
        self.at += count
        return self.at - count

    def line(self, most: int) -> bytes:
        """The bytes up to the next newline, which is passed over. Raises ValueError where a line is longer than `most`.

        Where there is none, all bytes but the last one, if there are any: Lib/pickle.py takes that for the newline.
        """
        start, parts = self.at, b""
        while True:
            piece = self.take(min(_AHEAD, self.file.size - self.at))
            end = piece.find(b"\n")
            if end >= 0:
                self.at = start + len(parts) + end + 1
                return parts + piece[:end]
            parts += piece
            if not piece:
                return parts[:-1]
            if len(parts) > most:
                raise ValueError(f"a line of over {most:,} bytes")

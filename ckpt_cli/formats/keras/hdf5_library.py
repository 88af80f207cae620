"""The library h5py, and the file-like objects that it reads from and writes to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

_PAGE = 4096  # bytes


def library() -> Any:
    """Import h5py without starting another program.

    On import h5py reads all of platform.uname(), and for the field `processor` Python runs the program `uname`.
    """
    import platform

    vars(platform.uname()).setdefault("processor", "")
    import h5py

    return h5py


class _Seekable:
    """A position `at` in `size` bytes."""

    def __init__(self, size: int) -> None:
        self.size, self.at = size, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move as in io.IOBase.seek; return the new position."""
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        """Return the position."""
        return self.at

    def flush(self) -> None:
        """Do nothing: there is no buffer."""


class ReadOnlyFile(_Seekable):
    """`size` bytes that `pread(offset, count)` returns."""

    def __init__(self, pread: Callable[[int, int], bytes], size: int) -> None:
        """Start at the first byte."""
        super().__init__(size)
        self.pread = pread

    def readinto(self, view: memoryview) -> int:
        """Fill `view` from the position on, as far as the file goes; return how many bytes were read."""
        count = max(0, min(len(view), self.size - self.at))
        view[:count] = self.pread(self.at, count)
        self.at += count
        return count

    def read(self, count: int = -1) -> bytes:
        """Read up to `count` bytes; all that are left where it is negative."""
        count = self.size - self.at if count < 0 else max(0, min(count, self.size - self.at))
        self.at += count
        return bytes(self.pread(self.at - count, count))

    def write(self, data: object) -> int:
        """Refuse to write: raise OSError."""
        raise OSError("read-only")

    def truncate(self, size: int | None = None) -> int:
        """Refuse to change the size: raise OSError."""
        raise OSError("read-only")


class SparseFile(_Seekable):
    """A file in memory, of which only the pages that were written take room. What was not written reads as zeros."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__(0)
        self.pages: dict[int, bytearray] = {}

    def write(self, data: bytes | memoryview) -> int:
        """Write all of `data` at the position."""
        zeros = len(data) >= _PAGE and bytes(data) == bytes(len(data))
        for at, page, skip, count in self._spans(len(data)):
            if page not in self.pages:
                before = self.unwritten(page)
                if zeros and not any(before):
                    continue
                self.pages[page] = bytearray(before)
            self.pages[page][skip : skip + count] = data[at : at + count]
        self.at += len(data)
        self.size = max(self.size, self.at)
        return len(data)

    def readinto(self, view: memoryview) -> int:
        """Fill all of `view` from the position on."""
        for at, page, skip, count in self._spans(len(view)):
            view[at : at + count] = (self.pages.get(page) or self.unwritten(page))[skip : skip + count]
        self.at += len(view)
        return len(view)

    def read(self, count: int) -> bytes:
        """Read `count` bytes."""
        data = bytearray(count)
        self.readinto(memoryview(data))
        return bytes(data)

    def truncate(self, size: int) -> int:
        """Set the size in bytes."""
        self.size = size
        return size

    def unwritten(self, page: int) -> bytes:
        """Return the bytes of a page before it was written to."""
        return bytes(_PAGE)

    def _spans(self, length: int) -> Iterator[tuple[int, int, int, int]]:
        """Divide `length` bytes from the position on by pages: offset in them, number of the page, offset in it, count."""
        done = 0
        while done < length:
            page, skip = divmod(self.at + done, _PAGE)
            count = min(_PAGE - skip, length - done)
            yield done, page, skip, count
            done += count


class ChangedFile(SparseFile):
    """A file that `pread(offset, count)` returns, and that is changed in memory alone: it holds the pages that were written to."""

    def __init__(self, pread: Callable[[int, int], bytes], size: int) -> None:
        """Start with the file as it is."""
        super().__init__()
        self.pread, self.size, self.old_size = pread, size, size

    def unwritten(self, page: int) -> bytes:
        """Return the bytes of a page in the file; behind its end are zeros."""
        at = page * _PAGE
        return bytes(self.pread(at, min(_PAGE, self.old_size - at))).ljust(_PAGE, b"\0") if at < self.old_size else bytes(_PAGE)

    def changes(self) -> list[tuple[int, bytes]]:
        """Return the bytes that differ from the file, each run with its offset, and all that lie behind the file's end."""
        runs: list[tuple[int, bytes]] = []
        for page in sorted(self.pages):
            at = page * _PAGE
            stop = max(0, min(_PAGE, self.old_size - at, self.size - at))
            first, last = _differing(self.unwritten(page)[:stop], bytes(self.pages[page][:stop]))
            if first < last:
                runs.append((at + first, bytes(self.pages[page][first:last])))
        if self.size > self.old_size:
            self.seek(self.old_size)
            runs.append((self.old_size, self.read(self.size - self.old_size)))
        return runs


def _differing(before: bytes, after: bytes) -> tuple[int, int]:
    """Return where two runs of one length begin and cease to differ; the end twice where they are equal."""
    if before == after:
        return len(before), len(before)
    same = [one == two for one, two in zip(before, after, strict=True)]
    return same.index(False), len(same) - same[::-1].index(False)

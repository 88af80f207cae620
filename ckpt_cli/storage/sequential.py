"""Storages that are read from front to back, because their bytes can only be produced in order.

What a random scheme draws (Drawn) is here; compressed data, varints and deflated members of a zip subclass Sequential where they belong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import CkptError, EditError
from .storage import Place, Storage

Produced = bytes | bytearray | memoryview


class Sequential(Storage):
    """Bytes that are produced in order. Reading on from where the last read ended is free; going back starts again.

    A subclass says how production begins, what comes next, and what is wrong where its source ends too early or too late.
    """

    __slots__ = ("_ahead", "_begun", "position")
    position: int  # bytes given out since the beginning

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._begun, self.position, self._ahead = False, 0, memoryview(b"")

    def begin(self) -> None:
        """Start producing from the first byte."""
        raise NotImplementedError

    def produce(self, wanted: int) -> Produced:
        """Return the next bytes, or none where the source has ended.

        Args:
            wanted: the bytes that the reader still asks for. More may be returned: the rest is kept for the next read.
        """
        raise NotImplementedError

    def ended_early(self) -> CkptError:
        """Return the error to raise where the source ends before `nbytes` bytes."""
        raise NotImplementedError

    def finish(self, surplus: bool) -> None:
        """Check what can be checked once all bytes are read; `surplus` where more were produced than there should be."""

    def release(self) -> None:
        """Drop what producing holds: all is read, or reading failed."""

    def divisible(self) -> bool:
        """Return False: reading begins at the front."""
        return False

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view`, producing and skipping what lies before `start`."""
        try:
            if not self._begun or start < self.position:
                self._stop()
                self.begin()
                self._begun = True
            while self.position < start:
                self._take(start - self.position)
            filled = 0
            while filled < len(view):
                piece = self._take(len(view) - filled)
                view[filled : filled + len(piece)] = piece
                filled += len(piece)
            if self.position == self.nbytes:
                self.finish(len(self._ahead) > 0)
                self._stop()
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        self.release()
        self._begun, self.position = False, 0
        self._ahead = memoryview(b"")  # bytes that were produced and not asked for yet

    def _take(self, most: int) -> memoryview:
        """The next bytes: at least one, at most `most`."""
        if not self._ahead:
            self._ahead = memoryview(self.produce(most))
            if not self._ahead:
                raise self.ended_early()
        piece, self._ahead = self._ahead[:most], self._ahead[most:]
        self.position += len(piece)
        return piece


class Drawn(Sequential):
    """Bytes that come in order out of `draw()`: a random scheme.

    Args:
        nbytes: the bytes that are drawn.
        draw: starts the drawing, and yields its bytes in blocks of any size.
        alone: given where the bytes depend on nothing but their own generator (not on files, other tensors or a user's code):
            imports what drawing takes, so that forked workers share it.
    """

    __slots__ = ("_stream", "alone", "draw")

    def __init__(self, nbytes: int, draw: Callable[[], Iterator[bytes]], alone: Callable[[], object] | None = None) -> None:
        self.draw, self.alone = draw, alone
        self._stream: Iterator[bytes] = iter(())
        super().__init__(nbytes)

    def portable(self) -> bool:
        """Return whether forked workers may draw these bytes."""
        return self.alone is not None

    def prepare(self) -> None:
        """Import what drawing takes."""
        if self.alone is not None:
            self.alone()

    def watch(self, place: Place) -> None:
        """Let errors of the scheme pass through `place`."""
        unwatched = self.draw

        def draw() -> Iterator[bytes]:
            with place():
                yield from unwatched()

        self.draw = draw

    def begin(self) -> None:
        """Start the scheme's generator."""
        self._stream = self.draw()

    def produce(self, wanted: int) -> bytes:
        """Return the next block that is drawn."""
        return next(self._stream, b"")

    def ended_early(self) -> CkptError:
        """Return the error for a scheme that draws too little."""
        return EditError(f"a scheme gave {self.position} bytes for a storage of {self.nbytes}")

    def release(self) -> None:
        """Forget the generator."""
        self._stream = iter(())

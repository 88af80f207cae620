"""A storage whose elements are made of those of several others, which are read side by side: a sum, a mean, any expression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from .mapped import AT_ONCE
from .storage import Place, Storage

_AHEAD = 4 << 20  # bytes that are read of all sources together at once
_spare: list[bytearray] = []  # buffers that are not in use now: fresh memory for each block would cost as much as filling it

# Makes the elements [first, first + count) of the bytes that each source has for them.
Combine = Callable[[int, int, Sequence[memoryview]], "bytes | memoryview"]


class Combined(Storage):
    """`count` elements of `size` bytes, made by `combine` of sources with as many elements each, given with the bytes of one."""

    __slots__ = ("combine", "count", "places", "size", "sources")

    def __init__(self, sources: Sequence[tuple[Storage, int]], combine: Combine, count: int, size: int) -> None:
        self.sources, self.combine, self.count, self.size = tuple(sources), combine, count, size
        self.nbytes = count * size
        self.places: list[Place] = []

    def parts(self) -> tuple[Storage, ...]:
        """Return the sources."""
        return tuple(source for source, _ in self.sources)

    def prepare(self) -> None:
        """Import numpy, which combines blocks, and what the sources take."""
        import numpy  # noqa: F401

        super().prepare()

    def watch(self, place: Place) -> None:
        """Let errors of the combination pass through `place`."""
        self.places.append(place)

    def readinto(self, start: int, view: memoryview) -> None:
        """Read what each source has for the elements that `view` touches, and combine it."""
        with ExitStack() as stack:
            for place in reversed(self.places):
                stack.enter_context(place())
            self.fill(start, view)

    def fill(self, start: int, view: memoryview) -> None:
        """Fill `view`; errors pass through the places around it."""
        first, last = start // self.size, -(-(start + len(view)) // self.size)
        low = first * self.size - start
        for at, count, blocks in self.pieces(first, last):
            made = self.combine(at, count, blocks)[max(-low, 0) :]
            low = max(low, 0)
            view[low : low + len(made)] = made[: len(view) - low]
            low += len(made)

    def pieces(self, first: int, last: int, at_once: int = AT_ONCE) -> Iterator[tuple[int, int, list[memoryview]]]:
        """Yield runs of the elements [first, last): the first, how many, and the bytes of each source, valid until the next run.

        Args:
            first: The first element.
            last: The element behind the last one.
            at_once: The most elements of a run. Each source is read for many runs at once.
        """
        widths = [width for _, width in self.sources]
        runs = max(1, _AHEAD // (at_once * max(sum(widths), 1)))
        ahead = min(at_once * runs, last - first)
        buffers = [_buffer(ahead * width) for width in widths]
        try:
            for start in range(first, last, ahead or 1):
                stop = min(start + ahead, last)
                views = [memoryview(buffer)[: (stop - start) * width] for buffer, width in zip(buffers, widths, strict=True)]
                for (source, width), view in zip(self.sources, views, strict=True):
                    source.readinto(start * width, view)
                for at in range(start, stop, at_once):
                    count, skip = min(at_once, stop - at), at - start
                    runs_of_each = zip(views, widths, strict=True)
                    yield at, count, [view[skip * width : (skip + count) * width] for view, width in runs_of_each]
        finally:
            _spare.extend(buffers)


def _buffer(size: int) -> bytearray:
    """A buffer of at least `size` bytes, whose contents are arbitrary."""
    buffer = _spare.pop() if _spare else bytearray()
    return buffer if len(buffer) >= size else bytearray(size)

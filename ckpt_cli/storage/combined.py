"""A storage whose elements are made of those of several others, which are read side by side: a sum, a mean, any expression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from .mapped import AT_ONCE
from .storage import Place, Storage

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
        first, last = start // self.size, -(-(start + len(view)) // self.size)
        low = first * self.size - start
        with ExitStack() as stack:
            for place in reversed(self.places):
                stack.enter_context(place())
            for at, count, blocks in self.pieces(first, last):
                made = self.combine(at, count, blocks)[max(-low, 0) :]
                low = max(low, 0)
                view[low : low + len(made)] = made[: len(view) - low]
                low += len(made)

    def pieces(self, first: int, last: int) -> Iterator[tuple[int, int, list[memoryview]]]:
        """Yield runs of the elements [first, last): the first, how many, and the bytes of each source, valid until the next run."""
        buffers = [memoryview(bytearray(min(AT_ONCE, last - first) * width)) for _, width in self.sources]
        for at in range(first, last, AT_ONCE):
            count = min(AT_ONCE, last - at)
            blocks = []
            for (source, width), buffer in zip(self.sources, buffers, strict=True):
                blocks.append(buffer[: count * width])
                source.readinto(at * width, blocks[-1])
            yield at, count, blocks

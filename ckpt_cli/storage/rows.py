"""A matrix whose rows are computed when they are read, a slab of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .storage import Place, Storage

Compute = Callable[[int, int], memoryview]


class Rows(Storage):
    """`count` rows of `width` bytes each, which `compute` makes from other storages.

    The slab that was computed last is kept, because readers ask for less than a slab at a time, mostly in order. It is the only one: a
    checkpoint of a thousand such storages takes no more memory than one of them.
    """

    __slots__ = ("compute", "of", "slab", "width")

    def __init__(self, of: Sequence[Storage], count: int, width: int, slab: int, compute: Compute) -> None:
        """Make the storage.

        Args:
            of: the storages that `compute` reads.
            count: the number of rows.
            width: bytes of a row.
            slab: how many rows are computed at once.
            compute: returns the bytes of the rows [first, last).
        """
        self.of, self.width, self.slab, self.compute = tuple(of), width, slab, compute
        self.nbytes = count * width

    def parts(self) -> tuple[Storage, ...]:
        """Return the storages that the rows are computed from."""
        return self.of

    def prepare(self) -> None:
        """Import numpy, which computes the rows, and what the storages take."""
        import ml_dtypes  # noqa: F401
        import numpy  # noqa: F401

        for part in self.of:
            part.prepare()

    def watch(self, place: Place) -> None:
        """Let errors of the computation pass through `place`."""
        unwatched = self.compute

        def compute(first: int, last: int) -> memoryview:
            with place():
                return unwatched(first, last)

        self.compute = compute

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` from the slabs that it touches."""
        size, done = self.slab * self.width, 0
        while done < len(view):
            number, skip = divmod(start + done, size)
            data = self._computed(number)[skip : skip + len(view) - done]
            view[done : done + len(data)] = data
            done += len(data)

    def _computed(self, number: int) -> memoryview:
        """The bytes of one slab."""
        global _latest
        storage, kept, data = _latest
        if storage is not self or kept != number:
            _latest = (None, 0, memoryview(b""))  # frees the old slab before the new one is made
            first = number * self.slab
            data = self.compute(first, min(first + self.slab, self.nbytes // self.width))
            _latest = (self, number, data)
        return data


_latest: tuple[Rows | None, int, memoryview] = (None, 0, memoryview(b""))

"""A storage whose elements are converted when they are read: a cast, the other byte order, blocks decoded to numbers."""

from __future__ import annotations

from collections.abc import Callable

from ..numbers.dtypes import DType
from .storage import Place, Storage

AT_ONCE = 24576  # elements: memory of over 128 kB is mapped and unmapped anew for each array, which takes longer than filling it
_spare: list[bytearray] = []  # buffers that are not in use now


class Mapped(Storage):
    """Another storage, converted piece by piece: `change` turns elements of `before` bytes into elements of `after` bytes."""

    __slots__ = ("after", "before", "change", "of")

    def __init__(self, of: Storage, change: Callable[[memoryview], bytes | memoryview], before: int, after: int) -> None:
        self.of, self.change, self.before, self.after = of, change, before, after
        self.nbytes = of.nbytes // before * after

    def parts(self) -> tuple[Storage, ...]:
        """Return the storage that is converted."""
        return (self.of,)

    def prepare(self) -> None:
        """Import numpy, which conversions use, and what the storage takes."""
        import numpy  # noqa: F401

        self.of.prepare()

    def watch(self, place: Place) -> None:
        """Let errors of the conversion pass through `place`."""
        unwatched = self.change

        def change(data: memoryview) -> bytes | memoryview:
            with place():
                return unwatched(data)

        self.change = change

    def readinto(self, start: int, view: memoryview) -> None:
        """Read the elements that `view` touches, and convert them a few thousand at a time."""
        first, last = start // self.after, -(-(start + len(view)) // self.after)
        skip, size = start - first * self.after, (last - first) * self.before
        buffer = _spare.pop() if _spare else bytearray()
        buffer = buffer if len(buffer) >= size else bytearray(size)
        with memoryview(buffer)[:size] as source:
            self.of.readinto(first * self.before, source)
            count = AT_ONCE if self.after <= 16 else max(1, 4 * AT_ONCE // self.after)  # a block decodes to many elements of 4 bytes
            for at in range(0, last - first, count):
                converted = self.change(source[at * self.before : (at + count) * self.before])
                low = at * self.after - skip
                converted = converted[-low:] if low < 0 else converted
                view[max(low, 0) : low + count * self.after] = converted[: len(view) - max(low, 0)]
        _spare.append(buffer)


def swapped(of: Storage, width: int) -> Storage:
    """Return the same elements, of `width` bytes each, in the other byte order."""
    if width == 1:
        return of

    def swap(data: memoryview) -> bytes:
        reversed_bytes = bytearray(len(data))
        for i in range(width):
            reversed_bytes[i::width] = data[width - 1 - i :: width]
        return bytes(reversed_bytes)

    return Mapped(of, swap, width, width)


def conjugated(of: Storage, width: int) -> Storage:
    """Return complex elements, of `width` bytes each, with the sign of their imaginary parts turned."""

    def conjugate(data: memoryview) -> bytes:
        turned = bytearray(data)
        turned[width - 1 :: width] = bytes(byte ^ 0x80 for byte in turned[width - 1 :: width])
        return bytes(turned)

    return Mapped(of, conjugate, width, width)


def negated(of: Storage, dtype: DType) -> Storage:
    """Return numbers with their signs turned: the sign bit of floats and of both parts of complex ones, integers as torch wraps them."""
    width = dtype.part

    def negate(data: memoryview) -> bytes:
        if dtype.kind in "fc":
            turned = bytearray(data)
            turned[width - 1 :: width] = bytes(byte ^ 0x80 for byte in turned[width - 1 :: width])
            return bytes(turned)
        import numpy

        integers = numpy.frombuffer(data, f"<{dtype.kind}{width}")
        return (0 - integers).tobytes()

    return Mapped(of, negate, dtype.nbytes, dtype.nbytes)

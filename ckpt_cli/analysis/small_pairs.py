"""Small tensors that lie one behind the other in both files: each file is read once for many of them, and numpy sums all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from ..numbers.dtypes import DType
from ..storage.file import File
from ..storage.storage import Extent, Storage
from ..tensors.blocks import BLOCK, Progress, Reader
from ..tensors.tensor import Tensor
from .distance import Distance, Sums, as_wide

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_SMALL = 64 << 10  # bytes: a larger tensor takes longer to read than to begin with
_GAP = 4 << 10  # bytes between two tensors, such as the headers of a zip, that cost less to read than to skip

Stream = tuple[Storage, Storage, Tensor, Tensor]  # the elements on both sides, and the tensors


class How(NamedTuple):
    """What counts as equal, and where progress is reported."""

    rtol: float = 0.0
    atol: float = 0.0
    exact: bool = False
    progress: Progress | None = None


class Stretch(NamedTuple):
    """The bytes [start, stop) of a file."""

    file: File
    start: int
    stop: int

    def behind(self, other: Stretch) -> bool:
        """Return whether it follows another one closely."""
        return self.file is other.file and 0 <= self.start - other.stop <= _GAP


Places = tuple[Stretch, Stretch]


class Run:
    """Pairs that are read together, with the places of both sides; a pair without places is alone."""

    __slots__ = ("pairs", "places")

    def __init__(self, pair: Stream, places: Places | None) -> None:
        self.pairs, self.places = [pair], [places] if places else []

    def takes(self, places: Places | None) -> bool:
        """Return whether a pair at `places` follows closely on both sides, and all can be read at once."""
        if places is None or not self.places:
            return False
        return all(
            new.behind(last) and new.stop - first.start <= BLOCK
            for new, last, first in zip(places, self.places[-1], self.places[0], strict=True)
        )


def runs(streams: Sequence[Stream]) -> Iterator[Run]:
    """Yield the pairs in order, those together that can be read together."""
    run: Run | None = None
    for stream in streams:
        left, right = _stretch(stream[0]), _stretch(stream[1])
        places = (left, right) if left and right else None
        if run and places and run.takes(places):
            run.pairs.append(stream)
            run.places.append(places)
            continue
        if run:
            yield run
        run = Run(stream, places)
    if run:
        yield run


def _stretch(storage: Storage) -> Stretch | None:
    """Where the bytes of a small tensor lie, as they are, in a file."""
    if storage.nbytes > _SMALL or not isinstance(storage, Extent) or type(storage).readinto is not Extent.readinto:
        return None
    start = storage.place()
    return Stretch(storage.file, start, start + storage.nbytes)


def small_sums(run: Run, how: How, reader: Reader) -> list[tuple[int, Sums]]:
    """Return, for each pair of a run, the number of the element from which on it is summed, and the sums."""
    lefts, rights = (_read([places[side] for places in run.places]) for side in (0, 1))
    found: list[tuple[int, Sums]] = [(one.numel, Sums()) for _, _, one, _ in run.pairs]
    alike: dict[tuple[str, str], list[int]] = {}
    for number, (_, _, one, two) in enumerate(run.pairs):
        if one.dtype != two.dtype or lefts[number] != rights[number]:
            alike.setdefault((one.dtype.name, two.dtype.name), []).append(number)
    for numbers in alike.values():
        _, _, one, two = run.pairs[numbers[0]]
        distance = Distance(one.dtype, two.dtype, how.rtol, how.atol, how.exact)
        some = [lefts[number] for number in numbers], [rights[number] for number in numbers]
        for number, sums in zip(numbers, _summed(distance, *some), strict=True):
            found[number] = 0, sums
    if reader.report:
        reader.report(sum(map(len, lefts)) + sum(map(len, rights)))
    return found


def _read(places: Sequence[Stretch]) -> list[bytes]:
    """The bytes at places that follow one another."""
    begin = places[0].start
    data = places[0].file.read(begin, places[-1].stop - begin)
    return [data[start - begin : stop - begin] for _, start, stop in places]


def _summed(distance: Distance, lefts: Sequence[bytes], rights: Sequence[bytes]) -> list[Sums]:
    """The sums of each pair of the same two dtypes."""
    if not distance.floats or distance.exact:
        return [_alone(distance, *pair) for pair in zip(lefts, rights, strict=True)]
    together = _together(distance.one, distance.two, lefts, rights)
    return [sums or _alone(distance, *pair) for sums, *pair in zip(together, lefts, rights, strict=True)]


def _alone(distance: Distance, left: bytes, right: bytes) -> Sums:
    sums = Sums()
    distance.add(sums, 0, left, right)
    return sums


def _together(one: DType, two: DType, lefts: Sequence[bytes], rights: Sequence[bytes]) -> list[Sums | None]:
    """The sums of each pair of floats, in float64; None for a pair that is not finite."""
    import numpy

    starts = numpy.cumsum([0, *(len(left) // one.nbytes for left in lefts[:-1])])
    add = numpy.add.reduceat
    with numpy.errstate(all="ignore"):
        a, b = as_wide(b"".join(lefts), one), as_wide(b"".join(rights), two)
        gap = a - b
        dot, left, right, squares = (add(x * y, starts).tolist() for x, y in ((a, b), (a, a), (b, b), (gap, gap)))
        differs = gap != 0
        largest = numpy.maximum.reduceat(numpy.abs(gap), starts).tolist()
    changed = add(differs, starts, dtype="int64").tolist()
    at = numpy.append(numpy.flatnonzero(differs), gap.size)
    firsts = (at[numpy.searchsorted(at, starts)] - starts).tolist()
    rows = zip(changed, firsts, largest, squares, dot, left, right, strict=True)
    return [_sums(*row) if isfinite(row[3]) else None for row in rows]


def _sums(changed: int, first: int, max_abs: float, squares: float, dot: float, left: float, right: float) -> Sums:
    sums = Sums()
    if changed:
        sums.changed, sums.first, sums.max_abs = changed, first, max_abs
    sums.squares, sums.dot, sums.left, sums.right = squares, dot, left, right
    return sums

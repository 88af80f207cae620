"""Storages streamed in blocks: what stats, hash, diff and every other look at all the data share.

The data are cut into items of about 16 MB (many small tensors, one tensor, or a part of a large one), in file order, and items are done
side by side. `fold` takes a tensor's blocks through a fold, and merges what comes of its parts; `each` is the engine below it, for jobs
that are not about one tensor at a time.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from ..storage.storage import Storage
from ..storage.workers import BLOCK, Job, Reader, alone, forked, threaded
from .tensor import Tensor

__all__ = ["BLOCK", "ITEM", "Fold", "Part", "Reader", "costs", "cut", "each", "fold"]

T = TypeVar("T")
R = TypeVar("R")

ITEM = 16 << 20
SMALL = 32 << 20  # bytes that are read sooner than workers are started
_MOST_WORKERS = 4

Progress = Callable[[int, int], None]  # bytes done, bytes in all


class Fold(Protocol):
    """Takes blocks in order, each a whole number of elements, and can be pickled. `merge` adds what a fold over the bytes behind found."""

    def add(self, block: bytearray) -> None: ...
    def merge(self, other: Self, /) -> None: ...


F = TypeVar("F", bound=Fold)


class Part(NamedTuple, Generic[T]):
    """Bytes [start, stop) of what `of` stands for."""

    of: T
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        return self.stop - self.start


def cut(runs: Iterable[tuple[T, int, bool]]) -> list[list[Part[T]]]:
    """Items of about 16 MB: several of the `runs`, one, or a part of one. A run: what it is, its bytes, whether it may be divided."""
    items: list[list[Part[T]]] = []
    filled = 0
    for of, nbytes, divisible in runs:
        step = ITEM if divisible else max(nbytes, 1)
        for start in range(0, max(nbytes, 1), step):
            part = Part(of, start, min(start + step, nbytes))
            if not items or filled + part.nbytes > ITEM:
                items.append([])
                filled = 0
            items[-1].append(part)
            filled += part.nbytes
    return items


def costs(items: Iterable[Sequence[Part[T]]]) -> list[int]:
    """The bytes in each item."""
    return [sum(part.nbytes for part in item) for item in items]


class _Run(NamedTuple):
    """The elements of a distinct tensor."""

    tensor: Tensor
    storage: Storage


def fold(
    tensors: Mapping[str, Tensor],
    make: Callable[[Tensor], F],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    divisible: bool = True,
) -> Iterator[tuple[str, F]]:
    """Each name and the fold over its tensor's elements (C-contiguous, little-endian), in the order of `tensors`.

    Names that are tied get one fold: do not change it. With `divisible=False` each tensor is folded from front to back in one piece.
    Raises what reading raises, and Opaque where a tensor has no elements of its own.
    """
    distinct: dict[Any, int] = {}
    numbers = [distinct.setdefault(tensor.key, len(distinct)) for tensor in tensors.values()]
    firsts = dict(zip(reversed(numbers), reversed(list(tensors.values())), strict=True))
    runs = [_Run(firsts[number], firsts[number].elements()) for number in range(len(distinct))]
    items = cut((run, run.storage.nbytes, divisible and run.storage.divisible()) for run in runs)

    def job(item: list[Part[_Run]], reader: Reader) -> list[F]:
        return [_folded(make(part.of.tensor), part, reader) for part in item]

    results = each(items, job, costs(items), workers=workers, progress=progress, largest_first=not divisible)
    return _named(list(tensors), numbers, _merged(items, results))


def _folded(folded: F, part: Part[_Run], reader: Reader) -> F:
    for block in reader.blocks(part.of.storage, part.start, part.stop):
        folded.add(block)
    return folded


def _merged(items: Sequence[list[Part[_Run]]], results: Iterator[list[F]]) -> Iterator[F]:
    """One fold a distinct tensor, in order."""
    for item, folds in zip(items, results, strict=True):
        for part, found in zip(item, folds, strict=True):
            if part.start == 0:
                whole = found
            else:
                whole.merge(found)
            if part.stop == part.of.storage.nbytes:
                yield whole


def _named(names: Sequence[str], numbers: Sequence[int], folds: Iterator[F]) -> Iterator[tuple[str, F]]:
    """Names come with the fold of their tensor, kept as long as a later name needs it."""
    left = Counter(numbers)
    found: dict[int, F] = {}
    for name, number in zip(names, numbers, strict=True):
        if number not in found:
            found[number] = next(folds)  # numbers are given in the order of first names
        yield name, found[number]
        left[number] -= 1
        if not left[number]:
            del found[number]


def each(
    items: Sequence[T],
    job: Job[T, R],
    costs: Sequence[int],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    largest_first: bool = False,
) -> Iterator[R]:
    """`job(item, reader)` of every item, in order. `costs`: the bytes that the job of each will read.

    Side by side where that pays; `largest_first` balances items that cannot be cut. Close the iterator to stop early.
    """
    total, done = sum(costs), 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total)

    crew = min(len(items), _crew(total) if workers is None else workers)
    if crew < 2:
        return alone(items, job, report)
    if not hasattr(os, "fork"):
        return threaded(items, job, report, crew)
    order = sorted(range(len(items)), key=lambda index: -costs[index]) if largest_first else range(len(items))
    return forked(items, job, report, crew, order)


def _crew(total: int) -> int:
    if total < SMALL:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_WORKERS)

"""All data of a checkpoint, streamed in blocks and in parallel: what stats, hash, diff and check share.

The data are cut into items of about 16 MB in file order: many small tensors, one tensor, or a part of a large one. Items are processed in
parallel. `fold` feeds the blocks of each tensor to a fold and merges the folds of its parts; `each` is the engine below it, for jobs that
are not about one tensor at a time.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import active_count
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from ..storage.storage import Storage
from ..storage.workers import BLOCK, Job, Reader, alone, forked, threaded
from .tensor import Tensor

__all__ = ["BLOCK", "ITEM", "Fold", "Part", "Reader", "costs", "cut", "each", "fold"]

T = TypeVar("T")
R = TypeVar("R")

ITEM = 16 << 20  # bytes
SMALL = 32 << 20  # bytes: below this, reading takes less time than starting workers
_MOST_WORKERS = 4

Progress = Callable[[int, int], None]  # bytes done, bytes in all


class Fold(Protocol):
    """Something computed from a tensor's bytes in order. It can be pickled."""

    def add(self, block: bytearray) -> None:
        """Take the next block, a whole number of elements."""
        ...

    def merge(self, other: Self, /) -> None:
        """Take the fold over the bytes that follow."""
        ...


F = TypeVar("F", bound=Fold)


class Part(NamedTuple, Generic[T]):
    """Bytes [start, stop) of `of`, a tensor or a storage."""

    of: T
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.stop - self.start


def cut(runs: Iterable[tuple[T, int, bool]]) -> list[list[Part[T]]]:
    """Cut runs of bytes into items of about 16 MB: several runs, one, or a part of one.

    Args:
        runs: for each, what it is a run of, its bytes, and whether it may be divided.
    """
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
    """Return the bytes of each item."""
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
    """Fold the elements (C-contiguous, little-endian) of each tensor.

    Args:
        tensors: the tensors by name.
        make: returns an empty fold for a tensor.
        workers: how many to start; without it, as many as pay.
        progress: is called with the bytes done and the bytes in all.
        divisible: whether a tensor may be folded in parts, which are merged; otherwise each is folded in one piece.

    Yields:
        Each name and its fold, in the order of `tensors`. Tied names share one fold: do not change it.

    Raises:
        Opaque: a tensor has no elements of its own.
        ReadError: reading fails.
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
    """One fold for each distinct tensor, in order."""
    for item, folds in zip(items, results, strict=True):
        for part, folded in zip(item, folds, strict=True):
            if part.start == 0:
                whole = folded
            else:
                whole.merge(folded)
            if part.stop == part.of.storage.nbytes:
                yield whole


def _named(names: Sequence[str], numbers: Sequence[int], folds: Iterator[F]) -> Iterator[tuple[str, F]]:
    """Pair names with the folds of their tensors; a fold is kept as long as a later name needs it."""
    left = Counter(numbers)
    kept: dict[int, F] = {}
    for name, number in zip(names, numbers, strict=True):
        if number not in kept:
            kept[number] = next(folds)  # tensors are numbered in the order of their first names
        yield name, kept[number]
        left[number] -= 1
        if not left[number]:
            del kept[number]


def each(
    items: Sequence[T],
    job: Job[T, R],
    costs: Sequence[int],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    largest_first: bool = False,
) -> Iterator[R]:
    """Yield `job(item, reader)` of every item, in order; in parallel where that pays. Close the iterator to stop early.

    Args:
        items: what to work on.
        job: is called with an item and a Reader.
        costs: the bytes that the job of each item will read.
        workers: how many to start; without it, as many as pay.
        progress: is called with the bytes done and the bytes in all.
        largest_first: start with the largest items, which balances those that cannot be cut.
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
    if not hasattr(os, "fork") or not _is_safe_to_fork():
        return threaded(items, job, report, crew)
    order = sorted(range(len(items)), key=lambda index: -costs[index]) if largest_first else range(len(items))
    return forked(items, job, report, crew, order)


def _is_safe_to_fork() -> bool:
    """Whether no other thread may hold what a forked child would then wait for: in a program that imports ckpt, there may be any."""
    return active_count() == 1 or f"{__package__.partition('.')[0]}.cli" in sys.modules


def _crew(total: int) -> int:
    if total < SMALL:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_WORKERS)

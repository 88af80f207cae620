"""What the distances of many pairs of tensors are made of: both sides are read once, side by side, in parallel where that pays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..storage.storage import Storage
from ..tensors.blocks import ITEM, Reader, each
from ..tensors.tensor import Tensor
from .distance import Distance, Sums
from .small_pairs import How, Stream, runs, small_sums

Pair = tuple[Tensor, Tensor]


class _Part(NamedTuple):
    """Elements [start, stop) of the `number`-th pair."""

    number: int
    start: int
    stop: int


def norms(tensors: Sequence[Tensor]) -> list[Sums]:
    """Return the sums of each tensor compared with itself."""
    streams = _streams((tensor.decoded(), tensor.decoded()) for tensor in tensors)
    sums = [Sums() for _ in streams]
    _add_norms(sums, streams, [part for item in _cut(_runs(streams)) for part in item])
    return sums


def _streams(pairs: Iterable[Pair]) -> list[Stream]:
    return [(one.elements(), two.elements(), one, two) for one, two in pairs]


def _runs(streams: Sequence[Stream]) -> list[tuple[int, Storage, Storage, int]]:
    """The number, the elements on both sides, and the bytes of the wider element of each pair."""
    return [(number, one, two, max(a.dtype.nbytes, b.dtype.nbytes)) for number, (one, two, a, b) in enumerate(streams)]


def pair_sums(pairs: Iterable[Pair], how: How) -> list[Sums]:
    """Return the sums of each pair of plain tensors of one shape; without norms where no element differs."""
    streams = _streams(pairs)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads take longer to start than they save
    widths = [(one.dtype.nbytes, two.dtype.nbytes) for _, _, one, two in streams]
    items = _cut(_runs(streams))
    costs = [sum((part.stop - part.start) * sum(widths[part.number]) for part in item) for item in items]
    sums = [Sums() for _ in streams]
    equal: list[_Part] = []

    def job(item: list[_Part], reader: Reader) -> list[tuple[int, Sums]]:
        found: list[tuple[int, Sums]] = []
        for run in runs([streams[part.number] for part in item]):
            alone = len(run.pairs) == 1
            found += [_part_sums(run.pairs[0], item[len(found)], how, reader)] if alone else small_sums(run, how, reader)
        return found

    for item, found in zip(items, each(items, job, costs, progress=how.progress), strict=True):
        for part, (begin, partial) in zip(item, found, strict=True):
            sums[part.number].merge(partial)
            equal += [part._replace(stop=begin)] if begin > part.start else []
    _add_norms(sums, streams, [part for part in equal if sums[part.number].changed])
    return sums


def _part_sums(stream: Stream, part: _Part, how: How, reader: Reader) -> tuple[int, Sums]:
    """The number of the element at which the first block that differs begins, and the sums from there on."""
    first, second, one, two = stream
    distance, sums = Distance(one.dtype, two.dtype, how.rtol, how.atol, how.exact), Sums()
    widths = one.dtype.nbytes, two.dtype.nbytes
    other = reader if widths[0] == widths[1] else Reader(reader.size // widths[0] * widths[1], reader.report)
    left = reader.blocks(first, part.start * widths[0], part.stop * widths[0], buffer_index=0)
    right = other.blocks(second, part.start * widths[1], part.stop * widths[1], buffer_index=1)
    at, begin = part.start, part.stop
    for a, b in zip(left, right, strict=True):
        if one.dtype != two.dtype or a != b:
            begin = min(begin, at)
            distance.add(sums, at, a, b)
        elif begin < at:
            distance.same(sums, a)
        at += len(a) // widths[0]
    return begin, sums


def _add_norms(sums: Sequence[Sums], streams: Sequence[Stream], parts: Sequence[_Part]) -> None:
    """Add to the norms the parts whose elements are equal."""
    places = [(part.start * streams[part.number][2].dtype.nbytes, part.stop * streams[part.number][2].dtype.nbytes) for part in parts]

    def job(index: int, reader: Reader) -> Sums:
        storage, _, one, _ = streams[parts[index].number]
        distance, found = Distance(one.dtype, one.dtype), Sums()
        for block in reader.blocks(storage, *places[index]):
            distance.same(found, block)
        return found

    for part, found in zip(parts, each(range(len(parts)), job, [stop - start for start, stop in places]), strict=True):
        sums[part.number].merge(found)


def _cut(streams: Sequence[tuple[int, Storage, Storage, int]]) -> list[list[_Part]]:
    """Items of about 16 MB: several small pairs, or a part of a large pair if both can be read from any offset."""
    items: list[list[_Part]] = []
    room = 0
    for number, first, second, width in streams:
        count = first.nbytes // width if first.nbytes >= second.nbytes else second.nbytes // width
        step = max(ITEM // width, 1) if first.divisible() and second.divisible() else max(count, 1)
        for start in range(0, count, step):
            part = _Part(number, start, min(start + step, count))
            size = (part.stop - part.start) * width
            if not items or size > room:
                items.append([])
                room = ITEM
            items[-1].append(part)
            room -= size
    return items

"""`diff`: two checkpoints joined by name, and what differs of each tensor.

Equal tensors cost little: the same extent of the same file is not read, and equal bytes are one memcmp. For blocks whose bytes differ, the
numbers are computed in the same pass.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..numbers.shapes import show_shape
from ..storage.storage import Extent, Storage
from ..tensors.blocks import ITEM, Progress, Reader, each
from ..tensors.checkpoint import Checkpoint, Undecoded
from ..tensors.tensor import Tensor
from .bytes_distance import compare_bytes, compare_contents
from .distance import Distance, Numbers, Sums


class Difference(NamedTuple):
    """One difference between two checkpoints.

    Attributes:
        status: One of added, removed, shape, dtype, changed, tied, untied, unread; unchanged, where what is the same is listed.
        name: The name of the tensor.
        before: What it was, in words; empty for added and changed.
        after: What it is, in words; empty for removed and changed.
        numbers: How far apart the elements are, where shapes agree and values differ.
        sums: What the numbers are made of, where the elements are numbers: those of several tensors merge.
    """

    status: str
    name: str
    before: str = ""
    after: str = ""
    numbers: Numbers | None = None
    sums: Sums | None = None

    def __str__(self) -> str:
        told = " -> ".join(filter(None, (self.before, self.after)))
        return f"{self.status} {self.name}" + "".join(f": {fact}" for fact in (told, self.numbers) if fact)

    def __repr__(self) -> str:
        return f"<{self}>"


class How(NamedTuple):
    """What counts as equal, and where progress is reported."""

    rtol: float = 0.0
    atol: float = 0.0
    exact: bool = False
    progress: Progress | None = None


def diff(
    a: Checkpoint,
    b: Checkpoint,
    names: Sequence[str] | None = None,
    rtol: float = 0.0,
    atol: float = 0.0,
    exact: bool = False,
    progress: Progress | None = None,
) -> Iterator[Difference]:
    """Compare two checkpoints.

    NaN equals NaN, and -0 equals 0.

    Args:
        a: The checkpoint before.
        b: The checkpoint after.
        names: The names to compare; None for all, and what is in no tensor.
        rtol: Elements within atol + rtol·|b| are equal.
        atol: See `rtol`.
        exact: Elements of one dtype are equal where their bytes are.
        progress: Called with the bytes done and the bytes in all.

    Yields:
        The differences: what `b` lacks and what differs, in the order of `a`, then what `b` adds.
    """
    wanted = None if names is None else set(names)
    mine, yours = ([name for name in side if wanted is None or name in wanted] for side in (a, b))
    yield from (Difference("removed", name, before=_facts(a[name])) for name in mine if name not in b)
    yield from _both(a, b, [name for name in mine if name in b], How(rtol, atol, exact, progress))
    yield from (Difference("added", name, after=_facts(b[name])) for name in yours if name not in a)
    if names is None:
        yield from _undecoded(a.undecoded, b.undecoded)


def _both(a: Checkpoint, b: Checkpoint, names: list[str], how: How) -> Iterator[Difference]:
    ties_a, ties_b = _partners(a), _partners(b)
    names = _unsettled(a, b, names, {*ties_a, *ties_b})
    compared = _compared([(a[name], b[name]) for name in names if a[name].shape == b[name].shape], how)
    for name in names:
        one, two = a[name], b[name]
        if one.shape != two.shape:
            yield Difference("shape", name, show_shape(one.shape), show_shape(two.shape))
            continue
        numbers, sums = compared[pair_key(one, two)]
        if one.dtype != two.dtype or one.layout != two.layout:
            yield Difference("dtype", name, one.layout or one.dtype.name, two.layout or two.dtype.name, numbers, sums)
        elif numbers is not None:
            yield Difference("changed", name, numbers=numbers, sums=sums)
        if ties_a.get(name) != ties_b.get(name):
            yield from _ties(name, ties_a.get(name, set()), ties_b.get(name, set()))


def _unsettled(a: Checkpoint, b: Checkpoint, names: list[str], tied: set[str]) -> list[str]:
    """The names whose tensors may differ. A checkpoint equals itself, and tensors without bytes that have the same header are equal."""
    if a.tensors is b.tensors:
        return []
    before, after = a.kinds(), b.kinds()

    def settled(name: str) -> bool:
        one, two = before[name], after[name]
        return not one.nbytes and not one.layout and one.facts == two.facts and name not in tied

    return [name for name in names if not settled(name)]


def pair_key(one: Tensor, two: Tensor) -> tuple[Any, Any]:
    """Return the key under which a pair is compared once: the same for two names that are tied on both sides."""
    return (id(one), id(two)) if one.layout or two.layout else (one.key, two.key)


def _ties(name: str, before: set[str], after: set[str]) -> Iterator[Difference]:
    if before - after:
        yield Difference("untied", name, before=", ".join(sorted(before - after)))
    if after - before:
        yield Difference("tied", name, after=", ".join(sorted(after - before)))


def _partners(checkpoint: Checkpoint) -> dict[str, set[str]]:
    """Each tied name → the other names of its group."""
    return {name: set(group) - {name} for group in checkpoint.ties() for name in group}


def _facts(tensor: Tensor) -> str:
    return f"{tensor.layout or tensor.dtype.name} {show_shape(tensor.shape)}"


def same_bytes(one: Tensor, two: Tensor) -> bool:
    """Return whether two tensors must hold the same elements: the same view of one storage, or the same extent of one file."""
    if one.storage is two.storage:
        return one.key == two.key
    places = [_place(tensor) for tensor in (one, two)]
    return places[0] is not None and places[0] == places[1] and one.dtype == two.dtype


def _place(tensor: Tensor) -> tuple[Any, ...] | None:
    if not tensor.contiguous or not isinstance(tensor.storage, Extent):
        return None
    return (*tensor.storage.file.identity, tensor.storage.place() + tensor.start, tensor.nbytes)


Pair = tuple[Tensor, Tensor]


class _Part(NamedTuple):
    """Elements [start, stop) of the `number`-th pair."""

    number: int
    start: int
    stop: int


def _compared(pairs: Sequence[Pair], how: How) -> dict[Any, tuple[Numbers | None, Sums | None]]:
    """The numbers of each pair of tensors of one shape, None where all elements are equal, and what they are made of.

    The bytes of both are read once, side by side, and summed from the first block on that differs. Then, for pairs that differ, the norms
    of what came before that block are added.
    """
    found: dict[Any, tuple[Numbers | None, Sums | None]] = {}
    plain: dict[Any, Pair] = {}
    for one, two in pairs:
        if not (one.numeric and two.numeric) or (how.exact and one.dtype == two.dtype and one.dtype.kind == "q"):
            found[pair_key(one, two)] = compare_contents(one, two), None
        elif not same_bytes(one, two):
            plain.setdefault(pair_key(one, two), (one.decoded(), two.decoded()))
        else:
            found[pair_key(one, two)] = None, None
    streams = _streams(plain.values())
    sums = _summed(streams, how)
    for key, (one, _), one_sums in zip(plain, plain.values(), sums, strict=True):
        numbers = one_sums.numbers(one.shape, one.numel)
        found[key] = numbers, one_sums if numbers else None
    return found


def norms(tensors: Sequence[Tensor]) -> list[Sums]:
    """Return the sums of each tensor compared with itself."""
    streams = _streams((tensor.decoded(), tensor.decoded()) for tensor in tensors)
    sums = [Sums() for _ in streams]
    _add_norms(sums, streams, [part for item in _cut(_runs(streams)) for part in item])
    return sums


_Stream = tuple[Storage, Storage, Tensor, Tensor]


def _streams(pairs: Iterable[Pair]) -> list[_Stream]:
    return [(one.elements(), two.elements(), one, two) for one, two in pairs]


def _runs(streams: Sequence[_Stream]) -> list[tuple[int, Storage, Storage, int]]:
    """The number, the elements on both sides, and the bytes of the wider element of each pair."""
    return [(number, one, two, max(a.dtype.nbytes, b.dtype.nbytes)) for number, (one, two, a, b) in enumerate(streams)]


def _summed(streams: Sequence[_Stream], how: How) -> list[Sums]:
    """The sums of each pair; without norms where no element differs."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads take longer to start than they save
    widths = [(one.dtype.nbytes, two.dtype.nbytes) for _, _, one, two in streams]
    items = _cut(_runs(streams))
    costs = [sum((part.stop - part.start) * sum(widths[part.number]) for part in item) for item in items]
    sums = [Sums() for _ in streams]
    equal: list[_Part] = []

    def job(item: list[_Part], reader: Reader) -> list[tuple[int, Sums]]:
        return [_part_sums(streams[part.number], part, how, reader) for part in item]

    for item, found in zip(items, each(items, job, costs, progress=how.progress), strict=True):
        for part, (begin, partial) in zip(item, found, strict=True):
            sums[part.number].merge(partial)
            equal += [part._replace(stop=begin)] if begin > part.start else []
    _add_norms(sums, streams, [part for part in equal if sums[part.number].changed])
    return sums


def _part_sums(stream: _Stream, part: _Part, how: How, reader: Reader) -> tuple[int, Sums]:
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


def _add_norms(sums: Sequence[Sums], streams: Sequence[_Stream], parts: Sequence[_Part]) -> None:
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


def _undecoded(a: Mapping[str, Undecoded], b: Mapping[str, Undecoded]) -> Iterator[Difference]:
    """Compare what is in no tensor of two checkpoints by its bytes. What is not read is not the same."""
    if a is b:
        return
    for name, (what, storage, _) in a.items():
        other = b.get(name)
        if other is None:
            yield Difference("removed", name, before=what)
        elif storage is None or other.storage is None:
            yield Difference("unread", name, what, other.what)
        elif numbers := compare_bytes(storage, other.storage):
            yield Difference("changed", name, numbers=numbers)
    yield from (Difference("added", name, after=what) for name, (what, *_) in b.items() if name not in a)

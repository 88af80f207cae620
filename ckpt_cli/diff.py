"""`diff`: two checkpoints joined by name, and what differs of each parameter.

What is equal is dismissed without a number being looked at: the same extent of the same file needs no reading, equal bytes are one memcmp.
Numbers are computed for blocks whose bytes differ, in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .blocks import ITEM, Progress, Reader, anywhere, each
from .checkpoint import Checkpoint, Tensor, show_shape
from .distance import Distance, Numbers, Sums
from .storage import Extent, Storage, Strided


class Difference(NamedTuple):
    """`status` is added, removed, shape, dtype, changed, tied or untied; `before` and `after` say what was and what is."""

    status: str
    name: str
    before: str = ""
    after: str = ""
    numbers: Numbers | None = None


class How(NamedTuple):
    """What counts as equal, and whom to tell of the bytes done."""

    rtol: float = 0.0
    atol: float = 0.0
    progress: Progress | None = None


def diff(
    a: Checkpoint,
    b: Checkpoint,
    names: Sequence[str] | None = None,
    rtol: float = 0.0,
    atol: float = 0.0,
    progress: Progress | None = None,
) -> Iterator[Difference]:
    """The differences from `a` to `b`, in `a`'s order, then what `b` adds. NaN equals NaN; elements within atol + rtol·|b| are equal."""
    wanted = None if names is None else set(names)
    mine, yours = ([name for name in side if wanted is None or name in wanted] for side in (a, b))
    yield from (Difference("removed", name, before=_facts(a[name])) for name in mine if name not in b)
    yield from _both(a, b, [name for name in mine if name in b], How(rtol, atol, progress))
    yield from (Difference("added", name, after=_facts(b[name])) for name in yours if name not in a)


def _both(a: Checkpoint, b: Checkpoint, names: list[str], how: How) -> Iterator[Difference]:
    ties_a, ties_b = _partners(a), _partners(b)
    names = _unsettled(a, b, names, {*ties_a, *ties_b})
    compared = _compared([(a[name], b[name]) for name in names if a[name].shape == b[name].shape], how)
    for name in names:
        one, two = a[name], b[name]
        if one.shape != two.shape:
            yield Difference("shape", name, show_shape(one.shape), show_shape(two.shape))
            continue
        numbers = compared[_key(one, two)]
        if one.dtype != two.dtype or one.layout != two.layout:
            yield Difference("dtype", name, one.layout or one.dtype.name, two.layout or two.dtype.name, numbers)
        elif numbers is not None:
            yield Difference("changed", name, numbers=numbers)
        if ties_a.get(name) != ties_b.get(name):
            yield from _ties(name, ties_a.get(name, set()), ties_b.get(name, set()))


def _unsettled(a: Checkpoint, b: Checkpoint, names: list[str], tied: set[str]) -> list[str]:
    """The names that the headers alone do not show to be the same: a checkpoint is itself, and what has no bytes differs in none."""
    if a.tensors is b.tensors:
        return []
    before, after = a.kinds(), b.kinds()

    def settled(name: str) -> bool:
        one, two = before[name], after[name]
        return not one.nbytes and not one.layout and one.facts == two.facts and name not in tied

    return [name for name in names if not settled(name)]


def _key(one: Tensor, two: Tensor) -> tuple[Any, Any]:
    """Equal for pairs that are compared once: two names of one storage, on both sides."""
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
    """True where both are known to hold the same elements without reading them: one view of one storage, or of one extent of one file."""
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


def _compared(pairs: Sequence[Pair], how: How) -> dict[Any, Numbers | None]:
    """The numbers of each pair of tensors of one shape, None where all elements are equal.

    First bytes, side by side; then the sums of the pairs whose bytes differ, side by side as well.
    """
    found: dict[Any, Numbers | None] = {}
    plain: dict[Any, Pair] = {}
    for one, two in pairs:
        if one.layout or two.layout or not (one.dtype.addressable and two.dtype.addressable):
            found[_key(one, two)] = _compare_opaque(one, two)
        elif not same_bytes(one, two):
            plain.setdefault(_key(one, two), (one, two))
        else:
            found[_key(one, two)] = None
    streams = [(one.elements(), two.elements(), one, two) for one, two in plain.values()]
    differ = _differing(streams, how)
    sums = dict(zip(differ, _summed([streams[number] for number in differ], how), strict=True))
    for number, (key, (one, _)) in enumerate(plain.items()):
        found[key] = sums[number].numbers(one.shape, one.numel) if number in sums else None
    return found


_Stream = tuple[Storage, Storage, Tensor, Tensor]


def _differing(streams: Sequence[_Stream], how: How) -> list[int]:
    """The pairs whose dtypes or bytes are not the same."""
    other = {number for number, (_, _, one, two) in enumerate(streams) if one.dtype != two.dtype}
    items = _cut([(number, s[0], s[1], s[2].dtype.nbytes) for number, s in enumerate(streams) if number not in other])

    def job(item: list[_Part], reader: Reader) -> list[int]:
        return [part.number for part in item if not _same(reader, streams[part.number], part)]

    costs = [2 * sum((part.stop - part.start) * streams[part.number][2].dtype.nbytes for part in item) for item in items]
    for numbers in each(items, job, costs, progress=how.progress):
        other.update(numbers)
    return sorted(other)


def _same(reader: Reader, stream: _Stream, part: _Part) -> bool:
    width = stream[2].dtype.nbytes
    left = reader.blocks(stream[0], part.start * width, part.stop * width, slot=0)
    right = reader.blocks(stream[1], part.start * width, part.stop * width, slot=1)
    return all(one == two for one, two in zip(left, right, strict=True))


def _summed(streams: Sequence[_Stream], how: How) -> list[Sums]:
    """The sums of each pair."""
    items = _cut([(number, s[0], s[1], max(s[2].dtype.nbytes, s[3].dtype.nbytes)) for number, s in enumerate(streams)])

    def job(item: list[_Part], reader: Reader) -> list[Sums]:
        return [_sums(streams[part.number], part, how) for part in item]

    found = [Sums() for _ in streams]
    costs = [sum((part.stop - part.start) * streams[part.number][2].dtype.nbytes for part in item) for item in items]
    for item, sums in zip(items, each(items, job, costs), strict=True):
        for part, partial in zip(item, sums, strict=True):
            found[part.number].merge(partial)
    return found


_AT_ONCE = 12288  # elements: as float64 they are under 128 kB, beyond which every array is mapped and unmapped anew


def _sums(stream: _Stream, part: _Part, how: How) -> Sums:
    first, second, one, two = stream
    distance, sums = Distance(one.dtype, two.dtype, how.rtol, how.atol), Sums()
    for start in range(part.start, part.stop, _AT_ONCE):
        stop = min(start + _AT_ONCE, part.stop)
        left = first.read(start * one.dtype.nbytes, stop * one.dtype.nbytes)
        distance.add(sums, start, left, second.read(start * two.dtype.nbytes, stop * two.dtype.nbytes))
    return sums


def _cut(streams: Sequence[tuple[int, Storage, Storage, int]]) -> list[list[_Part]]:
    """Items of about 16 MB: several small pairs, or a part of a large one where both may be read from anywhere."""
    items: list[list[_Part]] = []
    room = 0
    for number, first, second, width in streams:
        count = first.nbytes // width if first.nbytes >= second.nbytes else second.nbytes // width
        step = max(ITEM // width, 1) if anywhere(first) and anywhere(second) else max(count, 1)
        for start in range(0, count, step):
            part = _Part(number, start, min(start + step, count))
            size = (part.stop - part.start) * width
            if not items or size > room:
                items.append([])
                room = ITEM
            items[-1].append(part)
            room -= size
    return items


def _compare_opaque(one: Tensor, two: Tensor) -> Numbers | None:
    """All that the file holds of two tensors of one kind that have no plain elements: their bytes, and their parts (indices, scales)."""
    if "object" in (one.layout, two.layout) or (one.layout, one.dtype) != (two.layout, two.dtype):
        return None
    left, right = _held(one), _held(two)
    if left == right:
        return None
    where = [index for index, (a, b) in enumerate(zip(left, right, strict=False)) if a != b]
    most, least = max(len(left), len(right)), min(len(left), len(right))
    nan = float("nan")
    return Numbers(most, len(where) + most - least, (where[0] if where else least,), nan, nan, nan)


def _held(tensor: Tensor) -> bytes:
    if tensor.layout.startswith("sparse"):
        own = b""  # its values are one of its parts
    elif tensor.contiguous or tensor.dtype.elements > 1:
        own = tensor.elements().read() if tensor.contiguous else tensor.storage.read()
    else:
        own = Strided(tensor.storage, tensor.dtype.nbytes, tensor.shape, tensor.strides, tensor.offset).read()
    return own + b"".join(part.encode() if isinstance(part, str) else part.tobytes() for part in tensor.parts)

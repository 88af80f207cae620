"""`diff`: two checkpoints joined by name, and what differs of each tensor.

Equal tensors cost little: the same extent of the same file is not read, and equal bytes are one memcmp. For blocks whose bytes differ, the
numbers are computed in the same pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..numbers.shapes import show_shape
from ..storage.storage import Extent
from ..tensors.blocks import Progress
from ..tensors.checkpoint import Checkpoint, Undecoded
from ..tensors.tensor import Tensor
from .bytes_distance import compare_bytes, compare_contents
from .distance import Numbers, Sums
from .pair_sums import Pair, pair_sums
from .small_pairs import How


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
    pairs = [(a[name], b[name]) for name in names]
    keys = [pair_key(*pair) for pair in pairs]
    compared = _compared({key: (one, two) for key, (one, two) in zip(keys, pairs, strict=True) if one.shape == two.shape}, how)
    for name, key, (one, two) in zip(names, keys, pairs, strict=True):
        if one.shape != two.shape:
            yield Difference("shape", name, show_shape(one.shape), show_shape(two.shape))
            continue
        numbers, sums = compared[key]
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
    left, right = one.storage, two.storage
    if left is right:
        return one.key == two.key
    if not isinstance(left, Extent) or not isinstance(right, Extent) or left.file.identity != right.file.identity:
        return False
    alike = one.dtype == two.dtype and one.nbytes == two.nbytes and one.contiguous and two.contiguous
    return alike and left.place() + one.start == right.place() + two.start


def _compared(pairs: Mapping[Any, Pair], how: How) -> dict[Any, tuple[Numbers | None, Sums | None]]:
    """The numbers of each pair of tensors of one shape, None where all elements are equal, and what they are made of.

    The bytes of both are read once, side by side, and summed from the first block on that differs. Then, for pairs that differ, the norms
    of what came before that block are added.
    """
    found: dict[Any, tuple[Numbers | None, Sums | None]] = {}
    plain: dict[Any, Pair] = {}
    for key, (one, two) in pairs.items():
        if not (one.numeric and two.numeric) or (how.exact and one.dtype == two.dtype and one.dtype.kind == "q"):
            found[key] = compare_contents(one, two), None
        elif not same_bytes(one, two):
            plain[key] = one.decoded(), two.decoded()
        else:
            found[key] = None, None
    for key, (one, _), one_sums in zip(plain, plain.values(), pair_sums(plain.values(), how), strict=True):
        numbers = one_sums.numbers(one.shape, one.numel)
        found[key] = numbers, one_sums if numbers else None
    return found


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

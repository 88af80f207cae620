"""`diff`: two checkpoints joined by name, and what differs of each parameter.

What is equal is dismissed without a number being looked at: the same extent of the same file needs no reading, equal bytes are one memcmp.
Numbers are computed for blocks whose bytes differ, in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .checkpoint import Checkpoint, Tensor, show_shape
from .dtypes import DType, to_numpy
from .storage import BLOCK, Extent, Storage

if TYPE_CHECKING:
    import numpy


class Numbers(NamedTuple):
    """How far apart two tensors of one shape are: elements that differ, the first of them, and figures over all elements."""

    elements: int
    changed: int
    first: tuple[int, ...]
    max_abs: float
    rel_l2: float
    cosine: float


class Difference(NamedTuple):
    """`status` is added, removed, shape, dtype, changed, tied or untied; `before` and `after` say what was and what is."""

    status: str
    name: str
    before: str = ""
    after: str = ""
    numbers: Numbers | None = None


def diff(a: Checkpoint, b: Checkpoint, names: Sequence[str] | None = None, rtol: float = 0.0, atol: float = 0.0) -> Iterator[Difference]:
    """The differences from `a` to `b`, in `a`'s order, then what `b` adds. NaN equals NaN; elements within atol + rtol·|b| are equal."""
    wanted = dict.fromkeys(names) if names is not None else dict.fromkeys([*a, *b])
    yield from (Difference("removed", name, before=_facts(a[name])) for name in a if name in wanted and name not in b)
    yield from _both(a, b, [name for name in a if name in wanted and name in b], rtol, atol)
    yield from (Difference("added", name, after=_facts(b[name])) for name in b if name in wanted and name not in a)


def _both(a: Checkpoint, b: Checkpoint, names: list[str], rtol: float, atol: float) -> Iterator[Difference]:
    ties_a, ties_b = _partners(a), _partners(b)
    compared: dict[Any, Numbers | None] = {}
    for name in names:
        one, two = a[name], b[name]
        if one.shape != two.shape:
            yield Difference("shape", name, show_shape(one.shape), show_shape(two.shape))
            continue
        key = (one.key, two.key)
        if key not in compared:
            compared[key] = compare(one, two, rtol, atol)
        if one.dtype != two.dtype or one.layout != two.layout:
            yield Difference("dtype", name, one.layout or one.dtype.name, two.layout or two.dtype.name, compared[key])
        elif compared[key] is not None:
            yield Difference("changed", name, numbers=compared[key])
        if ties_a.get(name) != ties_b.get(name):
            yield from _ties(name, ties_a.get(name, set()), ties_b.get(name, set()))


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


def compare(one: Tensor, two: Tensor, rtol: float = 0.0, atol: float = 0.0) -> Numbers | None:
    """None where all elements are equal. What has no plain elements (quantised, sparse) is compared byte for byte."""
    if same_bytes(one, two) or "object" in (one.layout, two.layout):
        return None
    plain = not (one.layout or two.layout) and one.dtype.addressable and two.dtype.addressable
    fold = _Fold(one, two, rtol, atol) if plain else _ByteFold(one)
    step = BLOCK // 16 * 16
    first, second = one.elements(), two.elements()
    if one.dtype == two.dtype or not plain:
        _fold_equal_widths(first, second, step, fold)
    else:
        per = step // 16
        for start in range(0, one.numel, per):
            stop = min(start + per, one.numel)
            fold.add(start, *(s.read(start * t.dtype.nbytes, stop * t.dtype.nbytes) for s, t in ((first, one), (second, two))))
    return fold.numbers()


def _fold_equal_widths(first: Storage, second: Storage, step: int, fold: Any) -> None:
    """Blocks of both; those whose bytes are equal are only counted."""
    left, right = bytearray(min(step, first.nbytes)), bytearray(min(step, first.nbytes))
    for start in range(0, first.nbytes, step):
        count = min(step, first.nbytes - start)
        if count < len(left):
            left, right = bytearray(count), bytearray(count)
        first.readinto(start, memoryview(left))
        second.readinto(start, memoryview(right))
        if left == right:
            fold.equal(left)
        else:
            fold.add(start // fold.width, left, right)


class _ByteFold:
    """For elements that have no plain value: whether and where their bytes differ."""

    width = 1

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.changed, self.first = tensor, 0, -1

    def equal(self, data: bytearray) -> None:
        pass

    def add(self, start: int, left: bytes, right: bytes) -> None:
        where = [i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b]
        self.changed += len(where)
        self.first = start + where[0] if self.first < 0 else self.first

    def numbers(self) -> Numbers | None:
        nan = float("nan")
        return Numbers(self.tensor.nbytes, self.changed, (self.first,), nan, nan, nan) if self.changed else None


class _Fold:
    """Sums over the elements of two tensors, block by block."""

    def __init__(self, one: Tensor, two: Tensor, rtol: float, atol: float) -> None:
        self.one, self.two, self.rtol, self.atol = one, two, rtol, atol
        self.width = one.dtype.nbytes
        self.changed, self.first, self.max_abs = 0, -1, 0.0
        self.squares, self.dot, self.left, self.right = 0.0, 0.0, 0.0, 0.0

    def equal(self, data: bytearray) -> None:
        """An equal block adds to the norms; what it adds is only needed once something differs."""
        if self.changed:
            self._norms(*[as_wide(bytes(data), self.one.dtype)] * 2)

    def add(self, start: int, left: bytes, right: bytes) -> None:
        import numpy

        a, b = numpy.frombuffer(left, _kind(self.one.dtype)), numpy.frombuffer(right, _kind(self.two.dtype))
        wide_a, wide_b = as_wide(left, self.one.dtype), as_wide(right, self.two.dtype)
        exact = a.dtype == b.dtype and a.dtype.kind in "iub"
        with numpy.errstate(all="ignore"):
            distance = numpy.abs(wide_a - wide_b)
            differs = a != b if exact else (wide_a != wide_b) & ~(numpy.isnan(wide_a) & numpy.isnan(wide_b))
            if self.rtol or self.atol:
                differs &= ~(distance <= self.atol + self.rtol * numpy.abs(wide_b))
        count = int(differs.sum())
        if not count:
            self.equal(bytearray(left))
            return
        if not self.changed:
            self.first = start + int(differs.argmax())
            self._catch_up(start)
        self.changed += count
        found = distance[differs]
        self.max_abs = max(self.max_abs, float("nan") if numpy.isnan(found).any() else float(found.max()), key=lambda x: (x != x, x))
        self._norms(wide_a, wide_b)

    def _catch_up(self, stop: int) -> None:
        """The norms of the equal blocks that came before the first difference."""
        per, storage = BLOCK // 16, self.one.elements()
        for start in range(0, stop, per):
            data = storage.read(start * self.width, min(start + per, stop) * self.width)
            self._norms(*[as_wide(data, self.one.dtype)] * 2)

    def _norms(self, a: numpy.ndarray[Any, Any], b: numpy.ndarray[Any, Any]) -> None:
        import numpy

        with numpy.errstate(all="ignore"):
            gap = numpy.abs(a - b)
            self.squares += float(gap @ gap)
            self.left += float(numpy.vdot(a, a).real)
            self.right += float(numpy.vdot(b, b).real)
            self.dot += float(numpy.vdot(a, b).real)

    def numbers(self) -> Numbers | None:
        if not self.changed:
            return None
        root = (self.left * self.right) ** 0.5
        rel_l2 = (self.squares / self.left) ** 0.5 if self.left else float("inf")
        first = _unravelled(self.first, self.one.shape)
        return Numbers(self.one.numel, self.changed, first, self.max_abs, rel_l2, self.dot / root if root else float("nan"))


def _kind(dtype: DType) -> Any:
    import numpy

    return numpy.dtype([("re", "<f2"), ("im", "<f2")]) if dtype.name == "complex32" else to_numpy(dtype)


def as_wide(data: bytes, dtype: DType) -> numpy.ndarray[Any, Any]:
    """Elements as float64 (complex128 where they are complex)."""
    import numpy

    if dtype.name == "complex32":
        halves = numpy.frombuffer(data, "<f2").astype("float64")
        return halves[::2] + 1j * halves[1::2]
    values = numpy.frombuffer(data, to_numpy(dtype))
    return values.astype("complex128" if dtype.kind == "c" else "float64")


def _unravelled(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    found: list[int] = []
    for n in reversed(shape):
        index, rest = divmod(index, n)
        found.append(rest)
    return tuple(reversed(found))

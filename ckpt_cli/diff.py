"""`diff`: two checkpoints joined by name, and what differs of each parameter.

What is equal is dismissed without a number being looked at: the same extent of the same file needs no reading, equal bytes are one memcmp.
Numbers are computed for blocks whose bytes differ, in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from .checkpoint import Checkpoint, Tensor, show_shape
from .dtypes import DType, to_numpy
from .storage import BLOCK, Extent, Storage, Strided

if TYPE_CHECKING:
    import numpy


_PER = BLOCK // 16  # elements at a time, where a block is counted in elements


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
        key = (id(one), id(two)) if one.layout or two.layout else (one.key, two.key)
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
    if "object" in (one.layout, two.layout):
        return None
    if one.layout or two.layout or not (one.dtype.addressable and two.dtype.addressable):
        return _compare_bytes(one, two) if (one.layout, one.dtype) == (two.layout, two.dtype) else None
    if same_bytes(one, two):
        return None
    fold = _Fold(one, two, rtol, atol)
    if one.dtype == two.dtype:
        _fold_equal_widths(fold.first_elements, fold.second_elements, BLOCK, fold)
    else:
        for start in range(0, one.numel, _PER):
            fold.add(start, *fold.read(start, min(start + _PER, one.numel)))
    return fold.numbers()


def _compare_bytes(one: Tensor, two: Tensor) -> Numbers | None:
    """All that the file holds of two tensors of one kind: their bytes, and their parts (indices, scales)."""
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


class _Fold:
    """Sums over the elements of two tensors, block by block."""

    def __init__(self, one: Tensor, two: Tensor, rtol: float, atol: float) -> None:
        self.one, self.two, self.rtol, self.atol = one, two, rtol, atol
        self.width = one.dtype.nbytes
        self.first_elements, self.second_elements = one.elements(), two.elements()
        self.changed, self.first, self.max_abs = 0, -1, 0.0
        self.squares, self.dot, self.left, self.right = 0.0, 0.0, 0.0, 0.0

    def read(self, start: int, stop: int) -> tuple[bytes, bytes]:
        """Elements `start` to `stop` of both."""
        sides = ((self.first_elements, self.one.dtype.nbytes), (self.second_elements, self.two.dtype.nbytes))
        left, right = (storage.read(start * width, stop * width) for storage, width in sides)
        return left, right

    def equal(self, data: bytearray) -> None:
        """An equal block adds to the norms; what it adds is only needed once something differs."""
        if self.changed:
            self._norms(*[as_wide(bytes(data), self.one.dtype)] * 2)

    def add(self, start: int, left: bytes, right: bytes) -> None:
        import numpy

        wide_a, wide_b = as_wide(left, self.one.dtype), as_wide(right, self.two.dtype)
        with numpy.errstate(all="ignore"):
            if self.one.dtype.kind in "biu" and self.two.dtype.kind in "biu":
                distance = _integer_distance(*(numpy.frombuffer(d, to_numpy(t.dtype)) for d, t in ((left, self.one), (right, self.two))))
                differs = distance != 0
            else:
                distance = numpy.abs(wide_a - wide_b)
                differs = ~_equal(wide_a, wide_b)
            if self.rtol or self.atol:
                near = distance <= self.atol + self.rtol * numpy.abs(wide_b)
                differs &= ~(near & numpy.isfinite(wide_a) & numpy.isfinite(wide_b))
        count = int(differs.sum())
        if not count:
            if self.changed:
                self._norms(wide_a, wide_b)
            return
        if not self.changed:
            self.first = start + int(differs.argmax())
            self._catch_up(start)
        self.changed += count
        found = distance[differs]
        self.max_abs = max(self.max_abs, float("nan") if numpy.isnan(found).any() else float(found.max()), key=lambda x: (x != x, x))
        self._norms(wide_a, wide_b)

    def _catch_up(self, stop: int) -> None:
        """The norms of the blocks before the first difference, which are equal or within the tolerance."""
        for start in range(0, stop, _PER):
            left, right = self.read(start, min(start + _PER, stop))
            self._norms(as_wide(left, self.one.dtype), as_wide(right, self.two.dtype))

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
        root = sqrt(self.left) * sqrt(self.right)  # apart: their product may be beyond float64
        rel_l2 = sqrt(self.squares) / sqrt(self.left) if self.left else float("inf")
        first = _unravelled(self.first, self.one.shape)
        return Numbers(self.one.numel, self.changed, first, self.max_abs, rel_l2, self.dot / root if root else float("nan"))


def _integer_distance(a: numpy.ndarray[Any, Any], b: numpy.ndarray[Any, Any]) -> Any:
    """|a - b|, with no way through floats: int64 beyond 2^53 and both ends of a range."""
    import numpy

    if a.dtype != b.dtype:
        return numpy.abs(a.astype(object) - b.astype(object)).astype("float64")
    if a.dtype.kind == "b":
        return a != b
    gap = numpy.maximum(a, b) - numpy.minimum(a, b)  # wraps, as a signed number, to the right unsigned one
    return gap.view(f"u{gap.itemsize}")


def _equal(a: numpy.ndarray[Any, Any], b: numpy.ndarray[Any, Any]) -> Any:
    """Where elements are equal, NaN and NaN included; a complex number is both of its parts."""
    import numpy

    if a.dtype.kind == "c" or b.dtype.kind == "c":
        return _equal(a.real, b.real) & _equal(a.imag, b.imag)
    return (a == b) | (numpy.isnan(a) & numpy.isnan(b))


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

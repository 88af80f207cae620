"""The elements of a tensor with the changes of adapters in it, computed by slabs of rows as they are read, rounded once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import EditError
from ..numbers.values import check_kept, decoded, encoded
from ..storage.rows import Rows
from ..storage.storage import Storage
from ..tensors.tensor import Tensor
from .operations import Operation

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_DIVIDED = 64 << 20  # bytes above which several workers share a tensor
_SLAB = 1 << 18  # elements that are computed at once; the results must not depend on how they are asked for


class Step(NamedTuple):
    """A change of some rows of a tensor.

    Attributes:
        operation: the change.
        at: the first row that it changes.
        rows: how many rows.
        skip: the row of the change itself that comes first.
    """

    operation: Operation
    at: int
    rows: int
    skip: int = 0


class Folding:
    """Computes slabs of one tensor. Factors are in memory for the tensor alone that was computed last."""

    def __init__(self, tensor: Tensor, steps: Sequence[Step]) -> None:
        self.dtype, self.steps = tensor.dtype, tuple(steps)
        widths = {step.operation.columns(tensor.shape) for step in steps}
        if len(widths) > 1:
            raise EditError("adapters change it in ways that do not go together", "fold them in one after the other")
        self.columns = widths.pop()
        self.elements: Storage = tensor.elements()
        self.wide = "float64" if tensor.dtype.part == 8 else "float32"

    def __call__(self, first: int, last: int) -> memoryview:
        """Return the bytes of the rows [first, last)."""
        import numpy

        with numpy.errstate(all="ignore"):
            return self._rows(first, last)

    def _rows(self, first: int, last: int) -> memoryview:
        base = self._read(first, last)
        block = base
        for step, loaded in zip(self.steps, self._loaded(), strict=True):
            low, high = max(first, step.at), min(last, step.at + step.rows)
            if low < high:
                rows = slice(low - first, high - first)
                changed = step.operation.apply(block[rows], base[rows], loaded, low - step.at + step.skip)
                block = changed if high - low == last - first else self._with(block, rows, changed)
        raw = encoded(self.dtype, block)
        self._check(base, block, raw)
        return memoryview(raw)

    def _check(self, base: Array, block: Array, raw: bytes) -> None:
        """Raises EditError where a finite number of the base became infinite or NaN."""
        import numpy

        if not numpy.isfinite(block).all() and numpy.isfinite(base).all():
            raise EditError("with the adapter in it, numbers are beyond float32", "its scale is too large")
        check_kept(self.dtype, block, raw)

    @staticmethod
    def _with(block: Array, rows: slice, changed: Array) -> Array:
        made = block.copy()
        made[rows] = changed
        return made

    def _read(self, first: int, last: int) -> Array:
        width = self.columns * self.dtype.nbytes
        data = self.elements.read(first * width, last * width)
        return decoded(self.dtype, data).astype(self.wide, copy=False).reshape(last - first, self.columns)

    def _loaded(self) -> list[Any]:
        global _latest
        if _latest[0] is not self:
            _latest = (None, [])  # frees the factors of the tensor before
            _latest = (self, [step.operation.load(partial(self._base_rows, step), self.wide) for step in self.steps])
        return _latest[1]

    def _base_rows(self, step: Step, first: int, last: int) -> Array:
        return self._read(first + step.at - step.skip, last + step.at - step.skip)


_latest: tuple[Folding | None, list[Any]] = (None, [])


class Folded(Rows):
    """The rows of a tensor with changes in it."""

    __slots__ = ()

    def divisible(self) -> bool:
        """Return False: each worker would load the factors of every tensor, and read all rows once more for norms of columns."""
        return self.nbytes > _DIVIDED and super().divisible()


def folded(name: str, tensor: Tensor, steps: Sequence[Step]) -> Storage:
    """Return the elements of `tensor` with changes in it, C-contiguous.

    Args:
        name: Its name, for messages.
        tensor: The tensor of the base, of floats.
        steps: The changes, in order.

    Raises:
        EditError: It holds no floats.
        Opaque: It has no plain elements.
    """
    tensor = tensor.plain(name)
    if tensor.dtype.kind != "f":
        raise EditError(f"{name} is {tensor.dtype.name}: an adapter changes floats", "cast it first: ckpt cast")
    folding = Folding(tensor, steps)
    sources = [folding.elements, *(source for step in steps for source in step.operation.sources())]
    rows = tensor.numel // max(1, folding.columns)
    slab = max(1, _SLAB // max(1, folding.columns))
    return Folded(sources, rows, folding.columns * tensor.dtype.nbytes, slab, folding)

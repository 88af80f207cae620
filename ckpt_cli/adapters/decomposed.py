"""DoRA: weights decomposed into directions, which an adapter turns, and magnitudes, which it sets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import EditError
from ..numbers.shapes import numel_of
from ..storage.storage import Storage
from .deltas import Factor
from .operations import Add, Operation, Read

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_SLAB = 1 << 18  # elements that are read at once where a norm goes over all rows


@dataclass(frozen=True)
class Decomposed(Add):
    """DoRA: (W + scale · Δ) · m / ‖W₀ + scale · Δ‖, norms along one axis (Liu et al. 2024, arXiv:2402.09353; peft tuners/lora/dora.py).

    Attributes:
        magnitude: m, one number for each row, or for each group of columns.
        by_rows: whether a norm is that of a row; else that of `group` columns next to each other.
        group: the columns that share a norm: the elements of a kernel.
        interpolates: whether the user's scale goes from the base to the result (LyCORIS, ComfyUI); in PEFT it is a part of `scale`.
        strength: that scale.
    """

    magnitude: Factor
    by_rows: bool = True
    group: int = 1
    interpolates: bool = False
    strength: float = 1.0

    def scaled(self, by: float) -> Operation:
        """The user's scale, where it belongs."""
        return replace(self, strength=self.strength * by) if self.interpolates else replace(self, scale=self.scale * by)

    def transposed(self) -> Operation | None:
        """The delta transposed, and norms along the other axis."""
        delta = self.delta.transposed()
        return replace(self, delta=delta, by_rows=not self.by_rows) if delta else None

    def sources(self) -> tuple[Storage, ...]:
        """Those of the delta, and the magnitudes."""
        return (*self.delta.sources(), self.magnitude.elements)

    def load(self, read: Read, wide: str) -> Any:
        """What the delta takes, the magnitudes, and norms of columns, for which all rows are read once more."""
        loaded, magnitude = self.delta.load(wide), self.magnitude.whole(wide).reshape(-1)
        if self.by_rows:
            return loaded, magnitude
        return loaded, self._factors(magnitude, self._column_norms(read, loaded))

    def _column_norms(self, read: Read, loaded: Any) -> Array:
        import numpy

        rows, columns = self.shape[0], numel_of(self.shape[1:])
        step = max(1, _SLAB // max(1, columns))
        squares = numpy.zeros(columns // self.group, "float64")
        for first in range(0, rows, step):
            block = read(first, min(first + step, rows))
            changed = block + self._change(block, loaded, first)
            squares += (changed.astype("float64") ** 2).sum(axis=0).reshape(-1, self.group).sum(axis=1)
        return numpy.sqrt(squares)

    def _factors(self, magnitude: Array, norms: Array) -> Array:
        import numpy

        if not norms.all():
            raise EditError("a norm of DoRA is 0", "the base is not the one that the adapter was trained on")
        return numpy.asarray(magnitude / norms.astype(magnitude.dtype))

    def apply(self, block: Array, base: Array, loaded: Any, first: int) -> Array:
        """The sum, each row or column brought to its magnitude."""
        import numpy

        parts, factors = loaded
        change = self._change(block, parts, first)
        if self.by_rows:
            norms = numpy.linalg.norm(base + change, axis=1)
            factors = self._factors(factors[first : first + len(block)], norms)[:, None]
        elif self.group > 1:
            factors = numpy.repeat(factors, self.group)
        changed = (block + change) * factors
        return numpy.asarray(changed if self.strength == 1 else block + block.dtype.type(self.strength) * (changed - block))

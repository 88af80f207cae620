"""The storage of a merged tensor: its sources are read side by side, and computed in blocks.

Floats are computed in float32; in float64 where one of the tensors is float64. Each result is rounded once. What is infinite or NaN in a
source stays so. A result that the dtype cannot hold is an error; one that is too large only on the way is computed in float64 again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import EditError
from ..numbers.dtypes import DType
from ..numbers.float32 import narrowed, widened
from ..numbers.floats import all_finite, has_infinity
from ..numbers.values import decoded, encoded, odd, show_nonfinite
from ..storage.combined import Combined
from ..tensors.tensor import Tensor
from .method import How, Method

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_STUDIED = 1 << 17  # elements of a block in which a whole tensor is studied
_COMPLEX = {"float32": "complex64", "float64": "complex128"}


class Merger:
    """Merges blocks of one tensor.

    Args:
        dtypes: The dtype of the tensor in each checkpoint; of the base first, where the method has one.
        dtype: The dtype of the result.
        method: The method.
        how: What it is told.
    """

    def __init__(self, dtypes: Sequence[DType], dtype: DType, method: Method, how: How) -> None:
        self.dtypes, self.dtype, self.method, self.how = dtypes, dtype, method, how
        self._wide = "float64" if any(each.part == 8 for each in (dtype, *dtypes)) else "float32"
        self._known: Any = None
        self.is_ready = not method.studies

    def study(self, pieces: Callable[[], Iterator[tuple[int, int, list[memoryview]]]]) -> None:
        """Find out what the method must know of the whole tensor."""
        import numpy

        def blocks() -> Iterator[list[Array]]:
            return (self._values(block, self._wide) for _, _, block in pieces())

        with numpy.errstate(all="ignore"):
            self._known = self.method.study(blocks, self.how)
        self.is_ready = True

    def __call__(self, first: int, count: int, blocks: Sequence[memoryview]) -> bytes | memoryview:
        """Return the merged elements for `count` elements from `first` on, given the bytes that each source has for them."""
        import numpy

        with numpy.errstate(all="ignore"):
            values = self._merged(first, blocks, self._wide)
            raw = self._rounded(values)
            same = values.dtype == self.dtype.name
            is_finite = numpy.isfinite(values).all() if same else all_finite(self.dtype, raw)
            return raw if is_finite else self._checked(raw, first, blocks)

    def _merged(self, first: int, blocks: Sequence[memoryview], wide: str) -> Array:
        values = self._values(blocks, wide)
        if self.dtype.kind == "c" and not self.method.has_seed:  # weights are real: part by part, an infinite one leaves the other as it is
            parts = [each.view(wide) for each in values]
            return self.method.merge(parts, self.how, 2 * first, self._known).view(_COMPLEX[wide])
        return self.method.merge(values, self.how, first, self._known)

    def _values(self, blocks: Sequence[memoryview], wide: str) -> list[Array]:
        """The values of each source, in the dtype that is computed in."""
        if self.dtype.kind == "c":
            return [decoded(dtype, block).astype(_COMPLEX[wide], copy=False) for dtype, block in zip(self.dtypes, blocks, strict=True)]
        return [widened(block, dtype, wide, index) for index, (dtype, block) in enumerate(zip(self.dtypes, blocks, strict=True))]

    def _rounded(self, values: Array) -> bytes | memoryview:
        """The elements nearest to values."""
        if values.dtype == "float32":
            return narrowed(values, self.dtype)
        return encoded(self.dtype, odd(values) if values.dtype == "float64" and self.dtype.part < 4 else values)

    def _checked(self, raw: bytes | memoryview, first: int, blocks: Sequence[memoryview]) -> bytes:
        """The elements, where those that are not finite are computed in float64.

        Raises:
            EditError: One is infinite or NaN although no source is, or the dtype cannot hold that of a source.
        """
        import numpy

        exact = self._merged(first, blocks, "float64")
        size = self.dtype.nbytes
        better, bits = self._rounded(exact), numpy.frombuffer(bytes(raw), f"V{size}").copy()
        was_finite = numpy.isfinite(decoded(self.dtype, bits.tobytes()))
        bits[~was_finite] = numpy.frombuffer(better, f"V{size}")[~was_finite]
        found = decoded(self.dtype, bits.tobytes())
        finite_before = numpy.all([numpy.isfinite(each) for each in self._values(blocks, "float64")], axis=0)
        allowed = ~finite_before & (numpy.isnan(exact) | has_infinity(self.dtype))
        lost = numpy.flatnonzero(~numpy.isfinite(found) & ~allowed)
        if lost.size:
            at = int(lost[0])
            raise EditError(f"{self.dtype.name} cannot hold {exact[at].item():g}", f"it would become {show_nonfinite(found[at])}")
        return bits.tobytes()


class Merged(Combined):
    """The elements of one tensor, merged from the same tensor in several checkpoints, with plain elements and of one shape."""

    __slots__ = ("merger",)

    def __init__(self, tensors: Sequence[Tensor], merger: Merger) -> None:
        self.merger = merger
        super().__init__([(each.elements(), each.dtype.nbytes) for each in tensors], merger, tensors[0].numel, merger.dtype.nbytes)

    def divisible(self) -> bool:
        """Return whether workers may share a tensor; where the whole is studied first, each of them would study it."""
        return not self.merger.method.studies and super().divisible()

    def fill(self, start: int, view: memoryview) -> None:
        """Study the whole tensor before the first element is merged, where the method does."""
        if not self.merger.is_ready:
            self.merger.study(lambda: self.pieces(0, self.count, _STUDIED))
        super().fill(start, view)

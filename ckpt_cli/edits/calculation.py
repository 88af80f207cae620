"""Expressions computed: a storage that reads all tensors of an expression side by side, in blocks, and rounds each result once.

Floats are computed in float32; in float64 where a tensor has float64 or integers. Integers of 64 bits are exact where + - * and whole
numbers are all there is. In floats a division by zero has the result of IEEE 754; any other result that the dtype cannot hold is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..analysis.distance import unravelled
from ..errors import EditError
from ..numbers.dtypes import DTYPES, DType
from ..numbers.float32 import widened
from ..numbers.floats import all_finite, has_infinity
from ..numbers.shapes import show_shape
from ..numbers.values import check_fits, decoded, encoded, odd, show_nonfinite
from ..storage.combined import Combined
from ..storage.mapped import Mapped
from ..storage.storage import Slice, Storage
from ..storage.strides import Strided
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .expressions import Average, Elsewhere, Expression, Number, Operand, Operation, Other, This, Values
from .operands import broadcast, operand, rounded
from .tracking import Tracked, evaluate, spelled, tracked

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_EXACT = {"+", "-", "*", "**", "neg", "abs", "clip"}
_UNDEFINED = {  # operations that may have no finite result for finite operands, and what that is
    "/": "a division by zero",
    "sqrt": "a root of a negative number",
    "log": "a logarithm of 0 or of a negative number",
    "**": "a power of 0 or of a negative number",
}
_MOST_NOTES = 5  # tensors that are told of one by one
_BITS_OF_FLOAT64 = 53
_MOST_BITS = 4096  # of an exact integer on the way to a result


def _find_none(other: Elsewhere) -> Tensor:
    raise EditError(f"{f'@{other.path}' if other.path else 'average'} means nothing here", "no other file is read")


def calculated(tensor: Tensor, expression: Expression, find: Callable[[Elsewhere], Tensor] = _find_none) -> Storage:
    """Return the elements that an expression gives for `tensor`, C-contiguous, computed when they are read.

    Args:
        tensor: What is assigned to, which `this` means.
        expression: The expression.
        find: Returns the tensor of another file, or an average. Without it, there is none.

    Raises:
        EditError: Shapes do not broadcast, or the dtype has no such arithmetic.
    """
    only = expression.terms[0]
    if len(expression.terms) == 1 and isinstance(only, (This, Other, Average)):
        return tensor.elements() if isinstance(only, This) else _copied(find(only), tensor)
    if tensor.dtype.kind == "b":
        raise EditError("bool has no arithmetic", "assign true or false")
    calculation = Calculation(tensor, expression, find)
    sources = [(_broadcast(each, tensor.shape), each.dtype.nbytes) for each in calculation.sources]
    return Combined(sources, calculation, tensor.numel, tensor.dtype.nbytes)


def _copied(source: Tensor, tensor: Tensor) -> Storage:
    """The elements of another tensor, in the dtype of this one. An element that it cannot hold is an error when it is read."""
    elements, old, new = _broadcast(source, tensor.shape), source.dtype, tensor.dtype
    if old == new:
        return Slice(elements, 0, elements.nbytes)
    return Mapped(elements, lambda data: rounded(decoded(old, data), new), old.nbytes, new.nbytes)


def _broadcast(source: Tensor, shape: tuple[int, ...]) -> Storage:
    """The elements of a tensor as they are for a tensor of `shape`. Raises EditError where it does not broadcast."""
    if source.shape == shape:
        return source.elements()
    extra = len(shape) - len(source.shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(source.shape, shape[extra:], strict=True)):
        raise EditError(f"a value of shape {show_shape(source.shape)} does not broadcast to {show_shape(shape)}")
    strides = [0 if n == 1 else stride for n, stride in zip(source.shape, source.strides, strict=True)]
    return Strided(source.storage, source.dtype.nbytes, shape, (*[0] * extra, *strides), source.offset)


class Calculation:
    """Computes blocks of elements.

    Attributes:
        dtype: The dtype of the results.
        sources: The tensors that are read, in the order of the expression.
        undefined_by: What of it may have no finite result: a division by zero, or its like. Empty where nothing may.
    """

    def __init__(self, tensor: Tensor, expression: Expression, find: Callable[[Elsewhere], Tensor]) -> None:
        self.dtype, self.shape, self._terms = tensor.dtype, tensor.shape, expression.terms
        self._made = [self._source(term, tensor, find) for term in expression.operands]
        self.sources = [each for each in self._made if isinstance(each, Tensor)]
        operations = {term.name for term in expression.terms if isinstance(term, Operation)}
        self.undefined_by = " or ".join(cause for name, cause in _UNDEFINED.items() if name in operations)
        self._exact = self._is_exact(operations)
        kinds = [(each.dtype.kind, each.dtype.part) for each in [tensor, *self.sources]]
        self._wide = "float64" if any(kind in "iu" or part == 8 for kind, part in kinds) else "float32"
        self._check_complex()
        self._constants = [None if isinstance(each, Tensor) else self._constant(each) for each in self._made]

    @staticmethod
    def _source(term: Operand, tensor: Tensor, find: Callable[[Elsewhere], Tensor]) -> Tensor | Number | Values:
        return tensor if isinstance(term, This) else find(term) if isinstance(term, (Other, Average)) else term

    def _is_exact(self, operations: set[str]) -> bool:
        """Whether it is a computation with integers alone, and float64 might not hold them."""
        if self.dtype.kind not in "iu" or operations - _EXACT or any(each.dtype.kind not in "biu" for each in self.sources):
            return False
        exponents = [before for before, term in pairwise(self._terms) if isinstance(term, Operation) and term.name == "**"]
        if not all(isinstance(each, Number) and isinstance(each.value, int) and each.value >= 0 for each in exponents):
            return False
        bits = [8 * each.dtype.nbytes if isinstance(each, Tensor) else _bits(each) for each in self._made]
        return None not in bits and _BITS_OF_FLOAT64 < evaluate(self._terms, bits, _bits_of) <= _MOST_BITS

    def _check_complex(self) -> None:
        """Raises EditError where the result is complex and the dtype is not."""

        def is_complex(name: str, taken: list[bool]) -> bool:
            if name == "clip" and any(taken):
                raise EditError("complex values have no order", "clip takes real ones")
            return any(taken) and name != "abs"

        complexes = list(map(_is_complex, self._made))
        if any(complexes) and evaluate(self._terms, complexes, is_complex) and self.dtype.kind != "c":
            raise EditError(f"{self.dtype.name} cannot hold complex values")

    def _constant(self, each: Number | Values) -> Any:
        """A number as numpy has it, or a list broadcast to the shape of the result, in the dtype that is computed in."""
        wide = DTYPES[self._wide_for(_is_complex(each))]
        alike = self.dtype.kind == "c" or (self.dtype.kind == "f" and not _is_complex(each))
        own = self._exact or (alike and (self.dtype.part == 8) == (self._wide == "float64"))
        if isinstance(each, Number):
            return _number(each.value, repr(each.value), self.dtype if own else wide)
        return broadcast(operand(each.array, self.dtype if own else wide), self.shape)

    def _wide_for(self, is_complex: bool) -> str:
        """The dtype that real or complex values are computed in."""
        return self._wide if not is_complex else "complex128" if self._wide == "float64" else "complex64"

    def __call__(self, first: int, count: int, blocks: Sequence[memoryview]) -> bytes | memoryview:
        """Return the results for `count` elements from `first` on, given the bytes that each source has for them."""
        import numpy

        with numpy.errstate(all="ignore"):
            result = numpy.broadcast_to(evaluate(self._terms, self._operands(first, count, blocks)), (count,))
            if self.dtype.kind in "iu":
                return self._as_integers(result, first, blocks)
            raw = encoded(self.dtype, odd(result) if result.dtype == "float64" and self.dtype.part < 4 else result)
            if not all_finite(self.dtype, raw):
                self._check(raw, first, count, blocks)
        return raw

    def _operands(self, first: int, count: int, blocks: Sequence[memoryview]) -> list[Any]:
        """What the operands are for a block: an array, or one number for all elements."""
        found: list[Any] = []
        left = iter(enumerate(zip(self.sources, blocks, strict=True)))
        for constant in self._constants:
            if constant is None:
                index, (source, block) = next(left)
                found.append(self._read(source.dtype, block, index))
            else:
                found.append(constant.flat[first : first + count] if getattr(constant, "ndim", 0) else constant)
        return found

    def _read(self, dtype: DType, block: memoryview, index: int) -> Array:
        if dtype.kind == "f" and self._wide == "float32":
            return widened(block, dtype, "float32", index)
        values = decoded(dtype, block)
        if self._exact:
            return values.astype(object)
        return values.astype(self._wide_for(dtype.kind == "c"), copy=False)

    def _as_integers(self, result: Array, first: int, blocks: Sequence[memoryview]) -> bytes:
        """Results rounded to the nearest integer. Raises EditError for one that is out of range."""
        import numpy

        if not self._exact and not numpy.isfinite(result).all():
            divided = self.tracked(first, len(result), blocks).divided
            if divided.any():
                at = self._index(first + int(numpy.flatnonzero(divided)[0]))
                raise EditError(f"{self.dtype.name} has no result for {self.undefined_by}{at}", "cast it to a float first")
        values = result if self._exact else numpy.rint(result)
        check_fits(values, self.dtype)
        return encoded(self.dtype, values)

    def _check(self, raw: bytes, first: int, count: int, blocks: Sequence[memoryview]) -> None:
        """Raises EditError for the first result that is not finite for another reason than an operand, or a division by zero."""
        import numpy

        found, known = decoded(self.dtype, raw), self.tracked(first, count, blocks)
        excused = known.excused if has_infinity(self.dtype) else known.unknown
        lost = numpy.flatnonzero(~numpy.isfinite(found) & ~excused & ~known.divided)
        if lost.size:
            at = int(lost[0])
            values = [each[at].item() if getattr(each, "shape", ()) else each.item() for each in self._operands(first, count, blocks)]
            beyond = next((value for value in values if self.dtype.part < 8 and _is_beyond(value)), None)
            if beyond is not None:
                raise EditError(f"{self.dtype.name} has no arithmetic with {beyond:g}", "cast the other one first")
            what = f"{self.dtype.name} cannot hold {spelled(self._terms, values)}{self._index(first + at)}"
            raise EditError(what, f"it would become {show_nonfinite(found[at])}")

    def _index(self, number: int) -> str:
        return f" at [{','.join(map(str, unravelled(number, self.shape)))}]" if self.shape else ""

    def divided(self, first: int, count: int, blocks: Sequence[memoryview]) -> int:
        """Return how many results of a block are infinite or NaN by a division by zero, or its like."""
        import numpy

        with numpy.errstate(all="ignore"):
            result = evaluate(self._terms, self._operands(first, count, blocks))
        if numpy.isfinite(result).all():
            return 0
        known = self.tracked(first, count, blocks)
        return int(numpy.count_nonzero(known.divided & ~known.excused & ~numpy.isfinite(known.value)))

    def tracked(self, first: int, count: int, blocks: Sequence[memoryview]) -> Tracked:
        """Return, for each result of a block, why it may be infinite or NaN."""
        import numpy

        with numpy.errstate(all="ignore"):
            return tracked(self._terms, self._operands(first, count, blocks), count)


@lru_cache
def _number(value: complex, shown: str, dtype: DType) -> Any:
    """A number as it is computed with in `dtype`, made once for all tensors. `shown` tells -0.0 from 0 and 1 from 1.0."""
    return operand(value, dtype)


def _bits_of(name: str, taken: list[int]) -> int:
    """The most bits that the result of an operation on integers of so many bits has."""
    if max(taken) > _MOST_BITS or (name == "**" and taken[1] > 12):
        return _MOST_BITS + 1
    if name == "**":
        return taken[0] << taken[1]
    return {"*": sum(taken), "+": max(taken) + 1, "-": max(taken) + 1}.get(name, max(taken))


def _bits(each: Number | Values) -> int | None:
    """The bits of a whole number, or of the longest in a list; None where one has a fraction."""
    numbers = [each.value] if isinstance(each, Number) else list(each.array.flat)
    if not all(isinstance(value, int) or (isinstance(value, float) and value.is_integer()) for value in numbers):
        return None
    return max((int(value).bit_length() for value in numbers), default=0)


def _is_complex(each: Tensor | Number | Values) -> bool:
    return each.dtype.kind == "c" if isinstance(each, Tensor) else isinstance(each, Number) and isinstance(each.value, complex)


def _is_beyond(value: Any) -> bool:
    """Whether a finite number is beyond float32."""
    largest = 3.4028235677973362e38
    return any(largest < abs(part) != float("inf") for part in (value.real, value.imag))


def division_notes(checkpoint: Checkpoint) -> list[str]:
    """Return lines for tensors in which a division by zero, or its like, gives inf or NaN: how many. What may do so is computed."""
    counts, known = list[tuple[str, int]](), set()
    for name, tensor in checkpoint.tensors.items():
        left: list[Storage] = [tensor.storage]
        while left:
            storage = left.pop()
            if id(storage) in known:
                continue
            known.add(id(storage))
            left += storage.parts()
            if isinstance(storage, Combined) and isinstance(storage.combine, Calculation) and (count := _divided(storage, storage.combine)):
                what = "value is" if count == 1 else "values are"
                counts.append((f"{name}: {count:,} {what} inf or NaN by {storage.combine.undefined_by}", count))
    rest = counts[_MOST_NOTES:]
    more = f"{len(rest):,} more tensors: {sum(count for _, count in rest):,} values are inf or NaN"
    return [line for line, _ in counts[:_MOST_NOTES]] + [more] * bool(rest)


def _divided(storage: Combined, calculation: Calculation) -> int:
    """How many results are infinite or NaN although what they are made of is finite."""
    if not calculation.undefined_by or calculation.dtype.kind not in "fc":
        return 0
    return sum(calculation.divided(*piece) for piece in storage.pieces(0, storage.count))

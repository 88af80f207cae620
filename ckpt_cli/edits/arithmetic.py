"""Arithmetic of `set`: += -= *= /= in a tensor's own dtype. A result that the dtype cannot hold is an error, never a silent infinity."""

from __future__ import annotations

from collections.abc import Callable
from operator import add, mul, sub, truediv
from typing import TYPE_CHECKING, Any

from ..analysis.distance import unravelled
from ..errors import EditError
from ..numbers.dtypes import DType
from ..numbers.values import check_fits, decoded, encoded, real, show_nonfinite
from ..tensors.tensor import Tensor

if TYPE_CHECKING:
    import numpy

_APPLIED: dict[str, Callable[[Any, Any], Any]] = {"+=": add, "-=": sub, "*=": mul, "/=": truediv}


def operand(value: Any, dtype: DType) -> Any:
    """What arithmetic in `dtype` is done with: exact integers for integers, a number of the wider float for the small ones."""
    import numpy

    if dtype.kind in "iu":
        each = value.flat if hasattr(value, "shape") else [value]
        whole = numpy.array([_whole(item, dtype) for item in each], dtype=object)
        return whole.reshape(value.shape) if hasattr(value, "shape") else whole[0]
    if dtype.kind != "c" and (isinstance(value, complex) or getattr(value, "dtype", numpy.dtype(float)).kind == "c"):
        raise EditError(f"{dtype.name} cannot hold complex values")
    if not hasattr(value, "shape"):
        return _rounded(numpy.array([_real(value, dtype)]), dtype)[0]
    if value.dtype.kind == "O":
        value = numpy.array([_real(item, dtype) for item in value.flat]).reshape(value.shape)
    return _rounded(value, dtype)


def _whole(value: Any, dtype: DType) -> int:
    """An operand of integer arithmetic. Raises EditError for a fraction."""
    if value != value or value in (float("inf"), float("-inf")) or value != int(value.real):
        raise EditError(f"{dtype.name} has no arithmetic with {value}", "give an integer, or cast it first")
    return int(value.real)


def _real(value: Any, dtype: DType) -> Any:
    found = real(value)
    if isinstance(value, int) and abs(found) == float("inf"):
        raise _too_large(str(value)[:20], dtype)
    return found


def _rounded(values: numpy.ndarray[Any, Any], dtype: DType) -> numpy.ndarray[Any, Any]:
    """`values` in the dtype that is computed in. Raises EditError for a number that is beyond it."""
    import numpy

    with numpy.errstate(over="ignore"):
        found = values.astype(decoded(dtype, b"").dtype)
    beyond = numpy.isfinite(values) & ~numpy.isfinite(found)
    if beyond.any():
        raise _too_large(f"{values[beyond][0].item():g}", dtype)
    return found


def _too_large(shown: str, dtype: DType) -> EditError:
    return EditError(f"{dtype.name} has no arithmetic with {shown}", "write inf if that is meant")


def arithmetic(tensor: Tensor, op: str, by: Any) -> Callable[[bytes | memoryview], bytes]:
    """A function from elements to elements: in integers exactly, and refused where it overflows; small floats by way of float32.

    What is finite stays finite, unless the operand `by` is not: EditError names the first element of `tensor` that would not.
    """
    dtype = tensor.dtype
    if dtype.kind == "b":
        raise EditError("bool has no arithmetic", "assign true or false")
    if dtype.kind in "iu" and op == "/=":
        raise EditError(f"{dtype.name} cannot be divided in place", "cast it to a float first")

    def whole(data: bytes | memoryview) -> bytes:
        values = _APPLIED[op](decoded(dtype, data).astype(object), by)
        check_fits(values, dtype)
        return encoded(dtype, values)

    def change(data: bytes | memoryview) -> bytes:
        import numpy

        raw = _computed(dtype, op, by, data)
        if not numpy.isfinite(decoded(dtype, raw)).all() and _lost(dtype, by, data, raw).size:
            raise _refusal(tensor, op, by)
        return raw

    return whole if dtype.kind in "iu" else change


def _computed(dtype: DType, op: str, by: Any, data: bytes | memoryview) -> bytes:
    import numpy

    with numpy.errstate(all="ignore"):
        return encoded(dtype, _APPLIED[op](decoded(dtype, data), by))


def _lost(dtype: DType, by: Any, data: bytes | memoryview, raw: bytes) -> numpy.ndarray[Any, Any]:
    """Which elements are no finite numbers any more, though they were and what they meet is; or NaN where the dtype has no infinity."""
    import numpy

    values, found = decoded(dtype, data), decoded(dtype, raw)
    finite = numpy.isfinite(values) & numpy.isfinite(by)
    known = (values == values) & (by == by)
    return numpy.flatnonzero(~numpy.isfinite(found) & (finite | (known & _no_infinity(dtype))))


def _no_infinity(dtype: DType) -> bool:
    return dtype.name.startswith("float8") and dtype.name != "float8_e5m2"


def _refusal(tensor: Tensor, op: str, by: Any) -> EditError:
    """Names the first element that is lost: whoever computes block by block knows that there is one, and not where."""
    dtype, done = tensor.dtype, 0
    every = getattr(by, "shape", ())
    for piece in [memoryview(tensor.tobytes())] if every else tensor.elements().blocks():
        raw = _computed(dtype, op, by, piece)
        lost = _lost(dtype, by, piece, raw)
        if lost.size:
            at = int(lost[0])
            one, two = decoded(dtype, piece)[at].item(), (by[at] if every else by).item()
            index = f" at [{','.join(map(str, unravelled(done + at, tensor.shape)))}]" if tensor.shape else ""
            became = show_nonfinite(decoded(dtype, raw)[at])
            return EditError(f"{dtype.name} cannot hold {one:g} {op[0]} {two:g}{index}", f"it would become {became}")
        done += len(piece) // dtype.nbytes
    return EditError(f"{dtype.name} cannot hold a result")

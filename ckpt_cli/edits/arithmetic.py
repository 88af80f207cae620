"""The arithmetic of `set`: += -= *= /= in the dtype of the tensor. A result that the dtype cannot hold is an error, never an infinity."""

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
    """Convert the operand of arithmetic in `dtype`: to exact integers for integers, to float32 for smaller floats.

    Args:
        value: A Python number, or a numpy array of numbers.
        dtype: The dtype of the tensor.

    Returns:
        A number, or an array of the same shape.

    Raises:
        EditError: The operand is a fraction, complex, or too large for arithmetic in `dtype`.
    """
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
    number = real(value)
    if isinstance(value, int) and abs(number) == float("inf"):
        raise _too_large(str(value)[:20], dtype)
    return number


def _rounded(values: numpy.ndarray[Any, Any], dtype: DType) -> numpy.ndarray[Any, Any]:
    """`values` in the numpy dtype in which `dtype` is computed. Raises EditError for a number that is too large for it."""
    import numpy

    with numpy.errstate(over="ignore"):
        rounded = values.astype(decoded(dtype, b"").dtype)
    beyond = numpy.isfinite(values) & ~numpy.isfinite(rounded)
    if beyond.any():
        raise _too_large(f"{values[beyond][0].item():g}", dtype)
    return rounded


def _too_large(shown: str, dtype: DType) -> EditError:
    return EditError(f"{dtype.name} has no arithmetic with {shown}", "write inf if that is meant")


def arithmetic(tensor: Tensor, op: str, by: Any) -> Callable[[bytes | memoryview], bytes]:
    """Make the function that computes `ELEMENT op by` for a block of the elements of `tensor`.

    Integers are computed exactly, and floats of up to 16 bits in float32.

    Args:
        tensor: The tensor.
        op: One of += -= *= /=.
        by: The operand, as `operand` returns it: a number, or an array with as many elements as each block.

    Returns:
        A function from the bytes of elements to the bytes of the results. It raises EditError for a result that the dtype cannot hold, and
        for a finite element that would not stay finite with a finite operand; the error names the first such element.

    Raises:
        EditError: The dtype has no such arithmetic.
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
    """The numbers of the elements that do not stay finite though the operand is, or that become NaN for want of an infinity."""
    import numpy

    values, found = decoded(dtype, data), decoded(dtype, raw)
    finite = numpy.isfinite(values) & numpy.isfinite(by)
    known = (values == values) & (by == by)
    return numpy.flatnonzero(~numpy.isfinite(found) & (finite | (known & _no_infinity(dtype))))


def _no_infinity(dtype: DType) -> bool:
    return dtype.name.startswith("float8") and dtype.name != "float8_e5m2"


def _refusal(tensor: Tensor, op: str, by: Any) -> EditError:
    """The error that names the first element that is lost. A block does not know its place, so all elements are computed again."""
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

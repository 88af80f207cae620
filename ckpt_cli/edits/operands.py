"""Values as they are assigned to a tensor, or computed with: what its dtype cannot hold is an error, never rounded away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import EditError
from ..numbers.dtypes import DType
from ..numbers.shapes import show_shape
from ..numbers.values import check_fits, check_holds, check_kept, decoded, element, encoded, real
from ..tensors.tensor import Tensor

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


def operand(value: Any, dtype: DType) -> Any:
    """Convert the operand of arithmetic in `dtype`: to exact integers for integers, to float32 for smaller floats.

    Args:
        value: A Python number, or an array of Python numbers.
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
    if dtype.kind != "c" and isinstance(value, complex):
        raise EditError(f"{dtype.name} cannot hold complex values")
    if not hasattr(value, "shape"):
        return _widened(numpy.array([_real(value, dtype)]), dtype)[0]
    return _widened(numpy.array([_real(item, dtype) for item in value.flat]).reshape(value.shape), dtype)


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


def _widened(values: Array, dtype: DType) -> Array:
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


def fitting(value: Array, tensor: Tensor) -> Array:
    """Return a list of numbers as it is assigned to `tensor`: broadcast to its shape.

    Raises:
        EditError: It does not broadcast, or elements that share their memory would take different values.
    """
    every = broadcast(value, tensor.shape)
    shared = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in tensor.strides)
    if 0 in tensor.strides and not ((every == every[shared]) | (every != every)).all():
        raise EditError("it is expanded: elements that share their memory cannot take different values", "untie it first")
    return value


def broadcast(value: Array, shape: tuple[int, ...]) -> Array:
    """Return an array broadcast to a shape. Raises EditError where it does not."""
    import numpy

    try:
        return numpy.broadcast_to(value, shape)
    except ValueError:
        raise EditError(f"a value of shape {show_shape(value.shape)} does not broadcast to {show_shape(shape)}") from None


def stored(values: Array, dtype: DType) -> Array:
    """Return Python numbers as raw elements of `dtype`. Raises EditError for one that it cannot hold."""
    import numpy

    raw = b"".join([element(dtype, value) for value in values.flat])
    return numpy.frombuffer(raw, f"V{dtype.nbytes}").reshape(values.shape)


def rounded(values: Array, dtype: DType) -> bytes:
    """Return the elements of `dtype` for values. Raises EditError for one that it cannot hold: no fraction is an integer."""
    import numpy

    if values.dtype.kind == "c" and dtype.kind != "c":
        raise EditError(f"{dtype.name} cannot hold complex values")
    if dtype.kind in "biu":
        odd = values[(values != 0) & (values != 1)] if dtype.kind == "b" else values[values != numpy.floor(values)]
        if odd.size:
            check_holds(dtype, float(odd.flat[0]))
    if dtype.kind in "iu":
        check_fits(values, dtype)
    raw = encoded(dtype, values)
    if dtype.kind in "fc":
        check_kept(dtype, values, raw)
    return raw

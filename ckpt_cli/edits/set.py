"""`set`: values by hand. `REF OP VALUE`, OP one of = += -= *= /=, VALUE a number, a JSON list that broadcasts, or @file.npy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..checkpoint import Checkpoint, Tensor
from ..dtypes import DType, to_numpy
from ..errors import EditError, UsageError
from ..selection import Layers, matches, no_layers, refer
from ..storage import Fill, Mapped, Memory, Storage
from ..values import check_fits, check_holds, element

if TYPE_CHECKING:
    import numpy


class Assignment(NamedTuple):
    """`reference` `op` `value`; the value is a Python number or a numpy array."""

    reference: str
    op: str
    value: Any


def set_values(checkpoint: Checkpoint, assignments: Sequence[str], layers: Layers = no_layers) -> Checkpoint:
    """The checkpoint with the assignments made, left to right."""
    for text in assignments:
        checkpoint = _assigned(checkpoint, parse(text), layers)
    return checkpoint


_OPERATOR = re.compile(r"[-+*/]?=")
_NUMBER = re.compile(r"[-+]?(nan|inf(inity)?)|[-+]?(\d[\d_]*\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


def parse(text: str) -> Assignment:
    """Split at the last operator behind which a value stands, so that names may hold `=`."""
    for found in reversed(list(_OPERATOR.finditer(text))):
        reference, value = text[: found.start()].strip(), text[found.end() :].strip()
        if reference and _is_value(value):
            return Assignment(reference, found[0], _value(value))
    if not _OPERATOR.search(text):
        raise UsageError(f"{text!r} is no assignment", "write NAME = VALUE; the operators are = += -= *= /=")
    raise UsageError(f"{text!r} assigns no value", "VALUE is a number, a JSON list or @FILE.npy")


def _is_value(text: str) -> bool:
    return (
        text[:1] in ("[", "@") or text in ("true", "false", "True", "False") or bool(_NUMBER.fullmatch(text)) or _complex(text) is not None
    )


def _complex(text: str) -> complex | None:
    if not text.endswith("j") and not text.endswith("j)"):
        return None
    try:
        return complex(text.replace(" ", ""))
    except ValueError:
        return None


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.startswith("@"):
        return _from_file(text[1:])
    if text.startswith("["):
        return _from_list(text)
    try:
        return int(text)
    except ValueError:
        found = _complex(text)
        return float(text) if found is None else found


def _from_file(path: str) -> numpy.ndarray[Any, Any]:
    import numpy

    try:
        array = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UsageError(f"no array could be read: {error}", "save it with numpy.save", path) from None
    if not isinstance(array, numpy.ndarray):
        raise UsageError("this is an archive of arrays", "give one .npy file", path)
    return array


def _from_list(text: str) -> numpy.ndarray[Any, Any]:
    import json

    import numpy

    try:
        array = numpy.array(json.loads(text))
    except ValueError as error:
        raise UsageError(f"{text[:60]!r} is no JSON list of numbers: {error}") from None
    if array.dtype.kind not in "biufc":
        raise UsageError(f"{text[:60]!r} is no list of numbers that fit in 64 bits")
    return array


def _assigned(checkpoint: Checkpoint, assignment: Assignment, layers: Layers) -> Checkpoint:
    """One assignment; where a pattern picks several tensors, each once, however many names it has."""
    for name, view in _views(checkpoint, assignment.reference, layers):
        tensor = view.plain(name).over(checkpoint[name].storage)
        storage = tensor.storage_with(_contents(name, tensor, assignment))
        checkpoint = checkpoint.with_storages({tensor.storage: storage})
    return checkpoint


def _views(checkpoint: Checkpoint, reference: str, layers: Layers) -> list[tuple[str, Tensor]]:
    if reference.endswith("]") and reference not in checkpoint:
        return [refer(checkpoint, reference, layers)]
    found: dict[Any, tuple[str, Tensor]] = {}
    for name in matches(checkpoint, reference, layers):
        found.setdefault(checkpoint[name].key, (name, checkpoint[name]))
    return list(found.values())


def _contents(name: str, tensor: Tensor, assignment: Assignment) -> Storage:
    """The new elements of `tensor`, C-contiguous."""
    value, dtype = assignment.value, tensor.dtype
    try:
        if not hasattr(value, "shape"):
            if assignment.op == "=":
                return Fill(element(dtype, value), tensor.nbytes)
            return Mapped(tensor.elements(), _arithmetic(dtype, assignment.op, value), dtype.nbytes, dtype.nbytes)
        operand = _broadcast(value, tensor)
        if assignment.op == "=":
            return Memory(_cast(operand, dtype))
        return Memory(_arithmetic(dtype, assignment.op, operand)(tensor.tobytes()))
    except EditError as error:
        error.where = error.where or name
        raise


def _broadcast(value: numpy.ndarray[Any, Any], tensor: Tensor) -> numpy.ndarray[Any, Any]:
    import numpy

    try:
        return numpy.broadcast_to(value, tensor.shape)
    except ValueError:
        raise EditError(f"a value of shape {value.shape} does not broadcast to {tensor.shape}") from None


def _cast(values: numpy.ndarray[Any, Any], dtype: DType) -> bytes:
    import numpy

    if dtype.kind == "b" and not ((values == 0) | (values == 1)).all():
        check_holds(dtype, float(values[(values != 0) & (values != 1)].flat[0]))
    if values.dtype.kind == "c" and dtype.kind != "c":
        raise EditError(f"{dtype.name} cannot hold complex values")
    if dtype.kind in "iu":
        if values.dtype.kind == "f" and values.size and not (values == numpy.floor(values)).all():
            check_holds(dtype, float(values[values != numpy.floor(values)].flat[0]))
        check_fits(values, dtype)
    with numpy.errstate(over="ignore"):
        return bytes(values.astype(to_numpy(dtype)).tobytes())


def _arithmetic(dtype: DType, op: str, value: Any) -> Any:
    """A function from elements to elements, computed in the dtype itself; in integers exactly, and refused where it overflows."""
    if dtype.kind == "b":
        raise EditError("bool has no arithmetic", "assign true or false")
    if dtype.kind in "iu" and op == "/=":
        raise EditError(f"{dtype.name} cannot be divided in place", "cast it to a float first")
    kind = to_numpy(dtype)

    if dtype.kind in "iu":
        value = _whole(value, dtype)

    def change(data: bytes) -> bytes:
        import numpy

        values = numpy.frombuffer(data, kind)
        operand = value.reshape(-1) if hasattr(value, "shape") else value
        if dtype.kind in "iu":
            return _cast(_applied(values.astype(object), op, operand), dtype)
        with numpy.errstate(all="ignore"):
            plain = operand.astype(kind) if hasattr(operand, "shape") else kind.type(operand)
            return bytes(_applied(values, op, plain).astype(kind).tobytes())

    return change


def _whole(value: Any, dtype: DType) -> Any:
    """An operand of integer arithmetic, in Python's integers. Raises EditError for a fraction."""
    if not hasattr(value, "shape"):
        if value != value or value in (float("inf"), float("-inf")) or value != int(value.real):
            raise EditError(f"{dtype.name} has no arithmetic with {value}", "give an integer, or cast it first")
        return int(value.real)
    if value.dtype.kind not in "biu" and not (value == value.round()).all():
        raise EditError(f"{dtype.name} has no arithmetic with fractions", "give integers, or cast it first")
    return value.astype("int64").astype(object) if value.dtype.kind != "u" else value.astype(object)


def _applied(left: Any, op: str, right: Any) -> Any:
    return {"+=": lambda: left + right, "-=": lambda: left - right, "*=": lambda: left * right, "/=": lambda: left / right}[op]()

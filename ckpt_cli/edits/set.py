"""`set`: values by hand. `REF OP VALUE`, OP one of = += -= *= /=, VALUE a number, a JSON list that broadcasts, or @file.npy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import CkptError, EditError, UsageError, naming
from ..formats import formats
from ..numbers.dtypes import DType, to_numpy
from ..numbers.values import check_fits, check_holds, check_kept, element, encoded
from ..storage.mapped import Mapped
from ..storage.storage import Fill, Memory, Storage
from ..tensors.checkpoint import Checkpoint
from ..tensors.references import refer, split_index
from ..tensors.selection import Layers, matches, no_layers
from ..tensors.tensor import Tensor
from .arithmetic import arithmetic, operand

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
        told = _told(checkpoint, text)
        checkpoint = _assigned(checkpoint, _meant(checkpoint, text, layers), layers) if told is None else told
    return checkpoint


def _told(checkpoint: Checkpoint, text: str) -> Checkpoint | None:
    """With an entry of the metadata replaced, where no tensor is called as its key: `general.name = "x"`, quotes or none."""
    key, sign, value = (part.strip() for part in text.partition("="))
    origin = checkpoint.origin
    if not sign or key in checkpoint or key not in checkpoint.metadata or not origin or not formats[origin.format].sets_metadata:
        return None
    if value[:1] == value[-1:] == '"':
        import json

        try:
            value = json.loads(value)
        except ValueError:
            raise UsageError(f"{value[:60]} is no JSON text", "leave the quotes out") from None
    return checkpoint.replacing(metadata={**checkpoint.metadata, key: value})


def _meant(checkpoint: Checkpoint, text: str, layers: Layers) -> Assignment:
    """`'0.*=0'` is `0.*` `=` `0` where that names something and `0.` does not: an operator's first sign may belong to a pattern."""
    found = parse(text)
    if found.op != "=" and not _names(checkpoint, found.reference, layers):
        other = Assignment(found.reference + found.op[0], "=", found.value)
        if _names(checkpoint, other.reference, layers):
            return other
    return found


def _names(checkpoint: Checkpoint, reference: str, layers: Layers) -> bool:
    try:
        return bool(reference) and bool(_views(checkpoint, reference, layers))
    except CkptError:
        return False


_OPERATOR = re.compile(r"[-+*/]?=")
_NUMBER = re.compile(r"[-+]?(nan|inf(inity)?)|[-+]?(\d+(_\d+)*\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


def parse(text: str) -> Assignment:
    """Split at the last operator behind which a value stands, so that names may hold `=`."""
    for found in reversed(list(_OPERATOR.finditer(text))):
        reference, value = text[: found.start()].strip(), text[found.end() :].strip()
        if (reference or found[0] == "*=") and _is_value(value):
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
        return _finite(text, _complex)


def _finite(text: str, read: Callable[[str], Any] = float) -> Any:
    """The float or complex number that is written. Raises UsageError where only rounding makes it infinite."""
    found = read(text)
    found = float(text) if found is None else found
    if float("inf") in (abs(found.real), abs(found.imag)) and "n" not in text.lower():
        raise UsageError(f"{text[:20]} is beyond the numbers of every dtype", "write inf if that is meant")
    return found


def _from_file(path: str) -> numpy.ndarray[Any, Any]:
    from zipfile import BadZipFile

    import numpy

    try:
        array = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, BadZipFile) as error:
        raise UsageError(f"no array could be read: {error}", "save it with numpy.save", path) from None
    if not isinstance(array, numpy.ndarray):
        raise UsageError("this is an archive of arrays", "give one .npy file", path)
    if array.dtype.kind not in "biufcV" or array.dtype.names:
        raise UsageError(f"an array of {array.dtype} holds no numbers", where=path)
    return array


# A number that is none, outside of quotes, however it is written: JSON's readers know one way of it.
_SPECIAL = re.compile(r"(?<![\w\"'.+-])([-+]?)(nan|inf(?:inity)?)(?![\w\"'])", re.IGNORECASE)


_AS_IN = "as in [[1, -2.5e3], [nan, inf]]"


def _as_json(found: re.Match[str]) -> str:
    return "NaN" if found[2].lower() == "nan" else found[1].replace("+", "") + "Infinity"


def _from_list(text: str) -> numpy.ndarray[Any, Any]:
    """An array of Python's own numbers: nothing is rounded before the dtype is known."""
    import json

    import numpy

    try:
        array = numpy.array(json.loads(_SPECIAL.sub(_as_json, text), parse_float=_finite), dtype=object)
    except ValueError as error:
        raise UsageError(f"{text[:60]!r} is no JSON list of numbers: {error}", _AS_IN) from None
    for index, item in enumerate(array.flat):
        if item in ("NaN", "Infinity", "-Infinity"):  # as `ckpt get --json` writes them
            array.flat[index] = float(item)
        elif not isinstance(item, (int, float)):
            raise UsageError(f"{text[:60]!r} is no list of numbers in rows of one length", _AS_IN)
    return array


def _assigned(checkpoint: Checkpoint, assignment: Assignment, layers: Layers) -> Checkpoint:
    """One assignment; where a pattern picks several tensors, each once, however many names it has."""
    for name, view in _views(checkpoint, assignment.reference, layers):
        tensor = view.over(checkpoint[name].plain(name).storage)
        storage = tensor.storage_with(_contents(name, tensor, assignment))
        checkpoint = checkpoint.with_storages({tensor.storage: storage})
    return checkpoint


def _views(checkpoint: Checkpoint, reference: str, layers: Layers) -> list[tuple[str, Tensor]]:
    if split_index(checkpoint, reference, layers)[1] is not None:
        return [refer(checkpoint, reference, layers)]
    found: dict[Any, tuple[str, Tensor]] = {}
    for name in matches(checkpoint, reference, layers):
        found.setdefault(checkpoint[name].key, (name, checkpoint[name]))
    return list(found.values())


def _contents(name: str, tensor: Tensor, assignment: Assignment) -> Storage:
    """The new elements of `tensor`, C-contiguous. An error that the values meet says the tensor's name, now or when they are read."""
    value, op, dtype = assignment.value, assignment.op, tensor.dtype
    with naming(name):
        if hasattr(value, "shape"):
            value = _fitting(value, tensor)
            if op == "=":
                return Memory(_spread(_stored(value, dtype), tensor).tobytes())
            value = _spread(operand(value, dtype), tensor)
            return Memory(arithmetic(tensor, op, value.reshape(-1))(tensor.tobytes()))
        if op == "=":
            return Fill(element(dtype, value), tensor.nbytes)
        made = Mapped(tensor.elements(), arithmetic(tensor, op, operand(value, dtype)), dtype.nbytes, dtype.nbytes)
    made.watch(lambda: naming(name))
    return made


def _fitting(value: numpy.ndarray[Any, Any], tensor: Tensor) -> numpy.ndarray[Any, Any]:
    """`value`, where it broadcasts; raw elements are taken for the tensor's own dtype."""
    if value.dtype.kind == "V":
        if value.dtype.itemsize != tensor.dtype.nbytes or tensor.dtype.kind != "f":
            raise EditError(f"raw elements of {value.dtype.itemsize} bytes are no {tensor.dtype.name}")
        value = value.view(to_numpy(tensor.dtype))
    spread = _spread(value, tensor)
    shared = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in tensor.strides)
    if 0 in tensor.strides and not ((spread == spread[shared]) | (spread != spread)).all():
        raise EditError("it is expanded: elements that share their memory cannot take different values", "untie it first")
    return value


def _spread(value: numpy.ndarray[Any, Any], tensor: Tensor) -> numpy.ndarray[Any, Any]:
    import numpy

    try:
        return numpy.broadcast_to(value, tensor.shape)
    except ValueError:
        raise EditError(f"a value of shape {value.shape} does not broadcast to {tensor.shape}") from None


def _stored(values: numpy.ndarray[Any, Any], dtype: DType) -> numpy.ndarray[Any, Any]:
    """`values` as raw elements of `dtype`. Raises EditError for one that it cannot hold."""
    import numpy

    raw = b"".join([element(dtype, value) for value in values.flat]) if values.dtype.kind == "O" else _rounded(values, dtype)
    return numpy.frombuffer(raw, f"V{dtype.nbytes}").reshape(values.shape)


def _rounded(values: numpy.ndarray[Any, Any], dtype: DType) -> bytes:
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

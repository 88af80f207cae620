"""`set`: values by hand, as `REF OP VALUE`: OP is one of = += -= *= /=, VALUE a number, a JSON list that broadcasts, or @file.npy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import CkptError, EditError, UsageError, naming
from ..formats import Savable, formats
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

    from .steps import Verb


class Assignment(NamedTuple):
    """An assignment `REF OP VALUE`.

    Attributes:
        reference: The tensors, or the part of one, as patterns or `NAME[index]`.
        op: One of = += -= *= /=.
        value: A Python number or a numpy array.
    """

    reference: str
    op: str
    value: Any


def set_values(checkpoint: Checkpoint, assignments: Sequence[str], layers: Layers = no_layers) -> Checkpoint:
    """Make assignments, from left to right.

    Args:
        checkpoint: The checkpoint.
        assignments: The assignments, as text.
        layers: Gives the types of layers, for patterns `@Type`.

    Raises:
        UsageError: A text is no assignment.
        NoMatch: A reference matches nothing.
        EditError: The dtype of a tensor cannot hold a value. Where values depend on the old ones, this is raised when they are read.
        Opaque: A tensor has no plain elements.
    """
    for text in assignments:
        changed = _with_metadata(checkpoint, text)
        checkpoint = _assigned(checkpoint, _assignment(checkpoint, text, layers), layers) if changed is None else changed
    return checkpoint


def _with_metadata(checkpoint: Checkpoint, text: str) -> Checkpoint | None:
    """The checkpoint with an entry of its metadata replaced (`general.name = "x"`, quotes or not); None if that is not meant."""
    key, sign, value = (part.strip() for part in text.partition("="))
    form = formats[checkpoint.origin.format] if checkpoint.origin else None
    editable = isinstance(form, Savable) and form.edits_metadata
    if not sign or key in checkpoint or key not in checkpoint.metadata or not editable:
        return None
    if value[:1] == value[-1:] == '"':
        import json

        try:
            value = json.loads(value)
        except ValueError:
            raise UsageError(f"{value[:60]} is no JSON text", "leave the quotes out") from None
    return checkpoint.replacing(metadata={**checkpoint.metadata, key: value})


def _assignment(checkpoint: Checkpoint, text: str, layers: Layers) -> Assignment:
    """The assignment. `0.*=0` is `0.*` `=` `0` if `0.*` matches and `0.` does not: the operator's first sign may belong to a pattern."""
    parsed = parse(text)
    if parsed.op != "=" and not _matches_something(checkpoint, parsed.reference, layers):
        other = Assignment(parsed.reference + parsed.op[0], "=", parsed.value)
        if _matches_something(checkpoint, other.reference, layers):
            return other
    return parsed


def _matches_something(checkpoint: Checkpoint, reference: str, layers: Layers) -> bool:
    try:
        return bool(reference) and bool(_views(checkpoint, reference, layers))
    except CkptError:
        return False


_OPERATOR = re.compile(r"[-+*/]?=")
_NUMBER = re.compile(r"[-+]?(nan|inf(inity)?)|[-+]?(\d+(_\d+)*\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


def parse(text: str) -> Assignment:
    """Read an assignment. It is split at the last operator that a value follows, so that names may contain `=`.

    Raises:
        UsageError: The text is no assignment, or its value cannot be read.
    """
    for operator in reversed(list(_OPERATOR.finditer(text))):
        reference, value = text[: operator.start()].strip(), text[operator.end() :].strip()
        if (reference or operator[0] == "*=") and _is_value(value):
            return Assignment(reference, operator[0], _value(value))
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
        return _number(text, _complex)


def _number(text: str, convert: Callable[[str], Any] = float) -> Any:
    """The float or complex number that is written. Raises UsageError where only rounding makes it infinite."""
    number = convert(text)
    number = float(text) if number is None else number
    if float("inf") in (abs(number.real), abs(number.imag)) and "n" not in text.lower():
        raise UsageError(f"{text[:20]} is beyond the numbers of every dtype", "write inf if that is meant")
    return number


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


# NaN or an infinity outside of quotes, in any spelling: Python's JSON reader knows only one.
_SPECIAL = re.compile(r"(?<![\w\"'.+-])([-+]?)(nan|inf(?:inity)?)(?![\w\"'])", re.IGNORECASE)


_AS_IN = "as in [[1, -2.5e3], [nan, inf]]"


def _as_json(match: re.Match[str]) -> str:
    return "NaN" if match[2].lower() == "nan" else match[1].replace("+", "") + "Infinity"


def _from_list(text: str) -> numpy.ndarray[Any, Any]:
    """An array of Python numbers: nothing is rounded before the dtype of the tensor is known."""
    import json

    import numpy

    try:
        array = numpy.array(json.loads(_SPECIAL.sub(_as_json, text), parse_float=_number), dtype=object)
    except ValueError as error:
        raise UsageError(f"{text[:60]!r} is no JSON list of numbers: {error}", _AS_IN) from None
    for index, item in enumerate(array.flat):
        if item in ("NaN", "Infinity", "-Infinity"):  # as `ckpt get --json` writes them
            array.flat[index] = float(item)
        elif not isinstance(item, (int, float)):
            raise UsageError(f"{text[:60]!r} is no list of numbers in rows of one length", _AS_IN)
    return array


def _assigned(checkpoint: Checkpoint, assignment: Assignment, layers: Layers) -> Checkpoint:
    """The checkpoint after one assignment. A tensor that several names share is assigned once."""
    for name, view in _views(checkpoint, assignment.reference, layers):
        tensor = view.over(checkpoint[name].plain(name).storage)
        storage = tensor.storage_with(_contents(name, tensor, assignment))
        checkpoint = checkpoint.with_storages({tensor.storage: storage})
    return checkpoint


def _views(checkpoint: Checkpoint, reference: str, layers: Layers) -> list[tuple[str, Tensor]]:
    """The tensors that a reference means, or the part of one, with their names."""
    if split_index(checkpoint, reference, layers)[1] is not None:
        return [refer(checkpoint, reference, layers)]
    views: dict[Any, tuple[str, Tensor]] = {}
    for name in matches(checkpoint, reference, layers):
        views.setdefault(checkpoint[name].key, (name, checkpoint[name]))
    return list(views.values())


def _contents(name: str, tensor: Tensor, assignment: Assignment) -> Storage:
    """The new elements of `tensor`, C-contiguous. An error about a value names the tensor, now or when the values are read."""
    value, op, dtype = assignment.value, assignment.op, tensor.dtype
    with naming(name):
        if hasattr(value, "shape"):
            value = _fitting(value, tensor)
            if op == "=":
                return Memory(_broadcast(_stored(value, dtype), tensor).tobytes())
            value = _broadcast(operand(value, dtype), tensor)
            return Memory(arithmetic(tensor, op, value.reshape(-1))(tensor.tobytes()))
        if op == "=":
            return Fill(element(dtype, value), tensor.nbytes)
        mapped = Mapped(tensor.elements(), arithmetic(tensor, op, operand(value, dtype)), dtype.nbytes, dtype.nbytes)
    mapped.watch(lambda: naming(name))
    return mapped


def _fitting(value: numpy.ndarray[Any, Any], tensor: Tensor) -> numpy.ndarray[Any, Any]:
    """`value`, if it can be assigned to `tensor`. Raw elements (numpy's dtype V) are taken for elements of the tensor's dtype."""
    if value.dtype.kind == "V":
        if value.dtype.itemsize != tensor.dtype.nbytes or tensor.dtype.kind != "f":
            raise EditError(f"raw elements of {value.dtype.itemsize} bytes are no {tensor.dtype.name}")
        value = value.view(to_numpy(tensor.dtype))
    broadcast = _broadcast(value, tensor)
    shared = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in tensor.strides)
    if 0 in tensor.strides and not ((broadcast == broadcast[shared]) | (broadcast != broadcast)).all():
        raise EditError("it is expanded: elements that share their memory cannot take different values", "untie it first")
    return value


def _broadcast(value: numpy.ndarray[Any, Any], tensor: Tensor) -> numpy.ndarray[Any, Any]:
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


def recipe_step() -> Verb:
    """The step `set = [ASSIGNMENT…]` of a recipe."""
    from .steps import TEXT, TEXTS, Outcome, Verb

    return Verb(
        {"set": TEXTS, "arch": TEXT},
        lambda checkpoint, table, context: Outcome(set_values(checkpoint, table["set"], context.layers_of(checkpoint, table))),
        lambda table: list(map(parse, table["set"])),
    )

"""numpy's arrays, scalars and dtypes inside pickles, read and written as nodes, without numpy.

`numpy.core.multiarray._reconstruct` (numpy 1), `numpy._core.…` (numpy 2), `_frombuffer` of protocol 5: numpy's methods.c and numeric.py.
"""

from __future__ import annotations

from typing import Any

from ...errors import CannotHold, Malformed
from ...numbers.dtypes import DTYPES, DType, opaque
from ...numbers.shapes import contiguous_strides, nbytes_of
from ...storage.storage import Memory, Storage
from ...tensors.tensor import Layout, Tensor
from .object_nodes import ByteArray, ByteString, Call, Global, Held, List, Tuple

_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}


def is_array(node: Any) -> bool:
    return type(node) is Call and ((_is(node, "_reconstruct") and bool(node.states)) or _is(node, "_frombuffer"))


def _is(node: Call, name: str) -> bool:
    return node.path.startswith("numpy") and node.path.endswith("." + name)


def array(node: Call) -> Tensor:
    """The array as a tensor over the bytes in the pickle. Raises Malformed where its parts make no sense."""
    if _is(node, "_frombuffer"):
        data, dtype, shape, order = (*node.arguments(), None, None, None, None)[:4]
        return _tensor(data, dtype, shape, order == "F")
    state = node.states[-1]
    if type(state) is not Tuple or len(state.items) < 4:
        raise Malformed("a numpy array without a state")
    shape, dtype, fortran, data = state.items[-4:]
    return _tensor(data, dtype, shape, fortran is True or fortran == 1)


def _swapped(storage: Storage, width: int) -> Storage:
    from ...storage.mapped import swapped  # few files are big-endian

    return swapped(storage, width)


def _tensor(data: Any, dtype: Any, shape: Any, fortran: bool) -> Tensor:
    sizes = tuple(getattr(shape, "items", ["?"]))
    if any(type(n) is not int or not 0 <= n < 2**63 for n in sizes) or len(sizes) > 64:
        raise Malformed("a numpy array without a shape")
    known, order = descr(dtype)
    if known.name == "object" or type(data) is List:
        return Tensor(opaque("object", 8), sizes, Memory(b""), None, 0, Layout.OBJECT)
    held = _storage(data)
    if held is None:
        raise Malformed("a numpy array without data")
    storage = _swapped(held, known.part) if order == ">" and known.kind != "O" else held
    if nbytes_of(known, sizes) != held.nbytes:
        raise Malformed(f"a numpy array of shape {sizes} with {held.nbytes} bytes")
    strides = tuple(reversed(contiguous_strides(sizes[::-1]))) if fortran else contiguous_strides(sizes)
    return Tensor.view(known, sizes, storage, strides, 0, Layout.PLAIN if known.addressable else Layout.OPAQUE)


def descr(node: Any) -> tuple[DType, str]:
    """A pickled numpy dtype and its byte order (`<`, `>`, `|`)."""
    if type(node) is not Call or node.path != "numpy.dtype" or not node.arguments():
        raise Malformed("a numpy array whose dtype is none of numpy's")
    code = node.arguments()[0]
    code = code.text if type(code) is ByteString else str(code)
    state = node.states[-1] if node.states else None
    order = state.items[1] if type(state) is Tuple and len(state.items) > 1 else "|"
    order = order.text if type(order) is ByteString else str(order)
    letter, size = code[:1], code[1:]
    if letter in _KINDS and _is_size(size):
        name = "bool" if letter == "b" else f"{_KINDS[letter]}{int(size) * 8}"
        if name in DTYPES:
            return DTYPES[name], order
    if letter == "O":
        return opaque("object", 8), order
    return opaque(("" if order == "|" else order) + code, _item_size(letter, size, state)), order


def _item_size(letter: str, size: str, state: Any) -> int:
    if type(state) is Tuple and len(state.items) > 5 and type(state.items[5]) is int and state.items[5] > 0:
        return state.items[5]
    return int(size) * (4 if letter == "U" else 1) if _is_size(size) else 1


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _storage(data: Any) -> Storage | None:
    if type(data) is Held:
        return data.storage
    raw = as_bytes(data)
    return None if raw is None else Memory(raw)


def as_bytes(node: Any) -> bytes | None:
    """The bytes that a node stands for: bytes, a bytearray, Python 2's `str`, protocol 2's `_codecs.encode(text, "latin1")`, `bytes()`."""
    if type(node) is bytes:
        return node
    if type(node) in (ByteArray, ByteString):
        return bytes(node.data)
    if type(node) is Call and node.path in ("__builtin__.bytes", "builtins.bytes") and not node.arguments():
        return b""
    if type(node) is Call and node.path == "_codecs.encode" and node.arguments() and type(node.arguments()[0]) is str:
        try:
            return bytes(node.arguments()[0], "latin-1")
        except UnicodeEncodeError:
            return None
    return None


def scalar(node: Any) -> Any:
    """The number that a pickled numpy scalar holds, or None."""
    if type(node) is not Call or not _is(node, "scalar") or len(node.arguments()) != 2:
        return None
    try:
        dtype, order = descr(node.arguments()[0])
    except Malformed:  # an object like any other that is not understood
        return None
    raw = as_bytes(node.arguments()[1])
    if raw is None or not dtype.addressable or len(raw) != dtype.nbytes:
        return None
    from ...numbers.values import item

    return item(dtype, _swapped(Memory(raw), dtype.part).read() if order == ">" else raw)


def array_node(tensor: Tensor) -> Call:
    """A C-ordered little-endian array of the tensor's values, as numpy pickles it below protocol 5. CannotHold for torch's own dtypes."""
    code = f"{tensor.dtype.kind}{tensor.dtype.nbytes}"
    if descr(Call("REDUCE", Global("numpy", "dtype"), Tuple([code])))[0] != tensor.dtype:
        raise CannotHold(f"an array of numpy's cannot be {tensor.dtype.name}", "leave it out by a pattern")
    dtype = Call("REDUCE", Global("numpy", "dtype"), Tuple([code, False, True]))
    dtype.states.append(Tuple([3, "<" if tensor.dtype.nbytes > 1 else "|", None, None, None, -1, -1, 0]))
    made = Call("REDUCE", Global("numpy.core.multiarray", "_reconstruct"), Tuple([Global("numpy", "ndarray"), Tuple([0]), b"b"]))
    made.states.append(Tuple([1, Tuple(list(tensor.shape)), dtype, False, tensor.tobytes()]))
    return made

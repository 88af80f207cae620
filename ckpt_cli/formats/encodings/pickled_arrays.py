"""numpy's arrays, scalars and dtypes inside pickles, read and written as nodes, without numpy.

An array is a call of `numpy.core.multiarray._reconstruct` (numpy 1), `numpy._core.multiarray._reconstruct` (numpy 2), with a state, or of
`_frombuffer` (protocol 5). As in numpy's methods.c (`array_reduce`, `array_setstate`) and numeric.py (`_frombuffer`).
JAX pickles an array as a call of a function of its own, whose arguments are those of numpy's (jax/_src/array.py, `_reconstruct_array`).
"""

from __future__ import annotations

from itertools import product
from typing import Any

from ...errors import CannotHold, Malformed
from ...numbers.dtypes import BLOCKS, DTYPES, DType, opaque
from ...numbers.shapes import contiguous_strides, fortran_strides, nbytes_of, numel_of, show_shape
from ...storage.mapped import swapped
from ...storage.storage import Memory, Storage
from ...tensors.tensor import Layout, Tensor
from .object_nodes import ByteArray, BytesInFile, ByteString, Call, CallOpcode, Global, List, Tuple, reduce_call

# numpy's letter → the name of the dtype, without its bits.
_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}


# The functions of JAX, now and before 0.4, with the arguments (numpy's function, its arguments, the array's state, …).
_OF_JAX = ("_reconstruct_array", "reconstruct_device_array", "_reconstruct_device_array")


def is_array(node: Any) -> bool:
    """Whether `node` is a pickled array of numbers, of numpy's or of JAX'."""
    return _is_any_array(node) and _objects(node) is None


def _is_any_array(node: Any) -> bool:
    if type(node) is not Call or not node.path.endswith(_NAMES):
        return False
    if _calls_numpy(node, "_reconstruct"):
        return bool(node.states)
    return _calls_numpy(node, "_frombuffer") or (node.path.startswith("jax") and len(node.arguments()) > 2)


_NAMES = ("_reconstruct", "_frombuffer", *_OF_JAX)


def _objects(node: Call) -> list[Any] | None:
    """The shape and the list of elements of a pickled array of objects; None for one of numbers."""
    state = node.states[-1] if _calls_numpy(node, "_reconstruct") and node.states else None
    if type(state) is not Tuple or len(state.items) < 4 or type(state.items[-1]) is not List:
        return None
    return [sizes_of(state.items[-4]), state.items[-1]]


def objects_in(node: Call) -> list[tuple[tuple[int, ...], Any, List]] | None:
    """The elements of a pickled array of objects, each with its index and the list that it is in; None where `node` is none.

    Raises:
        Malformed: The shape says another number of elements.
    """
    found = _objects(node) if _is_any_array(node) else None
    if found is None:
        return None
    shape, elements = found
    if numel_of(shape) != len(elements.items):
        raise Malformed(f"an array of objects of shape {show_shape(shape)} has {len(elements.items):,} elements")
    if not elements.items:
        return []
    indices = product(*map(range, shape))
    return [(index, item, elements) for index, item in zip(indices, elements.items, strict=True)]


def _calls_numpy(node: Call, name: str) -> bool:
    return node.path.startswith("numpy") and node.path.endswith("." + name)


def array_tensor(node: Call) -> Tensor:
    """A pickled array as a tensor over the bytes in the pickle. Raises Malformed where its parts contradict one another."""
    if node.path.startswith("jax"):
        function, args, state = node.arguments()[:3]
        node = Call(CallOpcode.REDUCE, function, args)
        node.states.append(state)
        if not _is_any_array(node) or node.path.startswith("jax"):
            raise Malformed("an array of JAX' that is none of numpy's")
    if _calls_numpy(node, "_frombuffer"):
        data, dtype, shape, order = (*node.arguments(), None, None, None, None)[:4]
        return _tensor(data, dtype, shape, order == "F")
    state = node.states[-1]
    if type(state) is not Tuple or len(state.items) < 4:
        raise Malformed("a numpy array without a state")
    shape, dtype, fortran, data = state.items[-4:]
    return _tensor(data, dtype, shape, fortran is True or fortran == 1)


class _PickledObjects(Storage):
    """Objects as the pickle that is written for them, which is made when it is asked for."""

    __slots__ = ("node",)

    def __init__(self, node: Call) -> None:
        self.node = node

    def __getattr__(self, name: str) -> int:
        if name != "nbytes":
            raise AttributeError(name)
        self.nbytes = len(self._pickle())
        return self.nbytes

    def _pickle(self) -> bytes:
        from .pickle_writer import Pickler

        return Pickler(2, lambda node: node.pid).dump(self.node)

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` from the pickle."""
        view[:] = self._pickle()[start : start + len(view)]


def object_tensor(node: Call) -> Tensor:
    """A pickled array of objects that are no numbers. Its elements are compared and hashed as what is pickled of them."""
    state = node.states[-1]
    return Tensor(opaque("object", 8), sizes_of(state.items[-4]), _PickledObjects(node), None, 0, Layout.OBJECT)


def sizes_of(shape: Any) -> tuple[int, ...]:
    """The shape that a pickled tuple is. Raises Malformed where it is none."""
    sizes = tuple(getattr(shape, "items", ["?"]))
    if any(type(n) is not int or not 0 <= n < 2**63 for n in sizes) or len(sizes) > 64:
        raise Malformed("a numpy array without a shape")
    return sizes


def _tensor(data: Any, dtype: Any, shape: Any, fortran: bool) -> Tensor:
    sizes = sizes_of(shape)
    element, order = dtype_of(dtype)
    raw = storage_of(data)
    if raw is None:
        raise Malformed("a numpy array without data")
    storage = swapped(raw, element.part) if order == ">" and element.kind != "O" else raw
    if nbytes_of(element, sizes) != raw.nbytes:
        raise Malformed(f"a numpy array of shape {sizes} with {raw.nbytes} bytes")
    strides = fortran_strides(sizes) if fortran else contiguous_strides(sizes)
    layout = Layout.PLAIN if element.addressable else Layout.UNPACKED if element.name in BLOCKS else Layout.OPAQUE
    return Tensor.view(element, sizes, storage, strides, 0, layout)


def dtype_of(node: Any) -> tuple[DType, str]:
    """The dtype that a pickled `numpy.dtype` is, and its byte order (`<`, `>`, `|`). Raises Malformed where `node` is none."""
    if type(node) is not Call or node.path != "numpy.dtype" or not node.arguments():
        raise Malformed("a numpy array whose dtype is none of numpy's")
    code = node.arguments()[0]
    state = node.states[-1] if node.states else None
    order = state.items[1] if type(state) is Tuple and len(state.items) > 1 else "|"
    order = order.text if type(order) is ByteString else str(order)
    if type(code) is Global:
        return _of_class(code), order
    code = code.text if type(code) is ByteString else str(code)
    letter, size = code[:1], code[1:]
    if letter in _KINDS and _is_size(size):
        name = "bool" if letter == "b" else f"{_KINDS[letter]}{int(size) * 8}"
        if name in DTYPES:
            return DTYPES[name], order
    if letter == "O":
        return opaque("object", 8), order
    return opaque(("" if order == "|" else order) + code, _item_size(letter, size, state)), order


def _of_class(cls: Global) -> DType:
    """The dtype that a class of ml_dtypes is, by whichever package it was pickled. Types of less than a byte take one each."""
    if cls.module.partition(".")[0] not in _WITH_SMALL_TYPES or cls.name not in DTYPES:
        raise Malformed(f"a numpy array whose dtype is {cls.path!r}")
    dtype = DTYPES[cls.name]
    return dtype if dtype.addressable else opaque(cls.name, 1)


_WITH_SMALL_TYPES = {"ml_dtypes", "jax", "jaxlib", "tensorflow", "tensorstore", "bfloat16"}


def _item_size(letter: str, size: str, state: Any) -> int:
    if type(state) is Tuple and len(state.items) > 5 and type(state.items[5]) is int and state.items[5] > 0:
        return state.items[5]
    return int(size) * (4 if letter == "U" else 1) if _is_size(size) else 1


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def storage_of(data: Any) -> Storage | None:
    """The bytes that a node stands for, which may lie in the file; None where it stands for none."""
    if type(data) is BytesInFile:
        return data.storage
    raw = as_bytes(data)
    return None if raw is None else Memory(raw)


def as_bytes(node: Any) -> bytes | None:
    """The bytes that a node stands for, or None.

    They are bytes, a bytearray, a Python 2 `str`, `_codecs.encode(text, "latin1")` as protocol 2 has it, or `bytes()`.
    """
    if type(node) is bytes:
        return node
    if type(node) in (ByteArray, ByteString):
        return bytes(node.data)
    if type(node) is not Call or node.path not in _BYTES_CALLS:
        return None
    args = node.arguments()
    if not args:
        return b"" if node.path != "_codecs.encode" else None
    if type(args[0]) is not str:
        inner = len(args) == 1 and (type(args[0]) is not Call or args[0].path == "_codecs.encode" != node.path)
        return as_bytes(args[0]) if inner else None
    try:
        return bytes(args[0], "latin-1") if len(args) == 2 and args[1] in ("latin1", "latin-1") else None
    except UnicodeEncodeError:
        return None


# How protocols below 3 spell bytes and bytearrays: with a text in latin-1.
_BYTES_CALLS = {"_codecs.encode", "builtins.bytes", "__builtin__.bytes", "builtins.bytearray", "__builtin__.bytearray"}


def scalar(node: Any) -> Any:
    """The number that a pickled numpy scalar is; None where `node` is none."""
    raw = scalar_bytes(node)
    if raw is None:
        return None
    from ...numbers.values import item

    return item(dtype_of(node.arguments()[0])[0], raw)


def scalar_bytes(node: Any) -> bytes | None:
    """The little-endian bytes of a pickled numpy scalar; None where `node` is none."""
    if type(node) is not Call or not _calls_numpy(node, "scalar") or len(node.arguments()) != 2:
        return None
    try:
        dtype, order = dtype_of(node.arguments()[0])
    except Malformed:  # then it is an object of a class that is not known
        return None
    raw = as_bytes(node.arguments()[1])
    if raw is None or not dtype.addressable or len(raw) != dtype.nbytes:
        return None
    return swapped(Memory(raw), dtype.part).read() if order == ">" else raw


def array_node(tensor: Tensor) -> Call:
    """A C-ordered little-endian array of the tensor's values, as numpy pickles it below protocol 5.

    Raises:
        CannotHold: numpy has no such dtype.
    """
    code = f"{tensor.dtype.kind}{tensor.dtype.nbytes}"
    if dtype_of(reduce_call("numpy", "dtype", code))[0] != tensor.dtype:
        raise CannotHold(f"an array of numpy's cannot be {tensor.dtype.name}", "leave it out by a pattern")
    dtype = reduce_call("numpy", "dtype", code, False, True)
    dtype.states.append(Tuple([3, "<" if tensor.dtype.nbytes > 1 else "|", None, None, None, -1, -1, 0]))
    array = reduce_call("numpy.core.multiarray", "_reconstruct", Global("numpy", "ndarray"), Tuple([0]), b"b")
    array.states.append(Tuple([1, Tuple(list(tensor.shape)), dtype, False, tensor.tobytes()]))
    return array

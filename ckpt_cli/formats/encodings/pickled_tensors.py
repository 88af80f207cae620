"""Tensors in the pickles of `torch.save`: from nodes to tensors, without torch. `torch/tensor_nodes.py` is the inverse.

The functions named here are the `_rebuild_*` of torch/_utils.py and `_rebuild_from_type_v2` of torch/_tensor.py. A call of one describes a
tensor; it is never made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import Malformed
from ...numbers.dtypes import BLOCKS, DTYPES, DType
from ...storage.storage import Storage
from ...tensors.tensor import Layout, Tensor
from . import pickled_arrays
from .object_nodes import ByteString, Call, CallOpcode, Dict, Global, List, Persistent, Tuple, text_of
from .pickle_strictness import check_geometry, rebuild_arguments

# The typed storages of torch/__init__.py and the dtype of their elements.
STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexHalfStorage": "complex32", "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
}  # fmt: skip

# Names of torch's dtypes, also those that are aliases, and our names for them.
TORCH_DTYPES = {name: name for name in DTYPES if name not in BLOCKS}
TORCH_DTYPES |= {"chalf": "complex32", "cfloat": "complex64", "cdouble": "complex128", "half": "float16"}

StorageOf = Callable[[str, DType | None, int], Storage]


class StorageId:
    """The persistent id that torch writes for a storage: ('storage', class, key, location, numel[, view]).

    As in torch/serialization.py, `persistent_id`. Raises Malformed for anything else.

    Attributes:
        items: The parts of the id.
        key: The name of the storage in the file.
        location: The device that the storage was on.
        dtype: The dtype of the storage's elements; None where it is untyped.
        nbytes: The size of the storage.
        offset: The first element of a view of it, in files of torch ≤ 0.4.
    """

    __slots__ = ("dtype", "items", "key", "location", "nbytes", "offset")

    def __init__(self, node: Persistent) -> None:
        items = node.pid.items if type(node.pid) is Tuple else []
        kinds = [type(item) for item in items]
        if not 5 <= len(items) <= 6 or text_of(items[0]) != "storage" or kinds[1] is not Global or kinds[4] is not int or items[4] < 0:
            raise Malformed("a storage of the pickle is described in an unknown way")
        self.items, self.location = items, items[3]
        self.key = items[2].text if kinds[2] is ByteString else str(items[2])
        self.dtype = None if items[1].name == "UntypedStorage" else _storage_dtype(items[1])
        self.nbytes = items[4] if self.dtype is None else -(-items[4] // self.dtype.elements) * self.dtype.nbytes
        self.offset = _legacy_view(items[5]) if len(items) > 5 else 0


def _storage_dtype(cls: Global) -> DType:
    if cls.name not in STORAGES:
        raise Malformed(f"storages of class {cls.path!r} are not known")
    return DTYPES[STORAGES[cls.name]]


def _legacy_view(view: Any) -> int:
    """The offset of a view. Files of torch ≤ 0.4 keep a view of a storage as (key, offset, size)."""
    if view is None:
        return 0
    if type(view) is Tuple and len(view.items) == 3 and type(view.items[1]) is int:
        return view.items[1]
    raise Malformed("a view of a storage is described in an unknown way")


def is_storage_id(node: Any) -> bool:
    """Whether `node` is the persistent id of a storage."""
    return type(node) is Persistent and type(node.pid) is Tuple and bool(node.pid.items) and text_of(node.pid.items[0]) == "storage"


# Calls that stand for one value; they are leaves, not containers.
_PLAIN_CALLS = {"_codecs.encode", "torch.device", "builtins.complex", "__builtin__.complex", "builtins.slice", "__builtin__.slice"}


def torch_dtype(node: Any, where: str = "") -> DType:
    """The dtype that a global such as `torch.float32` names.

    Raises:
        Malformed: It names none that is known; the message begins with `where`.
    """
    if type(node) is not Global or TORCH_DTYPES.get(node.name) not in DTYPES:
        raise Malformed(f"{where}torch dtype {getattr(node, 'path', node)!r} is not known")
    return DTYPES[TORCH_DTYPES[node.name]]


class TensorReader:
    """Makes tensors of nodes. `storage_of(key, dtype, nbytes)` gives their storages; a node that is met again gives the same tensor."""

    def __init__(self, storage_of: StorageOf) -> None:
        self.storage_of = storage_of
        self.seen: dict[int, Tensor] = {}
        self.repeated: dict[int, tuple[Tensor, StorageId]] = {}
        self.depth = 0

    def is_leaf(self, node: Any) -> bool:
        """Whether `node` is one tensor, storage or value, and no container."""
        if is_tensor(node) or is_storage_id(node):
            return True
        return type(node) is Call and (pickled_arrays.is_array(node) or node.path in _PLAIN_CALLS)

    def tensor(self, node: Any) -> Tensor | None:
        """The tensor that `node` describes, or None. Raises Malformed where it describes an impossible one."""
        if type(node) is not Call:
            return None
        tensor = self.seen.get(id(node))
        if tensor is None:
            if node.like is not None and node.path in _VIEWS:
                tensor = self._repeated(node)
            elif is_tensor(node):
                tensor = _REBUILD[node.path](self, node, rebuild_arguments(node))
            elif pickled_arrays.is_array(node):
                tensor = pickled_arrays.array_tensor(node)
            else:
                return None
            self.seen[id(node)] = tensor
        return tensor

    def _repeated(self, node: Call) -> Tensor:
        """The tensor of a call that repeats another one: the same view of another storage of the same size."""
        earlier = self.repeated.get(id(node.like))
        if earlier:
            like, storage_id = earlier
            return like.over(self.storage_of(node.key, storage_id.dtype, storage_id.nbytes))
        tensor = _REBUILD[node.path](self, node, rebuild_arguments(node))
        self.repeated[id(node.like)] = tensor, StorageId(node.arguments()[0])
        return tensor

    def inner(self, node: Any) -> Tensor:
        """The tensor that another one is made of. Raises Malformed where `node` is none."""
        self.depth += 1
        tensor = self.tensor(node) if self.depth < _DEEPEST else None
        self.depth -= 1
        if tensor is None:
            raise Malformed("a tensor of the pickle is described in an unknown way")
        return tensor

    def strided(self, args: list[Any], dtype: DType | None = None, layout: Layout = Layout.PLAIN) -> Tensor:
        """The view that the arguments (storage, offset, size, stride, …) describe. `dtype`: where it is not the storage's."""
        if len(args) < 4 or type(args[0]) is not Persistent or type(args[1]) is not int:
            raise Malformed("a tensor of the pickle is described in an unknown way")
        storage_id = StorageId(args[0])
        element = dtype or storage_id.dtype
        if element is None:
            raise Malformed("a tensor over an untyped storage without a dtype")
        shape, strides, offset = _sizes(args[2]), _sizes(args[3]), args[1] + storage_id.offset
        check_geometry(element, shape, strides, offset)
        storage = self.storage_of(storage_id.key, storage_id.dtype, storage_id.nbytes)
        return Tensor.view(element, shape, storage, strides, offset, layout)


_MOST_SIZE = 2**63
_DEEPEST = 16  # tensors within tensors, such as a parameter of a subclass of a quantised one
_SPARSE = (Layout.SPARSE_COO, Layout.SPARSE_CSR, Layout.SPARSE_CSC, Layout.SPARSE_BSR, Layout.SPARSE_BSC)


def _sizes(node: Any) -> tuple[int, ...]:
    if type(node) is Call and node.path == "torch.Size" and node.arguments():
        node = node.arguments()[0]
    items = node.items if type(node) in (Tuple, List) else [None]
    for n in items:
        if type(n) is not int or not -_MOST_SIZE < n < _MOST_SIZE:
            raise Malformed("a tensor whose size is no tuple of integers")
    if len(items) > 64:
        raise Malformed("a tensor of over 64 dimensions")
    return tuple(items)


def _v2(reader: TensorReader, node: Call, args: list[Any]) -> Tensor:
    metadata = args[6] if len(args) > 6 else None
    pending = type(metadata) is Dict and any(value is True for _, value in metadata.pairs)
    return reader.strided(args, layout=Layout.CONJUGATE if pending else Layout.PLAIN)


def _v3(reader: TensorReader, node: Call, args: list[Any]) -> Tensor:
    return reader.strided(args, torch_dtype(args[6] if len(args) > 6 else None))


def _quantised(reader: TensorReader, node: Call, args: list[Any]) -> Tensor:
    tensor = reader.strided(args, layout=Layout.QUANTISED)
    scheme = args[4].items if len(args) > 4 and type(args[4]) is Tuple else []
    tensor.parts = tuple(reader.inner(item) if is_tensor(item) else str(getattr(item, "path", item)) for item in scheme)
    return tensor


def _parameter(reader: TensorReader, node: Call, args: list[Any]) -> Tensor:
    return reader.inner(args[0] if args else None)


def _sparse(reader: TensorReader, node: Call, args: list[Any]) -> Tensor:
    """A sparse tensor: (layout, (indices, values, size, coalesced)) or, compressed, (layout, (outer, inner, values, size))."""
    layout = args[0].arguments() if args and type(args[0]) is Call else []
    data = args[1].items if len(args) > 1 and type(args[1]) is Tuple else []
    name = str(text_of(layout[0]) if layout else "").removeprefix("torch.")
    coo = name == Layout.SPARSE_COO
    if name not in _SPARSE or len(data) < (3 if coo else 4):
        raise Malformed("a sparse tensor is described in an unknown way")
    values, shape = reader.inner(data[1 if coo else 2]), _sizes(data[2 if coo else 3])
    if any(n < 0 for n in shape):
        raise Malformed(f"a sparse tensor of shape {shape}")
    tensor = Tensor(values.dtype, shape, values.storage, None, 0, Layout(name))
    tensor.parts = (*(reader.inner(indices) for indices in data[: 1 if coo else 2]), values)
    return tensor


def _from_type(reader: TensorReader, node: Call, args: list[Any]) -> Tensor:
    """A subclass: (function, type, args, state). A DTensor is read as the part of it that this rank holds."""
    local = _local_part(args)
    if local is not None:
        return reader.inner(local)
    function, inner = args[0] if args else None, args[2] if len(args) > 2 else None
    return reader.inner(Call(CallOpcode.REDUCE, function, inner))


def _local_part(args: list[Any]) -> Any:
    """The local part of a DTensor. The state is a dict, or a pair of a dict (or None) and the slots."""
    state = args[3] if len(args) > 3 else None
    dicts = [state] if type(state) is Dict else state.items if type(state) is Tuple else []
    return next((local for part in dicts if type(part) is Dict and (local := part.get("_local_tensor")) is not None), None)


_REBUILD: dict[str, Callable[[TensorReader, Call, list[Any]], Tensor]] = {
    "torch._utils._rebuild_tensor": _v2,
    "torch._utils._rebuild_tensor_v2": _v2,
    "torch._utils._rebuild_tensor_v3": _v3,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._tensor._rebuild_from_type_v2": _from_type,
}


_VIEWS = {path for path, function in _REBUILD.items() if function in (_v2, _v3)}


def is_tensor(node: Any) -> bool:
    """Whether `node` is a call that makes a tensor of torch's."""
    if type(node) is not Call or node.path not in _REBUILD:
        return False
    return node.path != "torch._tensor._rebuild_from_type_v2" or _is_known_subclass(node.arguments())


def _is_known_subclass(args: list[Any]) -> bool:
    if len(args) < 4:
        return False
    return _local_part(args) is not None or (type(args[0]) is Global and args[0].path in _REBUILD)

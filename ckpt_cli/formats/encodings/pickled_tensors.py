"""Tensors in the pickles of `torch.save`: from nodes to tensors, without torch. `torch/tensor_nodes.py` is the inverse.

The functions named here are the `_rebuild_*` of torch/_utils.py and `_rebuild_from_type_v2` of torch/_tensor.py. A call of one describes a
tensor; it is never made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import Malformed
from ...numbers.dtypes import BLOCKS, DTYPES, DType
from ...storage.storage import Storage
from ...tensors.tensor import Layout, Tensor
from . import pickled_arrays
from .object_nodes import BytesInFile, Call, CallOpcode, Dict, Global, List, Persistent, Tuple, text_of
from .object_walk import is_bytes, is_long, is_sharded, local_tensor
from .pickle_strictness import check_geometry, rebuild_arguments
from .storage_ids import STORAGE_IN_BYTES, StorageId, is_storage_id

if TYPE_CHECKING:
    from ...numbers.packing import Geometry

# Names of torch's dtypes, also those that are aliases, and our names for them.
TORCH_DTYPES = {name: name for name in DTYPES if name not in BLOCKS}
TORCH_DTYPES |= {
    "float4_e2m1fn_x2": "float4_e2m1fn",
    "chalf": "complex32",
    "cfloat": "complex64",
    "cdouble": "complex128",
    "half": "float16",
}

StorageOf = Callable[[str, DType | None, int], Storage]

# Calls that stand for one value; they are leaves, not containers.
_PLAIN_CALLS = {
    STORAGE_IN_BYTES,
    "_codecs.encode",
    "torch.device",
    "builtins.complex",
    "__builtin__.complex",
    "builtins.slice",
    "__builtin__.slice",
    "builtins.bytearray",
    "__builtin__.bytearray",
}


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
        self.pickled: dict[int, tuple[Storage, DType | None]] = {}
        self.distributed: dict[int, Call] = {}  # tensors of which a rank holds a part, by the id of their node
        self.depth = 0

    def is_leaf(self, node: Any) -> bool:
        """Whether `node` is one tensor, storage or value, and no container."""
        if is_tensor(node) or is_storage_id(node):
            return True
        if type(node) is Call:
            return pickled_arrays.is_array(node) or node.path in _PLAIN_CALLS or pickled_arrays.scalar_bytes(node) is not None
        return type(node) is BytesInFile

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
            elif pickled_arrays.objects_in(node) is not None:
                tensor = pickled_arrays.object_tensor(node)
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
        if len(args) < 4 or type(args[1]) is not int:
            raise Malformed("a tensor of the pickle is described in an unknown way")
        storage, storage_dtype, offset = self._storage(args[0])
        element = dtype or storage_dtype
        if element is None:
            raise Malformed("a tensor over an untyped storage without a dtype")
        geometry = _sizes(args[2]), _sizes(args[3]), args[1] + offset
        shape, strides, offset = geometry if storage_dtype or element.elements == 1 else _in_values(element, *geometry)
        check_geometry(element, shape, strides, offset)
        return Tensor.view(element, shape, storage, strides, offset, layout)

    def _storage(self, node: Any) -> tuple[Storage, DType | None, int]:
        """The storage that `node` stands for, the dtype of its elements, and the first element of a view of it."""
        if type(node) is Persistent:
            storage_id = StorageId(node)
            storage = self.storage_of(storage_id.key, storage_id.dtype, storage_id.nbytes)
            return storage, storage_id.dtype, storage_id.offset
        if type(node) is not Call or node.path != STORAGE_IN_BYTES:
            raise Malformed("a tensor of the pickle is described in an unknown way")
        if id(node) not in self.pickled:
            from .pickled_storages import storage_in_bytes  # few files are pickled so

            self.pickled[id(node)] = storage_in_bytes(node)
        return (*self.pickled[id(node)], 0)

    def bytes_of(self, node: Any, in_object: bool = False) -> Storage | None:
        """The bytes of a leaf that is no tensor: a bare storage, a run of bytes. None for any other.

        A short run is a value of its own, but for one within an object that is not decoded.
        """
        if is_storage_id(node) or (type(node) is Call and node.path == STORAGE_IN_BYTES):
            return self._storage(node)[0]
        return pickled_arrays.storage_of(node) if is_long(node) or (in_object and is_bytes(node)) else None


def _in_values(dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Geometry:
    """The geometry in values where torch counts bytes that hold several. Raises Malformed where a byte has no place along the last axis."""
    from ...numbers.packing import in_values  # few files need it

    found = in_values(dtype, shape, strides, offset) if len(shape) == len(strides) else None
    if found is None:
        raise Malformed(f"a tensor of {dtype.name} whose bytes do not follow each other along the last axis")
    return found


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
    return _logical(reader.strided(args), metadata) if type(metadata) is Dict and metadata.pairs else reader.strided(args)


def _v3(reader: TensorReader, node: Call, args: list[Any]) -> Tensor:
    tensor = reader.strided(args, torch_dtype(args[6] if len(args) > 6 else None))
    return _logical(tensor, args[7]) if len(args) > 7 and type(args[7]) is Dict else tensor


def _logical(tensor: Tensor, metadata: Dict) -> Tensor:
    """The values of a tensor that torch conjugates or negates when they are read, as its flags `conj` and `neg` say."""
    flags = {str(text_of(key)): value for key, value in metadata.pairs}
    if not set(flags) <= {"conj", "neg"} or not all(type(value) is bool for value in flags.values()):
        raise Malformed(f"a tensor with flags that are not known: {', '.join(sorted(flags))}")
    if not any(flags.values()):
        return tensor
    from ...storage.mapped import conjugated, negated

    storage = tensor.storage
    if flags.get("conj"):
        if tensor.dtype.kind != "c":
            raise Malformed("a tensor that is to be conjugated and is not complex")
        storage = conjugated(storage, tensor.dtype.nbytes)
    if flags.get("neg"):
        storage = negated(storage, tensor.dtype)
    return tensor.over(storage)


def _on_device(reader: TensorReader, node: Call, args: list[Any]) -> Tensor:
    """A tensor of another device, kept as an array or a tensor of the CPU and cast: (data, dtype, device, requires_grad)."""
    if len(args) < 2:
        raise Malformed("a tensor of the pickle is described in an unknown way")
    return reader.inner(args[0]).cast(torch_dtype(args[1]), "the tensor")


def _quantised(reader: TensorReader, node: Call, args: list[Any]) -> Tensor:
    tensor = reader.strided(args, layout=Layout.QUANTISED)
    scheme = args[4].items if len(args) > 4 and type(args[4]) is Tuple else []
    tensor.parts = tuple(reader.inner(item) if is_tensor(item) else str(getattr(item, "path", item)) for item in scheme)
    return tensor


def _parameter(reader: TensorReader, node: Call, args: list[Any]) -> Tensor:
    of = args[0] if args else None
    tensor = reader.inner(of)
    if id(of) in reader.distributed:
        reader.distributed[id(node)] = reader.distributed[id(of)]
    return tensor


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
    """A subclass: (function, type, args, state). A DTensor or ShardedTensor is read as the part of it that this rank holds."""
    local = _local_part(args)
    if local is not None:
        reader.distributed[id(node)] = node
        return local if isinstance(local, Tensor) else reader.inner(local)
    function, inner = args[0] if args else None, args[2] if len(args) > 2 else None
    return reader.inner(Call(CallOpcode.REDUCE, function, inner))


def _local_part(args: list[Any]) -> Any:
    """The local part of a DTensor or a ShardedTensor; None for another tensor."""
    if is_sharded(args):
        from .distributed_tensors import local_shard

        return local_shard(args, torch_dtype)
    return local_tensor(args[3]) if len(args) > 3 else None


_REBUILD: dict[str, Callable[[TensorReader, Call, list[Any]], Tensor]] = {
    "torch._utils._rebuild_tensor": _v2,
    "torch._utils._rebuild_tensor_v2": _v2,
    "torch._utils._rebuild_tensor_v3": _v3,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_device_tensor_from_numpy": _on_device,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _on_device,
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

"""Tensors as the nodes of a pickle that `torch.save` writes for them: the inverse of `encodings/pickled_tensors.py`.

As in torch/_tensor.py (`_reduce_ex_internal`), torch/_utils.py (`_rebuild_*`) and torch/serialization.py (`persistent_id`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...numbers.dtypes import DType
from ...numbers.packing import Geometry, in_blocks
from ...tensors.tensor import Tensor
from ..encodings.object_nodes import Call, Global, Persistent, Tuple, reduce_call
from ..encodings.pickled_tensors import TORCH_DTYPES, is_tensor
from ..encodings.storage_ids import STORAGES, StorageId, is_storage_id

_STORAGE_OF = {dtype: name for name, dtype in STORAGES.items()}


def storage_id_node(key: str, dtype: DType, nbytes: int, location: Any = "cpu") -> Persistent:
    """The persistent id of a storage: typed where torch has a class for the dtype, else untyped and counted in bytes."""
    cls = _STORAGE_OF.get(dtype.name)
    storage_class = Global("torch", cls) if cls else Global("torch.storage", "UntypedStorage")
    count = nbytes // dtype.nbytes * dtype.elements if cls else nbytes
    return Persistent(Tuple(["storage", storage_class, key, location, count]))


def tensor_node(tensor: Tensor, key: str, like: Any = None) -> Call:
    """The call that rebuilds a tensor: `_rebuild_tensor_v2`, or v3 where the dtype has no typed storage.

    Args:
        tensor: A view of its storage.
        key: The name of the storage in the new file.
        like: The node that it replaces, whose location and `requires_grad` are kept.
    """
    inner = innermost(like)
    args = inner.arguments() if inner else []
    location = StorageId(args[0]).location if args and is_storage_id(args[0]) else "cpu"
    requires_grad = args[4] if len(args) > 4 and type(args[4]) is bool else False
    storage_id = storage_id_node(key, tensor.dtype, tensor.storage.nbytes, location)
    hooks = reduce_call("collections", "OrderedDict")
    shape, strides, offset = _torch_geometry(tensor)
    parts = [storage_id, offset, Tuple(list(shape)), Tuple(list(strides)), requires_grad, hooks]
    if tensor.dtype.name in _STORAGE_OF:
        return reduce_call("torch._utils", "_rebuild_tensor_v2", *parts)
    return reduce_call("torch._utils", "_rebuild_tensor_v3", *parts, Global("torch", _IN_BYTES.get(tensor.dtype.name, tensor.dtype.name)))


_IN_BYTES = {"float4_e2m1fn": "float4_e2m1fn_x2"}  # torch counts bytes of several values


def _torch_geometry(tensor: Tensor) -> Geometry:
    """Shape, strides and offset as torch counts them."""
    geometry = Geometry(tensor.shape, tensor.strides, tensor.offset)
    return (in_blocks(tensor.dtype, *geometry) if tensor.dtype.name in _IN_BYTES else None) or geometry


def innermost(node: Any) -> Call | None:
    """The call that names the storage, inside of parameters; None where `node` is no tensor."""
    while type(node) is Call and node.path.startswith("torch._utils._rebuild_parameter") and node.arguments():
        node = node.arguments()[0]
    return node if type(node) is Call and is_tensor(node) else None


def through_view(node: Any) -> bool:
    """Whether the storage is a view of another one, as in files of torch ≤ 0.4. A zip has no place for that."""
    inner = innermost(node)
    args = inner.arguments() if inner else []
    return bool(args) and is_storage_id(args[0]) and StorageId(args[0]).offset != 0


def rewrapped(node: Any, tensor: Call) -> Call:
    """`tensor` within an nn.Parameter, where `node` is one."""
    if type(node) is Call and node.path.startswith("torch._utils._rebuild_parameter"):
        return Call(node.opcode, node.function, Tuple([tensor, *node.arguments()[1:]]))
    return tensor


def check_layouts(checkpoint: Mapping[str, Tensor], holder: str) -> None:
    """Raise CannotHold where a tensor is sparse, quantised or else has no plain elements. `holder`: what cannot hold it."""
    from ...errors import CannotHold

    name = next((name for name, tensor in checkpoint.items() if tensor.layout), None)
    if name:
        raise CannotHold(f"{holder} cannot hold {name}, which is {checkpoint[name].layout}", f"leave it out: --drop '{name}'")


def check_dtypes(tensors: Mapping[str, Tensor]) -> None:
    """Raise CannotHold where torch has no name for a dtype."""
    from ...errors import CannotHold
    from ...numbers.quantised import way_out

    for name, tensor in tensors.items():
        whole = in_blocks(tensor.dtype, tensor.shape, tensor.strides, tensor.offset) if tensor.dtype.name in _IN_BYTES else None
        if tensor.dtype.name not in TORCH_DTYPES and whole is None:
            mend = way_out(tensor.dtype, name) if tensor.dtype.kind == "q" else "leave it out with --drop, or cast it"
            raise CannotHold(f"a .pt file cannot hold {tensor.dtype.name} ({name})", mend)

"""Tensors as nodes of a pickle, as `torch.save` makes them: the mirror of `torch_objects`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...numbers.dtypes import DType
from ...numbers.shapes import contiguous_strides
from ...tensors.tensor import Tensor
from ..encodings.object_nodes import Call, Global, Persistent, Tuple
from ..encodings.pickled_tensors import STORAGES, TORCH_DTYPES, Pid, is_pid, is_tensor

_STORAGE_OF = {dtype: name for name, dtype in STORAGES.items()}


def pid_node(key: str, dtype: DType, nbytes: int, location: Any = "cpu") -> Persistent:
    """The persistent id of a storage, typed where torch has a class for it, else untyped and counted in bytes."""
    cls = _STORAGE_OF.get(dtype.name)
    kind = Global("torch", cls) if cls else Global("torch.storage", "UntypedStorage")
    count = nbytes // dtype.nbytes * dtype.elements if cls else nbytes
    return Persistent(Tuple(["storage", kind, key, location, count]))


def tensor_node(tensor: Tensor, key: str, like: Any = None) -> Call:
    """`_rebuild_tensor_v2` (v3 where the dtype has no typed storage) of a view; location and gradients are those of `like`."""
    inner = innermost(like)
    args = inner.arguments() if inner else []
    location = Pid(args[0]).location if args and is_pid(args[0]) else "cpu"
    gradients = args[4] if len(args) > 4 and type(args[4]) is bool else False
    pid = pid_node(key, tensor.dtype, tensor.storage.nbytes, location)
    hooks = Call("REDUCE", Global("collections", "OrderedDict"), Tuple([]))
    parts = [pid, tensor.offset, Tuple(list(tensor.shape)), Tuple(list(_torch_strides(tensor))), gradients, hooks]
    if tensor.dtype.name in _STORAGE_OF:
        return Call("REDUCE", Global("torch._utils", "_rebuild_tensor_v2"), Tuple(parts))
    return Call("REDUCE", Global("torch._utils", "_rebuild_tensor_v3"), Tuple([*parts, Global("torch", tensor.dtype.name)]))


def _torch_strides(tensor: Tensor) -> tuple[int, ...]:
    return tensor.strides if tensor._strides is not None else contiguous_strides(tensor.shape)


def innermost(node: Any) -> Call | None:
    """The call that names the storage, inside of parameters and subclasses."""
    while type(node) is Call and node.path.startswith("torch._utils._rebuild_parameter") and node.arguments():
        node = node.arguments()[0]
    return node if type(node) is Call and is_tensor(node) else None


def through_view(node: Any) -> bool:
    """True where the storage is a view of another one, as files of torch ≤ 0.4 have them; a zip has no place for that."""
    inner = innermost(node)
    args = inner.arguments() if inner else []
    return bool(args) and is_pid(args[0]) and Pid(args[0]).offset != 0


def rewrapped(node: Any, tensor: Call) -> Call:
    """`tensor` in the nn.Parameter that `node` was, where it was one."""
    if type(node) is Call and node.path.startswith("torch._utils._rebuild_parameter"):
        return Call(node.made, node.function, Tuple([tensor, *node.arguments()[1:]]))
    return tensor


def check_dtypes(tensors: Mapping[str, Tensor]) -> None:
    """Raises CannotHold where torch has no name for a dtype."""
    from ...errors import CannotHold
    from ...numbers.quantised import way_out

    for name, tensor in tensors.items():
        if tensor.dtype.name not in TORCH_DTYPES or tensor.dtype.name.startswith(("float4_", "float6_")):
            mend = way_out(tensor.dtype, name) if tensor.dtype.kind == "q" else "leave it out with --drop, or cast it"
            raise CannotHold(f"a .pt file cannot hold {tensor.dtype.name} ({name})", mend)

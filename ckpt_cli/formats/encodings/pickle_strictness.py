"""What no writer of pickles makes, and other readers do not agree on: it is refused, not interpreted.

Calls of what is no class or function, arguments that are no tuple, keys without a hash, persistent ids of a form that torch does not know,
functions of torch's with more arguments than they have, geometries of tensors that torch itself never has.
"""

from __future__ import annotations

from typing import Any

from ...errors import Malformed
from ...numbers.dtypes import DType
from ...numbers.shapes import numel_of
from .object_nodes import ByteArray, Call, CallOpcode, Dict, Global, List, Persistent, Set, Tuple, text_of

_WITHOUT_HASH = frozenset({Dict, List, ByteArray})
_HASHED = {str, int}
_MOST_IN_A_KEY = 100_000
_PERSISTENT = {"storage", "module", "reduce_package"}  # as torch/serialization.py and torch/package/package_exporter.py write them
# The most arguments of torch's functions (torch/_utils.py, torch/_tensor.py).
_MOST_ARGUMENTS = {
    "torch._utils._rebuild_tensor": 4,
    "torch._utils._rebuild_tensor_v2": 7,
    "torch._utils._rebuild_tensor_v3": 8,
    "torch._utils._rebuild_qtensor": 7,
    "torch._utils._rebuild_parameter": 3,
    "torch._utils._rebuild_parameter_with_state": 4,
    "torch._utils._rebuild_sparse_tensor": 2,
    "torch._tensor._rebuild_from_type_v2": 4,
}


def hashed(keys: list[Any]) -> list[Any]:
    """The keys themselves. Raises ValueError where one has no hash: a dict, a list, a set, or a tuple with one of these in it."""
    kinds = set(map(type, keys))
    if kinds <= _HASHED:
        return keys
    inner = [item for key in keys if type(key) is Tuple for item in key.items[:_MOST_IN_A_KEY]]
    for key in (*keys, *inner):
        if type(key) in _WITHOUT_HASH or (type(key) is Set and not key.frozen):
            raise ValueError("a key that is or holds a dict, a list or a set")
    return keys


def call_of(opcode: CallOpcode, function: Any, args: Any, kwargs: Any = None) -> Call:
    """The node of a call: of a name, of what another call made, or of a class that a persistent id stands for. Raises ValueError."""
    if type(function) not in (Global, Call, Persistent):
        raise ValueError("a call of what is no class or function")
    if type(args) is not Tuple or not (kwargs is None or type(kwargs) is Dict):
        raise ValueError("a call whose arguments are no tuple")
    return Call(opcode, function, args, kwargs)


def check_persistent_id(pid: Any) -> None:
    """Raise Malformed for an id that is no tuple which begins with a word of torch's."""
    if type(pid) is not Tuple or not pid.items or text_of(pid.items[0]) not in _PERSISTENT:
        raise Malformed("a persistent id of the pickle is described in an unknown way")


def rebuild_arguments(node: Call) -> list[Any]:
    """The arguments of a call that makes a tensor. Raises Malformed where the function takes fewer."""
    args = node.arguments()
    if len(args) > _MOST_ARGUMENTS.get(node.path, len(args)):
        raise Malformed(f"a tensor of the pickle is described in an unknown way: {node.path} has {len(args)} arguments")
    return args


def check_geometry(dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> None:
    """Raise Malformed for a tensor with negative strides, or of packed elements whose rows or offset end within a byte."""
    if any(stride < 0 for stride in strides):
        raise Malformed("a tensor of torch's with a negative stride")
    packed = dtype.elements if dtype.nbytes == 1 else 1
    if packed > 1 and numel_of(shape) and (offset % packed or (shape or (1,))[-1] % packed):
        raise Malformed(f"a tensor of {dtype.name} that ends within a byte")

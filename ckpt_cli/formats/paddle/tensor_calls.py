"""Paddle's tensors in pickles: `tuple((name, array))`, or `eval("data", {"data": array})`; a state dict holds bare arrays.

As in python/paddle/framework/io.py (`_pickle_save`, `reduce_varbase`, `reduce_LoDTensor`). The calls are read as symbols and never made.
Paddle has no unsigned 16-bit integers: such an array holds bfloat16.
"""

from __future__ import annotations

from typing import Any

from ...numbers.dtypes import DTYPES
from ...tensors.tensor import Tensor
from ..encodings import pickled_arrays
from ..encodings.object_nodes import Call, Dict, Tuple, text_of
from ..encodings.pickled_tensors import TensorReader

_TUPLES = ("builtins.tuple", "__builtin__.tuple")
_EVALS = ("builtins.eval", "__builtin__.eval")


def array_of(node: Any) -> Call | None:
    """Return the array in the node of a tensor (itself where it is a bare array); None where the node is no tensor."""
    if type(node) is not Call:
        return None
    if pickled_arrays.is_array(node):
        return node
    arguments = node.arguments()
    array = None
    if node.path in _TUPLES and len(arguments) == 1 and type(arguments[0]) is Tuple and len(arguments[0].items) == 2:
        name, array = arguments[0].items
        array = array if text_of(name) is not None else None
    elif node.path in _EVALS and len(arguments) == 2 and text_of(arguments[0]) == "data" and type(arguments[1]) is Dict:
        array = arguments[1].get("data")
    return array if type(array) is Call and pickled_arrays.is_array(array) else None


class PaddleReader(TensorReader):
    """Reads the tensors of a pickle by Paddle."""

    def is_leaf(self, node: Any) -> bool:
        """Whether the walk over the objects ends at `node`."""
        return array_of(node) is not None or super().is_leaf(node)

    def tensor(self, node: Any) -> Tensor | None:
        """Return the tensor that `node` is; None where it is none."""
        array = array_of(node)
        tensor = super().tensor(array if array is not None else node)
        if array is None or tensor is None or tensor.dtype.name != "uint16":
            return tensor
        return Tensor.view(DTYPES["bfloat16"], tensor.shape, tensor.storage, tensor.strides, tensor.offset)


def replaced(like: Any, array: Call) -> Call:
    """The node of the tensor `like` (None: there was none) with another array in it."""
    if like is None or array_of(like) is like:
        return array
    arguments = like.arguments()
    inner = Dict([("data", array)]) if like.path in _EVALS else Tuple([arguments[0].items[0], array])
    return Call(like.opcode, like.function, Tuple([*arguments[:-1], inner]))

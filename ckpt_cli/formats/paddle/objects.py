"""Paddle's tensors in its pickles: `tuple((name, array))`, or `eval("data", {"data": array})`; a state dict holds bare arrays.

As in python/paddle/framework/io.py (`_pickle_save`, `reduce_varbase`, `reduce_LoDTensor`). The calls are read as symbols, never made.
Paddle has no unsigned 16-bit integers: such an array holds bfloat16.
"""

from __future__ import annotations

from typing import Any

from ...numbers.dtypes import DTYPES
from ...tensors.checkpoint import Tensor
from ..encodings import pickled_arrays
from ..encodings.object_nodes import Call, Dict, Tuple, text_of
from ..encodings.pickled_tensors import TensorReader

_TUPLES = ("builtins.tuple", "__builtin__.tuple")
_EVALS = ("builtins.eval", "__builtin__.eval")


def array_of(node: Any) -> Call | None:
    """The array in a tensor of Paddle's."""
    args = node.arguments() if type(node) is Call else []
    if type(node) is Call and pickled_arrays.is_array(node):
        return node
    if type(node) is Call and node.path in _TUPLES and len(args) == 1 and type(args[0]) is Tuple and len(args[0].items) == 2:
        name, array = args[0].items
        return array if text_of(name) is not None and type(array) is Call and pickled_arrays.is_array(array) else None
    if type(node) is Call and node.path in _EVALS and len(args) == 2 and text_of(args[0]) == "data" and type(args[1]) is Dict:
        array = args[1].get("data")
        return array if type(array) is Call and pickled_arrays.is_array(array) else None
    return None


class PaddleReader(TensorReader):
    def is_leaf(self, node: Any) -> bool:
        return array_of(node) is not None or super().is_leaf(node)

    def tensor(self, node: Any) -> Tensor | None:
        array = array_of(node)
        found = super().tensor(array if array is not None else node)
        if array is None or found is None or found.dtype.name != "uint16":
            return found
        return Tensor.view(DTYPES["bfloat16"], found.shape, found.storage, found.strides, found.offset)

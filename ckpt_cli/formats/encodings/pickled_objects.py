"""What a pickle holds besides tensors, as values and as text: numbers, names, objects of classes that only their own program defines."""

from __future__ import annotations

from typing import Any

from ...tensors.checkpoint import Foreign
from . import pickled_arrays
from .object_nodes import ByteArray, BytesInFile, ByteString, Call, Dict, Global, List, Node, Set, Tuple
from .pickled_tensors import TORCH_DTYPES
from .storage_ids import is_storage_id


def plain(node: Any) -> Any:
    """A leaf that is no tensor: as a value of Python, an empty container, or a Foreign object."""
    if not isinstance(node, Node):
        return node
    if type(node) is ByteString:
        return node.text
    raw = pickled_arrays.as_bytes(node)
    if raw is not None:
        return raw
    if type(node) in (Dict, List, Tuple):
        return {Dict: {}, List: [], Tuple: ()}[type(node)]
    number = pickled_arrays.scalar(node)
    return number if number is not None else Foreign(_type_name(node), sketch(node))


def _type_name(node: Any) -> str:
    if type(node) is Global:
        return "torch.dtype" if node.module == "torch" and node.name in TORCH_DTYPES else "type"
    if type(node) is Call:
        return _class_of(node) or "object"
    if is_storage_id(node):
        return f"torch.{node.pid.items[1].name}" if type(node.pid.items[1]) is Global else "torch.storage"
    return {Set: "set", ByteArray: "bytearray", BytesInFile: "bytes"}.get(type(node), "object")


def _class_of(node: Call) -> str:
    """The class of an object; of a tensor subclass, which torch makes by a call of its own, that subclass."""
    args = node.arguments()
    made_by_torch = node.path == "torch._tensor._rebuild_from_type_v2" and len(args) > 1 and type(args[1]) is Global
    return str(args[1].path) if made_by_torch else node.path


def sketch(node: Any, depth: int = 2) -> str:
    """A foreign object as one line of text; `…` stands for what lies deeper than `depth`, and only 8 items of each container are shown."""
    if is_storage_id(node):
        return f"{_type_name(node)} of {node.pid.items[4]} elements"
    if not isinstance(node, Node):
        return repr(node)
    if type(node) is BytesInFile:
        return f"{node.storage.nbytes:,} bytes"
    if type(node) is Global:
        return node.path
    if type(node) is ByteString:
        return repr(node.text)
    if depth == 0:
        return "…"
    if type(node) is Call:
        state = node.state()
        fields = [f"{sketch(k, 0).strip(chr(39))}={sketch(v, depth - 1)}" for k, v in state.pairs[:8]] if state else []
        return f"{node.path}({', '.join([sketch(a, depth - 1) for a in node.arguments()[:8]] + fields)})"
    if type(node) is Dict:
        return "{" + ", ".join(f"{sketch(k, 0)}: {sketch(v, depth - 1)}" for k, v in node.pairs[:8]) + "}"
    return "[" + ", ".join(sketch(item, depth - 1) for item in getattr(node, "items", [])[:8]) + "]"

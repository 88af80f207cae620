"""How a pickle of torch's refers to a storage: by a persistent id, or by a stream of its own in a run of bytes."""

from __future__ import annotations

from typing import Any

from ...errors import Malformed
from ...numbers.dtypes import DTYPES, DType
from .object_nodes import ByteString, Global, Persistent, Tuple, text_of

# The typed storages of torch/__init__.py and the dtype of their elements.
STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexHalfStorage": "complex32", "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
}  # fmt: skip

# The first pickle of each stream that torch.save wrote before 1.6, as in torch/serialization.py.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

# A storage that pickle.dump pickled: its argument is the stream that torch.save wrote of it. As in torch/storage.py.
STORAGE_IN_BYTES = "torch.storage._load_from_bytes"


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
        self.dtype = None if items[1].name == "UntypedStorage" else dtype_of_class(items[1])
        self.nbytes = items[4] if self.dtype is None else -(-items[4] // self.dtype.elements) * self.dtype.nbytes
        self.offset = _legacy_view(items[5]) if len(items) > 5 else 0


def dtype_of_class(cls: Global) -> DType:
    """The dtype of the elements of a class of storages. Raises Malformed where it is not known."""
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

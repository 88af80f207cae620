"""TensorFlow's graphs, spelled field by field as protobuf has them on the wire (tensorflow/core/framework/*.proto)."""

from __future__ import annotations

from onnx_models import data, number

FLOAT, DOUBLE, INT32, UINT8, INT16, INT8, STRING, COMPLEX64, INT64, BOOL, BFLOAT16, HALF, UINT32, UINT64 = (
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 19, 22, 23,
)  # fmt: skip


def shape(*sizes: int) -> bytes:
    return b"".join(data(2, number(1, size)) for size in sizes)


def tensor(kind: int, sizes: tuple[int, ...], content: bytes) -> bytes:
    """A TensorProto."""
    return number(1, kind) + data(2, shape(*sizes)) + content


def attribute(key: str, value: bytes) -> bytes:
    return data(5, data(1, key) + data(2, value))


def constant(name: str, proto: bytes, op: str = "Const") -> bytes:
    """A NodeDef that holds a tensor."""
    return data(1, name) + data(2, op) + attribute("dtype", number(6, 1)) + attribute("value", data(8, proto))


def graph(*nodes: bytes, functions: bytes = b"") -> bytes:
    """A GraphDef."""
    library = data(2, functions) if functions else b""
    return b"".join(data(1, node) for node in nodes) + library + data(4, number(1, 27))


def function(name: str, *nodes: bytes) -> bytes:
    return data(1, data(1, data(1, name)) + b"".join(data(3, node) for node in nodes))


def saved_model(*graphs: bytes) -> bytes:
    return number(1, 1) + b"".join(data(2, data(1, data(4, "serve")) + data(2, one)) for one in graphs)

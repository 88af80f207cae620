"""ONNX models, spelled field by field as protobuf has them on the wire."""

from __future__ import annotations

import struct

FLOAT, INT8, INT32, INT64, STRING, BOOL, FLOAT16, DOUBLE, UINT64, BFLOAT16 = 1, 3, 6, 7, 8, 9, 10, 11, 13, 16


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def data(field: int, raw: bytes | str, length: int | None = None) -> bytes:
    raw = raw.encode() if isinstance(raw, str) else raw
    return varint(field << 3 | 2) + varint(len(raw) if length is None else length) + raw


def entry(key: str, value: str) -> bytes:
    return data(1, key) + data(2, value)


def tensor(name: str | bytes, dims: tuple[int, ...], kind: int = FLOAT, content: bytes | None = None) -> bytes:
    """A TensorProto; without `content` zeros of float32 in raw_data."""
    count = 4
    for n in dims:
        count *= n
    content = data(9, bytes(count)) if content is None else content
    return b"".join(number(1, n) for n in dims) + number(2, kind) + data(8, name) + content


def external(location: str, **more: object) -> bytes:
    """What a TensorProto says of data that lie in another file."""
    said = {"location": location} | {key: str(value) for key, value in more.items()}
    return b"".join(data(13, entry(key, value)) for key, value in said.items()) + number(14, 1)


def floats(*values: float) -> bytes:
    return data(4, struct.pack(f"<{len(values)}f", *values))


def varints(field: int, *values: int) -> bytes:
    return data(field, b"".join(map(varint, values)))


def graph(*tensors: bytes, more: bytes = b"") -> bytes:
    return data(2, "g") + b"".join(data(5, one) for one in tensors) + more


def node(op: str, *attributes: bytes, name: str = "") -> bytes:
    return (data(3, name) if name else b"") + data(4, op) + b"".join(data(5, one) for one in attributes)


def model(inside: bytes, version: int = 9, opset: bytes | None = None, more: bytes = b"") -> bytes:
    head = number(1, version) + data(2, "by hand") + data(7, inside)
    return head + data(8, number(2, 17) if opset is None else opset) + more

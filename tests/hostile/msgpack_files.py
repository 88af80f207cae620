"""Flax's msgpack: what is odd and right, what is broken, what is meant to deceive. `packed` makes files of any tree."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from judge import Case


class Raw(NamedTuple):
    """Bytes that stand for a value as they are."""

    data: bytes


class Pairs(NamedTuple):
    """A map of any keys, in any number."""

    pairs: list[tuple[Any, Any]]


def packed(value: Any) -> bytes:
    """Always with the widest lengths, which nobody writes and everybody reads."""
    if isinstance(value, Raw):
        return value.data
    if isinstance(value, Pairs | dict):
        pairs = value.pairs if isinstance(value, Pairs) else list(value.items())
        return b"\xdf" + struct.pack(">I", len(pairs)) + b"".join(packed(key) + packed(item) for key, item in pairs)
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(packed, value))
    if isinstance(value, str):
        return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    return (b"\xcf" if value >= 0 else b"\xd3") + struct.pack(">Q" if value >= 0 else ">q", value)


def ext(content: bytes, code: int = 1) -> Raw:
    return Raw(b"\xc9" + struct.pack(">Ib", len(content), code) + content)


def array(shape: Any = (1,), dtype: Any = "float32", data: Any = bytes(4), code: int = 1) -> Raw:
    return ext(packed([list(shape) if isinstance(shape, tuple) else shape, dtype, data]), code)


def counted(*values: Any) -> dict[str, Any]:
    return {str(number): value for number, value in enumerate(values)}


def chunked(shape: Any, chunks: Any) -> dict[str, Any]:
    return {"__msgpack_chunked_array__": True, "shape": shape, "chunks": chunks}


GOOD = array()
ALONE = Raw(b"\xc7\x11\1\x93\x91\1\xa7float32\xc4\4" + bytes(4))  # as short as can be, as msgpack for Python packs it


def deep(depth: int, leaf: Any = GOOD) -> Raw:
    return Raw(b"\x81\xa1a" * depth + packed(leaf))


def accepted() -> Iterator[tuple[str, str, Any]]:
    """Name, what the list says, the tree."""
    yield "one array", "a\tfloat32\t1\t1\t4\t\n", {"a": GOOD}
    yield "an array alone", "\tfloat32\t1\t1\t4\t\n", ALONE
    yield "lengths as short as can be", "a\tfloat32\t1\t1\t4", Raw(b"\x81\xa1a" + ALONE.data)
    yield "a list of arrays", "a.0\tfloat32\t1\t1\t4\t\na.1\t", {"a": [GOOD, GOOD]}
    yield "no axes", "a\tint32\t\t1\t4", {"a": array((), "int32")}
    yield "a numpy scalar", "a\tfloat32\t\t1\t4", {"a": array((), code=3)}
    yield "an empty array of huge axes", f"a\tfloat32\t{2**62}x0\t0\t0", {"a": array((2**62, 0), data=b"")}
    yield "an array in chunks", "a\tfloat32\t2x2\t4\t16", {"a": chunked(counted(2, 2), counted(array((3,), data=bytes(12)), GOOD))}
    yield "ten chunks and more", "a\tfloat32\t11\t", {"a": chunked(counted(11), counted(*[GOOD] * 11))}
    yield "a type of less than a byte", "a\tfloat4_e2m1fn\t3\t3\t3", {"a": array((3,), "float4_e2m1fn", bytes(3))}
    yield "a type that nobody knows", "a\tint4\t3\t3\t3", {"a": array((3,), "int4", bytes(3))}
    yield "integer keys", "7.a\tfloat32", {"x": GOOD, 7: {"a": GOOD}}
    yield "an integer key and its text twin", "x.7\tfloat32\t1\t1\t4\t\nx.[7]\t", {"x": {"7": GOOD, 7: GOOD}}
    yield "a dot in a key", "a\\.b\tfloat32\t1\t1\t4\t\na.b\t", {"a.b": GOOD, "a": {"b": GOOD}}
    yield "an empty key", "x.\tfloat32", {"x": {"": GOOD}}
    yield "a key of escapes", "x.\\x1b[31m", {"x": {"\x1b[31m": GOOD}}
    yield "beside others", "a\tfloat32", {"n": None, "a": GOOD, "t": "text", "b": b"bytes", "e": {}, "l": [], "f": float("nan"), "i": -1}
    yield "another extension", "a\tfloat32", {"a": GOOD, "time": ext(bytes(4), -1)}
    yield "nested 499 deep", ".a\tfloat32", deep(499)
    yield "a long text", "a\tfloat32", {"a": GOOD, "t": "x" * 100_000}


def rejected() -> Iterator[tuple[str, str, Any]]:
    """Name, what the error says, the tree."""
    yield "a key twice", "has the key 'a' twice", {"x": Pairs([("a", GOOD), ("b", GOOD), ("a", GOOD)])}
    yield "a key of nothing", "neither a short text nor an integer", {"x": {None: GOOD}}
    yield "a key that is true", "neither a short text nor an integer", {"x": {True: GOOD}}
    yield "a key of bytes", "neither a short text nor an integer", {"x": {b"a": GOOD}}
    yield "a key that is a map", "neither a short text nor an integer", {"x": Raw(b"\x81\x80\xc0")}
    yield "an endless key", "neither a short text nor an integer", {"x": {"k" * 70_000: GOOD}}
    yield "a key that is no UTF-8", "is not UTF-8", {"x": Raw(b"\x81\xa1\xff\xc0")}
    yield "the byte that begins nothing", "begins no msgpack value", {"x": Raw(b"\xc1")}
    yield "no array at all", "holds no array", {"schema": 1, "compact": True}
    yield "bytes after the end", "7 bytes stand after", Raw(packed({"a": GOOD}) + b"trailer")
    yield "a map of four billion", "truncated", {"x": Raw(b"\xdf\xff\xff\xff\xff")}
    yield "an array of four billion", "truncated", {"x": Raw(b"\xdd\xff\xff\xff\xff")}
    yield "a text of four billion", "truncated", {"x": Raw(b"\xdb\xff\xff\xff\xff")}
    yield "bytes of four billion", "truncated", {"x": Raw(b"\xc6\xff\xff\xff\xff")}
    yield "an extension of four billion", "truncated", {"x": Raw(b"\xc9\xff\xff\xff\xff\1")}
    yield "a million deep", "nests deeper than 500", deep(1_000_000)
    yield "four million values", "over 3,000,000 values", {"x": Raw(b"\xdd" + struct.pack(">I", 4_000_000) + b"\xc0" * 4_000_000)}
    yield "a shape too large", "x.a: shape 2 of float32 takes 8 bytes, the data has 4", {"x": {"a": array((2,))}}
    yield "a shape too small", "takes 4 bytes, the data has 8", {"a": array((1,), data=bytes(8))}
    yield "a shape beyond memory", "takes", {"a": array((2**62, 2**62))}
    yield "a negative axis", "its shape is no list", {"a": array((-1,))}
    yield "a true axis", "its shape is no list", {"a": array((True,))}
    yield "an axis of a fraction", "its shape is no list", {"a": array((1.0,))}
    yield "a shape that is a number", "its shape is no list", {"a": array(1)}
    yield "a shape that is a map", "its shape is no list", {"a": array({"0": 1})}
    yield "65 axes", "its shape is no list of at most 64", {"a": array((1,) * 65)}
    yield "an unknown dtype that does not fit", "its dtype 'what' is not known", {"a": array((3,), "what")}
    yield "a dtype that is a number", "is not shape, dtype and bytes", {"a": array(dtype=4)}
    yield "a dtype of escapes", "is not known", {"a": array(dtype="\x1b[31m")}
    yield "data that are text", "is not shape, dtype and bytes", {"a": array(data="abcd")}
    yield "two parts", "is not shape, dtype and bytes", {"a": ext(packed([[1], "float32"]))}
    yield "four parts", "is not shape, dtype and bytes", {"a": ext(packed([[1], "float32", bytes(4), 0]))}
    yield "no parts", "is not shape, dtype and bytes", {"a": ext(packed(7))}
    yield "an empty extension", "truncated", {"a": ext(b"")}
    yield "an extension that ends too soon", "truncated", {"a": ext(packed([[1], "float32", bytes(4)])[:-1])}
    yield "an extension with a rest", "1 bytes stand after", {"a": ext(packed([[1], "float32", bytes(4)]) + b"\0")}
    yield "a scalar with axes", "a numpy scalar has axes", {"a": array(code=3)}
    yield "chunks that are too few", "takes 8 bytes, the data has 4", {"a": chunked(counted(2), counted(GOOD))}
    yield "chunks that leave one out", "count from 0", {"a": chunked(counted(2), {"0": GOOD, "2": GOOD})}
    yield "chunks of two dtypes", "several dtypes", {"a": chunked(counted(2), counted(GOOD, array((1,), "int32")))}
    yield "no chunks", "its chunks are none", {"a": chunked(counted(0), {})}
    yield "a chunk in chunks", "a chunk is no array", {"a": chunked(counted(1), counted(chunked(counted(1), counted(GOOD))))}
    yield "chunks that are a list", "count from 0", {"a": chunked(counted(1), [GOOD])}
    yield "nothing but the mark of chunks", "count from 0", {"a": {"__msgpack_chunked_array__": True}}
    yield "chunks of a strange dtype", "its chunks are of dtype int4", {"a": chunked(counted(1), counted(array((1,), "int4", b"\0")))}


def cases() -> Iterator[Case]:
    for name, says, tree in accepted():
        yield Case(name, "ok", says, packed(tree), "a.msgpack")
    for name, says, tree in rejected():
        yield Case(name, "error", says, packed(tree), "a.msgpack")

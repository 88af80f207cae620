"""Pickles put together by hand, protocol 2 unless said otherwise: what torch writes, what others write, and what nobody should."""

from __future__ import annotations

from typing import Any


class Raw(bytes):
    """Opcodes as they are."""


def enc(value: Any) -> bytes:
    """The opcodes that push `value`."""
    if isinstance(value, Raw):
        return bytes(value)
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        if 0 <= value < 256:
            return b"K" + bytes([value])
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw if len(raw) < 256 else b"\x8b" + len(raw).to_bytes(4, "little") + raw
    if isinstance(value, float):
        from struct import pack

        return b"G" + pack(">d", value)
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return b"X" + len(raw).to_bytes(4, "little") + raw
    if isinstance(value, bytes):
        return b"B" + len(value).to_bytes(4, "little") + value
    if isinstance(value, tuple):
        return b"(" + b"".join(map(enc, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(enc, value)) + b"e"
    return b"}(" + b"".join(enc(key) + enc(item) for key, item in value.items()) + b"u"


def pickled(root: Any, protocol: int = 2) -> bytes:
    return (b"\x80" + bytes([protocol]) if protocol > 1 else b"") + enc(root) + b"."


def name(module: str, attribute: str) -> Raw:
    return Raw(f"c{module}\n{attribute}\n".encode())


def call(function: Raw, *args: Any) -> Raw:
    return Raw(function + enc(tuple(args)) + b"R")


def built(function: Raw, state: Any) -> Raw:
    """An object of a class, given its state."""
    return Raw(function + b")\x81" + enc(state) + b"b")


def storage(
    kind: str = "FloatStorage", key: Any = "0", count: Any = 4, location: Any = "cpu", tag: Any = "storage", more: tuple[Any, ...] = ()
) -> Raw:
    module = "torch.storage" if kind == "UntypedStorage" else "torch"
    return Raw(enc((tag, name(module, kind), key, location, count, *more)) + b"Q")


HOOKS = call(name("collections", "OrderedDict"))


def tensor(
    over: Raw | None = None,
    offset: Any = 0,
    shape: Any = (2, 2),
    strides: Any = (2, 1),
    function: str = "_rebuild_tensor_v2",
    more: tuple[Any, ...] = (),
) -> Raw:
    """A view, as torch pickles it; the storage is of four floats."""
    return call(name("torch._utils", function), over or storage(), offset, shape, strides, False, HOOKS, *more)


def ordered(pairs: dict[Any, Any]) -> Raw:
    return Raw(HOOKS + b"(" + b"".join(enc(key) + enc(value) for key, value in pairs.items()) + b"u")

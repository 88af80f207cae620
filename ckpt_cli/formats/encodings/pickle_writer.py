"""The mirror of `unpickling`: from nodes to opcodes, with every shared node written once. It calls nothing either.

Opcodes stay within protocol 2 where they can, so that `torch.load(weights_only=True)` reads what is written.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import pack
from typing import Any

from ...errors import CannotHold
from .object_nodes import ByteArray, ByteString, Call, Dict, Global, List, Node, Persistent, Set, Tuple


class Pickler:
    """Writes one tree. The work is a stack of steps, not recursion: a file may nest as deep as it likes.

    `persistent` gives the id that a node is left out under; where that is a Global, the global itself takes the node's place.
    """

    def __init__(self, protocol: int = 2, persistent: Callable[[Persistent], Any] = lambda node: node.pid) -> None:
        self.protocol, self.persistent = max(protocol, 2), persistent
        self.out = bytearray(b"\x80" + bytes([self.protocol]))
        self.memo: dict[Any, int] = {}
        self.kept: list[Any] = []
        self.steps: list[Callable[[], None]] = []

    def dump(self, root: Any) -> bytes:
        self.steps.append(lambda: self.save(root))
        while self.steps:
            self.steps.pop()()
        return bytes(self.out + b".")

    def then(self, *steps: Callable[[], None]) -> None:
        """Do these next, the first one first."""
        self.steps.extend(reversed(steps))

    def save_all(self, items: list[Any]) -> list[Callable[[], None]]:
        return [lambda item=item: self.save(item) for item in items]  # type: ignore[misc]

    def emit(self, code: bytes) -> Callable[[], None]:
        return lambda: self.out.extend(code)

    def save(self, item: Any) -> None:
        key = _key(item)
        if key is not None and key in self.memo:
            self.get(key)
        else:
            _SAVERS[type(item)](self, item)

    def get(self, key: Any) -> None:
        index = self.memo[key]
        self.out += b"h" + bytes([index]) if index < 256 else b"j" + pack("<I", index)

    def put(self, item: Any) -> None:
        key = _key(item)
        if key is None or key in self.memo:
            return
        index = self.memo[key] = len(self.memo)
        self.kept.append(item)  # an id is only good while its object lives
        self.out += b"q" + bytes([index]) if index < 256 else b"r" + pack("<I", index)

    def puts(self, item: Any) -> Callable[[], None]:
        return lambda: self.put(item)

    def after_children(self, item: Any, children: int | None, code: bytes) -> Callable[[], None]:
        """Close `item`; where its own children held it, it is in the memo already and what they pushed is thrown away."""

        def close() -> None:
            if _key(item) not in self.memo:
                self.out += code
                self.put(item)
                return
            self.out += b"1" if children is None else b"0" * children
            self.get(_key(item))

        return close


def _key(item: Any) -> Any:
    """What a value is known by in the memo: strings and globals by what they say, nodes by identity, numbers not at all."""
    kind = type(item)
    if kind is str or kind is bytes:
        return (kind, item) if len(item) > 1 else None
    if kind is Global:
        return (kind, item.module, item.name)
    return id(item) if isinstance(item, Node) and not (isinstance(item, Tuple) and not item.items) else None


def _save_none(p: Pickler, item: None) -> None:
    p.out += b"N"


def _save_bool(p: Pickler, item: bool) -> None:
    p.out += b"\x88" if item else b"\x89"


def _save_int(p: Pickler, item: int) -> None:
    if 0 <= item < 256:
        p.out += b"K" + pack("<B", item)
    elif 0 <= item < 65536:
        p.out += b"M" + pack("<H", item)
    elif -(2**31) <= item < 2**31:
        p.out += b"J" + pack("<i", item)
    else:
        data = item.to_bytes(item.bit_length() // 8 + 1, "little", signed=True)
        p.out += (b"\x8a" + pack("<B", len(data)) if len(data) < 256 else b"\x8b" + pack("<i", len(data))) + data


def _save_float(p: Pickler, item: float) -> None:
    p.out += b"G" + pack(">d", item)


def _save_str(p: Pickler, item: str) -> None:
    data = item.encode("utf-8", "surrogatepass")
    p.out += b"X" + pack("<I", len(data)) + data
    p.put(item)


def _save_bytes(p: Pickler, item: bytes) -> None:
    if p.protocol < 3:  # as Python's own pickle does below protocol 3
        p.then(*p.save_all([Global("_codecs", "encode"), item.decode("latin-1"), "latin1"]), p.emit(b"\x86R"), p.puts(item))
        return
    short, middle = len(item) < 256, len(item) < 2**32
    p.out += (b"C" + pack("<B", len(item)) if short else b"B" + pack("<I", len(item)) if middle else b"\x8e" + pack("<Q", len(item))) + item
    p.put(item)


def _save_byte_string(p: Pickler, item: ByteString) -> None:
    short = len(item.data) < 256
    p.out += (b"U" + pack("<B", len(item.data)) if short else b"T" + pack("<i", len(item.data))) + item.data
    p.put(item)


def _save_byte_array(p: Pickler, item: ByteArray) -> None:
    if p.protocol < 5:
        raise CannotHold("a bytearray needs pickle protocol 5")
    p.out += b"\x96" + pack("<Q", len(item.data)) + item.data
    p.put(item)


def _save_global(p: Pickler, item: Global) -> None:
    if "\n" in item.path or not item.path.isascii():
        p.then(*p.save_all([item.module, item.name]), p.emit(b"\x93"), p.puts(item))
        return
    p.out += b"c" + item.module.encode() + b"\n" + item.name.encode() + b"\n"
    p.put(item)


def _save_tuple(p: Pickler, item: Tuple) -> None:
    count = len(item.items)
    if count == 0:
        p.out += b")"
    elif count <= 3:
        p.then(*p.save_all(item.items), p.after_children(item, count, bytes([0x84 + count])))
    else:
        p.out += b"("
        p.then(*p.save_all(item.items), p.after_children(item, None, b"t"))


def _save_list(p: Pickler, item: List) -> None:
    p.out += b"]"
    p.put(item)
    p.then(*_appending(p, item.items, b"e"))


def _save_dict(p: Pickler, item: Dict) -> None:
    p.out += b"}"
    p.put(item)
    p.then(*_setting(p, item.pairs))


def _save_set(p: Pickler, item: Set) -> None:
    if p.protocol < 4:
        name = "frozenset" if item.frozen else "set"
        p.then(*p.save_all([Global("__builtin__", name), List(item.items)]), p.emit(b"\x85R"), p.puts(item))
    elif item.frozen:
        p.out += b"("
        p.then(*p.save_all(item.items), p.after_children(item, None, b"\x91"))
    else:
        p.out += b"\x8f"
        p.put(item)
        p.then(*_appending(p, item.items, b"\x90"))


def _save_persistent(p: Pickler, item: Persistent) -> None:
    pid = p.persistent(item)
    p.then(*p.save_all([pid]), *([] if type(pid) is Global else [p.emit(b"Q")]))


def _save_call(p: Pickler, item: Call) -> None:
    if item.made in ("INST", "OBJ"):
        p.out += b"("
        p.then(*p.save_all([item.function, *item.arguments()]), p.emit(b"o"), p.puts(item), *_filling(p, item))
        return
    parts = [item.function, item.args] + ([item.kwargs] if item.made == "NEWOBJ_EX" else [])
    code = {"REDUCE": b"R", "NEWOBJ": b"\x81", "NEWOBJ_EX": b"\x92"}[item.made]
    if item.made == "NEWOBJ_EX" and p.protocol < 4:
        raise CannotHold("an object made with keywords needs pickle protocol 4")

    def close() -> None:
        known = _key(item) in p.memo
        p.after_children(item, len(parts), code)()
        if not known:
            p.then(*_filling(p, item))

    p.then(*p.save_all(parts), close)


def _filling(p: Pickler, item: Call) -> list[Callable[[], None]]:
    """List items, dict pairs, states: the order in which Python's own pickle writes them."""
    steps = _appending(p, item.items, b"e") + _setting(p, item.pairs)
    for state in item.states:
        steps += [*p.save_all([state]), p.emit(b"b")]
    return steps


_BATCH = 1000


def _appending(p: Pickler, items: list[Any], code: bytes) -> list[Callable[[], None]]:
    steps: list[Callable[[], None]] = []
    for start in range(0, len(items), _BATCH):
        steps += [p.emit(b"("), *p.save_all(items[start : start + _BATCH]), p.emit(code)]
    return steps


def _setting(p: Pickler, pairs: list[tuple[Any, Any]]) -> list[Callable[[], None]]:
    steps: list[Callable[[], None]] = []
    for start in range(0, len(pairs), _BATCH):
        flat = [part for pair in pairs[start : start + _BATCH] for part in pair]
        steps += [p.emit(b"("), *p.save_all(flat), p.emit(b"u")]
    return steps


_SAVERS: dict[type, Callable[[Pickler, Any], None]] = {
    type(None): _save_none, bool: _save_bool, int: _save_int, float: _save_float, str: _save_str, bytes: _save_bytes,
    ByteString: _save_byte_string, ByteArray: _save_byte_array, Global: _save_global, Tuple: _save_tuple, List: _save_list,
    Dict: _save_dict, Set: _save_set, Persistent: _save_persistent, Call: _save_call,
}  # fmt: skip

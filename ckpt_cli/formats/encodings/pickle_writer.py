"""A writer of pickles, the inverse of `pickle_reader`: from nodes to opcodes. A shared node is written once.

Opcodes as in CPython's Lib/pickletools.py. They stay within protocol 2 where they can, so that `torch.load(weights_only=True)` reads what
is written.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import pack
from typing import Any

from ...errors import CannotHold
from .object_nodes import ByteArray, ByteString, Call, CallOpcode, Dict, Global, List, Node, Persistent, Set, Tuple


class Pickler:
    """Writes one tree. The work is a stack of steps instead of recursion, so that the depth of a tree is not limited.

    `out` is what is written so far, `memo` the index of each node that is in the memo. `persistent` gives the id to write for a Persistent
    node; where it gives a Global, the global itself is written in the node's place.
    """

    def __init__(self, protocol: int = 2, persistent: Callable[[Persistent], Any] = lambda node: node.pid) -> None:
        self.protocol, self.persistent = max(protocol, 2), persistent
        self.out = bytearray(b"\x80" + bytes([self.protocol]))
        self.memo: dict[Any, int] = {}
        self.kept: list[Any] = []
        self.steps: list[Callable[[], None]] = []

    def dump(self, root: Any) -> bytes:
        """The whole pickle of `root`. Raises CannotHold where the protocol has no opcode for a node."""
        self.steps.append(lambda: self.save(root))
        while self.steps:
            self.steps.pop()()
        return bytes(self.out + b".")

    def then(self, *steps: Callable[[], None]) -> None:
        """Do these steps next, in their order."""
        self.steps.extend(reversed(steps))

    def save_all(self, items: list[Any]) -> list[Callable[[], None]]:
        """The steps that write `items`, one after another."""
        return [lambda item=item: self.save(item) for item in items]  # type: ignore[misc]

    def emit(self, code: bytes) -> Callable[[], None]:
        """The step that writes the opcodes `code`."""
        return lambda: self.out.extend(code)

    def save(self, item: Any) -> None:
        """Write `item`, or fetch it from the memo where it was written before."""
        key = _key(item)
        if key is not None and key in self.memo:
            self.get(key)
        else:
            _SAVERS[type(item)](self, item)

    def get(self, key: Any) -> None:
        """Write the opcode that fetches the memo entry of `key`."""
        index = self.memo[key]
        self.out += b"h" + bytes([index]) if index < 256 else b"j" + pack("<I", index)

    def put(self, item: Any) -> None:
        """Write the opcode that puts the top of the stack, which is `item`, into the memo."""
        key = _key(item)
        if key is None or key in self.memo:
            return
        index = self.memo[key] = len(self.memo)
        self.kept.append(item)  # an id is only good while its object lives
        self.out += b"q" + bytes([index]) if index < 256 else b"r" + pack("<I", index)

    def puts(self, item: Any) -> Callable[[], None]:
        """The step that does `put`."""
        return lambda: self.put(item)

    def after_children(self, item: Any, children: int | None, code: bytes) -> Callable[[], None]:
        """The step that writes `code`, which makes `item` of its `children` (None: everything since the mark).

        Where a child holds `item` itself, it is in the memo by then: the children are popped and the memo entry is fetched.
        """

        def close() -> None:
            if _key(item) not in self.memo:
                self.out += code
                self.put(item)
                return
            self.out += b"1" if children is None else b"0" * children
            self.get(_key(item))

        return close


def _key(item: Any) -> Any:
    """The key of a value in the memo: strings and globals go by what they say, nodes by identity; numbers have none."""
    cls = type(item)
    if cls is str or cls is bytes:
        return (cls, item) if len(item) > 1 else None
    if cls is Global:
        return (cls, item.module, item.name)
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
    if p.protocol < 3:  # Python's own pickle does the same
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


_CALLS = {CallOpcode.REDUCE: b"R", CallOpcode.NEWOBJ: b"\x81", CallOpcode.NEWOBJ_EX: b"\x92"}


def _save_call(p: Pickler, item: Call) -> None:
    if item.opcode in (CallOpcode.INST, CallOpcode.OBJ):
        p.out += b"("
        p.then(*p.save_all([item.function, *item.arguments()]), p.emit(b"o"), p.puts(item), *_filling(p, item))
        return
    parts, code = [item.function, item.args], _CALLS[item.opcode]
    if item.opcode == CallOpcode.NEWOBJ_EX:
        if p.protocol < 4:
            raise CannotHold("an object made with keywords needs pickle protocol 4")
        parts.append(item.kwargs)

    def close() -> None:
        in_memo = _key(item) in p.memo
        p.after_children(item, len(parts), code)()
        if not in_memo:
            p.then(*_filling(p, item))

    p.then(*p.save_all(parts), close)


def _filling(p: Pickler, item: Call) -> list[Callable[[], None]]:
    """The steps that fill a new object, in the order of Python's own pickle: list items, dict pairs, states."""
    steps = _appending(p, item.items, b"e") + _setting(p, item.pairs)
    for state in item.states:
        steps += [*p.save_all([state]), p.emit(b"b")]
    return steps


_BATCH = 1000  # items an opcode, as in Lib/pickle.py


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

"""What a pickle says, as symbols. A global is a pair of strings and a call is a node: nothing is imported, looked up or called.

None, booleans, numbers, `str` and `bytes` stand for themselves; everything else is one of these nodes. Nodes are compared by identity.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...storage.storage import Storage


class Node:
    """A part of a pickle that is no plain value of Python. As text it is its kind, or the name that it has."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{getattr(self, 'path', '') or type(self).__name__.lower()}>"


class Global(Node):
    """The name of a class or function: `module` and `name`, as the pickle spells them; `path` joins them by a dot."""

    __slots__ = ("module", "name", "path")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name, self.path = module, name, f"{module}.{name}"


class List(Node):
    """A list of nodes and values."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class Tuple(Node):
    """A tuple of nodes and values."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class Set(Node):
    """A set, or a frozenset, of nodes and values in the order of the pickle."""

    __slots__ = ("frozen", "items")

    def __init__(self, items: list[Any], frozen: bool = False) -> None:
        self.items, self.frozen = items, frozen


class Dict(Node):
    """Pairs in the order of the pickle. Keys are never hashed; of two equal keys the later one counts, as in Python."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        self.pairs = pairs

    def get(self, key: str) -> Any:
        """The value of a string key, or None."""
        for known, value in reversed(self.pairs):
            if text_of(known) == key:
                return value
        return None


class CallOpcode(StrEnum):
    """The opcodes that make an object, as in CPython's Lib/pickletools.py."""

    REDUCE = "REDUCE"
    NEWOBJ = "NEWOBJ"
    NEWOBJ_EX = "NEWOBJ_EX"
    INST = "INST"
    OBJ = "OBJ"


class Call(Node):
    """An object that `opcode` makes by calling `function`, then given list items, dict pairs and states (BUILD).

    `path` is the dotted name of what is called, or an empty string. `like` is the call that this one repeats but for `key`, the name of
    its storage; the other attributes of such a call are made when they are asked for.
    """

    __slots__ = ("args", "function", "items", "key", "kwargs", "like", "opcode", "pairs", "path", "states")
    key: str

    def __init__(self, opcode: CallOpcode, function: Any, args: Any, kwargs: Any = None) -> None:
        self.opcode, self.function, self.args, self.kwargs = opcode, function, args, kwargs
        self.items: list[Any] = []
        self.pairs: list[tuple[Any, Any]] = []
        self.states: list[Any] = []
        self.path: str = function.path if type(function) is Global else ""
        self.like: Call | None = None

    def repeated(self, key: str) -> Call:
        """The same call on the storage `key`."""
        call = Call.__new__(Call)
        call.like, call.key, call.path = self, key, self.path
        return call

    def __getattr__(self, name: str) -> Any:
        if name not in Call.__slots__ or name in ("like", "key"):
            raise AttributeError(name)
        value = [] if name in ("items", "pairs", "states") else self._args() if name == "args" else getattr(self.like, name)
        setattr(self, name, value)
        return value

    def _args(self) -> Tuple:
        storage, *others = self.like.arguments() if self.like else []
        pid = storage.pid.items
        return Tuple([Persistent(Tuple([*pid[:2], self.key, *pid[3:]])), *others])

    def arguments(self) -> list[Any]:
        """The positional arguments; none where the pickle gives no tuple."""
        return self.args.items if type(self.args) is Tuple else []

    def state(self) -> Dict | None:
        """The attributes that BUILD sets, where they are a dict (alone, or first of a pair with the slots)."""
        for state in self.states:
            if type(state) is Tuple and len(state.items) == 2:
                state = state.items[0]
            if type(state) is Dict:
                return state
        return None


def reduce_call(module: str, name: str, *args: Any) -> Call:
    """The node of `module.name(*args)`, as an object's `__reduce__` returns it."""
    return Call(CallOpcode.REDUCE, Global(module, name), Tuple(list(args)))


class Persistent(Node):
    """A persistent id: an object that the pickle refers to and does not hold. In torch's pickles it is a storage."""

    __slots__ = ("pid",)

    def __init__(self, pid: Any) -> None:
        self.pid = pid


class ByteString(Node):
    """A Python 2 `str`."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def text(self) -> str:
        """The bytes as UTF-8, or as latin-1 where they are no UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return self.data.decode("latin-1")


def text_of(node: Any) -> str | None:
    """The text of a string, of Python 3 or Python 2; None where `node` is no string."""
    return node if type(node) is str else node.text if type(node) is ByteString else None


class BytesInFile(Node):
    """A long run of bytes that is not read, but left where it lies in the file. `made` is what it would make: bytes, a ByteArray, …."""

    __slots__ = ("made", "storage")

    def __init__(self, storage: Storage, made: Callable[[bytes], Any] = bytes) -> None:
        self.storage, self.made = storage, made


class ByteArray(Node):
    """A bytearray."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


def node_of(value: Any) -> Any:
    """Dicts, lists and tuples of Python's values as nodes."""
    if type(value) is dict:
        return Dict([(key, node_of(item)) for key, item in value.items()])
    if type(value) in (list, tuple):
        return (List if type(value) is list else Tuple)([node_of(item) for item in value])
    return value

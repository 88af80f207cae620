"""What a pickle says, as symbols. A global is a pair of strings and a call is a node: nothing is imported, looked up or called.

None, booleans, numbers, `str` and `bytes` stand for themselves; everything else is one of these. Nodes are compared by identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...storage.storage import Storage


class Node:
    __slots__ = ()


class Global(Node):
    """The name of a class or function: `module` and `name`, as the pickle spells them; `path` joins them by a dot."""

    __slots__ = ("module", "name", "path")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name, self.path = module, name, f"{module}.{name}"


class List(Node):
    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class Tuple(Node):
    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class Set(Node):
    __slots__ = ("frozen", "items")

    def __init__(self, items: list[Any], frozen: bool = False) -> None:
        self.items, self.frozen = items, frozen


class Dict(Node):
    """Pairs in the order of the pickle; keys are never hashed here, a later twin of a key wins as in Python."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        self.pairs = pairs

    def get(self, key: str) -> Any:
        for known, value in reversed(self.pairs):
            if said(known) == key:
                return value
        return None


class Call(Node):
    """An object made by REDUCE, NEWOBJ, NEWOBJ_EX, INST or OBJ (`made`), then given list items, dict pairs and states (BUILD).

    `path` is the dotted name of what is called, or an empty string. `like` is the call that this one repeats but for `key`, the name of
    its storage; such a one's other parts are made when they are asked for.
    """

    __slots__ = ("args", "function", "items", "key", "kwargs", "like", "made", "pairs", "path", "states")
    key: str

    def __init__(self, made: str, function: Any, args: Any, kwargs: Any = None) -> None:
        self.made, self.function, self.args, self.kwargs = made, function, args, kwargs
        self.items: list[Any] = []
        self.pairs: list[tuple[Any, Any]] = []
        self.states: list[Any] = []
        self.path: str = function.path if type(function) is Global else ""
        self.like: Call | None = None

    def repeated(self, key: str) -> Call:
        """The same call on another storage."""
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
        facts = storage.pid.items
        return Tuple([Persistent(Tuple([*facts[:2], self.key, *facts[3:]])), *others])

    def arguments(self) -> list[Any]:
        return self.args.items if type(self.args) is Tuple else []

    def state(self) -> Dict | None:
        """The attributes that BUILD sets, where they are a dict (alone, or first of a pair with the slots)."""
        for state in self.states:
            if type(state) is Tuple and len(state.items) == 2:
                state = state.items[0]
            if type(state) is Dict:
                return state
        return None


class Persistent(Node):
    """What the pickle leaves to its surroundings: for torch, a storage."""

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
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return self.data.decode("latin-1")


def said(node: Any) -> str | None:
    """The text that a string of either Python is, or None."""
    return node if type(node) is str else node.text if type(node) is ByteString else None


class Held(Node):
    """A long run of bytes that is left where it lies."""

    __slots__ = ("storage",)

    def __init__(self, storage: Storage) -> None:
        self.storage = storage


class ByteArray(Node):
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

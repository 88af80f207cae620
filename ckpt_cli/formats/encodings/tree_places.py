"""Where a new entry goes in the tree of a pickle: the innermost container that its name leads into, and its key there.

    a dict      the rest of the name is one key where tensors lie in it: those of state dicts have dots. Where dicts and no tensors do, its
                first part is the key of a new dict, as JAX nests parameters and optimizers their states; an integer where all keys are
    a list      an entry goes to its end, under the number that it gets there
    a Namespace the rest of the name is an attribute

Tuples, sets and objects of other classes take no entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ...errors import CannotHold
from .object_names import key_text
from .object_nodes import Call, Dict, List, Node, Set, Tuple

_NAMESPACE = "argparse.Namespace"


class Place(NamedTuple):
    """A place in a tree.

    Attributes:
        holder: The container: it has `pairs`, or is a List.
        key: The key of a pair, or the position in the list.
        position: Which of its entries is there already; None for a new one.
    """

    holder: Any
    key: Any
    position: int | None = None


def is_dict(node: Any) -> bool:
    """Whether a node is a dict of Python, of any kind."""
    return type(node) is Dict or (type(node) is Call and (bool(node.pairs) or node.path == "collections.OrderedDict"))


class Places:
    """The places in one tree. What was seen of a container is kept: entries are only added to it, at its end."""

    def __init__(self, root: Any, is_leaf: Callable[[Any], bool]) -> None:
        """`is_leaf`: tells whether a node is a tensor, into which no name leads."""
        self.root, self.is_leaf = root, is_leaf
        self._seen: dict[int, _Seen] = {}

    def find(self, name: str) -> Place:
        """Return the place of an entry: that of a container of this name, or where a new entry goes. Dicts that it needs are made.

        Raises:
            CannotHold: The name leads into something that takes no entries.
        """
        holder, rest = _entered(self.root, "the file"), name
        like: list[Any] = []  # the dicts beside a new one, which it is to be like
        while True:
            seen = self._looked_at(holder)
            if rest in seen.positions:
                return Place(holder, seen.keys[rest], seen.positions[rest])
            inner = next((text for text in _beginnings(rest) if text in seen.containers), None)
            if inner is not None:
                holder, rest = _entered(seen.containers[inner], name[: len(name) - len(rest) + len(inner)]), rest[len(inner) + 1 :]
                continue
            beside = [self._looked_at(each) for each in like] if not seen.count else [seen]
            if "." not in rest or not any(each.dicts for each in beside) or any(each.has_tensors for each in beside):
                return _new_place(holder, rest, name)
            like = [inner for each in beside for inner in each.dicts]
            holder, rest = self._with_new_dict(holder, seen, rest, name)

    def _with_new_dict(self, holder: Any, seen: _Seen, rest: str, name: str) -> tuple[Any, str]:
        """A new dict in `holder` under the first part of `rest`, and what is left of that."""
        first, _, inner = rest.partition(".")
        if first in seen.positions:
            above = name[: len(name) - len(inner) - 1]
            raise CannotHold(f"{above} is no container in the file, into which {name!r} could go", "choose another name")
        made = Dict([])
        holder.pairs.append((_key(holder.pairs, first), made))
        return made, inner

    def _looked_at(self, holder: Any) -> _Seen:
        """What is known of a container, with the entries that are new in it."""
        seen = self._seen.setdefault(id(holder), _Seen(holder))
        entries = list(enumerate(holder.items)) if type(holder) in (List, Tuple) else holder.pairs
        for position in range(seen.count, len(entries)):
            key, child = entries[position]
            text = key_text(key)
            seen.positions[text], seen.keys[text] = position, key
            if not isinstance(child, Node):
                continue
            if self.is_leaf(child):
                seen.has_tensors = True
            else:
                seen.containers[text] = child
                seen.dicts += [child] if is_dict(child) else []
        seen.count = len(entries)
        return seen


class _Seen:
    """What is known of a container: where each key stands, the nodes in it that are no tensors, those of them that are dicts."""

    def __init__(self, holder: Any) -> None:
        self.holder = holder  # held, so that its id stays its own
        self.count, self.has_tensors = 0, False
        self.positions: dict[str, int] = {}
        self.keys: dict[str, Any] = {}
        self.containers: dict[str, Any] = {}
        self.dicts: list[Any] = []


def _beginnings(name: str) -> Iterator[str]:
    """`a`, `a.b` of `a.b.c`."""
    at = name.find(".")
    while at >= 0:
        yield name[:at]
        at = name.find(".", at + 1)


def _entered(node: Any, called: str) -> Any:
    """The container that the entries of a node are in. Raises CannotHold where nothing is put into it."""
    if is_dict(node) or type(node) in (List, Tuple):
        return node
    state = node.state() if type(node) is Call and node.path == _NAMESPACE else None
    if state is not None:
        return state
    kind = "a set" if type(node) is Set else f"an object of {node.path}" if getattr(node, "path", "") else "an object"
    if called == "the file":
        called = "there is no dict in the file: it"
    raise CannotHold(f"{called} is {kind}, into which nothing is put", "convert it to a flat state dict first, or choose another name")


def _key(pairs: list[tuple[Any, Any]], text: str) -> Any:
    """A key among those of `pairs`: an integer where these are."""
    return int(text) if pairs and text.isdecimal() and len(text) < 19 and all(type(key) is int for key, _ in pairs) else text


def _new_place(holder: Any, rest: str, name: str) -> Place:
    inside = name[: len(name) - len(rest)]
    above = inside.removesuffix(".") or "the file"
    if type(holder) is Tuple:
        raise CannotHold(f"{above} is a tuple, into which nothing is put", "choose another name")
    if type(holder) is List:
        end = len(holder.items)
        if rest != str(end):
            raise CannotHold(f"{above} is a list of {end:,}, and a new entry goes to its end", f"call it {inside}{end}")
        return Place(holder, end)
    return Place(holder, _key(holder.pairs, rest))

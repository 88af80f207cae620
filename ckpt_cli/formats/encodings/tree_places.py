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


def place_of(root: Any, name: str, is_leaf: Callable[[Any], bool]) -> Place:
    """Return the place of an entry in the tree below `root`: that of a container of this name, or where a new entry goes.

    Args:
        root: The tree. Dicts that a new entry needs are put into it.
        name: The name of the entry.
        is_leaf: Tells whether a node is a tensor, into which no name leads.

    Raises:
        CannotHold: The name leads into something that takes no entries.
    """
    holder, rest = _entered(root, "the file"), name
    like: list[Any] = []  # the dicts beside a new one, which it is to be like
    while True:
        for position, (key, child) in enumerate(_entries(holder)):
            text = key_text(key)
            if rest == text:
                return Place(holder, key, position)
            if rest.startswith(f"{text}.") and isinstance(child, Node) and not is_leaf(child):
                holder, rest = _entered(child, name[: len(name) - len(rest) + len(text)]), rest[len(text) + 1 :]
                break
        else:
            pairs = getattr(holder, "pairs", []) or [pair for each in like for pair in each.pairs]
            if "." not in rest or not _nests(pairs, is_leaf):
                return _new_place(holder, rest, name)
            like = [value for _, value in pairs if is_dict(value)]
            first, _, inner = rest.partition(".")
            if any(key_text(key) == first for key, _ in holder.pairs):
                above = name[: len(name) - len(inner) - 1]
                raise CannotHold(f"{above} is no container in the file, into which {name!r} could go", "choose another name")
            rest = inner
            holder.pairs.append((_key(pairs, first), Dict([])))
            holder = holder.pairs[-1][1]


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


def _entries(holder: Any) -> Iterator[tuple[Any, Any]]:
    if type(holder) in (List, Tuple):
        yield from enumerate(holder.items)
    else:
        yield from holder.pairs


def _nests(pairs: list[tuple[Any, Any]], is_leaf: Callable[[Any], bool]) -> bool:
    """Whether the entries of a dict lie in dicts, and no tensor lies beside these."""
    return any(is_dict(value) for _, value in pairs) and not any(isinstance(value, Node) and is_leaf(value) for _, value in pairs)


def _key(pairs: list[tuple[Any, Any]], text: str) -> Any:
    """A key among those of `pairs`: an integer where these are."""
    return int(text) if pairs and text.isdecimal() and len(text) < 19 and all(type(key) is int for key, _ in pairs) else text


def _new_place(holder: Any, rest: str, name: str) -> Place:
    above = name[: len(name) - len(rest)].removesuffix(".") or "the file"
    if type(holder) is Tuple:
        raise CannotHold(f"{above} is a tuple, into which nothing is put", "choose another name")
    if type(holder) is List:
        end = len(holder.items)
        if rest != str(end):
            raise CannotHold(f"{above} is a list of {end:,}, and a new entry goes to its end", f"call it {above}.{end}")
        return Place(holder, end)
    return Place(holder, _key(holder.pairs, rest))

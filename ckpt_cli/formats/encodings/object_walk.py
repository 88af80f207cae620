"""A walk through a pickle's tree: every leaf with its path and its place, each container entered once on a way down.

Containers are dicts, lists, tuples and what behaves like them. A pickled nn.Module is walked as `state_dict()` does:
`_parameters`, `_buffers`, then `_modules`, without its class. Other foreign objects are one leaf; tensors in their state are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ...errors import Malformed
from .object_nodes import ByteString, Call, Dict, Global, List, Node, Set, Tuple

# Far above what programs write; a hostile pickle reaches them within seconds.
_MOST_STEPS = 3_000_000
_MOST_KEYS = 30_000_000
_MOST_CHARACTERS = 1 << 28
_DEEPEST = 1000
_DEEPEST_KEY = 32
_MOST_OF_A_KEY = 10_000

Path = tuple[Any, ...]


class Place(NamedTuple):
    """Where a leaf sits: `entry` of `holder` (its pairs or items); `path` is the keys on the way, as nodes or numbers."""

    path: Path
    node: Any
    holder: Any
    entry: int


class Walk:
    """`leaves` yields places. `layers` then holds the class of every module that was passed, by path."""

    def __init__(self, is_leaf: Callable[[Any], bool]) -> None:
        self.is_leaf = is_leaf
        self.layers: dict[Path, str] = {}

    def leaves(self, root: Any) -> Iterator[Place]:
        steps: list[tuple[Place, bool] | int] = [(Place((), root, None, 0), False)]
        above: set[int] = set()
        keys = 0
        for _ in range(_MOST_STEPS):
            if not steps:
                return
            step = steps.pop()
            if type(step) is int:
                above.discard(step)
                continue
            place, quiet = step  # type: ignore[misc]
            node = place.node
            if not isinstance(node, Node) or self.is_leaf(node) or id(node) in above:
                if not quiet or (isinstance(node, Node) and self.is_leaf(node)):
                    yield place
                continue
            inside = _count(node)
            if inside > _MOST_STEPS:
                raise Malformed(f"the pickle holds a container of over {_MOST_STEPS:,} items")
            keys += inside * (len(place.path) + 1)
            if len(above) > _DEEPEST or keys > _MOST_KEYS:
                break
            children, hidden = self._children(place)
            if not quiet and (hidden or not children):
                yield place
            above.add(id(node))
            steps.append(id(node))
            steps.extend((child, quiet or hidden) for child in reversed(children))
        raise Malformed("the pickle holds its containers within one another too often to be walked")

    def _children(self, place: Place) -> tuple[list[Place], bool]:
        """What a container holds, and whether it is a foreign object, of which only the tensors count."""
        node, path = place.node, place.path
        kind = type(node)
        if kind is Dict:
            return _of_pairs(path, node, node.pairs), False
        if kind in (List, Tuple, Set):
            return _of_items(path, node, node.items), False
        if kind is not Call:
            return [], False
        state = node.state()
        if state is not None and type(state.get("_modules")) in (Dict, Call):
            self.layers[path] = node.path.rpartition(".")[2] or _module_class(node)
            return _of_module(path, state), False
        return self._of_call(path, node, state)

    def _of_call(self, path: Path, node: Call, state: Dict | None) -> tuple[list[Place], bool]:
        if node.path in _SEQUENCES and node.arguments() and type(node.arguments()[0]) in (Tuple, List):
            inner = node.arguments()[0]
            return _of_items(path, inner, inner.items), False
        if node.path == "collections.OrderedDict" and node.arguments():
            return _of_old_ordered(path, node.arguments()[0]), False
        if node.pairs or node.path in _MAPPINGS:
            return _of_pairs(path, node, node.pairs), False
        if node.items:
            return _of_items(path, node, node.items), False
        return _of_pairs(path, state, state.pairs) if state else [], node.path != "argparse.Namespace"


def _count(node: Any) -> int:
    """No fewer than the children that a node has, but for those of a module."""
    parts = [node, *getattr(node, "states", []), *getattr(getattr(node, "args", None), "items", [])]
    return sum(len(getattr(part, "pairs", [])) + len(getattr(part, "items", [])) for part in parts)


_SEQUENCES = {"torch.Size", "builtins.list", "builtins.tuple", "__builtin__.list"}
_MAPPINGS = {"collections.OrderedDict", "collections.defaultdict"}


def _of_pairs(path: Path, holder: Any, pairs: list[tuple[Any, Any]]) -> list[Place]:
    return [Place((*path, key), value, holder, i) for i, (key, value) in enumerate(pairs)]


def _of_items(path: Path, holder: Any, items: list[Any]) -> list[Place]:
    return [Place((*path, i), item, holder, i) for i, item in enumerate(items)]


def _of_old_ordered(path: Path, pairs: Any) -> list[Place]:
    """Python 2 pickles an OrderedDict as a call with a list of pairs."""
    found = [pair for pair in getattr(pairs, "items", []) if type(pair) in (List, Tuple) and len(pair.items) == 2]
    return [Place((*path, pair.items[0]), pair.items[1], pair, 1) for pair in found]


def _of_module(path: Path, state: Dict) -> list[Place]:
    found: list[Place] = []
    for part in ("_parameters", "_buffers", "_modules"):
        inner = state.get(part)
        found += [place for place in _of_pairs(path, inner, getattr(inner, "pairs", [])) if place.node is not None]
    taken = {key_text(place.path[-1]) for place in found}
    attributes = [place for place in _of_pairs(path, state, state.pairs) if type(place.node) is Call]
    return found + [a for a in attributes if not key_text(a.path[-1]).startswith("_") and key_text(a.path[-1]) not in taken]


def _module_class(node: Call) -> str:
    """Legacy files pickle the class of a module as a persistent tuple ('module', class, file, source)."""
    pid = getattr(node.function, "pid", None)
    if type(pid) is Tuple and len(pid.items) > 1 and type(pid.items[1]) is Global:
        return pid.items[1].name
    return "Module"


def key_text(key: Any) -> str:
    """A key as it stands in a name."""
    if type(key) is str:
        return key
    if type(key) is ByteString:
        return key.text
    if type(key) is Tuple:
        _check_key(key)
        return _tuple_text(key)
    if type(key) is Call:
        return f"{key.path}({', '.join([key_text(part) for part in key.arguments()[:8] if not isinstance(part, (Call, Tuple))])})"
    if isinstance(key, Node):
        return getattr(key, "path", type(key).__name__)
    return str(key)


def _tuple_text(key: Tuple) -> str:
    return "(" + ", ".join([_tuple_text(item) if type(item) is Tuple else key_text(item) for item in key.items]) + ")"


def _check_key(key: Tuple) -> None:
    """Raises Malformed where writing a key would take more than keys are worth: a tuple may hold another one many times."""
    level, parts = [key], 0
    for _ in range(_DEEPEST_KEY):
        parts += sum(len(one.items) for one in level)
        if not level or parts > _MOST_OF_A_KEY:
            break
        level = [item for one in level for item in one.items if type(item) is Tuple]
    if level:
        raise Malformed("a key of the pickle is nested too deep, or too long")


def spellings(key: Any) -> tuple[str, str, str]:
    """The ways in which `names` may write the last key of a path."""
    return key_text(key), _escaped((key,)), _bracketed((key,))


def joined(path: Path) -> str:
    return ".".join(map(key_text, path))


def names(tensors: list[Path], others: list[Path]) -> list[str]:
    """The paths joined by dots. Twins are told apart: dots inside a key are escaped (`a\\.b`), integer keys put in brackets (`[7]`)."""
    paths, texts, characters = tensors + others, [], 0
    for path in paths:
        texts.append(joined(path))
        characters += len(texts[-1])
        if characters > _MOST_CHARACTERS:
            raise Malformed("the names of the tensors are too long")
    if len(set(texts)) == len(texts):
        return texts
    for spell in (_escaped, _bracketed):
        counts: dict[str, int] = {}
        for text in texts:
            counts[text] = counts.get(text, 0) + 1
        texts = [spell(path) if counts[text] > 1 else text for path, text in zip(paths, texts, strict=True)]
    if len(set(texts[: len(tensors)])) != len(tensors) or not set(texts[: len(tensors)]).isdisjoint(texts[len(tensors) :]):
        raise Malformed("two tensors go by the same path")
    return texts


def _escaped(path: Path) -> str:
    return ".".join(key_text(key).replace("\\", "\\\\").replace(".", "\\.") for key in path)


def _bracketed(path: Path) -> str:
    return ".".join(_escaped((key,)) if type(key) is str else f"[{key_text(key)}]" for key in path)

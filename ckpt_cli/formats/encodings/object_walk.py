"""A walk through a pickle's tree: every leaf with its path and its place. A container that holds itself is not entered again.

Containers are dicts, lists, tuples and objects that behave like them. A pickled nn.Module is walked as `state_dict()` does it:
`_parameters`, `_buffers`, then `_modules`, as in torch/nn/modules/module.py. An object of any other class is one leaf; the tensors in its
state are leaves of their own.
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


class TreeEntry(NamedTuple):
    """A node of the tree, and where it sits.

    Attributes:
        path: The keys that lead to it from the root, as nodes or numbers.
        node: The node itself.
        holder: The container whose pairs or items it is in; None for the root.
        position: Its index among them.
    """

    path: Path
    node: Any
    holder: Any
    position: int


class Walk:
    """Walks one tree. When `leaves` is exhausted, `layers` holds the class of every nn.Module in it, by path."""

    def __init__(self, is_leaf: Callable[[Any], bool]) -> None:
        self.is_leaf = is_leaf
        self.layers: dict[Path, str] = {}

    def leaves(self, root: Any) -> Iterator[TreeEntry]:
        """The leaves below `root`, in the order of the pickle. Raises Malformed where the tree is too large to be walked."""
        # An entry and whether only tensors below it are leaves, or the id of a container that is left again.
        steps: list[tuple[TreeEntry, bool] | int] = [(TreeEntry((), root, None, 0), False)]
        above: set[int] = set()
        keys = 0
        for _ in range(_MOST_STEPS):
            if not steps:
                return
            step = steps.pop()
            if type(step) is int:
                above.discard(step)
                continue
            entry, tensors_only = step  # type: ignore[misc]
            node = entry.node
            if not isinstance(node, Node) or self.is_leaf(node) or id(node) in above:
                if not tensors_only or (isinstance(node, Node) and self.is_leaf(node)):
                    yield entry
                continue
            count = _count_children(node)
            if count > _MOST_STEPS:
                raise Malformed(f"the pickle holds a container of over {_MOST_STEPS:,} items")
            keys += count * (len(entry.path) + 1)
            if len(above) > _DEEPEST or keys > _MOST_KEYS:
                break
            children, foreign = self._children(entry)
            if not tensors_only and (foreign or not children):
                yield entry
            above.add(id(node))
            steps.append(id(node))
            steps.extend((child, tensors_only or foreign) for child in reversed(children))
        raise Malformed("the pickle holds its containers within one another too often to be walked")

    def _children(self, entry: TreeEntry) -> tuple[list[TreeEntry], bool]:
        """The entries of a container, and whether it is an object of another class, of which only the tensors are listed."""
        node, path = entry.node, entry.path
        cls = type(node)
        if cls is Dict:
            return _of_pairs(path, node, node.pairs), False
        if cls in (List, Tuple, Set):
            return _of_items(path, node, node.items), False
        if cls is not Call:
            return [], False
        state = node.state()
        if state is not None and type(state.get("_modules")) in (Dict, Call):
            self.layers[path] = node.path.rpartition(".")[2] or _module_class(node)
            return _of_module(path, state), False
        return self._of_call(path, node, state)

    def _of_call(self, path: Path, node: Call, state: Dict | None) -> tuple[list[TreeEntry], bool]:
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


def _count_children(node: Any) -> int:
    """The most children that a node can have, but for those of a module."""
    parts = [node, *getattr(node, "states", []), *getattr(getattr(node, "args", None), "items", [])]
    return sum(len(getattr(part, "pairs", [])) + len(getattr(part, "items", [])) for part in parts)


_SEQUENCES = {"torch.Size", "builtins.list", "builtins.tuple", "__builtin__.list"}
_MAPPINGS = {"collections.OrderedDict", "collections.defaultdict"}


def _of_pairs(path: Path, holder: Any, pairs: list[tuple[Any, Any]]) -> list[TreeEntry]:
    return [TreeEntry((*path, key), value, holder, i) for i, (key, value) in enumerate(pairs)]


def _of_items(path: Path, holder: Any, items: list[Any]) -> list[TreeEntry]:
    return [TreeEntry((*path, i), item, holder, i) for i, item in enumerate(items)]


def _of_old_ordered(path: Path, pairs: Any) -> list[TreeEntry]:
    """Python 2 pickles an OrderedDict as a call with a list of pairs."""
    two = [pair for pair in getattr(pairs, "items", []) if type(pair) in (List, Tuple) and len(pair.items) == 2]
    return [TreeEntry((*path, pair.items[0]), pair.items[1], pair, 1) for pair in two]


def _of_module(path: Path, state: Dict) -> list[TreeEntry]:
    """Parameters, buffers and modules, then attributes that are objects and not private: a pickled module may hold tensors there."""
    entries: list[TreeEntry] = []
    for part in ("_parameters", "_buffers", "_modules"):
        inner = state.get(part)
        entries += [entry for entry in _of_pairs(path, inner, getattr(inner, "pairs", [])) if entry.node is not None]
    taken = {key_text(entry.path[-1]) for entry in entries}
    attributes = [entry for entry in _of_pairs(path, state, state.pairs) if type(entry.node) is Call]
    return entries + [a for a in attributes if not key_text(a.path[-1]).startswith("_") and key_text(a.path[-1]) not in taken]


def _module_class(node: Call) -> str:
    """The class of a module, which legacy files pickle as a persistent id ('module', class, file, source)."""
    pid = getattr(node.function, "pid", None)
    if type(pid) is Tuple and len(pid.items) > 1 and type(pid.items[1]) is Global:
        return pid.items[1].name
    return "Module"


def key_text(key: Any) -> str:
    """A key as it stands in a name. Raises Malformed where that would be too long."""
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
    """Raise Malformed where the text of a key would be too long: a tuple may hold another one many times over."""
    level, parts = [key], 0
    for _ in range(_DEEPEST_KEY):
        parts += sum(len(one.items) for one in level)
        if not level or parts > _MOST_OF_A_KEY:
            break
        level = [item for one in level for item in one.items if type(item) is Tuple]
    if level:
        raise Malformed("a key of the pickle is nested too deep, or too long")


def spellings(key: Any) -> tuple[str, str, str]:
    """The three ways in which `names` may write the last key of a path: plain, escaped, bracketed."""
    return key_text(key), _escaped((key,)), _bracketed((key,))


def joined(path: Path) -> str:
    """The keys of a path, joined by dots."""
    return ".".join(map(key_text, path))


def names(tensors: list[Path], others: list[Path]) -> list[str]:
    r"""The names of tensors and of other leaves: the keys of each path, joined by dots.

    Where two names would be the same, dots inside a key are escaped (`a\.b`), then integer keys are put in brackets (`[7]`).

    Raises:
        Malformed: Two tensors, or a tensor and another leaf, have the same name all the same; or the names are too long.
    """
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

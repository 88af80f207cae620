"""A walk through a pickle's tree: every leaf with its path and its place. A container that holds itself is not entered again.

Containers are dicts, lists, tuples and objects that behave like them. A pickled nn.Module is walked as `state_dict()` does it:
`_parameters`, `_buffers`, then `_modules`, as in torch/nn/modules/module.py. An array of objects is the container of its elements. An
object of any other class is one leaf; the tensors and long runs of bytes in its arguments and state are leaves of their own, as are those
that a tensor has beside its elements: the scales of a quantised one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ...errors import Malformed
from . import pickled_arrays
from .object_names import Path, key_text
from .object_nodes import ByteArray, BytesInFile, ByteString, Call, Dict, Global, List, Node, Set, Tuple

# Far above what programs write; a hostile pickle reaches them within seconds.
_MOST_STEPS = 3_000_000
_MOST_KEYS = 30_000_000
_DEEPEST = 1000
_DEEPEST_STATE = 32  # tensors within tensors
_LONG = 4096  # bytes: shorter runs are part of the object that they are in


class TreeEntry(NamedTuple):
    """A node of the tree, and where it sits.

    Attributes:
        path: The keys that lead to it from the root, as nodes or numbers.
        node: The node itself.
        holder: The container whose pairs or items it is in; None for the root.
        position: Its index among them.
        in_object: Whether it lies in an object of another class, of which nothing but numbers and bytes is listed.
    """

    path: Path
    node: Any
    holder: Any
    position: int
    in_object: bool = False


class Walk:
    """Walks one tree. When `leaves` is exhausted, `layers` holds the class of every nn.Module in it, by path."""

    def __init__(self, is_leaf: Callable[[Any], bool]) -> None:
        self.is_leaf = is_leaf
        self.layers: dict[Path, str] = {}

    def leaves(self, root: Any) -> Iterator[TreeEntry]:
        """The leaves below `root`, in the order of the pickle. Raises Malformed where the tree is too large to be walked."""
        steps: list[TreeEntry | int] = [TreeEntry((), root, None, 0)]  # entries, and ids of containers that are left again
        above: set[int] = set()
        keys = 0
        for _ in range(_MOST_STEPS):
            if not steps:
                return
            step = steps.pop()
            if isinstance(step, int):
                above.discard(step)
                continue
            entry, node = step, step.node
            if not isinstance(node, Node) or self.is_leaf(node) or id(node) in above or self._is_plain_array(node):
                if not entry.in_object or is_bytes(node) or (isinstance(node, Node) and self.is_leaf(node)):
                    yield entry
                if type(node) is Call and node.path in _WITH_STATE and id(node) not in above:
                    above.add(id(node))
                    steps.append(id(node))
                    steps.extend(reversed(_inside(_beside(entry.path, node))))
                continue
            count = _count_children(node)
            if count > _MOST_STEPS:
                raise Malformed(f"the pickle holds a container of over {_MOST_STEPS:,} items")
            keys += count * (len(entry.path) + 1)
            if len(above) > _DEEPEST or keys > _MOST_KEYS:
                break
            children, is_container = self._children(entry)
            if not entry.in_object and (not is_container or not children):
                yield entry
            above.add(id(node))
            steps.append(id(node))
            steps.extend(reversed(_inside(children) if entry.in_object else children))
        raise Malformed("the pickle holds its containers within one another too often to be walked")

    def _is_plain_array(self, node: Node) -> bool:
        """Whether `node` is an array of objects none of which holds numbers: texts, names, None."""
        elements = pickled_arrays.objects_in(node) if type(node) is Call else None
        if elements is None:
            return False
        steps, seen = [item for _, item, _ in elements], set()
        while steps:
            node = steps.pop()
            if is_long(node) or (isinstance(node, Node) and self.is_leaf(node)):
                return False
            if isinstance(node, Node) and id(node) not in seen:
                seen.add(id(node))
                steps.extend(child.node for child in self._children(TreeEntry((), node, None, 0))[0])
        return True

    def _children(self, entry: TreeEntry) -> tuple[list[TreeEntry], bool]:
        """The entries of a node, and whether it is a container of them, or an object of another class that holds them somewhere."""
        node, path = entry.node, entry.path
        cls = type(node)
        if cls is Dict:
            return _of_pairs(path, node, node.pairs), True
        if cls in (List, Tuple, Set):
            return _of_items(path, node, node.items), True
        if cls is not Call:
            return [], True
        state = node.state()
        if state is not None and type(state.get("_modules")) in (Dict, Call):
            self.layers[path] = node.path.rpartition(".")[2] or _module_class(node)
            return _of_module(path, state), True
        return self._of_call(path, node, state)

    def _of_call(self, path: Path, node: Call, state: Dict | None) -> tuple[list[TreeEntry], bool]:
        elements = pickled_arrays.objects_in(node)
        if elements is not None:
            return [TreeEntry((*path, *index), item, holder, i) for i, (index, item, holder) in enumerate(elements)], True
        if node.path in _SEQUENCES and node.arguments() and type(node.arguments()[0]) in (Tuple, List):
            inner = node.arguments()[0]
            return _of_items(path, inner, inner.items) + _inside(_of_states(path, node)), True
        if node.path == "collections.OrderedDict" and node.arguments():
            return _of_old_ordered(path, node.arguments()[0]) + _inside(_of_states(path, node)), True
        if node.path == "argparse.Namespace":
            return _of_object(path, node), True
        if node.pairs or node.items or node.path in _MAPPINGS:
            return _of_items(path, node, node.items) + _of_pairs(path, node, node.pairs) + _inside(_of_call_and_states(path, node)), True
        return _inside(_of_object(path, node)), False


def _inside(entries: list[TreeEntry]) -> list[TreeEntry]:
    """The same entries as those of an object of another class."""
    return [entry._replace(in_object=True) for entry in entries]


def is_bytes(node: Any) -> bool:
    """Whether a node is a run of bytes, of any length but none."""
    if type(node) is bytes:
        return len(node) > 0
    if type(node) is Call:
        return bool(pickled_arrays.as_bytes(node))
    return type(node) is BytesInFile or (isinstance(node, (ByteString, ByteArray)) and len(node.data) > 0)


def is_long(node: Any) -> bool:
    """Whether a node is a run of bytes that may well hold numbers."""
    if type(node) is bytes:
        return len(node) >= _LONG
    if type(node) is Call:
        raw = pickled_arrays.as_bytes(node)
        return raw is not None and len(raw) >= _LONG
    return type(node) is BytesInFile or (isinstance(node, (ByteString, ByteArray)) and len(node.data) >= _LONG)


# Calls that make a tensor and then give it a state, which is their fourth argument. As in torch/_utils.py and torch/_tensor.py.
_WITH_STATE = {"torch._utils._rebuild_parameter_with_state", "torch._tensor._rebuild_from_type_v2"}


def _beside(path: Path, node: Call) -> list[TreeEntry]:
    """What a tensor has besides its elements: the entries of its state, and those of the tensor that it wraps."""
    entries: list[TreeEntry] = []
    for _ in range(_DEEPEST_STATE):
        args = node.arguments()
        if is_sharded(args) or (len(args) > 3 and local_tensor(args[3]) is not None):
            return []  # the local part is the tensor itself
        entries += _of_state(path, args[3], node.args, 3) if len(args) > 3 else []
        inner = args[2].items[:1] if len(args) > 2 and type(args[2]) is Tuple else args[:1]
        if not inner or type(inner[0]) is not Call or inner[0].path not in _WITH_STATE:
            break
        node = inner[0]
    return [entry for entry in entries if isinstance(entry.node, Node) or is_bytes(entry.node)]


def is_sharded(args: list[Any]) -> bool:
    """Whether these are the arguments (function, type, …) of a ShardedTensor."""
    return len(args) > 1 and type(args[1]) is Global and args[1].name == "ShardedTensor"


def local_tensor(state: Any) -> Any:
    """The local part of a DTensor, by its state: a dict, or a pair of a dict (or None) and the slots. None for another state."""
    dicts = [state] if type(state) is Dict else state.items if type(state) is Tuple else []
    return next((local for part in dicts if type(part) is Dict and (local := part.get("_local_tensor")) is not None), None)


def _of_object(path: Path, node: Call) -> list[TreeEntry]:
    """What an object was made with, then what its states say; of a tensor subclass, its state alone; of times and the like, nothing."""
    if node.path in _WITH_STATE:
        return _beside(path, node)
    if node.path.partition(".")[0] in _WITHOUT_NUMBERS:
        return []
    args = _of_items(path, node.args, node.args.items) if type(node.args) is Tuple else []
    return args + _of_keywords(path, node) + _of_states(path, node, beside=bool(args))


def _of_call_and_states(path: Path, node: Call) -> list[TreeEntry]:
    """What a container was made with, and its attributes, apart from its items."""
    args = _of_items((*path, "args"), node.args, node.args.items) if type(node.args) is Tuple else []
    return args + _of_keywords(path, node) + _of_states(path, node, beside=True)


def _of_keywords(path: Path, node: Call) -> list[TreeEntry]:
    return _of_pairs(path, node.kwargs, node.kwargs.pairs) if type(node.kwargs) is Dict else []


def _of_states(path: Path, node: Call, beside: bool = False) -> list[TreeEntry]:
    """The entries of all states. `beside`: what has no name of its own is told apart from the items and arguments of the object."""
    holder = List(node.states) if node.states else None  # the same list: what is put into it is put into the node
    return [entry for i, state in enumerate(node.states) for entry in _of_state(path, state, holder, i, beside)]


def _of_state(path: Path, state: Any, holder: Any, position: int, beside: bool = False) -> list[TreeEntry]:
    """The entries of a state: of a dict, of a pair of a dict and the slots, of a sequence, or the state itself."""
    if type(state) is Dict:
        return [entry for entry in _of_pairs(path, state, state.pairs) if key_text(entry.path[-1]) != "_metadata"]
    if type(state) is Tuple and len(state.items) == 2 and all(part is None or type(part) is Dict for part in state.items):
        return [entry for i, part in enumerate(state.items) if part is not None for entry in _of_state(path, part, state, i)]
    inner = (*path, "state") if beside else path
    if type(state) in (Tuple, List):
        return _of_items(inner, state, state.items)
    return [TreeEntry((*path, "state"), state, holder, position)]


def _count_children(node: Any) -> int:
    """The most children that a node can have, but for those of a module."""
    states = getattr(node, "states", [])
    parts = [node, *states, *(part for state in states for part in getattr(state, "items", [])[:2])]
    parts += [getattr(node, "args", None), *getattr(getattr(node, "args", None), "items", [])]
    return sum(len(getattr(part, "pairs", [])) + len(getattr(part, "items", [])) for part in parts)


_WITHOUT_NUMBERS = {"datetime", "uuid", "decimal", "fractions", "zoneinfo", "pathlib"}  # modules whose objects hold no contents of a model
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
    """The class of a module, which legacy files pickle as a persistent id ('module', class, file, source), torch 0.1 without 'module'."""
    pid = getattr(node.function, "pid", None)
    classes = [item.name for item in pid.items[:2] if type(item) is Global] if type(pid) is Tuple else []
    return classes[0] if classes else "Module"

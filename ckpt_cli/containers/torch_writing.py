"""An edited checkpoint as a torch pickle.

The tree is read again, edited in place at the entries whose tensor changed, and emitted: everything else in it, whatever its class,
is carried along as the symbols that it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checkpoint import Checkpoint
from ..errors import CannotHold, EditError
from ..storage import Storage
from . import torch_objects as objects
from .nodes import Call, Dict, Persistent, Tuple
from .numpy_objects import array_node, is_array
from .pickling import Pickler
from .torch_tree import Tree, find
from .unpickling import Unpickler
from .walk import Place, key_text


def write_tree(checkpoint: Checkpoint) -> tuple[bytes, dict[str, Storage]]:
    """The pickle of an edited checkpoint, and its storages by key, in the order in which the pickle names them."""
    objects.check_dtypes({name: tensor for name, tensor in checkpoint.items() if not tensor.layout})
    tree = checkpoint.rest
    if isinstance(tree, Tree) and checkpoint.origin:
        return _Editor(checkpoint, tree).written()
    refused = next((name for name, tensor in checkpoint.items() if tensor.layout), None)
    if refused:
        raise CannotHold(
            f"a new .pt file cannot hold {refused}, which is {checkpoint[refused].layout}", f"leave it out: --drop '{refused}'"
        )
    storages = _Storages(None)
    pairs = [(name, objects.tensor_node(tensor, storages.reserve(tensor.storage))) for name, tensor in checkpoint.items()]
    return Pickler(2, storages.renumbered).dump(Dict(list(pairs))), storages.written


class _Storages:
    """Storages by the key that the pickle gives them: reserved while nodes are made, numbered as they are first written."""

    def __init__(self, tree: Tree | None, replaced: Mapping[int, Storage] | None = None) -> None:
        self.tree, self.replaced = tree, replaced or {}
        self.reserved: dict[str, Storage] = {}
        self.numbers: dict[int, str] = {}
        self.written: dict[str, Storage] = {}

    def reserve(self, storage: Storage) -> str:
        key = f"new {id(storage)}"
        self.reserved[key] = storage
        return key

    def renumbered(self, node: Persistent) -> Any:
        """The persistent id with the number of its storage in the new file."""
        if not objects.is_pid(node):
            return node.pid
        pid = objects.Pid(node)
        storage = self._find(pid)
        number = self.numbers.setdefault(id(storage), str(len(self.numbers)))
        self.written[number] = storage
        return Tuple([*pid.items[:2], number, *pid.items[3:5]])

    def _find(self, pid: objects.Pid) -> Storage:
        if pid.key in self.reserved:
            return self.reserved[pid.key]
        if self.tree is None:
            raise EditError(f"storage {pid.key!r} is not known")
        storage = self.tree.storage_of(pid.key, pid.dtype, pid.nbytes)
        return self.replaced.get(id(storage), storage)


class _Editor:
    """Edits a freshly read tree so that it says what `checkpoint` says."""

    def __init__(self, checkpoint: Checkpoint, tree: Tree) -> None:
        machine = Unpickler(tree.pickle)
        self.root = machine.load()
        self.protocol = machine.protocol
        self.checkpoint, self.tree = checkpoint, tree
        self.found = find(self.root, tree)
        before = checkpoint.origin.read if checkpoint.origin else checkpoint
        self.before = before
        sources = {name: checkpoint.sources.get(name, name) for name in checkpoint}
        self.now = {source: name for name, source in sources.items() if source in self.found.places}
        self.added = [name for name, source in sources.items() if source not in self.found.places]
        self.storages = _Storages(tree, self._replaced())

    def _replaced(self) -> dict[int, Storage]:
        """Original storages that an edit of values replaced, for bare storages that lie over them."""
        now: dict[int, set[Storage]] = {}
        for source, name in self.now.items():
            now.setdefault(id(self.before[source].storage), set()).add(self.checkpoint[name].storage)
        alone = {key: next(iter(storages)) for key, storages in now.items() if len(storages) == 1}
        return {id(old): alone[id(old)] for old in (t.storage for t in self.before.values()) if _fits(old, alone.get(id(old)))}

    def written(self) -> tuple[bytes, dict[str, Storage]]:
        gone: dict[int, set[int]] = {}
        holders: dict[int, Any] = {}
        edits: dict[tuple[int, int], tuple[str, Any]] = {}
        for source, place in self.found.places.items():
            self._edit(source, place, edits, gone, holders)
        dropped = [place for name, place in self.found.others.items() if name not in self.checkpoint.objects]
        for place in dropped:
            _forget(place, gone, holders)
        for name in self.added:
            self._insert(self.root, (), name, self._node(name, None))
        self._remove(gone, holders)
        return Pickler(self.protocol, self.storages.renumbered).dump(self.root), self.storages.written

    def _edit(
        self, source: str, place: Place, edits: dict[tuple[int, int], Any], gone: dict[int, set[int]], holders: dict[int, Any]
    ) -> None:
        """Bring one entry up to date: gone, moved, or with another tensor. A dict that is reached by two paths is edited alike for both."""
        name = self.now.get(source)
        tensor = None if name is None else self.checkpoint[name]
        unchanged = tensor is self.before[source]
        said = (None if tensor is None else tensor.key, None if name == source or name is None else name)
        spot = (id(place.holder), place.entry)
        if spot in edits:
            if edits[spot][1] != said:
                raise EditError(f"{edits[spot][0]} and {source} are one entry of one container", "edit both or neither")
            return
        edits[spot] = (source, said)
        if name is None:
            _forget(place, gone, holders)
            return
        node = place.node if unchanged else self._node(name, place.node)
        if node is not place.node:
            self._put(place, node)
        if name != source:
            self._move(source, place, name, node, gone, holders)

    def _node(self, name: str, like: Any) -> Any:
        tensor = self.checkpoint[name]
        if tensor.layout:
            if like is None:
                raise CannotHold(f"{name} is {tensor.layout}: it can stay where it is, not be written anew", "leave it out by a pattern")
            return like
        if is_array(like):
            return array_node(tensor)
        made = objects.tensor_node(tensor, self.storages.reserve(tensor.storage), like)
        return objects.rewrapped(like, made)

    def _put(self, place: Place, node: Any) -> None:
        if place.holder is None:
            self.root = node
        elif hasattr(place.holder, "pairs"):
            place.holder.pairs[place.entry] = (place.holder.pairs[place.entry][0], node)
        else:
            place.holder.items[place.entry] = node

    def _move(self, source: str, place: Place, name: str, node: Any, gone: dict[int, set[int]], holders: dict[int, Any]) -> None:
        """A new key in the same dict, at the same place, where the new name lies in it; else out of it and into the one that fits."""
        parent = source[: len(source) - len(key_text(place.path[-1]))] if place.path else ""
        if hasattr(place.holder, "pairs") and name.startswith(parent) and len(name) > len(parent):
            place.holder.pairs[place.entry] = (name[len(parent) :], node)
            return
        _forget(place, gone, holders)
        self._insert(self.root, (), name, node)

    def _insert(self, root: Any, path: tuple[Any, ...], name: str, node: Any) -> None:
        """Put an entry into the deepest dict that its name leads into."""
        holder, key = root, name
        while True:
            inner = next(((k, v) for k, v in getattr(holder, "pairs", []) if type(v) in (Dict, Call) and _leads(k, v, key)), None)
            if inner is None:
                break
            holder, key = inner[1], key[len(key_text(inner[0])) + 1 :]
        if not hasattr(holder, "pairs") or (type(holder) is Call and holder.state() and holder.state().get("_modules") is not None):  # type: ignore[union-attr]
            raise CannotHold(f"there is no dict in the file that {name!r} could go into", "convert it to a flat state dict first")
        holder.pairs.append((key, node))

    def _remove(self, gone: dict[int, set[int]], holders: dict[int, Any]) -> None:
        """Take out the entries that are gone, and containers that have nothing left because of it."""
        emptied: set[int] = set()
        for key, indices in gone.items():
            holder = holders[key]
            entries = holder.pairs if hasattr(holder, "pairs") else holder.items
            entries[:] = [entry for i, entry in enumerate(entries) if i not in indices]
            if not entries:
                emptied.add(key)
        if emptied:
            _prune(self.root, emptied)


def _fits(old: Storage, new: Storage | None) -> bool:
    return new is not None and new is not old and new.nbytes == old.nbytes


def _leads(key: Any, value: Any, name: str) -> bool:
    return name.startswith(key_text(key) + ".") and (type(value) is Dict or bool(value.pairs) or value.path == "collections.OrderedDict")


def _forget(place: Place, gone: dict[int, set[int]], holders: dict[int, Any]) -> None:
    if place.holder is None:
        raise EditError("the whole file is this one object", "delete the file instead")
    gone.setdefault(id(place.holder), set()).add(place.entry)
    holders[id(place.holder)] = place.holder


def _prune(root: Any, emptied: set[int]) -> None:
    """Take containers that were emptied out of those that hold them, as often as that empties another one."""
    while True:
        before = len(emptied)
        steps, seen = [root], set()
        while steps:
            node = steps.pop()
            if id(node) in seen or id(node) in emptied:
                continue
            seen.add(id(node))
            steps.extend(_pruned(node, emptied))
        if len(emptied) == before:
            return


def _pruned(node: Any, emptied: set[int]) -> list[Any]:
    pairs, items = getattr(node, "pairs", []), getattr(node, "items", [])
    if type(items) is not list:
        return []
    had = len(pairs) + len(items)
    pairs[:] = [pair for pair in pairs if id(pair[1]) not in emptied or pair[0] in ("_parameters", "_buffers", "_modules")]
    items[:] = [item for item in items if id(item) not in emptied]
    if had and not pairs and not items:
        emptied.add(id(node))
    return [value for _, value in pairs if hasattr(value, "items") or hasattr(value, "pairs")] + [i for i in items if hasattr(i, "items")]

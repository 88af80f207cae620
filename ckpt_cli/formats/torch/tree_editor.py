"""An edited checkpoint as a torch pickle.

The tree is read again, edited in place at the entries whose tensor changed, and emitted: everything else in it, whatever its class,
is carried along as the symbols that it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import CannotHold, EditError
from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint
from ..encodings.object_nodes import Call, Dict, Global, Persistent, Tuple, node_of, said
from ..encodings.object_walk import Place, key_text, spellings
from ..encodings.pickle_reader import Unpickler
from ..encodings.pickle_tree import Tree, find
from ..encodings.pickle_writer import Pickler
from ..encodings.pickled_arrays import array_node, is_array
from ..encodings.pickled_tensors import Pid, Reader, is_pid
from . import tensor_nodes


def write_tree(checkpoint: Checkpoint) -> tuple[bytes, dict[str, Storage]]:
    """The pickle of an edited checkpoint, and its storages by key, in the order in which the pickle names them."""
    tensor_nodes.check_dtypes({name: tensor for name, tensor in checkpoint.items() if not tensor.layout})
    tree = checkpoint.rest
    if isinstance(tree, Tree) and checkpoint.origin:
        return _Editor(checkpoint, tree).written()
    refused = next((name for name, tensor in checkpoint.items() if tensor.layout), None)
    if refused:
        raise CannotHold(
            f"a new .pt file cannot hold {refused}, which is {checkpoint[refused].layout}", f"leave it out: --drop '{refused}'"
        )
    storages = _Storages(None)
    pairs = [(name, tensor_nodes.tensor_node(tensor, storages.reserve(tensor.storage))) for name, tensor in checkpoint.items()]
    pairs += [(name, node_of(checkpoint.objects[name])) for name in written_objects(checkpoint)]
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
        if not is_pid(node):
            return _plain_class(node.pid)
        pid = Pid(node)
        storage = self._find(pid)
        number = self.numbers.setdefault(id(storage), str(len(self.numbers)))
        self.written[number] = storage
        return Tuple([*pid.items[:2], number, *pid.items[3:5]])

    def _find(self, pid: Pid) -> Storage:
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
        self.found = find(self.root, Reader(tree.storage_of))
        before = checkpoint.origin.read if checkpoint.origin else checkpoint
        self.before = before
        sources = {name: checkpoint.sources.get(name, name) for name in checkpoint}
        self.now = {source: name for name, source in sources.items() if source in self.found.places}
        self.added = [name for name, source in sources.items() if source not in self.found.places]
        self.storages = _Storages(tree, self._replaced())
        self.keyed: dict[int, Any] = {}
        self.inner: dict[int, list[tuple[str, Any]]] = {}

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
        read = self.checkpoint.origin.read.objects if self.checkpoint.origin else {}
        made = {name: node_of(value) for name, value in self.checkpoint.objects.items() if name not in read}
        for name, node in made.items():
            self._insert(self.root, (), name, node)
        self._remove(gone, holders)
        for holder in self.keyed.values():
            _check_keys(holder)
        return Pickler(self.protocol, self.storages.renumbered).dump(self.root), self.storages.written

    def _edit(
        self, source: str, place: Place, edits: dict[tuple[int, int], Any], gone: dict[int, set[int]], holders: dict[int, Any]
    ) -> None:
        """Bring one entry up to date: gone, moved, or with another tensor. A dict that is reached by two paths is edited alike for both."""
        name = self.now.get(source)
        tensor = None if name is None else self.checkpoint[name]
        unchanged = tensor is self.before[source] and not tensor_nodes.through_view(place.node)
        said = (None if tensor is None else tensor.key, None if name == source or name is None else name)
        spot = (id(place.holder), place.entry)
        if spot in edits:
            if edits[spot][1] != said:
                raise EditError(
                    f"{edits[spot][0]} and {source} are one entry of one container", "edit both alike, or convert to a flat file"
                )
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
        made = tensor_nodes.tensor_node(tensor, self.storages.reserve(tensor.storage), like)
        return tensor_nodes.rewrapped(like, made)

    def _put(self, place: Place, node: Any) -> None:
        if place.holder is None:
            self.root = node
        elif hasattr(place.holder, "pairs"):
            place.holder.pairs[place.entry] = (place.holder.pairs[place.entry][0], node)
        else:
            place.holder.items[place.entry] = node

    def _move(self, source: str, place: Place, name: str, node: Any, gone: dict[int, set[int]], holders: dict[int, Any]) -> None:
        """A new key in the same dict, at the same place, where the new name lies in it; else out of it and into the one that fits."""
        last = next((text for text in spellings(place.path[-1]) if source.endswith(text)), "") if place.path else source
        parent = source[: len(source) - len(last)]
        key = name[len(parent) :]
        if hasattr(place.holder, "pairs") and key and name.startswith(parent) and not self._door(place.holder, key):
            place.holder.pairs[place.entry] = (key, node)
            self.keyed[id(place.holder)] = place.holder
            return
        _forget(place, gone, holders)
        self._insert(self.root, (), name, node)

    def _insert(self, root: Any, path: tuple[Any, ...], name: str, node: Any) -> None:
        """Put an entry into the deepest dict that its name leads into."""
        holder, key = root, name
        while door := self._door(holder, key):
            holder, key = door[1], key[len(door[0]) + 1 :]
        if not hasattr(holder, "pairs") or (type(holder) is Call and holder.state() and holder.state().get("_modules") is not None):  # type: ignore[union-attr]
            raise CannotHold(f"there is no dict in the file that {name!r} could go into", "convert it to a flat state dict first")
        holder.pairs.append((key, node))
        self.keyed[id(holder)] = holder

    def _door(self, holder: Any, name: str) -> tuple[str, Any] | None:
        """The container in `holder` that `name` leads into, with the key that it has there."""
        if id(holder) not in self.inner:
            pairs = getattr(holder, "pairs", [])
            self.inner[id(holder)] = [(key_text(key), value) for key, value in pairs if _is_dict(value)]
        return next(((key, value) for key, value in self.inner[id(holder)] if name.startswith(key + ".")), None)

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


def written_objects(checkpoint: Checkpoint) -> list[str]:
    """All those of a torch pickle, and what was not read at all, but made. Those of other formats would make it no state dict any more."""
    read = checkpoint.origin.read.objects if checkpoint.origin and not isinstance(checkpoint.rest, Tree) else {}
    return [name for name in checkpoint.objects if name not in read]


def _plain_class(pid: Any) -> Any:
    """Legacy files leave the classes of modules out as ('module', class, file, source); a zip has the class itself."""
    items = pid.items if type(pid) is Tuple else []
    return items[1] if len(items) > 1 and said(items[0]) == "module" and type(items[1]) is Global else pid


def _check_keys(holder: Any) -> None:
    """Raises EditError where a new key is one that the dict has already, be it a container's or another object's."""
    seen: set[str] = set()
    for key, _ in holder.pairs:
        if type(key) is not str:
            continue
        if key in seen:
            raise EditError(f"the file has something else that is called {key!r}", "choose another name, or drop that first")
        seen.add(key)


def _fits(old: Storage, new: Storage | None) -> bool:
    return new is not None and new is not old and new.nbytes == old.nbytes


def _is_dict(value: Any) -> bool:
    return type(value) is Dict or (type(value) is Call and (bool(value.pairs) or value.path == "collections.OrderedDict"))


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
    pairs[:] = [pair for pair in pairs if id(pair[1]) not in emptied or said(pair[0]) in ("_parameters", "_buffers", "_modules")]
    items[:] = [item for item in items if id(item) not in emptied]
    states = node.states if type(node) is Call and node.path == "argparse.Namespace" else []
    if (had and not pairs and not items) or any(id(state) in emptied for state in states):
        emptied.add(id(node))
    inner = [value for _, value in pairs] + items + states
    return [value for value in inner if hasattr(value, "items") or hasattr(value, "pairs")]

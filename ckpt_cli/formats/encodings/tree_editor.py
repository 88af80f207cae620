"""Edits the tree of a pickle.

The tree is read again, and only the entries whose tensor changed are edited. Everything else in it, of whatever class, is written again
as the symbols that it was. What a tensor's node is, a subclass says.
"""

from __future__ import annotations

from typing import Any

from ...errors import EditError
from ...tensors.checkpoint import Checkpoint
from .object_names import key_text, spellings
from .object_nodes import Call, node_of, text_of
from .object_walk import TreeEntry
from .pickle_tree import SortedLeaves
from .tree_places import Places, is_dict


class TreeEditor:
    """Edits a freshly read tree so that it holds the tensors and objects of `checkpoint`.

    Attributes:
        root: The tree.
        leaves: Its leaves, sorted.
        before: The checkpoint as it was read.
    """

    def __init__(self, checkpoint: Checkpoint, root: Any, leaves: SortedLeaves) -> None:
        self.checkpoint, self.root, self.leaves = checkpoint, root, leaves
        self.before = checkpoint.origin.read if checkpoint.origin else checkpoint
        sources = {name: checkpoint.sources.get(name, name) for name in checkpoint}
        self.now = {source: name for name, source in sources.items() if source in self.leaves.entries}
        self.added = [name for name, source in sources.items() if source not in self.leaves.entries]
        self.edits: dict[tuple[int, int], tuple[str, Any]] = {}  # by container and position: the source, and what becomes of it
        self.removals = _Removals()
        self.keyed: dict[int, Any] = {}  # containers that have a new key
        self.inner: dict[int, list[tuple[str, Any]]] = {}  # the dicts in a container, by its id
        self.places = Places(root, self._is_tensor)
        self._tensors = {id(entry.node) for entry in leaves.entries.values()}

    def node(self, name: str, like: Any) -> Any:
        """The node of a tensor, in place of the node `like` (None: there was none). Raises CannotHold."""
        raise NotImplementedError

    def stays(self, node: Any) -> bool:
        """Whether the node of a tensor that is as it was read is written as it is."""
        return True

    def edited(self) -> Any:
        """The edited tree.

        Raises:
            CannotHold: There is no dict for a new entry, or a tensor cannot be written anew.
            EditError: Two edits contradict one another.
        """
        for source, entry in self.leaves.entries.items():
            self._edit(source, entry)
        read = self.checkpoint.origin.read.objects if self.checkpoint.origin else {}
        for name, entry in self.leaves.others.items():
            if name not in self.checkpoint.objects:
                self.removals.add(entry)
            elif self.checkpoint.objects[name] is not read.get(name):
                self._put(entry, node_of(self.checkpoint.objects[name]))
        for name in self.added:
            node = self.node(name, None)
            self._tensors.add(id(node))
            self._insert(name, node)
        made = {name: node_of(value) for name, value in self.checkpoint.objects.items() if name not in read}
        for name, node in made.items():
            self._insert(name, node)
        self.removals.apply(self.root)
        for holder in self.keyed.values():
            _check_keys(holder)
        return self.root

    def _edit(self, source: str, entry: TreeEntry) -> None:
        """Remove one entry, move it, or give it another tensor. Where two paths lead to one entry, both have to ask for the same edit."""
        name = self.now.get(source)
        tensor = None if name is None else self.checkpoint[name]
        unchanged = tensor is self.before[source] and self.stays(entry.node)
        wanted = (None if tensor is None else tensor.key, None if name == source or name is None else name)
        spot = (id(entry.holder), entry.position)
        if spot in self.edits:
            if self.edits[spot][1] != wanted:
                raise EditError(
                    f"{self.edits[spot][0]} and {source} are one entry of one container", "edit both alike, or convert to a flat file"
                )
            return
        self.edits[spot] = (source, wanted)
        if name is None:
            self.removals.add(entry)
            return
        node = entry.node if unchanged else self.node(name, entry.node)
        self._tensors.add(id(node))
        if node is not entry.node:
            self._put(entry, node)
        if name != source:
            self._move(source, entry, name, node)

    def _put(self, entry: TreeEntry, node: Any) -> None:
        holder, position = entry.holder, entry.position
        if holder is None:
            self.root = node
        elif hasattr(holder, "pairs"):
            holder.pairs[position] = (holder.pairs[position][0], node)
        else:
            holder.items[position] = node

    def _move(self, source: str, entry: TreeEntry, name: str, node: Any) -> None:
        """Give an entry a new key in its dict, where the new name belongs there; else move it to the dict that the name leads into."""
        last = next((text for text in spellings(entry.path[-1]) if source.endswith(text)), "") if entry.path else source
        parent = source[: len(source) - len(last)]
        key = name[len(parent) :]
        if hasattr(entry.holder, "pairs") and key and name.startswith(parent) and not self._inner_dict(entry.holder, key):
            entry.holder.pairs[entry.position] = (key, node)
            self.keyed[id(entry.holder)] = entry.holder
            return
        self.removals.add(entry)
        self._insert(name, node)

    def _insert(self, name: str, node: Any) -> None:
        """Put an entry where its name leads; a container of that name gives way to it. Raises CannotHold."""
        place = self.places.find(name)
        if place.position is not None and name not in self.leaves.entries and name not in self.leaves.others:
            below = next((other for other in (*self.checkpoint, *self.checkpoint.objects) if other.startswith(f"{name}.")), None)
            if below is not None:
                raise EditError(f"{name} holds {below} in the file, and can be nothing else", "choose another name")
            self._put(TreeEntry((), None, place.holder, place.position), node)
        elif hasattr(place.holder, "pairs"):
            place.holder.pairs.append((place.key, node))
            self.keyed[id(place.holder)] = place.holder
        else:
            place.holder.items.append(node)

    def _is_tensor(self, node: Any) -> bool:
        return id(node) in self._tensors

    def _inner_dict(self, holder: Any, name: str) -> tuple[str, Any] | None:
        """The dict in `holder` that `name` leads into, after the key that it has there."""
        if id(holder) not in self.inner:
            pairs = getattr(holder, "pairs", [])
            self.inner[id(holder)] = [(key_text(key), value) for key, value in pairs if is_dict(value)]
        return next(((key, value) for key, value in self.inner[id(holder)] if name.startswith(key + ".")), None)


class _Removals:
    """Entries that are taken out of their containers at the end, so that the positions of others hold until then."""

    def __init__(self) -> None:
        self.positions: dict[int, set[int]] = {}
        self.holders: dict[int, Any] = {}

    def add(self, entry: TreeEntry) -> None:
        if entry.holder is None:
            raise EditError("the whole file is this one object", "delete the file instead")
        self.positions.setdefault(id(entry.holder), set()).add(entry.position)
        self.holders[id(entry.holder)] = entry.holder

    def apply(self, root: Any) -> None:
        """Take out the entries, and the containers below `root` that have nothing left because of it."""
        emptied: set[int] = set()
        for key, positions in self.positions.items():
            holder = self.holders[key]
            entries = holder.pairs if hasattr(holder, "pairs") else holder.items
            entries[:] = [entry for i, entry in enumerate(entries) if i not in positions]
            if not entries:
                emptied.add(key)
        if emptied:
            _prune(root, emptied)


def _check_keys(holder: Any) -> None:
    """Raise EditError where a dict has one key twice: a new one, and one of a container or another object."""
    seen: set[str] = set()
    for key, _ in holder.pairs:
        if type(key) is not str:
            continue
        if key in seen:
            raise EditError(f"the file has something else that is called {key!r}", "choose another name, or drop that first")
        seen.add(key)


def _prune(root: Any, emptied: set[int]) -> None:
    """Take emptied containers out of those that hold them, again and again while that empties another one."""
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
    """Take the emptied containers out of `node`, and add it to them where nothing is left.

    Returns:
        The containers in `node` that are left.
    """
    pairs, items = getattr(node, "pairs", []), getattr(node, "items", [])
    if type(items) is not list:
        return []
    had = len(pairs) + len(items)
    pairs[:] = [pair for pair in pairs if id(pair[1]) not in emptied or text_of(pair[0]) in ("_parameters", "_buffers", "_modules")]
    items[:] = [item for item in items if id(item) not in emptied]
    states = node.states if type(node) is Call and node.path == "argparse.Namespace" else []
    if (had and not pairs and not items) or any(id(state) in emptied for state in states):
        emptied.add(id(node))
    inner = [value for _, value in pairs] + items + states
    return [value for value in inner if hasattr(value, "items") or hasattr(value, "pairs")]

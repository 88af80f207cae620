"""A checkpoint as a torch pickle: a new one as a flat state dict, an edited one as the tree that was read, with its edits."""

from __future__ import annotations

from typing import Any

from ...errors import CannotHold
from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint
from ..encodings.object_nodes import Dict, node_of
from ..encodings.pickle_reader import Unpickler
from ..encodings.pickle_tree import TorchTree, sorted_leaves
from ..encodings.pickle_writer import Pickler
from ..encodings.pickled_arrays import array_node, is_array
from ..encodings.pickled_tensors import TensorReader
from ..encodings.tree_editor import TreeEditor
from .tensor_nodes import check_dtypes, check_layouts, rewrapped, tensor_node, through_view
from .written_storages import WrittenStorages


def write_tree(checkpoint: Checkpoint) -> tuple[bytes, dict[str, Storage]]:
    """The pickle of a checkpoint, and its storages by key, in the order in which the pickle names them.

    Raises:
        CannotHold: A pickle of torch's has no place for a tensor.
        EditError: An edit cannot be made in the tree that was read.
    """
    check_dtypes({name: tensor for name, tensor in checkpoint.items() if not tensor.layout})
    tree = checkpoint.rest
    if isinstance(tree, TorchTree) and checkpoint.origin:
        return _TorchEditor(checkpoint, tree).written()
    check_layouts(checkpoint, "a new .pt file")
    storages = WrittenStorages(None)
    pairs = [(name, tensor_node(tensor, storages.reserve(tensor.storage))) for name, tensor in checkpoint.items()]
    pairs += [(name, node_of(checkpoint.objects[name])) for name in written_objects(checkpoint)]
    return Pickler(2, storages.renumbered).dump(Dict(list(pairs))), storages.written


def written_objects(checkpoint: Checkpoint) -> list[str]:
    """The names of the objects that are written: all of a torch pickle, and those that were made, not read.

    Objects that were read from another format are left out: with them, the file would be no state dict.
    """
    if isinstance(checkpoint.rest, TorchTree):
        return [*checkpoint.objects, *(name for name in checkpoint.undecoded if name in checkpoint.rest.records)]
    read = checkpoint.origin.read.objects if checkpoint.origin else {}
    return [name for name in checkpoint.objects if name not in read]


class _TorchEditor(TreeEditor):
    """Edits the tree of a torch pickle, and gives its storages new numbers."""

    def __init__(self, checkpoint: Checkpoint, tree: TorchTree) -> None:
        machine = Unpickler(tree.pickle)
        root = machine.load()
        super().__init__(checkpoint, root, sorted_leaves(root, TensorReader(tree.storage_of)))
        self.protocol = machine.protocol
        self.storages = WrittenStorages(tree, self._replaced())

    def _replaced(self) -> dict[int, Storage]:
        """The new storage in place of each old one whose values were edited, by `id`: bare storages in the tree may be the same."""
        candidates: dict[int, set[Storage]] = {}
        for source, name in self.now.items():
            candidates.setdefault(id(self.before[source].storage), set()).add(self.checkpoint[name].storage)
        only = {key: next(iter(storages)) for key, storages in candidates.items() if len(storages) == 1}
        return {id(old): only[id(old)] for old in (t.storage for t in self.before.values()) if _fits(old, only.get(id(old)))}

    def written(self) -> tuple[bytes, dict[str, Storage]]:
        """The edited pickle, and its storages by key, in the order in which the pickle names them. Raises CannotHold, EditError."""
        root = self.edited()
        return Pickler(self.protocol, self.storages.renumbered).dump(root), self.storages.written

    def stays(self, node: Any) -> bool:
        """Not where the storage is a view of another one."""
        return not through_view(node)

    def node(self, name: str, like: Any) -> Any:
        """The call that rebuilds a tensor; an array of numpy's where it was one."""
        tensor = self.checkpoint[name]
        if tensor.layout:
            if like is None:
                raise CannotHold(f"{name} is {tensor.layout}: it can stay where it is, not be written anew", "leave it out by a pattern")
            return like
        if is_array(like):
            return array_node(tensor)
        return rewrapped(like, tensor_node(tensor, self.storages.reserve(tensor.storage), like))


def _fits(old: Storage, new: Storage | None) -> bool:
    return new is not None and new is not old and new.nbytes == old.nbytes

"""A checkpoint as a torch pickle: a new one as a flat state dict, an edited one as the tree that was read, with its edits."""

from __future__ import annotations

from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint
from ..encodings.object_nodes import Dict, node_of
from ..encodings.pickle_tree import TorchTree
from ..encodings.pickle_writer import Pickler
from .tensor_nodes import check_dtypes, check_layouts, tensor_node
from .tree_editor import TreeEditor
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
        return TreeEditor(checkpoint, tree).written()
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
        return [*checkpoint.objects, *(name for name in checkpoint.undecoded if name not in checkpoint.objects)]
    read = checkpoint.origin.read.objects if checkpoint.origin else {}
    return [name for name in checkpoint.objects if name not in read]

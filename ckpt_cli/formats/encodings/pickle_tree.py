"""The tree of a pickle as a checkpoint: every tensor under the path by which it is reached, everything else as objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...numbers.dtypes import DType
from ...storage.storage import Memory, Storage
from ...tensors.checkpoint import Checkpoint, Undecoded
from ...tensors.tensor import Tensor
from . import pickled_arrays
from .object_names import joined, names
from .object_nodes import Call
from .object_walk import TreeEntry, Walk, is_bytes, is_long
from .pickle_reader import load
from .pickled_tensors import TensorReader, is_tensor
from .storage_ids import is_storage_id


class TorchTree(NamedTuple):
    """What only torch's formats understand of a checkpoint.

    Attributes:
        pickle: The pickle of the object that was saved.
        storage_of: Gives the storage with a key, a dtype (None: untyped) and a size in bytes.
        records: The members of the zip that are carried along to an edited file, by name.
        root: The folder in the zip that holds all members.
        distributed: The nodes of the tensors of which a rank holds a piece, by name: see `distributed_tensors`.
    """

    pickle: bytes
    storage_of: Callable[[str, DType | None, int], Storage]
    records: Mapping[str, Any]
    root: str = "archive"
    distributed: Mapping[str, Call] = {}


class SortedLeaves(NamedTuple):
    """The leaves of a tree by name.

    Attributes:
        entries: Where each tensor sits in the tree.
        tensors: The tensors, under the same names.
        others: The leaves that are no tensors, and where they sit.
        layers: The class of every pickled nn.Module, by path.
    """

    entries: dict[str, TreeEntry]
    tensors: dict[str, Tensor]
    others: dict[str, TreeEntry]
    layers: dict[str, str]


def read_tree(tree: TorchTree) -> Checkpoint:
    """The checkpoint that a torch pickle is. Raises Malformed."""
    from gc import disable, enable, isenabled

    collecting = isenabled()
    disable()  # a large tree is all live; looking for garbage in it doubles the time
    try:
        reader = TensorReader(tree.storage_of)
        leaves = sorted_leaves(load(tree.pickle), reader)
    finally:
        if collecting:
            enable()
    undecoded = undecoded_of(leaves, reader)
    notes: tuple[str, ...] = ()
    if reader.distributed:
        from .distributed_tensors import part_note

        _ask_for_meshes(reader)
        nodes = {name: reader.distributed[id(entry.node)] for name, entry in leaves.entries.items() if id(entry.node) in reader.distributed}
        tree, notes = tree._replace(distributed=nodes), tuple(filter(None, [part_note(list(nodes.values()))]))
    return Checkpoint(leaves.tensors, objects=objects_of(leaves), layers=leaves.layers, rest=tree, notes=notes, undecoded=undecoded)


def _ask_for_meshes(reader: TensorReader) -> None:
    """Ask for the storages of the meshes that tensors are distributed over: they say where parts lie, and are no contents."""
    for node in reader.distributed.values():
        for entry in Walk(reader.is_leaf).leaves(node.args):
            reader.tensor(entry.node)


def objects_of(leaves: SortedLeaves) -> dict[str, Any]:
    """The leaves that are no tensors, as values of Python or Foreign objects."""
    if not leaves.others:
        return {}
    from .pickled_objects import plain  # most files hold tensors alone

    return {name: plain(entry.node) for name, entry in leaves.others.items()}


def undecoded_of(leaves: SortedLeaves, reader: TensorReader, numbers: bool = False) -> dict[str, Undecoded]:
    """The leaves that are bytes and no tensors: bare storages, runs of bytes, numpy's numbers in objects of other classes.

    `numbers`: those that stand by themselves count, too, since the file is numpy's.
    """
    found: dict[str, Undecoded] = {}
    for name, entry in leaves.others.items():
        raw = pickled_arrays.scalar_bytes(entry.node) if numbers or entry.in_object else None
        storage = Memory(raw) if raw is not None else reader.bytes_of(entry.node, entry.in_object)
        if storage is not None:
            what = "a number of numpy's" if raw is not None else f"{storage.nbytes:,} bytes of no dtype"
            found[name] = Undecoded(what, storage, raw is not None)
    return found


def holds_contents(root: Any, reader: TensorReader) -> bool:
    """Whether there are tensors, arrays, numpy's numbers or runs of bytes in the tree below `root`."""
    return any(_is_content(entry) for entry in Walk(reader.is_leaf).leaves(root))


def _is_content(entry: TreeEntry) -> bool:
    node = entry.node
    if is_tensor(node) or is_storage_id(node) or is_long(node) or (entry.in_object and is_bytes(node)):
        return True
    return pickled_arrays.is_array(node) or pickled_arrays.scalar_bytes(node) is not None


def sorted_leaves(root: Any, reader: TensorReader) -> SortedLeaves:
    """Walk the tree below `root` and sort its leaves into tensors, which `reader` makes, and others. Raises Malformed."""
    walk = Walk(reader.is_leaf)
    entries: list[TreeEntry] = []
    tensors: list[Tensor] = []
    others: list[TreeEntry] = []
    for entry in walk.leaves(root):
        tensor = reader.tensor(entry.node)
        if tensor is None:
            others.append(entry)
        else:
            entries.append(entry)
            tensors.append(tensor)
    every_name = names([entry.path for entry in entries], [entry.path for entry in others])
    tensor_names, other_names = every_name[: len(entries)], every_name[len(entries) :]
    return SortedLeaves(
        dict(zip(tensor_names, entries, strict=True)),
        dict(zip(tensor_names, tensors, strict=True)),
        dict(zip(other_names, others, strict=True)),
        {joined(path): kind for path, kind in walk.layers.items()},
    )

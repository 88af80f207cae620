"""A torch pickle as a checkpoint: every tensor under the path by which it is reached, everything else as objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...numbers.dtypes import DType
from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .foreign import plain
from .object_walk import Place, Walk, joined, names
from .pickle_reader import load
from .pickled_tensors import Reader


class Tree(NamedTuple):
    """What only the torch formats understand of a checkpoint: the pickle, its storages by key, and records that are carried along."""

    pickle: bytes
    storage_of: Callable[[str, DType | None, int], Storage]
    records: Mapping[str, Any]
    root: str = "archive"


class Found(NamedTuple):
    places: dict[str, Place]
    tensors: dict[str, Tensor]
    others: dict[str, Place]
    layers: dict[str, str]


def read_tree(tree: Tree) -> Checkpoint:
    """Every tensor of the pickle under the path by which it is reached, and what else there is as objects."""
    from gc import disable, enable, isenabled

    collecting = isenabled()
    disable()  # a large tree is all live; looking for garbage in it doubles the time
    try:
        found = find(load(tree.pickle), Reader(tree.storage_of))
    finally:
        if collecting:
            enable()
    others = {name: plain(place.node) for name, place in found.others.items()}
    return Checkpoint(found.tensors, objects=others, layers=found.layers, rest=tree)


def find(root: Any, reader: Reader) -> Found:
    walk = Walk(reader.is_leaf)
    places: list[Place] = []
    tensors: list[Tensor] = []
    others: list[Place] = []
    for place in walk.leaves(root):
        tensor = reader.tensor(place.node)
        if tensor is None:
            others.append(place)
        else:
            places.append(place)
            tensors.append(tensor)
    called = names([place.path for place in places], [place.path for place in others])
    mine, theirs = called[: len(places)], called[len(places) :]
    layers = {joined(path): kind for path, kind in walk.layers.items()}
    return Found(
        dict(zip(mine, places, strict=True)), dict(zip(mine, tensors, strict=True)), dict(zip(theirs, others, strict=True)), layers
    )

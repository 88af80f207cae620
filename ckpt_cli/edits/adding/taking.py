"""Tensors that are taken over from another checkpoint: storages of their own, ties among them, and what is to be told of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ...configs import config_of
from ...errors import first_few
from ...formats import formats
from ...packing import find
from ...storage.storage import Slice
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor

_SHOWN = 3


def in_own_storages(tensors: Mapping[str, Tensor], checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return tensors that share storages with each other as they did, and none with the checkpoint that they are added to.

    A part of a storage whose rest is not taken becomes a storage of its own.
    """
    mine = {id(tensor.storage) for tensor in checkpoint.tensors.values()} if _may_share(tensors, checkpoint) else set()
    keys: dict[int, set[object]] = {}
    for tensor in tensors.values():
        keys.setdefault(id(tensor.storage), set()).add(tensor.key)
    made: dict[object, Tensor] = {}
    copies: dict[int, Slice] = {}
    for tensor in tensors.values():
        storage = tensor.storage
        if tensor.key in made or tensor.layout:
            continue
        if len(keys[id(storage)]) == 1 and tensor.nbytes < storage.nbytes:
            part = tensor.elements()
            made[tensor.key] = Tensor.whole(tensor.dtype, tensor.shape, Slice(part, 0, part.nbytes))
        elif id(storage) in mine:
            made[tensor.key] = tensor.over(copies.setdefault(id(storage), Slice(storage, 0, storage.nbytes)))
    return {name: made.get(tensor.key, tensor) for name, tensor in tensors.items()}


def _may_share(tensors: Mapping[str, Tensor], checkpoint: Checkpoint) -> bool:
    return bool(tensors) and bool(len(checkpoint))


def halves_noted(other: Checkpoint, names: Collection[str]) -> list[str]:
    """Return a line for each packed parameter of which some parts are taken and others are not."""
    taken = set(names)
    lines = []
    for packed in find(other).packed.values():
        left = [part for part in packed.parts if part not in taken]
        if left and len(left) < len(packed.parts):
            lines.append(f"{packed.name} is a packed parameter ({packed.title}); not taken of it: {first_few(left, _SHOWN)}")
    return lines


def axes_note(checkpoint: Checkpoint, other: Checkpoint, names: Sequence[str]) -> list[str]:
    """Return the line that axes stay as they are, where one framework keeps weights as in × out and the other as out × in."""
    if not (checkpoint.origin and other.origin and any(len(other[name].shape) > 1 for name in names)):
        return []
    here, there = formats[checkpoint.origin.format], formats[other.origin.format]
    if here.axes == there.axes:
        return []
    order = {"oi": "out × in", "io": "in × out"}
    return [
        f"{there.name} keeps weights {order[there.axes]} and {here.name} {order[here.axes]}; their axes stay as they are "
        f"(`ckpt convert --map` carries them across)"
    ]


def config_note(checkpoint: Checkpoint, other: Checkpoint) -> list[str]:
    """Return the line that the config stays that of another class of model than the tensors are taken from."""
    mine, theirs = config_of(checkpoint), config_of(other)
    if not mine or not theirs or mine.library != theirs.library or not other.origin or theirs.path == other.origin.path:
        return []
    if not mine.class_name or not theirs.class_name or mine.class_name == theirs.class_name:
        return []
    return [
        f"the config stays that of a {mine.class_name}; what is taken is of a {theirs.class_name}: for a folder that loads as one, "
        f"copy {theirs.path} into it"
    ]

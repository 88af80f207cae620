"""Which storages an edit replaced: what a format needs to know in order to write values over those that were read."""

from __future__ import annotations

from ..storage.storage import Storage
from ..tensors.checkpoint import Checkpoint


def changed_storages(checkpoint: Checkpoint) -> list[tuple[Storage, Storage]] | None:
    """The storages that were replaced, before and after; None unless everything but the values is as it was read."""
    before = checkpoint.origin.read if checkpoint.origin else None
    if before is None or list(checkpoint) != list(before):
        return None
    if checkpoint.metadata is not before.metadata or checkpoint.objects is not before.objects:
        return None
    now: dict[Storage, Storage] = {}
    for name, tensor in checkpoint.tensors.items():
        old = before.tensors[name]
        if tensor is not old and (tensor.over(old.storage).key != old.key or tensor.storage.nbytes != old.storage.nbytes):
            return None
        if now.setdefault(old.storage, tensor.storage) is not tensor.storage:
            return None
    if len(set(now.values())) != len(now):
        return None
    return [(old, new) for old, new in now.items() if old is not new]

"""`tie` and `untie`: one storage under several names, or a storage for each."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import EditError, UsageError
from ..numbers.shapes import show_shape
from ..storage.storage import Slice
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import select
from ..tensors.tensor import Tensor


def tie(checkpoint: Checkpoint, patterns: Sequence[str]) -> Checkpoint:
    """The later names become the first, and what is tied to them follows. Raises EditError where shapes or dtypes do not agree."""
    names = [name for pattern in patterns for name in select(checkpoint, [pattern])]
    if len(set(names)) < 2:
        raise UsageError("tie takes two names or more", "the first one is kept")
    first = checkpoint[names[0]].plain(names[0])
    for name in names[1:]:
        other = checkpoint[name].plain(name)
        if (other.shape, other.dtype) != (first.shape, first.dtype):
            kinds = [f"{show_shape(t.shape)} of {t.dtype.name}" for t in (first, other)]
            raise EditError(f"{names[0]} ({kinds[0]}) and {name} ({kinds[1]}) cannot be tied", "their shapes and dtypes must agree")
    keys = {checkpoint[name].key for name in names[1:]}
    return checkpoint.replacing(tensors={name: first if tensor.key in keys else tensor for name, tensor in checkpoint.items()})


def untie(checkpoint: Checkpoint, patterns: Sequence[str]) -> Checkpoint:
    """Each name that shares a storage gets one of its own. Raises EditError for a name that shares none, or where nothing picked does."""
    shared = {name for group in checkpoint.sharing() for name in group}
    names = list(dict.fromkeys(name for name in patterns if name in checkpoint))
    if globs := [pattern for pattern in patterns if pattern not in checkpoint]:
        names += [name for name in select(checkpoint, globs) if name in shared and name not in names]
    if not names:
        raise EditError("nothing of that is tied", "`ckpt tied` lists what is")
    alone = next((name for name in names if name not in shared), None)
    if alone is not None:
        raise EditError(f"{alone} is tied to nothing", "`ckpt tied` lists what is")
    tensors = dict(checkpoint.tensors)
    for name in names:
        tensor = tensors[name].plain(name)
        if any(other.storage is tensor.storage for key, other in tensors.items() if key != name):
            tensors[name] = Tensor.whole(tensor.dtype, tensor.shape, Slice(tensor.elements(), 0, tensor.nbytes))
    return checkpoint.replacing(tensors=tensors)

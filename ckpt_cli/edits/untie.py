"""`untie`: a storage of its own for each name that shares one."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING

from ..errors import EditError
from ..storage.storage import Slice
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import picked_in_turn
from ..tensors.tensor import Tensor

if TYPE_CHECKING:
    from .steps import Verb


def untie(checkpoint: Checkpoint, patterns: Sequence[str]) -> Checkpoint:
    """Give each name that shares a storage a storage of its own.

    Raises:
        NoMatch: A pattern matches nothing.
        EditError: A tensor that is named in full shares no storage, or nothing that the patterns match does.
        Opaque: A tensor has no plain elements.
    """
    shared = {name for group in checkpoint.sharing() for name in group}
    names = [name for name in picked_in_turn(checkpoint, patterns) if name in shared or name in patterns]
    if not names:
        raise EditError("nothing of that is tied", _one_for_both(checkpoint) or "`ckpt tied` lists what is")
    alone = next((name for name in names if name not in shared), None)
    if alone is not None:
        raise EditError(f"{alone} is tied to nothing", "`ckpt tied` lists what is")
    tensors = dict(checkpoint.tensors)
    for name in names:
        tensor = tensors[name].plain(name)
        if any(other.storage is tensor.storage for key, other in tensors.items() if key != name):
            tensors[name] = Tensor.whole(tensor.dtype, tensor.shape, Slice(tensor.elements(), 0, tensor.nbytes))
    return checkpoint.replacing(tensors=tensors)


def _one_for_both(checkpoint: Checkpoint) -> str:
    """How a model gets an output of its own, where the config ties it to the embedding, and the file keeps one tensor for both."""
    from ..analysis.named_parts import NamedParts
    from ..configs import find
    from ..configs.ties import tied

    config, parts = find(checkpoint).config, NamedParts(checkpoint.kinds())
    if not checkpoint.origin or not config or not tied(config) or parts.heads or len(parts.embeddings) != 1:
        return ""
    name = next(iter(parts.embeddings))
    source = quote(f"lm_head.weight=@{checkpoint.origin.path}#{name}")
    return f"the config ties the output to {name}, and the file has no other: ckpt add … {source}, or what the output is called"


def recipe_step() -> Verb:
    """The step `untie = [PATTERN…]` of a recipe."""
    from .steps import TEXTS, Outcome, Verb

    return Verb({"untie": TEXTS}, lambda checkpoint, table, context: Outcome(untie(checkpoint, table["untie"])))

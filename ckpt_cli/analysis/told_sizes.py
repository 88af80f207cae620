"""What in a file says a size that a tensor no longer has: entries among its objects, and what its format has besides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from shlex import quote

from ..errors import first_few
from ..formats import formats
from ..tensors.checkpoint import Checkpoint

Shape = tuple[int, ...]

_SIZE = re.compile(
    r"vocab\w*|\w*(vocab|embeddings?|features|channels|classes|labels|tokens|units|filters|positions|symbols)(_?(size|count|num|dim))?"
    r"|(num|n)_\w+|\w*_(size|dim|count|length)|d_\w+|\w*_width",
    re.IGNORECASE,
)
_NOT_SIZES = re.compile(
    r"\w*(batch|step|epoch|worker|iter|head|layer|block|expert|context|beam|gpu|rank|batches|sample)\w*|num_updates", re.IGNORECASE
)
_SHOWN = 4  # entries in a note


def told_sizes(checkpoint: Checkpoint, changed: Mapping[str, Shape]) -> Iterator[str]:
    """Yield a line for each kind of thing that tells the old sizes.

    Args:
        checkpoint: The checkpoint before the change.
        changed: The new shape of each tensor that gets another one.
    """
    sizes = {
        before: after
        for name, shape in changed.items()
        for before, after in zip(checkpoint[name].shape, shape, strict=True)
        if before != after
    }
    numbers = ((name, value) for name, value in checkpoint.objects.items() if type(value) is int)
    entries = [(name, value) for name, value in numbers if value in sizes and _is_size(name)]
    if entries:
        said = first_few([f"{name} ({value})" for name, value in entries], _SHOWN)
        commands = " ".join(quote(f"{name} = {sizes[value]}") for name, value in entries[:_SHOWN])
        yield f"an old size may stand in {said}: ckpt set … {commands}"
    if checkpoint.origin and changed and (told := formats[checkpoint.origin.format].sizes_told(checkpoint, changed)):
        yield told


def _is_size(name: str) -> bool:
    leaf = re.split(r"[./]", name)[-1]
    return bool(_SIZE.fullmatch(leaf)) and not _NOT_SIZES.fullmatch(leaf)

"""Schemes whose scale depends on the depth of the network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import sqrt

from ..errors import EditError
from .distribution import Distribution, Normal
from .scheme import scheme
from .target import Target

_BLOCK = re.compile(r"(?:^|[./_])(?:h|layers?|blocks?|blk|resblocks)[./](\d+)(?=[./])")


# The shapes of the checkpoint counted last, and its layers: every tensor of a checkpoint asks for the same count.
_counted: tuple[Mapping[str, object], int] = ({}, 0)
_stacks: tuple[Mapping[str, object], dict[str, int]] = ({}, {})  # and those of each stack


def count_layers(target: Target) -> int:
    """Count the blocks of the checkpoint by names such as h.11.attn, layers.3.mlp, blocks.0.norm; 0 where no name tells."""
    global _counted
    if _counted[0] is not target.shapes:
        _counted = target.shapes, len({block[1] for name in target.shapes if (block := _BLOCK.search(name))})
    return _counted[1]


def layers_of_stack(target: Target) -> int:
    """Count the blocks of the stack that a tensor belongs to, such as the vision tower; 0 where no name tells."""
    found = _BLOCK.search(target.name)
    if not found:
        return 0
    global _stacks
    if _stacks[0] is not target.shapes:
        _stacks = target.shapes, {}
    before = target.name[: found.start(1)]
    if before not in _stacks[1]:
        blocks = (_BLOCK.match(name, found.start(0)) for name in target.shapes if name.startswith(before))
        _stacks[1][before] = len({block[1] for block in blocks if block})
    return _stacks[1][before]


def block_of(target: Target) -> int | None:
    """Return the index of the block that a tensor belongs to, from 0; None where no name tells."""
    found = _BLOCK.search(target.name)
    return int(found[1]) if found and len(found[1]) < 6 else None


@scheme("transformers")
def gpt2_residual(target: Target, layers: int = 0, std: float = 0.02) -> Distribution:
    """w ~ N(0, σ²), σ = std / √(2 · layers)

    Radford et al. 2019, "Language models are unsupervised multitask learners": for the projections that end in the residual stream, of
    which each layer has two. Without `layers`, they are counted from the names.
    """
    layers = layers or count_layers(target)
    if layers < 1:
        raise EditError("the names do not tell how many layers there are", "say it: gpt2_residual(layers=12)", target.name)
    return Normal(0.0, std / sqrt(2 * layers))

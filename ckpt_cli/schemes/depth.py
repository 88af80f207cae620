"""Schemes whose scale depends on the depth of the network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import sqrt

from ..errors import EditError
from .distribution import Draw, Normal
from .scheme import scheme
from .target import Target

_BLOCK = re.compile(r"(?:^|[./_])(?:h|layers?|blocks?|resblocks)[./](\d+)(?=[./])")


_counted: tuple[Mapping[str, object], int] = ({}, 0)  # of one checkpoint at a time, as each of its tensors asks


def layers_of(target: Target) -> int:
    """How many blocks the checkpoint has, counted from names such as h.11.attn, layers.3.mlp, blocks.0.norm; 0 where there are none."""
    global _counted
    if _counted[0] is not target.shapes:
        _counted = target.shapes, len({found[1] for name in target.shapes if (found := _BLOCK.search(name))})
    return _counted[1]


@scheme("transformers")
def gpt2_residual(target: Target, layers: int = 0, std: float = 0.02) -> Draw:
    """w ~ N(0, σ²), σ = std / √(2 · layers)

    Radford et al. 2019, "Language models are unsupervised multitask learners": for the projections that end in the residual stream, of
    which each layer has two. Without `layers`, they are counted from the names.
    """
    layers = layers or layers_of(target)
    if layers < 1:
        raise EditError("the names do not tell how many layers there are", "say it: gpt2_residual(layers=12)", target.name)
    return Normal(0.0, std / sqrt(2 * layers))

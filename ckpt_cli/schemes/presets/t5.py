"""What T5 does: each weight by its inputs, since nothing in T5's attention is divided by √d."""

from __future__ import annotations

import re
from math import sqrt

from ..config_entries import count_of, factor_of
from ..distribution import Distribution, Normal
from ..fans import fans
from ..roles import Role
from ..target import Target
from . import neutral, preset

_QUERY = re.compile(r"(^|[./])(q|attn_q|query)[./](weight|kernel)$")
_DISTANCE = re.compile(r"(relative_attention_bias|attn_rel_b|relpos_bias)\b")
_WORDS = re.compile(r"(^|[./])(shared|embed_tokens|token_embd)\b")
_HEAD_SIZE = 64  # of every published T5 but the first small ones


@preset
def t5(target: Target, role: Role, factor: float = 0.0) -> Distribution | None:
    """Linear weights N(0, f²/inputs), queries N(0, f²/(inputs · d_kv)), embeddings and an output layer of its own N(0, f²), tables of
    distances N(0, f²/d_model); norms 1. f is `factor`; without it, the config's `initializer_factor`; else 1.

    Raffel et al. 2020; transformers' T5PreTrainedModel; also mT5, UMT5, LongT5.
    """
    scale = factor_of(target, factor)
    if role == Role.EMBEDDING:
        return Normal(0.0, scale / sqrt(_model_size(target)) if _DISTANCE.search(target.name) else scale)
    if role not in (Role.LINEAR, Role.EXPERTS):
        return neutral(target, role)
    if re.search(r"(^|[./])(lm_head|output)[./]weight$", target.name):
        return Normal(0.0, scale)
    inputs = fans(target).into if role == Role.LINEAR else target.shape[-2]
    if _QUERY.search(target.name):
        inputs *= count_of(target, "d_kv") or _HEAD_SIZE
    return Normal(0.0, scale / sqrt(max(inputs, 1)))


def _model_size(target: Target) -> int:
    """The length of an embedding: what the config says, or what the table of words has."""
    tables = (shape for name, shape in target.shapes.items() if _WORDS.search(name) and len(shape) == 2)
    return max(count_of(target, "d_model", "hidden_size") or next(tables, (1, 1))[1], 1)

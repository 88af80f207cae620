"""Normal weights: what the papers of GPT-2 and BERT, and most models of transformers, do."""

from __future__ import annotations

import re
from math import sqrt

from ..config_entries import count_of, flag_of, number_of, padding_of, std_of, type_of
from ..constant import ones, zeros
from ..depth import count_layers
from ..distribution import Distribution, Normal, Rows
from ..independent import truncated
from ..roles import Role
from ..target import Target
from . import WEIGHTS, neutral, preset

_DRAWN = (*WEIGHTS, Role.EXPERTS, Role.TOKEN, Role.POSITION, Role.ATTENTION_BIAS)
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")

# The projections that end in the residual stream, in the names of GPT-2, LLaMA, OPT, GPT-NeoX, nanoGPT and MPT.
_RESIDUAL = re.compile(r"(^|[./_])(c_proj|o_proj|out_proj|down_proj|fc2|wo|dense_4h_to_h)[./]weight$")
_WORDS = re.compile(r"(^|\.)(\w*words?_emb\w*|embed_tokens|tok\w*_emb\w*|shared|wte|embeddings?)\.weight$")
_TIED_HEAD = re.compile(r"(^|\.)(lm_head|decoder|output|embed_out)\.weight$")
_MASK = re.compile(r"(^|\.)mask_token$")
_POSITIONS = re.compile(r"(^|\.)position_embeddings\.weight$")
# Models whose table of positions has a row for padding, too, because fairseq counts positions from there.
_PADDED_POSITIONS = re.compile(r"(xlm-)?roberta(-xl)?|camembert|longformer|mpnet|data2vec-text|xmod|esm|ibert|prophetnet")
_CUT = 3.0  # of ModernBERT's normal, in σ


@preset
def bert(target: Target, role: Role, std: float = 0.0, padding: bool = True) -> Distribution | None:
    """Weights, embeddings and tokens N(0, σ²), biases, mask tokens and tables of relative positions 0, norms 1 and 0. The embedding's row
    for padding is 0 where the config has a `pad_token_id` and `padding` is true. σ is `std`; without it, the config's
    `initializer_range` or `init_std`; else 0.02.

    Devlin et al. 2019; transformers' PreTrainedModel._init_weights, which most models have (the paper's own code cuts the normal off at
    two σ).
    """
    if role not in _DRAWN or _MASK.search(target.name):
        return zeros(target) if role == Role.TOKEN else _of_hybrid(target, role)
    drawn = Normal(0.0, std_of(target, std, 0.02))
    row = padding_of(target) if padding and _has_padding(target, role) else None
    return drawn if row is None else Rows(drawn, {row: zeros(target)})


def _of_hybrid(target: Target, role: Role) -> Distribution | None:
    """What is no weight; of a Mamba layer within a transformer (Bamba, Granite, Qwen3-Next) the bias of Δ is 1."""
    return ones(target) if role == Role.STATE_SPACE and target.name.endswith("dt_bias") else neutral(target, role)


def _has_padding(target: Target, role: Role) -> bool:
    """Whether a row of this table stands for padding: of the words, of an output layer that is tied to them, of RoBERTa's positions."""
    if _POSITIONS.search(target.name):
        return _PADDED_POSITIONS.fullmatch(type_of(target)) is not None
    words = count_of(target, "vocab_size")
    if words is not None and target.shape[:1] != (words,):
        return False
    tied = role == Role.LINEAR and _TIED_HEAD.search(target.name) and flag_of(target, "tie_word_embeddings")
    return bool(tied) or (role == Role.EMBEDDING and bool(_WORDS.search(target.name)))


@preset
def gpt2(target: Target, role: Role, std: float = 0.0, layers: int = 0) -> Distribution | None:
    """Weights and embeddings N(0, σ²), projections into the residual stream N(0, (σ/√(2·layers))²), biases 0, norms 1 and 0. σ is `std`;
    without it, the config's `initializer_range`; else 0.02. The layers are those of the config, or counted from the names.

    Radford et al. 2019; transformers' GPT2PreTrainedModel. Where nothing tells how many layers there are, nothing is scaled.
    """
    layers = layers or count_of(target, *_LAYERS) or count_layers(target)
    if role in (Role.LINEAR, Role.CONV) and _RESIDUAL.search(target.name) and layers > 0:
        return Normal(0.0, std_of(target, std, 0.02) / sqrt(2 * layers))
    return bert(target, role, std=std, padding=False)


@preset
def llama(target: Target, role: Role, std: float = 0.0) -> Distribution | None:
    """Weights, embeddings, experts and sinks N(0, σ²), as is the bias of a router; other biases 0, norms 1. The embedding's row for padding
    is 0 where the config has a `pad_token_id`. σ is `std`; without it, the config's `initializer_range`; else 0.02.

    transformers' LlamaPreTrainedModel and its kin: Mistral, Mixtral, Qwen, Phi, OLMo, DeepSeek, gpt-oss.
    """
    router = role == Role.BIAS and target.name.endswith("router.bias")
    return bert(target, Role.ATTENTION_BIAS if router else role, std=std)


@preset
def gemma(target: Target, role: Role, std: float = 0.0) -> Distribution | None:
    """As `llama`, but the scales of norms begin at 0: the layer multiplies by 1 + w.

    transformers' GemmaPreTrainedModel; Gemma 1, 2 and 3.
    """
    return zeros(target) if role == Role.NORM_SCALE else llama(target, role, std=std)


@preset
def modernbert(target: Target, role: Role, std: float = 0.0) -> Distribution | None:
    """Weights and embeddings N(0, σ²) cut off at ±c·σ, projections into the residual stream and the head with σ/√(2·layers), a classifier
    with 1/√inputs; norms 1, biases 0. σ is `std`; without it, the config's `initializer_range`; else 0.02. c is the config's
    `initializer_cutoff_factor`, else 3.

    Warner et al. 2024; transformers' ModernBertPreTrainedModel.
    """
    if role not in (Role.LINEAR, Role.EMBEDDING):
        return neutral(target, role)
    deviation, layers = std_of(target, std, 0.02), count_of(target, *_LAYERS) or count_layers(target)
    if re.search(r"(^|\.)classifier\.weight$", target.name):
        deviation = 1 / sqrt(max(target.shape[1], 1))
    elif layers and re.search(r"(^|\.)(Wo|dense|decoder)\.weight$", target.name):
        deviation /= sqrt(2 * layers)
    cut = (number_of(target, "initializer_cutoff_factor") or _CUT) * deviation
    return truncated(0.0, deviation, -cut, cut)

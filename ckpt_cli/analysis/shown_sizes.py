"""Where sizes show in the tensors of a model: an entry of a config on the one side, an axis of named tensors on the other.

The names are those of transformers (torch, Flax, TensorFlow), diffusers, timm, MLX and llama.cpp. A name proves nothing by itself: a tensor
shows a size where the axis has the number that the config tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .named_parts import NamedParts, is_embedding, is_head

# The axes that may be meant, the likeliest first: of weights (outputs first, as torch has them; MLX has a convolution's inputs last) and of
# kernels (inputs first, as Keras, Flax and GPT-2's Conv1D have them).
OUT, IN = "out", "in"
_AXES = {(OUT, False): (0, -1), (IN, False): (1, -1), (OUT, True): (-1,), (IN, True): (-2, 0)}
_INPUTS_FIRST = re.compile(r".*(?:[./]kernel(?::0)?|\.c_(?:fc|proj|attn)\.weight)")


class Place(NamedTuple):
    """A kind of tensors, and the side of theirs that shows a size.

    Attributes:
        names: what the end of their names matches, behind a separator.
        side: OUT or IN.
        slack: how many rows more than the size they may have.
    """

    names: str
    side: str = OUT
    slack: int = 0


_WEIGHT, _ROWS = r"[./](?:weight|kernel)(?::0)?", r"[./](?:weight|embeddings?)(?::0)?"
_EITHER = r"[./](?:weight|kernel|bias)(?::0)?"
# Size → places. A size is called as in `configs/sizes.py`.
PLACES: dict[str, tuple[Place, ...]] = {
    "vocabulary": (Place(r"(?:predictions|predictions[./]decoder|lm_head|output|embed_out)[./]bias(?::0)?"), Place("final_logits_bias")),
    "positions": (Place(rf"(?:position_embeddings?|wpe|embed_positions|positions_embed|position_embd){_ROWS}", slack=2),),
    "source_positions": (Place(rf"encoder[./]embed_positions{_ROWS}"),),
    "target_positions": (Place(rf"decoder[./]embed_positions{_ROWS}"),),
    "token_types": (Place(rf"(?:token_type_embeddings?|token_types){_ROWS}"),),
    "labels": (
        Place(
            rf"(?:classifier|score|head|head_dist|fc|logits_proj|qa_outputs|cls_classifier|distillation_classifier"
            rf"|sequence_summary[./]summary|classification_head|last_linear|head[./]fc)(?:[./](?:out_proj|[0-9]))?{_EITHER}"
        ),
        Place(rf"class_labels_classifier{_EITHER}", slack=1),
    ),
    "channels": (
        Place(
            rf"(?:conv_in|encoder[./]conv_in|patch_embed[./]proj|patch_embeddings?[./]projection|patch_embedding|embedder[./]convolution"
            rf"|embedder[./]embedder[./]convolution|conv1|conv_stem|stem[./](?:0|conv|conv1)|x_embedder|pos_embed[./]proj"
            rf"|conv1[./]0|first_conv|conv_proj){_WEIGHT}",
            IN,
        ),
    ),
    "out_channels": (Place(rf"(?:conv_out|decoder[./]conv_out){_EITHER}"),),
    "latent_channels": (Place(rf"(?:decoder[./]conv_in|post_quant_conv){_WEIGHT}", IN),),
    "text_width": (Place(rf"attn2[./]to_[kv]{_WEIGHT}", IN),),
    "mel_bins": (Place(rf"encoder[./]conv1{_WEIGHT}", IN),),
    "intermediate": (
        Place(rf"(?:intermediate[./]dense|gate_proj|up_proj|fc1|lin1|w1|w3|c_fc|wi|wi_0|wi_1|dense_h_to_4h|ffn_up|ffn_gate){_EITHER}"),
        Place(rf"(?:down_proj|fc2|lin2|w2|mlp[./]c_proj|DenseReluDense[./]wo|dense_4h_to_h|ffn_down){_WEIGHT}", IN),
    ),
    "projection": (Place(rf"(?:text_projection|visual_projection){_WEIGHT}"),),
    "experts": (Place(rf"(?:gate|router|ffn_gate_inp)(?:[./](?:classifier|layer|wg))?{_WEIGHT}"),),
}  # fmt: skip
# Sizes besides those of `SPELLINGS`, which a summary does not tell.
FURTHER: dict[str, tuple[str, ...]] = {
    "token_types": ("type_vocab_size",),
    "source_positions": ("max_source_positions",),
    "target_positions": ("max_target_positions",),
    "out_channels": ("out_channels",),
    "latent_channels": ("latent_channels",),
    "text_width": ("cross_attention_dim",),
    "projection": ("projection_dim",),
}
_OF_TOKENS = {"vocabulary": OUT, "hidden": IN}  # what embeddings of tokens and output heads show
_COMPILED = {size: [(place, re.compile(rf"(?:.*[./])?(?:{place.names})")) for place in places] for size, places in PLACES.items() if places}


def shown(size: str, parts: NamedParts, more: Mapping[str, str] | None = None) -> Iterator[tuple[str, str, int, tuple[int, ...]]]:
    """Yield the tensors that may show a size: name, side, slack and shape.

    Args:
        size: the size, as `PLACES` calls it.
        parts: the names and shapes.
        more: further layers that show it, by their path, and the side; `pretrained_cfg` of timm names the classifier.
    """
    places, of_tokens = _COMPILED.get(size, ()), _OF_TOKENS.get(size)
    for name, kind in parts.kinds.items():
        if of_tokens and len(kind.shape) == 2 and (is_embedding(name) or is_head(name)):
            yield name, of_tokens, 0, kind.shape
        elif place := next((place for place, pattern in places if pattern.fullmatch(name)), None):
            yield name, place.side, place.slack, kind.shape
        elif more and (side := more.get(name.rpartition(".")[0])):
            yield name, side, 0, kind.shape


def axes(name: str, side: str, shape: tuple[int, ...]) -> list[int]:
    """Return the axes of a tensor that may be meant by a side, the likeliest first; a vector has outputs alone."""
    if len(shape) == 1:
        return [0] if side == OUT else []
    if is_embedding(name):
        return [0 if side == OUT else 1]
    found = _AXES[side, bool(_INPUTS_FIRST.fullmatch(name))]
    return [axis % len(shape) for axis in found if -len(shape) <= axis < len(shape)]

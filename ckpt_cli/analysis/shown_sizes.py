"""Where sizes show in the tensors of a model: an entry of a config on the one side, an axis of named tensors on the other.

The names are those of transformers (torch, Flax, TensorFlow), diffusers, timm, MLX and llama.cpp. A name proves nothing by itself: a tensor
shows a size where the axis has the number that the config tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .named_parts import NamedParts, is_embedding, is_head, layer_number

# The axes that may be meant, the likeliest first: of weights (outputs first, as torch has them) and of kernels (inputs first, as Keras,
# Flax and the Conv1D of GPT-2 have them).
OUT, IN = "out", "in"
_AXES = {(OUT, False): (0, -1), (IN, False): (1, -1), (OUT, True): (-1,), (IN, True): (-2, 0)}
_INPUTS_FIRST = re.compile(r".*(?:[./]kernel(?::0)?|\.c_(?:fc|proj|attn)\.weight)")


class Place(NamedTuple):
    """A kind of tensors, and the side of theirs that shows a size.

    Attributes:
        names: what the end of their names matches, behind a separator.
        side: OUT or IN.
        slack: how many rows more than the size they may have.
        per_head: whether they have the width of a head for each one of the size.
    """

    names: str
    side: str = OUT
    slack: int = 0
    per_head: bool = False


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
            rf"|sequence_summary[./]summary|classification_head|last_linear|head[./]fc)(?:[./](?:out_proj|dense|[0-9]))?{_EITHER}"
        ),
        Place(rf"class_labels_classifier{_EITHER}", slack=1),
    ),
    "channels": (
        Place(
            rf"(?:conv_in|encoder[./]conv_in|(?:patch_embed(?:dings?)?|first_conv|embedder)(?:[./](?:proj|projection|convolution))?"
            rf"|conv1|conv_stem|stem[./](?:0|conv|conv1)|x_embedder|pos_embed[./]proj|conv1[./]0|conv_proj){_WEIGHT}",
            IN,
        ),
    ),
    "out_channels": (Place(rf"(?<!encoder[./])conv_out{_EITHER}"),),
    "latent_channels": (Place(rf"(?:decoder[./]conv_in|post_quant_conv){_WEIGHT}", IN),),
    "text_width": (Place(rf"attn2[./]to_[kv]{_WEIGHT}", IN),),
    "mel_bins": (Place(rf"encoder[./]conv1{_WEIGHT}", IN),),
    "intermediate": (
        Place(
            rf"(?:intermediate[./]dense|intermediate_dense|feed_forward[./]intermediate|gate_proj|up_proj|fc1|lin1|w1|w3|c_fc|wi|wi_0|wi_1"
            rf"|dense_h_to_4h|ffn|ffn_up|ffn_gate){_EITHER}"
        ),
        Place(
            rf"(?:down_proj|fc2|lin2|w2|mlp[./]c_proj|mlp[./]Wo|DenseReluDense[./]wo|dense_4h_to_h|ffn_down|ffn_output|output_dense"
            rf"|feed_forward[./]output){_WEIGHT}",
            IN,
        ),
    ),
    "heads": (Place(rf"(?:q_proj|attn_q|wq){_EITHER}", per_head=True), Place(rf"(?:o_proj|attn_output|wo){_WEIGHT}", IN, per_head=True)),
    "kv_heads": (Place(rf"(?:k_proj|v_proj|attn_k|attn_v|wk|wv){_EITHER}", per_head=True),),
    "context_width": (Place(rf"context_embedder{_WEIGHT}", IN),),
    "projection": (Place(rf"(?:text_projection|visual_projection){_WEIGHT}"),),
    "experts": (Place(rf"(?:gate|router|ffn_gate_inp)(?:[./](?:classifier|layer|wg))?{_WEIGHT}"),),
}  # fmt: skip
PLACES["decoder_intermediate"] = PLACES["intermediate"]
_OUTSIDE = ("vocabulary", "labels", "channels")  # sizes that no tensor in a layer of a stack shows
# Sizes besides those of `SPELLINGS`, which a summary does not tell.
FURTHER: dict[str, tuple[str, ...]] = {
    "token_types": ("type_vocab_size",),
    "source_positions": ("max_source_positions",),
    "target_positions": ("max_target_positions",),
    "out_channels": ("out_channels",),
    "latent_channels": ("latent_channels",),
    "text_width": ("cross_attention_dim",),
    "projection": ("projection_dim",),
    "context_width": ("joint_attention_dim",),
    "decoder_intermediate": ("decoder_ffn_dim",),
    "single_layers": ("num_single_layers",),
}
_OF_TOKENS = {"vocabulary": OUT, "hidden": IN}  # what embeddings of tokens and output heads show
_COMPILED = {size: [(place, re.compile(rf"(?:.*[./])?(?:{place.names})")) for place in places] for size, places in PLACES.items() if places}


def shown(size: str, parts: NamedParts, more: Mapping[str, str] | None = None) -> Iterator[tuple[str, Place, tuple[int, ...]]]:
    """Yield the tensors that may show a size: name, place and shape.

    Args:
        size: the size, as `PLACES` calls it.
        parts: the names and shapes.
        more: the layers that alone show it, by their path, and the side; `pretrained_cfg` of timm names the classifier.
    """
    places, of_tokens = _COMPILED.get(size, ()) if not more else (), _OF_TOKENS.get(size)
    any_place = re.compile("|".join(pattern.pattern for _, pattern in places))
    for name, kind in parts.kinds.items():
        if of_tokens and len(kind.shape) == 2 and (is_embedding(name) or is_head(name)):
            yield name, Place("", of_tokens), kind.shape
        elif places and any_place.fullmatch(name):
            if size not in _OUTSIDE or not layer_number(name):
                yield name, next(place for place, pattern in places if pattern.fullmatch(name)), kind.shape
        elif more and (side := more.get(name.rpartition(".")[0])):
            yield name, Place("", side), kind.shape


def axes(name: str, side: str, shape: tuple[int, ...]) -> list[int]:
    """Return the axes of a tensor that may be meant by a side, the likeliest first; a vector has outputs alone."""
    if len(shape) == 1:
        return [0] if side == OUT else []
    if is_embedding(name):
        return [0 if side == OUT else 1]
    is_kernel = bool(_INPUTS_FIRST.fullmatch(name))
    if side == IN and not is_kernel and len(shape) == 4:
        return [1 if shape[2] == shape[3] else 3]  # MLX has the inputs behind height and width
    return [axis % len(shape) for axis in _AXES[side, is_kernel]]

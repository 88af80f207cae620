"""Sizes as the field calls them, from the many spellings of libraries. Data: a size is one entry of `SPELLINGS`.

The spellings are those of the `attribute_map` of transformers' configs, of remote code on the hub, and of mamba_ssm and timm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from .config import Config
from .reader import reader_of

# A size → how configs spell it, the plainest first; `moe.num_experts` is an entry of an object. An entry counts for one size, the first.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "layers": (
        "num_hidden_layers", "n_layer", "num_layers", "n_layers", "encoder_layers", "num_encoder_layers", "depth", "layers",
        "encoder_num_hidden_layers", "n_audio_layer", "num_blocks",
    ),
    "decoder_layers": ("decoder_layers", "num_decoder_layers", "decoder_num_hidden_layers", "n_text_layer"),
    "depths": ("depths", "block_sizes"),
    "hidden": (
        "hidden_size", "n_embd", "d_model", "dim", "n_embed", "emb_dim", "embed_dim", "model_dim", "hidden_dim",
        "encoder_hidden_dim", "width", "n_audio_state",
    ),
    "widths": ("hidden_sizes", "embed_dims", "encoder_hidden_sizes"),
    "heads": (
        "num_attention_heads", "n_head", "num_heads", "n_heads", "encoder_attention_heads", "attention_heads",
        "num_encoder_attention_heads", "encoder_num_attention_heads", "decoder_attention_heads", "n_audio_head",
    ),
    "kv_heads": (
        "num_key_value_heads", "n_kv_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", "num_query_groups",
        "attn_config.kv_n_heads", "num_attention_groups", "encoder_num_key_value_heads",
    ),
    "head_size": ("head_dim", "d_kv", "kv_channels", "attention_head_dim", "d_head"),
    "intermediate": (
        "intermediate_size", "n_inner", "d_ff", "ffn_dim", "encoder_ffn_dim", "ffn_hidden_size", "d_inner", "mlp_dim", "hidden_dim", "dff",
        "ffn_config.ffn_hidden_size", "feed_forward_size",
    ),
    "experts": (
        "num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "n_experts", "ffn_config.moe_num_experts", "expert_num",
    ),
    "experts_per_token": (
        "num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk", "moe_k", "experts_per_token", "ffn_config.moe_top_k",
    ),
    "vocabulary": ("vocab_size", "n_vocab", "padded_vocab_size", "n_words", "vocabulary_size", "src_vocab_size"),
    "positions": (
        "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_seq_length", "seq_length", "model_max_length", "block_size",
        "context_length", "max_sequence_length",
    ),
    "image": ("image_size", "img_size"),
    "patch": ("patch_size",),
    "channels": ("num_channels", "in_channels", "in_chans"),
    "mel_bins": ("num_mel_bins", "n_mels"),
    "state": ("state_size", "ssm_state_size", "d_state", "ssm_cfg.d_state"),
    "labels": ("num_labels", "num_classes"),
}  # fmt: skip

_MOST_SIZE = 1 << 48
_MOST_AXES = 64  # of a size that is a list
_MOST_PARTS, _DEEPEST = 16, 3
_MOST_OBJECTS = 256  # that are looked at as parts
_ENDS = ("_config", "_cfg")
_PARTS = ("encoder", "decoder", "text", "vision", "audio", "vision_encoder", "llm", "backbone", "generator", "question_encoder")
# Objects of a config that are about something else than layers, though their names end as those of parts do.
_NO_PARTS = ("quantization_config", "compression_config", "generation_config", "pretrained_cfg", "preprocess_cfg", "moe_config", "ssm_cfg")

Number = int | tuple[int, ...]


class Size(NamedTuple):
    """A size that a config tells.

    Attributes:
        value: the size; several where the config has a list.
        entry: the entry that tells it: `text_config.n_layer`.
    """

    value: Number
    entry: str


def sizes_of(entries: Mapping[str, object], spellings: Mapping[str, tuple[str, ...]] | None = None, at: str = "") -> dict[str, Size]:
    """Return the sizes that the entries of one object tell, by the names of `SPELLINGS`.

    Args:
        entries: the object.
        spellings: spellings that come before the usual ones.
        at: what stands before an entry in its full name.
    """
    found: dict[str, Size] = {}
    used: set[str] = set()
    for size, usual in SPELLINGS.items():
        for spelling in (*(spellings or {}).get(size, ()), *usual):
            value = None if spelling in used else number(entry_of(entries, spelling))
            if value is not None:
                used.add(spelling)
                found[size] = Size(value, f"{at}{spelling}")
                break
    return found


def parts_of(config: Config) -> dict[str, dict[str, Size]]:
    """Return the sizes of the model by its parts: those of the whole under an empty name, then `text`, `vision` and so on."""
    spellings = reader_of(config).spellings
    found = {"": sizes_of(config.entries, spellings)}
    for at, entries in islice(_objects(config.entries), _MOST_OBJECTS):
        sizes = sizes_of(entries, spellings, f"{at}.")
        if sizes.keys() & {"layers", "decoder_layers", "hidden", "depths", "widths"} and len(found) < _MOST_PARTS:
            found[".".join(_part_name(key) for key in at.split("."))] = sizes
    return found


def _objects(entries: Mapping[str, object], at: str = "", depth: int = 1) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The objects of a config that tell of parts of the model, each with its path."""
    for key, value in entries.items():
        if isinstance(value, dict) and (key in _PARTS or (key.endswith(_ENDS) and key not in _NO_PARTS)):
            yield f"{at}{key}", value
            if depth < _DEEPEST:
                yield from _objects(value, f"{at}{key}.", depth + 1)


def _part_name(key: str) -> str:
    return next((key.removesuffix(end) for end in _ENDS if key.endswith(end)), key)


def entry_of(entries: Mapping[str, object], key: str) -> object:
    """Return an entry, which a point in the key looks for in an object of the config; None where there is none."""
    if key in entries:
        return entries[key]
    first, point, rest = key.partition(".")
    inner = entries.get(first) if point else None
    return entry_of(inner, rest) if isinstance(inner, dict) else None


def number(value: object) -> Number | None:
    """Return a size as it is believed: a whole number from 1 on, a short list of such, or height and width; None for anything else."""
    if type(value) is int:
        return value if 0 < value <= _MOST_SIZE else None
    if isinstance(value, dict) and value.keys() == {"height", "width"}:
        value = [value["height"], value["width"]]
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_AXES:
        return None
    numbers = tuple(each for each in value if type(each) is int and 0 < each <= _MOST_SIZE)
    return numbers if len(numbers) == len(value) else None

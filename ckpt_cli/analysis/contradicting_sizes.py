"""Sizes that a config tells, and that the names and shapes of the weights contradict."""

from __future__ import annotations

from collections.abc import Iterator

from .compared import Compared, Contradiction, first
from .named_parts import Stack

# Families whose config does not say how many layers, or rows of the embedding, the file has, or how wide they are: layers that are used
# several times or are not the numbered ones, rows for special tokens.
COUNTED_OTHERWISE = (
    "albert", "dory", "efficientnet", "fastspeech2_conformer", "fastspeech2_conformer_with_hifigan", "groupvit", "hrm_text",
    "kyutai_speech_to_text", "mask2former", "mllama", "mllama_text_model", "molmo2", "molmo2_text", "moshi", "oneformer", "ovis2",
    "pp_ocrv5_mobile_rec", "pp_ocrv5_server_rec", "pp_ocrv6_small_rec", "pp_ocrv6_tiny_rec",
)  # fmt: skip
_LEAST_SHARE = 3  # a stack that is told of has one in so many of the tensors in layers


def layers(compared: Compared) -> Iterator[Contradiction]:
    """Yield the number of layers, of the stacks that the part of the config is about."""
    if compared.config.model_type in COUNTED_OTHERWISE:
        return
    said = list(compared.sizes("layers", "decoder_layers"))
    further = compared.config.entries.get("num_nextn_predict_layers")  # DeepSeek's, behind the others in their stack
    right: set[Stack] = set()
    wrong: list[tuple[str, str, int, list[Stack]]] = []
    for part, name, entry, count in said:
        stacks = _stacks_of(compared, part, name)
        counts = {count, count + further} if type(further) is int else {count}
        fitting = [stack for stack in stacks if len(stack.numbers) in counts]
        right.update(fitting)
        if stacks and not fitting:
            wrong.append((name, entry, count, stacks))
    for _, entry, count, stacks in wrong:
        left = [stack for stack in stacks if stack not in right]
        largest = max(left, key=lambda stack: stack.tensors, default=None)
        if largest and largest.tensors * _LEAST_SHARE >= sum(stack.tensors for stack in stacks):
            yield Contradiction(entry, f"{count}", str(largest))


def _stacks_of(compared: Compared, part: str, name: str) -> list[Stack]:
    """The stacks of layers that a size is about, where their names tell; else all."""
    has_both = "decoder_layers" in compared.said[part] and "layers" in compared.said[part]
    word = ("decoder" if name == "decoder_layers" else "encoder") if has_both else part.rpartition(".")[2]
    named = [stack for stack in compared.parts.stacks if word and word in stack.path]
    return named or compared.parts.stacks


def hidden_size(compared: Compared) -> Iterator[Contradiction]:
    """Yield the hidden size: the width of the embedding, unless the config tells another one for it; else no tensor has it."""
    parts = compared.parts
    widths = {shape[1] for shape in parts.embeddings.values()}
    said = list(compared.sizes("hidden"))
    if len(said) != 1 or said[0][0] or "heads" not in compared.said[""] or compared.config.model_type in COUNTED_OTHERWISE:
        return  # of models of several parts, and of convolutions, it may be anything
    _, _, entry, hidden = said[0]
    if widths and hidden not in widths | parts.vectors and not widths & _embedding_widths(compared):
        yield Contradiction(entry, f"{hidden}", f"{max(widths)} (the width of {first(parts.embeddings)})")
    elif not widths and parts.kinds and hidden not in parts.axes:
        yield Contradiction(entry, f"{hidden}", "no axis of that size")


def _embedding_widths(compared: Compared) -> set[int]:
    """The numbers in entries that are about the width of embeddings: `embedding_size`, `word_embed_proj_dim`."""
    return {value for key, value in compared.config.entries.items() if "embed" in key and type(value) is int}


def vocabulary(compared: Compared) -> Iterator[Contradiction]:
    """Yield the rows of the embeddings of tokens, of which no part has a number that the config tells.

    mamba_ssm and others pad them without a word in the config; models of sound have the codebooks in one embedding, one after the other.
    """
    rows = {shape[0] for shape in compared.parts.embeddings.values()}
    padding = 0 if compared.config.library == "transformers" else _MOST_PADDING
    said = [size for size in compared.sizes("vocabulary") if not size[0] or any(word in size[0] for word in _OF_TEXT)]
    if (
        compared.config.model_type in COUNTED_OTHERWISE
        or not rows
        or any(count <= each <= count + padding or each % count == 0 for each in rows for _, _, _, count in said)
    ):
        return
    for _, _, entry, vocabulary in said:
        name, shape = max(compared.parts.embeddings.items(), key=lambda item: item[1])
        yield Contradiction(entry, f"{vocabulary}", f"{shape[0]} rows ({name})")


_MOST_PADDING = 127  # rows
_OF_TEXT = ("text", "language", "llm")  # parts whose vocabulary is that of the embedding of tokens


def experts(compared: Compared) -> Iterator[Contradiction]:
    """Yield the number of experts."""
    found = compared.parts.experts
    said = list(compared.sizes("experts"))
    for _, _, entry, count in said:
        if found and count not in found and not found & {other for _, _, _, other in said}:
            yield Contradiction(entry, f"{count}", " or ".join(f"{each}" for each in sorted(found)))

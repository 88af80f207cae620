"""What in the weights contradicts the config beside them, by names, dtypes and shapes alone. What names do not tell is no contradiction."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from ..configs import Config
from ..configs.settings import dtype_said
from ..configs.sizes import Size, parts_of
from ..configs.ties import tied
from ..formats.locate import part_notes
from ..formats.safetensors.index_names import shard_name
from ..numbers.shapes import show_shape
from ..tensors.checkpoint import Checkpoint
from .named_parts import NamedParts, Stack


class Contradiction(NamedTuple):
    """Something that a config says, and that the weights do not hold.

    Attributes:
        entry: the entry of the config: `num_hidden_layers`.
        says: what it says.
        found: what the file holds.
    """

    entry: str
    says: str
    found: str


class Compared:
    """A config and the weights that it is compared with.

    Attributes:
        config: the config.
        own: the tensors of the model, packed parameters as plain ones.
        dtypes: the number of elements of each dtype, without those of packed parameters.
        parts: the parts of the model by names.
    """

    def __init__(self, config: Config, own: Checkpoint, dtypes: Mapping[str, int]) -> None:
        """Nothing is compared yet."""
        self.config, self.own, self.dtypes = config, own, dtypes
        self.parts = NamedParts(own.kinds())

    @cached_property
    def said(self) -> dict[str, dict[str, Size]]:
        """The sizes that the config tells, by the parts of the model."""
        return parts_of(self.config)

    def sizes(self, *names: str) -> Iterator[tuple[str, str, str, int]]:
        """Yield the part, the name, the entry and the value of each size of these names that is one number."""
        for part, sizes in self.said.items():
            for name in names:
                if name in sizes and isinstance(value := sizes[name].value, int):
                    yield part, name, sizes[name].entry, value


def contradictions(config: Config, own: Checkpoint, dtypes: Mapping[str, int]) -> list[Contradiction]:
    """Return what in the weights contradicts a config, in the order of `_CHECKS`.

    Args:
        config: the config that belongs to the weights.
        own: the tensors of the model, packed parameters as plain ones. Of a part of a model, only what a part can show is compared.
        dtypes: the number of elements of each dtype, without those of packed parameters.
    """
    path = own.origin.path if own.origin else ""
    if config.path == path and not config.library:
        return []  # arguments that a training kept, which may be about anything
    checks = _OF_RANKS if part_notes(path, own) else _OF_SHARDS if own.origin and _is_shard(own) else _OF_WHOLE
    if config.library == "peft":
        checks = (_ranks, _targets)
    compared = Compared(config, own, dtypes)
    return [each for check in checks for each in check(compared)]


def _is_shard(own: Checkpoint) -> bool:
    return own.origin is not None and own.origin.format != "sharded" and shard_name(own.origin.path) is not None


# Families whose config does not say how many layers, or rows of the embedding, the file has, or how wide they are: layers that are used
# several times or are not the numbered ones, rows for special tokens.
_COUNTED_OTHERWISE = (
    "albert", "dory", "efficientnet", "fastspeech2_conformer", "fastspeech2_conformer_with_hifigan", "groupvit", "hrm_text",
    "kyutai_speech_to_text", "mask2former", "mllama", "mllama_text_model", "molmo2", "molmo2_text", "moshi", "oneformer", "ovis2",
    "pp_ocrv5_mobile_rec", "pp_ocrv5_server_rec", "pp_ocrv6_small_rec", "pp_ocrv6_tiny_rec",
)  # fmt: skip
_LEAST_SHARE = 3  # a stack that is told of has one in so many of the tensors in layers


def _layers(compared: Compared) -> Iterator[Contradiction]:
    """The number of layers, of the stacks that the part of the config is about."""
    if compared.config.model_type in _COUNTED_OTHERWISE:
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


def _hidden(compared: Compared) -> Iterator[Contradiction]:
    """The hidden size: the width of the embedding, unless the config tells another one for it; else no tensor has it."""
    parts = compared.parts
    widths = {shape[1] for shape in parts.embeddings.values()}
    said = list(compared.sizes("hidden"))
    if len(said) != 1 or said[0][0] or "heads" not in compared.said[""] or compared.config.model_type in _COUNTED_OTHERWISE:
        return  # of models of several parts, and of convolutions, it may be anything
    _, _, entry, hidden = said[0]
    if widths and hidden not in widths | parts.vectors and not widths & _embedding_widths(compared):
        yield Contradiction(entry, f"{hidden}", f"{max(widths)} (the width of {_first(parts.embeddings)})")
    elif not widths and parts.kinds and hidden not in parts.axes:
        yield Contradiction(entry, f"{hidden}", "no axis of that size")


def _embedding_widths(compared: Compared) -> set[int]:
    """The numbers in entries that are about the width of embeddings: `embedding_size`, `word_embed_proj_dim`."""
    return {value for key, value in compared.config.entries.items() if "embed" in key and type(value) is int}


def _vocabulary(compared: Compared) -> Iterator[Contradiction]:
    """The rows of the embeddings of tokens, of which no part has a number that the config tells.

    mamba_ssm and others pad them without a word in the config; models of sound have the codebooks in one embedding, one after the other.
    """
    rows = {shape[0] for shape in compared.parts.embeddings.values()}
    padding = 0 if compared.config.library == "transformers" else _MOST_PADDING
    said = [size for size in compared.sizes("vocabulary") if not size[0] or any(word in size[0] for word in _OF_TEXT)]
    if (
        compared.config.model_type in _COUNTED_OTHERWISE
        or not rows
        or any(count <= each <= count + padding or each % count == 0 for each in rows for _, _, _, count in said)
    ):
        return
    for _, _, entry, vocabulary in said:
        name, shape = max(compared.parts.embeddings.items(), key=lambda item: item[1])
        yield Contradiction(entry, f"{vocabulary}", f"{shape[0]} rows ({name})")


_MOST_PADDING = 127  # rows
_OF_TEXT = ("text", "language", "llm")  # parts whose vocabulary is that of the embedding of tokens


def _experts(compared: Compared) -> Iterator[Contradiction]:
    """The number of experts."""
    found = compared.parts.experts
    said = list(compared.sizes("experts"))
    for _, _, entry, count in said:
        if found and count not in found and not found & {other for _, _, _, other in said}:
            yield Contradiction(entry, f"{count}", " or ".join(f"{each}" for each in sorted(found)))


_MODELS_WITH_HEAD = ("ForCausalLM", "LMHeadModel")


def _ties(compared: Compared) -> Iterator[Contradiction]:
    """Whether input and output embeddings are one tensor."""
    is_tied, embeddings, heads = tied(compared.config), compared.parts.embeddings, compared.parts.heads
    if is_tied is None or not embeddings:
        return
    keys = {name: compared.own[name].key for name in (*embeddings, *heads)}
    shared = [(head, one) for head in heads for one in embeddings if keys[one] == keys[head]]
    if is_tied and not shared:
        found = _untied(embeddings, heads, len({keys[name] for name in embeddings}) == 1)
    elif not is_tied and shared:
        found = f"{shared[0][0]} and {shared[0][1]} as one tensor"
    else:
        found = "" if is_tied or heads else _headless(compared)
    if found:
        default = "" if "tie_word_embeddings" in compared.config.entries else " by default"
        yield Contradiction("tie_word_embeddings", f"{str(is_tied).lower()}{default}", found)


def _untied(embeddings: Mapping[str, tuple[int, ...]], heads: Mapping[str, tuple[int, ...]], is_one: bool) -> str:
    """An output head that is a tensor of its own. Where there are several embeddings, it is told of one of its shape alone."""
    for head, shape in heads.items():
        alike = next((name for name, other in embeddings.items() if other == shape), "")
        if alike:
            return f"{head} and {alike} as two tensors"
        first = _first(embeddings)
        if is_one and shape[1] == embeddings[first][1] and embeddings[first][0] % shape[0]:
            return f"{head} of {show_shape(shape)} and {first} of {show_shape(embeddings[first])}"
    return ""


def _headless(compared: Compared) -> str:
    """That there is no output head, where the class has one: no other tensor has an axis for the vocabulary."""
    embeddings = compared.parts.embeddings
    sizes = {shape[0] for shape in embeddings.values()}
    others = (kind.shape for name, kind in compared.parts.kinds.items() if name not in embeddings)
    class_name = compared.config.class_name
    is_translator = class_name.endswith("ForConditionalGeneration") and compared.config.entries.get("is_encoder_decoder") is True
    if not (class_name.endswith(_MODELS_WITH_HEAD) or is_translator) or any(sizes & set(shape) for shape in others):
        return ""
    return f"no output head (no tensor but {_first(embeddings)} has an axis for the vocabulary)"


def _dtype(compared: Compared) -> Iterator[Contradiction]:
    """The dtype of most elements that are floats and not packed; a variant that is called by its dtype is of that one."""
    said = dtype_said(compared.config.entries)
    floats = {name: count for name, count in compared.dtypes.items() if name.startswith(("float", "bfloat"))}
    if not said or not any(floats.values()):
        return
    most = max(floats, key=floats.__getitem__)
    path = compared.own.origin.path if compared.own.origin else ""
    variant = _VARIANT.search(os.path.basename(path))
    if most != said[0] and (variant is None or _VARIANTS[variant[1]] != most):
        share = floats[most] / sum(floats.values())
        yield Contradiction(said[1], said[0], most if share == 1 else f"{most} in {share:.3g} of the elements")


_VARIANTS = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
_VARIANT = re.compile(rf"[._-]({'|'.join(_VARIANTS)})(?=[._-])")
_ADAPTER = re.compile(r"(?P<module>.*)\.lora_A\b.*")


def _ranks(compared: Compared) -> Iterator[Contradiction]:
    """The rank of an adapter, which `rank_pattern` changes for some modules."""
    rank, pattern = (compared.config.entries.get(key) for key in ("r", "rank_pattern"))
    if type(rank) is not int:
        return
    allowed = {rank, *(value for value in pattern.values() if type(value) is int)} if isinstance(pattern, dict) else {rank}
    kinds = compared.parts.kinds
    found = {name: kind.shape[0] for name, kind in kinds.items() if kind.shape and _ADAPTER.fullmatch(name)}
    if others := {name: size for name, size in found.items() if size not in allowed}:
        first = _first(others)
        yield Contradiction("r", f"{rank}", f"{others[first]} in {first}, and in {len(others)} of {len(found)} modules")


def _targets(compared: Compared) -> Iterator[Contradiction]:
    """The modules that an adapter changes."""
    targets = compared.config.entries.get("target_modules")
    modules = [match["module"] for name in compared.parts.kinds if (match := _ADAPTER.fullmatch(name))]
    if not modules or not isinstance(targets, list) or len(targets) > _MOST_TARGETS:
        return
    for target in targets:
        if isinstance(target, str) and not any(f".{module}".endswith(f".{target}") for module in modules):
            yield Contradiction("target_modules", target, "no such module in the adapter")


_MOST_TARGETS = 1000


def _first(named: Mapping[str, object]) -> str:
    return next(iter(named))


_Check = Callable[[Compared], Iterator[Contradiction]]
_OF_WHOLE: tuple[_Check, ...] = (_dtype, _layers, _hidden, _vocabulary, _experts, _ties)
_OF_SHARDS: tuple[_Check, ...] = (_dtype, _vocabulary)
_OF_RANKS: tuple[_Check, ...] = (_dtype,)

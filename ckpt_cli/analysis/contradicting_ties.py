"""Whether input and output embeddings are one tensor, as a config says, and as the weights have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..configs.ties import tied
from ..numbers.shapes import show_shape
from .compared import Compared, Contradiction, first

_MODELS_WITH_HEAD = ("ForCausalLM", "LMHeadModel")


def tied_embeddings(compared: Compared) -> Iterator[Contradiction]:
    """Yield that input and output embeddings are one tensor, or two, or that there is no output."""
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
        name = first(embeddings)
        if is_one and shape[1] == embeddings[name][1] and embeddings[name][0] % shape[0]:
            return f"{head} of {show_shape(shape)} and {name} of {show_shape(embeddings[name])}"
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
    return f"no output head (no tensor but {first(embeddings)} has an axis for the vocabulary)"

"""The names of a transformers model in a file, by the library's own conversions (transformers/core_model_loading.py).

A file may have names of an older release (`LayerNorm.gamma`, `block_sparse_moe.experts.0.w1.weight`), with or without the prefix of the
base model (`bert.`), and tensors that the module keeps fused. Loading carries them to the module's names, saving carries them back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..architectures.layers import Shape
from ..architectures.prefixes import prefixes
from .building import Carried

if TYPE_CHECKING:
    from torch import Tensor


class Conversions:
    """The conversions of one module. They note which of them were used, as the library's own loading does."""

    def __init__(self, module: Any) -> None:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming

        self.module = module
        self.tensors: dict[str, Tensor] = module.state_dict()
        self.all = get_model_conversion_mapping(module)
        self.renamings = [each for each in self.all if isinstance(each, WeightRenaming)]
        self.converters = [each for each in self.all if isinstance(each, WeightConverter)]

    def to_module(self, name: str) -> tuple[str, Any]:
        """Return the module's name for a name in a file, and the conversion that makes it one of several; None where there is none."""
        from transformers.core_model_loading import rename_source_key

        base = self.module.base_model_prefix
        ours, pattern = rename_source_key(name, self.renamings, self.converters, base, self.tensors)
        if ours not in self.tensors and name in self.tensors:  # as the library: the rules were not meant for this name
            ours, pattern = rename_source_key(name, [], [], base, self.tensors)
        return ours, next((each for each in self.converters if pattern in each.source_patterns), None) if pattern else None

    def written(self, *, loaded: bool) -> dict[str, Tensor]:
        """Return the module's tensors as the library saves them.

        Args:
            loaded: only the conversions that were used so far are undone, as for a module that was loaded; else those of a new module.
        """
        from transformers.core_model_loading import revert_weight_conversion

        if loaded:
            self.module._weight_conversions = [each for each in self.all if each.was_used()]
        kept = {name: tensor for name, tensor in self.tensors.items() if name not in (self.module._keys_to_ignore_on_save or ())}
        result: dict[str, Tensor] = revert_weight_conversion(self.module, kept)
        return result


def carried(module: Any, shapes: Mapping[str, Shape]) -> Carried:
    """Return which tensor of a module each tensor of a file is.

    Args:
        module: a PreTrainedModel.
        shapes: the file's tensors; empty for the names with which the library saves a new module.
    """
    conversions = Conversions(module)
    prefix = best_prefix(conversions, shapes)
    inside = [name[len(prefix) :] for name in shapes if name.startswith(prefix)] if shapes else list(conversions.written(loaded=False))
    names, converted, covered = _matched(conversions, inside)
    parts = {}
    if converted:
        written = conversions.written(loaded=bool(shapes))
        by_name = {_as_in_file(name, converted, module.base_model_prefix): tensor for name, tensor in written.items()}
        parts = {name: by_name.get(name) for name in converted}
    passed_over = unread_pattern(module)
    unread = frozenset(name for name in inside if name not in names and passed_over and passed_over.search(name))
    made_anew = _made_anew(module)
    lacking = [ours for ours in conversions.tensors if ours not in covered and ours not in made_anew]
    missing = {_named_alike(ours, names, module.base_model_prefix): ours for ours in lacking}
    return Carried(names | missing, parts, unread, prefix)


def _matched(conversions: Conversions, inside: Iterable[str]) -> tuple[dict[str, str], dict[str, None], set[str]]:
    """Names of the file → names of the module; those that are converted; and all names of the module that they fill."""
    names: dict[str, str] = {}
    converted: dict[str, None] = {}
    covered: set[str] = set()
    for name in inside:
        ours, converter = conversions.to_module(name)
        if ours not in conversions.tensors or (converter is None and ours in covered):
            continue
        names[name] = ours
        covered.add(ours)
        if converter is not None:
            converted[name] = None
            first = converter.target_patterns[0]
            covered.update(ours.replace(first, pattern) for pattern in converter.target_patterns)
    return names, converted, covered


def best_prefix(conversions: Conversions, shapes: Mapping[str, Shape]) -> str:
    """Return the prefix under which the file has the most names that the library knows; none where that does as well."""
    if not shapes or any(conversions.to_module(name)[0] in conversions.tensors for name in shapes):
        return ""

    def known(prefix: str) -> tuple[int, int]:
        inside = (name[len(prefix) :] for name in shapes if name.startswith(prefix))
        return sum(conversions.to_module(name)[0] in conversions.tensors for name in inside), -len(prefix)

    return max(["", *prefixes(shapes)], key=known)


def _as_in_file(name: str, names: Iterable[str], base: str) -> str:
    """A name with or without the prefix of the base model, as `names` has it."""
    return next((each for each in (name, name.removeprefix(f"{base}."), f"{base}.{name}") if each in names), name)


def _named_alike(ours: str, names: Mapping[str, str], base: str) -> str:
    """The name that a tensor which the file lacks would have there: without the prefix of the base model where the others have none."""
    bare = base and any(value == f"{base}.{name}" for name, value in names.items())
    return ours.removeprefix(f"{base}.") if bare else ours


def _made_anew(module: Any) -> set[str]:
    """The tensors that the library does not save, and the buffers that it makes anew where a file lacks them."""
    patterns = module._keys_to_ignore_on_load_missing or ()
    buffers = {name for name, _ in module.named_buffers() if any(re.search(pattern, name) for pattern in patterns)}
    return buffers | set(module._keys_to_ignore_on_save or ())


def unread_pattern(module: Any) -> re.Pattern[str] | None:
    """Return what names the library passes over while it loads, as PreTrainedModel._adjust_missing_and_unexpected_keys has it."""
    patterns = set(module._keys_to_ignore_on_load_unexpected or ())
    buffers = [name for name, _ in module.named_buffers()]
    if any(name.endswith("rotary_emb.inv_freq") for name in buffers):
        patterns.add(r"rotary_emb\.inv_freq")
    if any(name.endswith("position_ids") for name in buffers):
        patterns.add(r"(^|\.)position_ids$")
    return re.compile("|".join(f"({pattern})" for pattern in patterns)) if patterns else None

"""What the config beside a checkpoint says for one tensor: the entries of the part that it belongs to, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..configs.settings import initial_factor, initial_std, padding_row, positive
from ..configs.sizes import entry_of
from .target import Target

_ENDS = ("_config", "_cfg")
_NO_PART = ("quantization_config", "compression_config", "generation_config", "pretrained_cfg")
_DEEPEST = 3
# What a part of a model is called in names, by its object in the config, where it is not called the same.
_PARTS = {
    "text": r"text\w*|language_model|lm_head|transformer",
    "llm": r"llm\w*|language_model|lm_head",
    "language": r"language\w*|lm_head",
    "vision": r"vis(ion|ual)\w*|image_\w+",
    "audio": r"audio\w*|speech\w*",
}
# In which part the entries of the whole model are told, where the whole has none.
_MAIN = ("text_config", "llm_config", "language_config", "decoder")


def part_of(target: Target) -> Mapping[str, object]:
    """Return the entries of the part of the model that a tensor belongs to, such as `vision_config`; where it is in none, all entries."""
    entries: Mapping[str, object] = target.config
    for _ in range(_DEEPEST):
        inner = next((part for key, part in _parts(entries) if _is_in(target.name, key)), None)
        if inner is None:
            return entries
        entries = inner
    return entries


def _parts(entries: Mapping[str, object]) -> list[tuple[str, Mapping[str, object]]]:
    """The objects of a config that tell of parts of the model, by the word before `_config`."""
    parts = ((key, value) for key, value in entries.items() if isinstance(value, dict) and key not in _NO_PART)
    return [(next((key.removesuffix(end) for end in _ENDS if key.endswith(end)), key), value) for key, value in parts]


def _is_in(name: str, part: str) -> bool:
    """Whether a name has a piece that is called as a part of the model is: `vision_tower`, `mask_decoder`."""
    pattern = _PARTS.get(part, rf"{re.escape(part)}\w*")
    return any(re.fullmatch(pattern, piece) for piece in name.split("."))


def places(target: Target) -> list[Mapping[str, object]]:
    """Return where an entry is looked for: the part of the tensor, the whole, and the main part of the whole."""
    main = (target.config.get(key) for key in _MAIN)
    return [part_of(target), target.config, *(value for value in main if isinstance(value, dict))]


def std_of(target: Target, given: float, default: float) -> float:
    """Return the standard deviation of initial weights: as given, unless that is 0; else as the config says; else the default."""
    return given or next((std for place in places(target) if (std := initial_std(place)) is not None), default)


def factor_of(target: Target, given: float) -> float:
    """Return the factor of all initial weights: as given, unless that is 0; else as the config says; else 1."""
    return given or next((factor for place in places(target) if (factor := initial_factor(place)) is not None), 1.0)


def count_of(target: Target, *keys: str) -> int | None:
    """Return a whole number from 1 on that the config tells under one of these keys; None where it tells none."""
    found = (entry_of(place, key) for place in places(target) for key in keys)
    return next((value for value in found if type(value) is int and 0 < value < 1 << 48), None)


def number_of(target: Target, *keys: str) -> float | None:
    """Return a number from 0 on that the config tells under one of these keys; None where it tells none."""
    found = (positive(entry_of(place, key)) for place in places(target) for key in keys)
    return next((value for value in found if value is not None), None)


def flag_of(target: Target, key: str) -> bool:
    """Return whether the config says true under this key."""
    return any(place.get(key) is True for place in places(target))


def type_of(target: Target) -> str:
    """Return the `model_type` of the part that a tensor belongs to; empty where there is none."""
    found = next((value for place in places(target) if isinstance(value := place.get("model_type"), str)), "")
    return found.replace("_", "-")


def padding_of(target: Target) -> int | None:
    """Return the row of an embedding that stands for padding; None where the config tells none, or the embedding has no such row."""
    row = next((row for place in places(target) if (row := padding_row(place)) is not None), None)
    return row if row is not None and target.shape and row < target.shape[0] else None

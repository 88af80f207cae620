"""The preset that fills new elements where no scheme is given: that of the model's config, of its family, or of the file's framework."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from ...configs import config_of
from ...formats import formats
from ...schemes.config_entries import part_of
from ...schemes.preset_choice import preset_for
from ...schemes.rules import PresetCall, parse_preset
from ...schemes.target import Target
from ...tensors.checkpoint import Checkpoint
from ..wishes import Facts

_OF_FRAMEWORK = {"keras": "keras", "tensorflow": "keras", "mxnet": "mxnet", "jax": "flax"}  # the folder of a format → the preset
_OTHERWISE = "pytorch"


def fitting_presets(checkpoint: Checkpoint, names: Iterable[str], facts: Facts) -> dict[str, PresetCall]:
    """Return the preset that fits each of these tensors of a checkpoint."""
    config = config_of(checkpoint)
    entries = config.entries if config else {}
    parsed, otherwise = cache(parse_preset), cache(lambda: facts.preset() or _framework(checkpoint))
    found: dict[str, PresetCall] = {}
    for name in names:
        target = Target(checkpoint.layer_name(name), checkpoint[name].shape, config=entries)
        told = (preset_for(part_of(target)) or preset_for(entries)) if entries else ""
        found[name] = parsed(told or otherwise())
    return found


def _framework(checkpoint: Checkpoint) -> str:
    folder = type(formats[checkpoint.origin.format]).__module__.split(".")[-2] if checkpoint.origin else ""
    return _OF_FRAMEWORK.get(folder, _OTHERWISE)

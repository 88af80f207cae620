"""The preset that fits the config beside the file, part by part."""

from __future__ import annotations

from ...errors import EditError
from ..config_entries import part_of
from ..distribution import Distribution
from ..preset_choice import preset_for
from ..roles import Role
from ..target import Target
from . import preset


@preset
def auto(target: Target, role: Role) -> Distribution | None:
    """The preset that fits the `model_type` of the config beside the file; of a model that consists of others, a vision tower before a
    language model, say, each part by its own. Without a library; `own` asks it.

    `ckpt schemes` lists the presets.
    """
    from ..rules import parse_preset

    part = part_of(target)
    fitting = preset_for(part) or preset_for(target.config)
    if not fitting:
        raise EditError("no config tells which preset fits", "name one: `ckpt schemes` lists them", target.name)
    return parse_preset(fitting).distribution(target, role)

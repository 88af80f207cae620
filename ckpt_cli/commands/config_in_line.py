"""The config beside an edited checkpoint: brought into line in a folder that is written, told of where the weights alone are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from shlex import quote
from typing import TYPE_CHECKING

from ..analysis.same_kinds import alike
from ..errors import number_of, shortened
from ..tensors.checkpoint import Checkpoint

_LONGEST = 60  # characters of a list that is printed in full

if TYPE_CHECKING:
    from ..analysis.adjustments import Adjustments
    from ..analysis.edited import Adjustment
    from ..configs import Config
    from .model_folder import ModelFolder


def config_in_line(before: Checkpoint, after: Checkpoint, target: str, folder: ModelFolder | None) -> tuple[ModelFolder | None, list[str]]:
    """Return the folder with the config as the edit makes it, and what is to be told, a line each.

    Args:
        before: The checkpoint as it was read.
        after: The checkpoint as it is written.
        target: The path that it is written to.
        folder: The model folder that is written; None for a file.
    """
    if before.origin is None or not (folder or (_is_beside(target, before.origin.path) and not alike(before.origin.read, after))):
        return folder, []
    from ..analysis.adjustments import adjustments  # many modules, for edits of another kind than values
    from ..configs.quantisation import FILES_OF_PACKED
    from .model_folder import rewritten

    found = adjustments(before, after)
    config = found.config
    if config is None:
        return folder, list(found.told)
    if config.path == before.origin.path:
        return folder, [*_inside(target, after, config, found)]
    if folder is None:
        return folder, [*_not_written(config.path, found)]
    name = folder.name_of(config.path)
    path = os.path.join(folder.path, name or os.path.basename(config.path))
    lines = [*([] if name else [f"{path}: taken from {config.path}"]), *(f"{path}: {_change(each)}" for each in found.made)]
    if found.made or not name:
        name = os.path.relpath(path, folder.path)
        folder = folder.making(name, rewritten(config, [(each.path, each.new) for each in found.made]))
    if found.decoded:
        folder = folder.without(FILES_OF_PACKED)
    return folder, lines + [f"{path}: {line}" for line in found.told]


def _is_beside(target: str, source: str) -> bool:
    """Whether a file is written into the folder of its source, whose config is then beside it, too."""
    return os.path.realpath(os.path.dirname(target)) == os.path.realpath(os.path.dirname(source))


def _not_written(path: str, found: Adjustments) -> Iterator[str]:
    """What is told where the config stays as it is."""
    if found.made:
        changes = ", ".join(_change(each, "should be") for each in found.made)
        yield f"{path} stays as it is: {changes} (-o DIR/ writes a folder with the right config)"
    yield from (f"{path}: {line}" for line in found.told)


def _inside(target: str, after: Checkpoint, config: Config, found: Adjustments) -> Iterator[str]:
    """What is told of metadata in the file itself, which have the place of a config."""
    for each in found.made:
        key = f"{config.model_type}.{each.entry}"
        if after.metadata.get(key) != _shown(each.new):
            set_it = f"ckpt set {quote(target)} 'metadata:{key} = {_shown(each.new)}' -i"
            yield f"{target}: {key} stays {_shown(each.old)}, and the weights have {_shown(each.new)} ({set_it})"
    yield from (f"{target}: {line}" for line in found.told)


def _change(adjustment: Adjustment, verb: str = "becomes") -> str:
    """An entry, its value, and the one that it gets."""
    from ..configs.json_text import REMOVED

    if adjustment.new is REMOVED:
        return f"{adjustment.entry} {'is' if verb == 'becomes' else verb} taken out"
    old, new = adjustment.old, adjustment.new
    if isinstance(new, dict) and isinstance(old, dict | None):
        return _change_of_labels(adjustment.entry, len(old or {}), len(new), verb)
    return f"{adjustment.entry} {'nothing' if old is None else _shown(old)} {verb} {_shown(new)}"


def _change_of_labels(entry: str, old: int, new: int, verb: str) -> str:
    """How many labels an entry has, which is 0 where it is not there, and is to have."""
    labels = number_of(new, "label")
    if verb == "becomes":
        return f"{entry} goes from {old} to {labels}" if old else f"{entry} is added, with {labels}"
    return f"{entry} should have {labels}, not {old}" if old else f"{entry} should be there, with {labels}"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return f"{len(value)} entries" if isinstance(value, list) and len(text) > _LONGEST else shortened(text)

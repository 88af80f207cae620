"""The note on code in a file: classes and functions that its pickles name, and functions in the configs of Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import first_few, shortened
from ..tensors.checkpoint import Checkpoint
from .answer import note_later

if TYPE_CHECKING:
    from ..configs import Config
    from ..configs.named_code import Named

_SHOWN = 3
_KERAS = ("keras", "hdf5", "tensorflow")


def note_code(checkpoint: Checkpoint) -> None:
    """Note what other programs may run as they load the file, where it is not on the list of its format; nothing is read for it."""
    names = _named(checkpoint) if checkpoint.imports else []
    if checkpoint.origin and checkpoint.origin.format in _KERAS:
        from ..scanning.keras_code import names_in_configs

        names += names_in_configs(checkpoint)
    if names:
        told = "ckpt runs none of it, other programs may (`ckpt check --safe`)"
        note_later([f"the file names code: {first_few(list(map(shortened, names)), _SHOWN)}; {told}"])


def note_code_of_config(config: Config, code: Sequence[Named]) -> None:
    """Note the code that a config names."""
    if code:
        names = first_few([shortened(each.name) for each in code], _SHOWN)
        why = " and ".join(dict.fromkeys(each.why for each in code))
        note_later([f"{config.path} names code: {names}; ckpt runs none of it, {why} (`ckpt check --safe`)"])


def _named(checkpoint: Checkpoint) -> list[str]:
    from ..formats.encodings.object_nodes import Global
    from ..scanning.safe_names import CALLS, PLAIN, python3_name, rules_of

    rules = rules_of(checkpoint.origin.format if checkpoint.origin else "")
    names = dict.fromkeys(python3_name(Global(*named)) for named in checkpoint.imports)
    return [name for name in names if not rules.allow(name) and not (rules is PLAIN and name in CALLS)]

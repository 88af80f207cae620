"""A fresh checkpoint of a family that a data file describes: its tensors by names and shapes, drawn by the family's preset."""

from __future__ import annotations

from collections.abc import Mapping

from .. import reading
from ..architectures import architectures
from ..architectures.blank import blank
from ..architectures.family import Family
from ..architectures.hyperparameters import checked
from ..architectures.recognition import member_with, model_from
from ..errors import UsageError
from ..schemes.preset_choice import preset_for
from ..tensors.checkpoint import Checkpoint
from .reinit import reinit


def is_described(architecture: str) -> bool:
    """Return whether an architecture is a family with a data file."""
    return ":" not in architecture and isinstance(architectures[architecture], Family)


def new_family(name: str, hyperparameters: Mapping[str, object], seed: int, framework: str) -> Checkpoint:
    """Return a checkpoint of the member with these hyperparameters.

    Args:
        name: the family.
        hyperparameters: some of its own; the others have their defaults.
        seed: the seed.
        framework: `torch`; the names of others are a hyperparameter.

    Raises:
        UsageError: the hyperparameters make no sense, or another framework is named.
        UnknownName: the family has no such hyperparameter.
    """
    family = architectures[name]
    if framework != "torch":
        raise UsageError(
            f"--framework {framework} is for architectures that ckpt builds", f"the hyperparameter names= of {name} picks names"
        )
    model = model_from(family, member_with(family, checked(family, hyperparameters)))
    preset = preset_for({}, name) or (family.preset if isinstance(family, Family) else "")
    return reinit(blank(model), [], seed=seed, preset=preset, layers=lambda kind="": model.placed, open=reading.open)[0]

"""What the library of a model does: the one preset that is no function of roles."""

from __future__ import annotations

from ...errors import LibraryError
from ..distribution import Distribution
from ..roles import Role
from ..target import Target
from . import preset

OWN = "own"


@preset
def own(target: Target, role: Role) -> Distribution | None:
    """What the model's own library draws for each parameter, recorded while it builds the model that the config beside the file names

    transformers, diffusers and timm, as they are installed; files of Keras say it. `--print-recipe` writes rules that draw the same
    without the library.
    """
    raise LibraryError("the library of this model is not asked here", "`ckpt reinit --preset own` asks it", target.name)

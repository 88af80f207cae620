"""A fresh checkpoint of the model that a config describes: its tensors as its library names, shapes, ties and initialises them."""

from __future__ import annotations

from .. import reading
from ..architectures.blank import blank
from ..configs import Config
from ..configs.settings import dtype_said
from ..errors import LibraryError
from ..providers import asking
from ..tensors.checkpoint import Checkpoint
from .reinit import reinit
from .wishes import Facts


def new_own(config: Config, seed: int) -> tuple[Checkpoint, tuple[str, ...]]:
    """Return a checkpoint of the model that a config describes, and notes for the user.

    Its floating-point tensors have the dtype that the config says. For the same seed, `reinit --preset own` of it gives the same values.

    Args:
        config: the config.
        seed: the seed.

    Raises:
        LibraryError: no library that is installed builds the model.
        EditError: how the library initialises some tensor is not known.
    """
    provided = asking.provided_by(config, {})
    if provided is None:
        raise LibraryError(
            f"no library of models is known for {config.class_name or config.library or 'it'}", "see `ckpt archs`", config.path
        )
    said = dtype_said(config.entries)
    unfilled = blank(provided.model, said[0] if said else "")
    checkpoint, _ = reinit(unfilled, [], seed=seed, preset="own", facts=Facts(provided.initialisations), open=reading.open)
    return checkpoint, (f"initialised as {provided.library} does", *provided.notes)

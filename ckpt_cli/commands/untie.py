"""`ckpt untie`: a storage for each name."""

from __future__ import annotations

from typing import Annotated

import typer

from ..edits.untie import untie
from ..tensors.checkpoint import Checkpoint
from .editing import editing


@editing
def untie_command(
    before: Checkpoint,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names or patterns.", show_default=False)],
) -> Checkpoint:
    """Give each NAME that shares its storage with others a storage of its own, with the same values."""
    return untie(before, names)

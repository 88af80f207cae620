"""`ckpt untie`: a storage for each name."""

from __future__ import annotations

from typing import Annotated

import typer

from ..checkpoint import Checkpoint
from ..edits.tie import untie
from ..errors import EditError
from ..selection import select
from .editing import editing


@editing
def untie_command(
    before: Checkpoint,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names or patterns.", show_default=False)],
) -> Checkpoint:
    """Give each NAME that shares its storage with others a storage of its own, with the same values."""
    shared = {name for group in before.sharing() for name in group}
    exact = [name for name in names if name in before]
    matched = select(before.tensors, [name for name in names if name not in before]) if len(exact) < len(names) else []
    picked = [*exact, *(name for name in matched if name in shared and name not in exact)]
    if not picked:
        raise EditError("nothing of that is tied", "`ckpt tied` lists what is")
    return untie(before, picked)

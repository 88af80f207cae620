"""`ckpt tie`: one storage under several names."""

from __future__ import annotations

from typing import Annotated

import typer

from ..edits.tie import tie
from ..tensors.checkpoint import Checkpoint
from .editing import editing


@editing
def tie_command(
    before: Checkpoint,
    names: Annotated[list[str], typer.Argument(metavar="NAME NAME...", help="The later ones become the first.", show_default=False)],
) -> Checkpoint:
    """Tie names: the later ones become the first, one storage that is written once. Shapes and dtypes must agree.

    safetensors has no ties; there a tied name is an entry of the metadata that points to the kept one, as
    safetensors.torch.save_model has it.
    """
    return tie(before, names)

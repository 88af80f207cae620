"""`ckpt drop`: what is not needed, left out."""

from __future__ import annotations

from typing import Annotated

import typer

from ..edits.drop import drop
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, no_layers
from .editing import editing


@editing
def drop_command(
    before: Checkpoint,
    patterns: Annotated[
        list[str], typer.Argument(metavar="PATTERN...", help="Tensors, and other objects by their path.", show_default=False)
    ],
    layers: Layers = no_layers,
) -> Checkpoint:
    """Leave out what a PATTERN matches: 'optimizer.*' takes the optimizer's tensors and its param_groups."""
    return drop(before, patterns, layers)

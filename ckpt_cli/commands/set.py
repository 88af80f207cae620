"""`ckpt set`: values by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from ..edits.set import set_values
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, no_layers
from .editing import editing


@editing
def set_command(
    before: Checkpoint,
    assignments: Annotated[
        list[str], typer.Argument(metavar="ASSIGNMENT...", help="'REF OP VALUE', OP one of = += -= *= /=.", show_default=False)
    ],
    layers: Layers = no_layers,
) -> Checkpoint:
    """Set values: '0.weight += 1' '0.weight[0,0] = 42', applied left to right. Whatever is tied follows.

    REF is a name, a pattern, or NAME[index] with NumPy's basic indexing. VALUE is a number (nan and inf, too), a JSON list
    that broadcasts, or @FILE.npy. A value that the dtype cannot hold is an error. In GGUF and safetensors REF may be a key of the
    metadata, where no tensor is called so: 'general.name = "a text"'. A number there keeps its type.
    """
    return set_values(before, assignments, layers)

"""`ckpt cast`: another dtype."""

from __future__ import annotations

from typing import Annotated

import typer

from ..edits.cast import cast
from ..numbers.dtypes import named
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, no_layers
from .editing import editing
from .params import Patterns


@editing
def cast_command(
    before: Checkpoint,
    dtype: Annotated[str, typer.Argument(metavar="DTYPE", help="float32, bfloat16, float16, int8, float8_e4m3fn, …", show_default=False)],
    patterns: Patterns = None,
    layers: Layers = no_layers,
) -> Checkpoint:
    """Convert parameters to DTYPE: those that a PATTERN matches, else every floating-point one but an optimizer's
    count of its steps. Rounds to nearest even.

    Integers that do not fit are an error; what is tied to a parameter follows it.
    """
    return cast(before, named(dtype), patterns or [], layers)

"""`ckpt rename`: other names, the same tensors."""

from __future__ import annotations

from typing import Annotated

import typer

from ..edits.rename import rename
from ..tensors.checkpoint import Checkpoint
from .editing import editing


@editing
def rename_command(
    before: Checkpoint,
    rules: Annotated[
        list[str], typer.Argument(metavar="OLD=NEW...", help="A name, a glob whose * carry over, or re: with groups.", show_default=False)
    ],
) -> Checkpoint:
    """Rename parameters. Rules work one after another; two tensors that would get one name are an error.

    'module.*=*' strips a prefix, 'h.*.attn.*=layers.*.attention.*' carries over what each * matched,
    're:^h[.]([0-9]+)=layers.\\1' uses groups.
    """
    return rename(before, rules)

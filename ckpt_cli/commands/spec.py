"""`ckpt spec`: write down what a checkpoint holds, so that `ckpt check` can compare later files with it."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import writing
from ..errors import about
from ..show.answer import Answer
from ..show.progress import Progress
from ..show.spec_toml import written
from .params import Force, IgnoreIndex, Path, open_checkpoint

Target = Annotated[str | None, typer.Option("-o", "--output", metavar="FILE", help="Write it to this new file.", show_default=False)]
Finite = Annotated[bool, typer.Option("--finite", help="Also that what is finite stays so; reads the values.")]
Hashes = Annotated[bool, typer.Option("--hash", help="Also the SHA-256 of each tensor; reads the values.")]


def spec_command(
    path: Path,
    output: Target = None,
    force: Force = False,
    finite: Finite = False,
    hashes: Hashes = False,
    ignore_index: IgnoreIndex = False,
) -> None:
    """Print a spec of CKPT in TOML, for `ckpt check --spec`: the number of parameters, the ties, and names, dtypes, shapes.

    Repeated blocks stand in one line: "layers.{0-11}.attn.weight" with their count. It is as tight as what is there, and made to be
    loosened by hand: docs/checking.md says how. With --finite, tensors that have NaN or infinite elements now may keep them.
    """
    checkpoint = open_checkpoint(path, ignore_index=ignore_index)
    with about(path), Progress() as progress:
        lines = list(written(checkpoint, finite, hashes, progress))
    if output is None:
        Answer().lines(lines)
    else:
        writing.write_new(output, (f"{line}\n".encode() for line in lines), force)

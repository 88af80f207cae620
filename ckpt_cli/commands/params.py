"""The arguments and options that commands share, as `Annotated` types, and what several of them stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..show.answer import Color
from ..tensors.checkpoint import Checkpoint
from .layer_types import layers_of as layers_of

if TYPE_CHECKING:
    from ..reading import IndexUse

Path = Annotated[str, typer.Argument(metavar="CKPT", help="A checkpoint: a file, or the folder of a model.", show_default=False)]
Patterns = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PATTERN]...",
        help="Names, globs ('*.bias'), re:…, positions ('[0][1].bias'), @Type. '!PATTERN' takes out.",
        show_default=False,
    ),
]


def _one_form(context: typer.Context, wanted: bool) -> bool:
    """Raise UsageError where the answer is wanted in two forms."""
    if wanted and (context.params.get("as_json") or context.params.get("as_csv")):
        raise UsageError("--json and --csv exclude each other", "choose one")
    return wanted


Json = Annotated[bool, typer.Option("--json", help="One JSON document.", callback=_one_form)]
Csv = Annotated[bool, typer.Option("--csv", help="CSV, whose first line has the keys of --json.", callback=_one_form)]
Colors = Annotated[Color, typer.Option("--color", metavar="auto|always|never", help="Colours: on a terminal, always, never.")]
Arch = Annotated[
    str,
    typer.Option(
        "--arch", metavar="NAME|LIBRARY:NAME|FILE.py:CALLABLE", help="What @Type patterns speak of: auto, none, a name, your own."
    ),
]
ModelArch = Annotated[
    str,
    typer.Option(
        "--arch", metavar="auto|none|NAME|LIBRARY:NAME|FILE.py:CALLABLE", help="The architecture, where it is not to be recognised."
    ),
]
IgnoreIndex = Annotated[bool, typer.Option("--ignore-index", help="Read the shards that are there, whatever their index says.")]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, max=2**63 - 1, help="Where none is given, one is chosen and told.", show_default=False),
]

# Where the result of an edit goes.
Out = Annotated[str | None, typer.Option("-o", "--output", metavar="OUT", help="Write the result to this new file.", show_default=False)]
InPlace = Annotated[bool, typer.Option("-i", "--in-place", help="Change the file itself.")]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Print what would change, write nothing.")]
Force = Annotated[bool, typer.Option("--force", help="Replace OUT where it exists.")]
Backup = Annotated[
    str | None,
    typer.Option(
        "--backup", metavar="SUFFIX", help="With -i: keep the old file under this suffix, in place of an older one.", show_default=False
    ),
]
FormatName = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="The format to write; `ckpt formats` lists them.", show_default=False)
]
PrintRecipe = Annotated[bool, typer.Option("--print-recipe", help="Print this edit as a step for `ckpt apply`, write nothing.")]

ByLayer = Annotated[
    int | None,
    typer.Option("--by-layer", metavar="[DEPTH]", min=1, help="One line a layer, told by DEPTH parts of its path.", show_default=False),
]

Dequantise = Annotated[
    bool,
    typer.Option("--dequantise", "--dequantize", help="Packed parameters (integers with scales) as the plain floats that they stand for."),
]


def open_checkpoint(
    path: str, lock: bool = False, ignore_index: bool = False, index: IndexUse = "follow", dequantise: bool = False
) -> Checkpoint:
    """Open the checkpoint at `path`; its notes are printed after the answer.

    Args:
        path: The checkpoint.
        lock: Keep other processes from changing the file.
        ignore_index: Whether --ignore-index is given.
        index: What is made of an index that is wrong, where it is not.
        dequantise: Whether each packed parameter is one plain tensor.
    """
    from .. import reading
    from ..show.answer import note_later

    checkpoint = reading.open(path, lock, "ignore" if ignore_index else index)
    note_later(checkpoint.notes)
    return decoded(checkpoint, path) if dequantise else checkpoint


def decoded(checkpoint: Checkpoint, path: str) -> Checkpoint:
    """Return the checkpoint that was read from `path` with each packed parameter as one plain tensor."""
    from ..errors import about
    from ..packing import dequantised

    with about(path):
        return dequantised(checkpoint)


def random_seed() -> int:
    """Return a new random seed, short enough to be copied by hand."""
    import secrets

    return secrets.randbits(32)

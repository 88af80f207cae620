"""The arguments and options that commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated

import typer

from ..checkpoint import Checkpoint


class Color(StrEnum):
    auto = "auto"
    always = "always"
    never = "never"


Path = Annotated[str, typer.Argument(metavar="CKPT", help="A checkpoint: a file, or the folder of a model.", show_default=False)]
Patterns = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PATTERN]...", help="Names, globs ('*.bias'), re:…, positions ('[0][1].bias'), @Type.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Colors = Annotated[Color, typer.Option("--color", metavar="auto|always|never", help="Colours: on a terminal, always, never.")]
Arch = Annotated[
    str, typer.Option("--arch", metavar="NAME|FILE.py:CALLABLE", help="What @Type patterns speak of: auto, none, a name, your own.")
]
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
PrintRecipe = Annotated[bool, typer.Option("--print-recipe", help="Print this edit as a step for `ckpt apply`, write nothing.")]
FormatName = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="The format to write; `ckpt formats` lists them.", show_default=False)
]


def opened(path: str, lock: bool = False) -> Checkpoint:
    """The checkpoint at `path`; what its reader has to say goes to standard error. `lock`: it is going to be changed."""
    from .. import files
    from ..show.output import note

    checkpoint = files.open(path, lock)
    for line in checkpoint.notes:
        note(line)
    return checkpoint


def layers_of(checkpoint: Checkpoint, arch: str = "auto") -> Callable[[], Mapping[str, str]]:
    """What `@Type` patterns ask for: layer path → type, from the file itself, else from the architecture. Asked only when needed."""

    def layers() -> Mapping[str, str]:
        from ..architectures import recognition

        model = recognition.of(checkpoint, arch)
        return model.placed if model else checkpoint.layers

    return layers

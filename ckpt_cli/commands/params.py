"""The arguments and options that commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ..tensors.checkpoint import Checkpoint

if TYPE_CHECKING:
    from ..mapping.pairing import Template


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
    from .. import reading
    from ..show.output import later

    checkpoint = reading.open(path, lock)
    later(checkpoint.notes)
    return checkpoint


def layers_of(checkpoint: Checkpoint, arch: str = "auto") -> Callable[[], Mapping[str, str]]:
    """What `@Type` patterns ask for: layer path → type, from the file itself, else from the architecture. Asked only when needed."""

    def layers() -> Mapping[str, str]:
        from ..architectures import recognition

        model = recognition.model_of(checkpoint, arch)
        return model.placed if model else checkpoint.layers

    return layers


def like_of(by: str, path: str | None, arch: str) -> Template | None:
    """The names that the map `by` is to give: those of the checkpoint at `path`, or of the architecture, whose names are torch's."""
    from .. import reading
    from ..architectures import recognition
    from ..errors import UsageError
    from ..mapping.pairing import Template

    if path:
        other = reading.open(path)
        return Template({name: kind.shape for name, kind in other.kinds().items()}, other.ties())
    if arch in ("auto", "none"):
        return None
    if not by.endswith("-to-torch"):
        raise UsageError(f"--arch {arch} has the names of torch, and --map {by} makes others", "--like OTHER says whose names are wanted")
    model = recognition.resolve_arch(arch, {})
    return Template(model.shapes, [list(group) for group in model.ties]) if model else None

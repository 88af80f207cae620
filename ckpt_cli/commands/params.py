"""The arguments and options that commands share, and the two steps around every edit: reading what is asked for, and saving the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_type_hints

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
    str | None, typer.Option("--backup", metavar="SUFFIX", help="With -i: keep the old file under this suffix.", show_default=False)
]
FormatName = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="The format to write; `ckpt formats` lists them.", show_default=False)
]


def layers_of(checkpoint: Checkpoint, arch: str = "auto") -> Callable[[], Mapping[str, str]]:
    """What `@Type` patterns ask for: layer path → type, from the file itself, else from the architecture. Asked only when needed."""

    def layers() -> Mapping[str, str]:
        from ..architectures import recognition

        shapes = {name: tensor.shape for name, tensor in checkpoint.items()}
        model = recognition.get(arch, shapes, checkpoint.ties(), checkpoint.layers)
        return model.placed if model else checkpoint.layers

    return layers


Edit = Callable[..., Checkpoint]


def editing(edit: Edit) -> Callable[..., None]:
    """A command from an edit: `edit(before, ITS OWN ARGUMENTS…)` gives the edited checkpoint.

    CKPT and the options about where the result goes stand around the edit's own; one that takes `layers` gets --arch for @Type patterns.
    """
    hints = get_type_hints(edit, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in signature(edit).parameters.items()
        if name not in ("before", "layers")
    ]
    knows_layers = "layers" in hints
    shared = _OPTIONS | ({"arch": (Arch, "auto")} if knows_layers else {})
    around = [Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=default) for name, (kind, default) in shared.items()]
    path = Parameter("path", Parameter.POSITIONAL_OR_KEYWORD, annotation=Path)

    @wraps(edit)
    def command(path: str, **given: Any) -> None:
        from .. import files
        from ..errors import about

        options = {name: given.pop(name) for name in shared}
        before = files.open(path)
        if knows_layers:
            given["layers"] = layers_of(before, options.pop("arch"))
        with about(path):
            after = edit(before, **given)
        finish(before, after, **options)

    parameters = [path, *own, *around]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "output": (Out, None),
    "in_place": (InPlace, False),
    "dry_run": (DryRun, False),
    "force": (Force, False),
    "backup": (Backup, None),
    "format_name": (FormatName, None),
    "as_json": (Json, False),
}


def finish(
    before: Checkpoint,
    after: Checkpoint,
    *,
    output: str | None,
    in_place: bool,
    dry_run: bool,
    force: bool = False,
    backup: str | None = None,
    format_name: str | None = None,
    as_json: bool = False,
) -> None:
    """Write an edited checkpoint where it was asked to go, or print what would change. Raises UsageError where no place is named."""
    from .. import files
    from ..errors import UsageError, about
    from ..formats import formats
    from ..show.output import note

    if backup is not None and not in_place:
        raise UsageError("--backup goes with -i")
    if backup == "":
        raise UsageError("--backup takes a suffix", "for instance --backup .bak")
    if output is not None and in_place:
        raise UsageError("-o and -i exclude each other", "name one place for the result")
    if dry_run:
        from .diff import show_differences

        with about(before.origin.path if before.origin else ""):
            show_differences(before, after, as_json=as_json)
        return
    if output is None and not in_place:
        where = before.origin.path if before.origin else ""
        raise UsageError("where should the result go?", "-o OUT writes a new file, -i changes this one, -n shows the plan", where)
    origin = before.origin
    source = origin.path if origin else ""
    same = output is not None and _same_file(output, source)
    target = source if in_place else str(output)
    form = files.format_for(target, format_name, default=origin.format if origin else None)
    if in_place and not format_name and origin:
        form = formats[origin.format]
    for line in form.left_behind(after):
        note(f"{target}: {form.name} has no place for {line}: left behind")
    files.save(after, target, form, replace=in_place or force or (same and force), backup=backup)


def _same_file(first: str, second: str) -> bool:
    import os

    try:
        return os.path.samefile(first, second)
    except OSError:
        return False

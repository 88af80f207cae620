"""What stands around every edit: reading the checkpoint, and writing the result where it was asked to go."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints

from ..checkpoint import Checkpoint
from ..formats import Format
from .params import Arch, Backup, DryRun, Force, FormatName, InPlace, Json, Out, Path, PrintRecipe, layers_of, opened

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
    verb = edit.__name__.removesuffix("_command")
    path = Parameter("path", Parameter.POSITIONAL_OR_KEYWORD, annotation=Path)

    @wraps(edit)
    def command(path: str, **given: Any) -> None:
        from ..errors import about

        options = {name: given.pop(name) for name in shared}
        arch, print_recipe = options.pop("arch", "auto"), options.pop("print_recipe")
        before = opened(path, options["in_place"] and not print_recipe)
        with about(path):
            after = edit(before, **given, **({"layers": layers_of(before, arch)} if knows_layers else {}))
        if print_recipe:
            show_step({verb: given.pop(own[0].name), **given, "arch": arch})
        else:
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
    "print_recipe": (PrintRecipe, False),
    "as_json": (Json, False),
}


def show_step(said: dict[str, Any]) -> None:
    """What --print-recipe prints: the edit as a step of a recipe, without what says no more than its being left out."""
    import sys

    from ..show.toml import step

    unsaid: dict[str, Any] = {"arch": "auto", "rng": "tensor", "preset": ""}
    sys.stdout.write(step({key: value for key, value in said.items() if value is not None and value != unsaid.get(key)}))


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
    from ..errors import about
    from ..show.output import note

    source = before.origin.path if before.origin else ""
    _check_places(source, output, in_place, dry_run, backup)
    origin = before.origin.format if before.origin else None
    alike = output is None or os.path.splitext(output)[1] == os.path.splitext(source)[1] or _prefixed(origin)
    form = files.format_for(output or source, format_name or (origin if output is None else None), default=origin if alike else None)
    if dry_run:
        if output is not None:
            files.check(after, output, form, replace=force)
        with about(source):
            same = not show_plan(before, after, form, as_json)
        if same:
            note("nothing would change")
    else:
        write(after, output or source, form, replace=in_place or force, backup=backup, as_json=as_json)


def _prefixed(origin: str | None) -> bool:
    """Whether what was read is called by a prefix, so that any name is one of its format."""
    from ..formats import formats

    return origin is not None and formats[origin].prefixed


def show_plan(before: Checkpoint, after: Checkpoint, form: Format, as_json: bool) -> bool:
    """What --dry-run prints; whether anything would change. Raises what writing would raise for want of a place for something."""
    from ..show.output import note
    from .diff import show_differences

    form.check(after)
    changes = show_differences(before, after, as_json=as_json)
    for line in form.left_behind(after):
        note(f"{form.called or form.name} has no place for {line}: would be left behind")
    return changes


def _check_places(source: str, output: str | None, in_place: bool, dry_run: bool, backup: str | None) -> None:
    from ..errors import UsageError

    if backup is not None and not in_place:
        raise UsageError("--backup goes with -i")
    if backup == "":
        raise UsageError("--backup takes a suffix", "for instance --backup .bak")
    if output is not None and in_place:
        raise UsageError("-o and -i exclude each other", "name one place for the result")
    if output is None and not in_place and not dry_run:
        raise UsageError("where should the result go?", "-o OUT writes a new file, -i changes this one, -n shows the plan", source)


def write(checkpoint: Checkpoint, target: str, form: Format, *, replace: bool, backup: str | None = None, as_json: bool = False) -> None:
    """Save `checkpoint` as `target`, and say what its format has no place for."""
    from .. import files
    from ..show.output import Output, note
    from ..show.progress import Progress

    with Progress() as progress:
        told = files.save(checkpoint, target, form, replace=replace, backup=backup, progress=progress)
    for line in told:
        note(line)
    for line in form.left_behind(checkpoint):
        note(f"{target}: {form.called or form.name} has no place for {line}: left behind")
    if as_json:
        Output(True).json({"path": target, "format": form.name, "tensors": len(checkpoint)})

"""What stands around every edit: reading the checkpoint, and writing the result where it was asked to go."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, NamedTuple, get_type_hints

from ..formats import Savable, SeveralFiles, formats
from ..tensors.checkpoint import Checkpoint
from .params import Arch, Backup, DryRun, Force, FormatName, InPlace, Json, Out, Path, PrintRecipe, layers_of, opened

Edit = Callable[..., Checkpoint]


class Places(NamedTuple):
    """Where the result of an edit goes, as the command line says it."""

    output: str | None
    in_place: bool
    dry_run: bool
    force: bool
    backup: str | None
    format_name: str | None


NOWHERE = Places(None, False, False, False, None, None)

_PLACES: dict[str, tuple[Any, Any]] = {
    "output": (Out, None),
    "in_place": (InPlace, False),
    "dry_run": (DryRun, False),
    "force": (Force, False),
    "backup": (Backup, None),
    "format_name": (FormatName, None),
}


def _option(name: str, kind: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation=kind, default=default)


def _signed(command: Callable[..., Any], parameters: list[Parameter]) -> Callable[..., Any]:
    """The command, as one that has these parameters: what the command line is read by."""
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def placed(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command from one that takes `places`: the options that say where the result goes stand in its stead."""

    @wraps(command)
    def wrapped(**given: Any) -> Any:
        places = Places(**{name: given.pop(name) for name in _PLACES})
        return command(**given, places=places)

    hints = get_type_hints(command, include_extras=True)
    parameters: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        places = [_option(one, *facts) for one, facts in _PLACES.items()]
        parameters += places if name == "places" else [parameter.replace(annotation=hints[name])]
    return _signed(wrapped, parameters)


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
    verb = edit.__name__.removesuffix("_command")

    @wraps(edit)
    def command(path: str, places: Places, print_recipe: bool, as_json: bool, arch: str = "auto", **given: Any) -> None:
        from ..errors import about

        before = opened(path, places.in_place and not print_recipe)
        with about(path):
            after = edit(before, **given, **({"layers": layers_of(before, arch)} if knows_layers else {}))
        if print_recipe:
            show_step({verb: given.pop(own[0].name), **given, "arch": arch})
        else:
            finish(before, after, places, as_json)

    path = Parameter("path", Parameter.POSITIONAL_OR_KEYWORD, annotation=Path)
    around = [_option("places", Places, NOWHERE), _option("print_recipe", PrintRecipe, False), _option("as_json", Json, False)]
    return placed(_signed(command, [path, *own, *around, *([_option("arch", Arch, "auto")] if knows_layers else [])]))


def show_step(said: dict[str, Any]) -> None:
    """What --print-recipe prints: the edit as a step of a recipe, without what says no more than its being left out."""
    import sys

    from ..show.toml import step

    unsaid: dict[str, Any] = {"arch": "auto", "rng": "tensor", "preset": ""}
    sys.stdout.write(step({key: value for key, value in said.items() if value is not None and value != unsaid.get(key)}))


def finish(before: Checkpoint, after: Checkpoint, places: Places, as_json: bool = False) -> None:
    """Write an edited checkpoint where it was asked to go, or print what would change. Raises UsageError where no place is named."""
    from .. import writing
    from ..errors import about
    from ..show.output import note

    target, form = destination(before, places)
    if not places.dry_run:
        write(after, target, form, replace=places.in_place or places.force, backup=places.backup, as_json=as_json)
        return
    if places.output is not None:
        writing.check(after, target, form, replace=places.force)
    with about(before.origin.path if before.origin else ""):
        changes = show_plan(before, after, form, as_json)
    if not changes:
        note("nothing would change")


def destination(before: Checkpoint, places: Places) -> tuple[str, Savable]:
    """Where the edited checkpoint goes, and in which format. Raises UsageError where the command line does not say."""
    from .. import writing

    source, output = before.origin.path if before.origin else "", places.output
    _check_places(source, places)
    own = formats[before.origin.format] if before.origin else None
    alike = (
        output is None or os.path.splitext(output)[1] == os.path.splitext(source)[1] or (isinstance(own, SeveralFiles) and own.by_prefix)
    )
    same = output is None or (alike and isinstance(own, Savable) and not own.is_target)
    origin = own.name if own else None
    name = places.format_name or (origin if same else None)
    return output or source, writing.format_for(output or source, name, default=origin if alike else None)


def show_plan(before: Checkpoint, after: Checkpoint, form: Savable, as_json: bool) -> bool:
    """What --dry-run prints; whether anything would change. Raises what writing would raise for want of a place for something."""
    from ..show.output import note
    from .diff import show_differences

    form.check_place(after)
    changes = show_differences(before, after, as_json=as_json)
    told = {} if after.metadata is before.metadata else after.metadata
    for key in (key for key, value in told.items() if value != before.metadata.get(key)):
        note(f"metadata {key}: {before.metadata.get(key, 'nothing')} becomes {after.metadata[key]}")
        changes = True
    for line in form.losses(after):
        note(f"{form.called or form.name} has no place for {line}: would be left behind")
    return changes


def _check_places(source: str, places: Places) -> None:
    from ..errors import UsageError

    if places.backup is not None and not places.in_place:
        raise UsageError("--backup goes with -i")
    if places.backup == "":
        raise UsageError("--backup takes a suffix", "for instance --backup .bak")
    if places.output is not None and places.in_place:
        raise UsageError("-o and -i exclude each other", "name one place for the result")
    if places.output is None and not places.in_place and not places.dry_run:
        raise UsageError("where should the result go?", "-o OUT writes a new file, -i changes this one, -n shows the plan", source)


def write(checkpoint: Checkpoint, target: str, form: Savable, *, replace: bool, backup: str | None = None, as_json: bool = False) -> None:
    """Save `checkpoint` as `target`, and say what its format has no place for."""
    from .. import writing
    from ..show.output import Answer, note
    from ..show.progress import Progress

    with Progress() as progress:
        told = writing.save(checkpoint, target, form, replace=replace, backup=backup, progress=progress)
    for line in told:
        note(line)
    for line in form.losses(checkpoint):
        note(f"{target}: {form.called or form.name} has no place for {line}: left behind")
    if as_json:
        Answer(True).json({"path": target, "format": form.name, "tensors": len(checkpoint)})

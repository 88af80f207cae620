"""What every edit has in common: opening the checkpoint, and writing the result to its destination or printing what would change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..errors import UsageError
from ..formats import PartSet, Savable, SeveralFiles, formats
from ..tensors.checkpoint import Checkpoint
from .edit_plan import show_changes
from .params import open_checkpoint

if TYPE_CHECKING:
    from ..mapping.pairing import Template
    from ..tensors.blocks import Progress
    from .model_folder import ModelFolder

AllowCode = Annotated[bool, typer.Option("--allow-code", help="Run the code that the recipe names: FILE.py:NAME.")]


class Destination(NamedTuple):
    """Where the result of an edit goes, as the command line says it: -o, -i, -n, --force, --backup and --format."""

    output: str | None
    in_place: bool
    dry_run: bool
    force: bool
    backup: str | None
    format_name: str | None

    @property
    def replaces(self) -> bool:
        """Whether the target may exist already."""
        return self.in_place or self.force


def open_to_edit(path: str, to: Destination, print_recipe: bool = False) -> Checkpoint:
    """Open the checkpoint at `path`, locked if it is going to be changed in place."""
    return open_checkpoint(path, lock=to.in_place and not print_recipe)


def finish(before: Checkpoint, after: Checkpoint, to: Destination, as_json: bool = False, step: dict[str, Any] | None = None) -> None:
    """Write an edited checkpoint to its destination, or print what would change.

    Args:
        before: The checkpoint as it was read.
        after: The checkpoint as the edit made it.
        to: The destination.
        as_json: Whether the answer is a JSON document.
        step: For --print-recipe: the edit as a step of a recipe, which is printed instead; nothing is written.

    Raises:
        UsageError: If `to` names no place, or several.
    """
    if step is not None:
        print_step(step)
        return
    from ..show.answer import note
    from .config_in_line import config_in_line

    target, form, folder = target_and_format(before, to)
    folder, lines = config_in_line(before, after, target, folder)
    _note_parts(before, after)
    if to.dry_run:
        _dry_run(before, after, to, target, form, folder, as_json)
    else:
        write(after, target, form, replace=to.replaces, backup=to.backup, as_json=as_json, folder=folder)
    for line in (*lines, *(_shared(target) if to.in_place else ())):
        note(line)


def note_new(before: Checkpoint, after: Checkpoint) -> None:
    """Print what an edit has to tell."""
    from ..show.answer import note

    for line in after.notes[len(before.notes) :]:
        note(line)


def _shared(target: str) -> Iterator[str]:
    """That a file that is edited in place is one of the hub's cache, where files are called by their digests."""
    within = os.path.dirname(os.path.realpath(target))
    if os.path.islink(target) and os.path.basename(within) == "blobs" and os.path.isdir(os.path.join(os.path.dirname(within), "snapshots")):
        yield f"{target}: the hub's cache now holds other values than its digests say, for all that load it (-o DIR/ leaves it as it is)"


def _folder_of(before: Checkpoint, to: Destination) -> ModelFolder | None:
    """The model folder that -o names; None where it names a file. Raises WriteError where it may not be written."""
    from .model_folder import is_folder, model_folder, weights_name

    name = weights_name(before, to.format_name) if is_folder(to.output) else ""
    return model_folder(before, to.output or "", name, to.force) if name else None


def _note_parts(before: Checkpoint, after: Checkpoint) -> None:
    """Print which edited tensors are parts of packed parameters, whose other parts stay."""
    from ..packing import parts_changed
    from ..show.answer import note

    for line in parts_changed(before, after):
        note(line)


def print_step(step: dict[str, Any]) -> None:
    """Print an edit as a step of a recipe, without the keys that have their default value."""
    import sys

    from ..show.toml import step_text

    defaults: dict[str, Any] = {"arch": "auto", "rng": "tensor", "preset": "", "method": "linear"}
    sys.stdout.write(step_text({key: value for key, value in step.items() if value is not None and value != defaults.get(key)}))


def _dry_run(
    before: Checkpoint, after: Checkpoint, to: Destination, target: str, form: Savable, folder: ModelFolder | None, as_json: bool
) -> None:
    from .. import writing
    from ..errors import about
    from ..show.answer import note

    if to.output is not None:
        writing.check_saving(after, target, form, replace=to.force, folder=folder.written() if folder else None)
    with about(before.origin.path if before.origin else ""):
        changes = show_changes(before, after, form, as_json)
    if not changes:
        note("nothing would change")


def target_and_format(before: Checkpoint, to: Destination) -> tuple[str, Savable, ModelFolder | None]:
    """Return the path that the edited checkpoint is written to, its format there, and the model folder that -o names, None for a file.

    Raises:
        UsageError: If the command line names no place, or several.
    """
    from .. import writing

    source, output = before.origin.path if before.origin else "", to.output
    _check_destination(source, to)
    folder = _folder_of(before, to)
    if folder:
        output = folder.weights
    own = formats[before.origin.format] if before.origin else None
    alike = (
        output is None or os.path.splitext(output)[1] == os.path.splitext(source)[1] or (isinstance(own, SeveralFiles) and own.by_prefix)
    )
    keeps = isinstance(own, Savable) and not isinstance(own, PartSet) and (not own.is_target or _is_odd_suffix(source, own))
    same = output is None or (alike and keeps)
    origin = own.name if own else None
    name = to.format_name or (origin if same else None)
    default = origin if alike and not isinstance(own, PartSet) else None
    try:
        return output or source, writing.format_for(output or source, name, default=default), folder
    except UsageError as error:
        if to.output and os.path.isdir(to.output):
            error.what, error.mend = "it is a folder", f"-o {to.output}/ writes a model folder; else name a file in it"
        raise


def _is_odd_suffix(path: str, own: Savable) -> bool:
    """Return whether the suffix of a file is that of formats of other families alone: a .pkl that torch.save wrote."""
    family = type(own).__module__.rpartition(".")[0]
    owners = [form for form in formats.built_in() if isinstance(form, Savable) and form.is_target and path.endswith(form.suffixes)]
    return bool(owners) and all(type(form).__module__.rpartition(".")[0] != family for form in owners)


def _check_destination(source: str, to: Destination) -> None:
    if to.backup is not None and not to.in_place:
        raise UsageError("--backup goes with -i")
    if to.backup == "":
        raise UsageError("--backup takes a suffix", "for instance --backup .bak")
    if to.output is not None and to.in_place:
        raise UsageError("-o and -i exclude each other", "name one place for the result")
    if to.output is None and not to.in_place and not to.dry_run:
        raise UsageError("where should the result go?", "-o OUT writes a new file, -i changes this one, -n shows the plan", source)


def write(
    checkpoint: Checkpoint,
    target: str,
    form: Savable,
    *,
    replace: bool,
    backup: str | None = None,
    as_json: bool = False,
    folder: ModelFolder | None = None,
) -> None:
    """Save `checkpoint` as `target`, with the other files of its folder, and print what its format cannot hold."""
    from ..show.answer import Answer, note
    from ..show.progress import Progress

    with Progress() as progress:
        notes = saved(checkpoint, target, form, replace=replace, backup=backup, folder=folder, progress=progress)
    for line in notes:
        note(line)
    if as_json:
        Answer(True).json({"path": target, "format": form.name, "tensors": len(checkpoint)})


def saved(
    checkpoint: Checkpoint,
    target: str,
    form: Savable,
    *,
    replace: bool,
    backup: str | None = None,
    folder: ModelFolder | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Save `checkpoint` as `target`, with the other files of its folder, and return the notes on it: what its format cannot hold, too."""
    from .. import writing
    from ..edits.calculation import division_notes

    divided = division_notes(checkpoint)  # before the file that it is computed from may change
    beside = folder.written() if folder else None
    notes = writing.save(checkpoint, target, form, replace=replace, backup=backup, progress=progress, folder=beside)
    if folder and folder.left:
        notes.append(f"{folder.path}/: left behind: {', '.join(folder.left)}")
    lost = (f"{target}: {form.called or form.name} has no place for {line}: left behind" for line in form.losses(checkpoint))
    unknown = form.unknown_to_model(checkpoint)
    return [*notes, *divided, *lost, *([f"{target}: {unknown}"] if unknown else [])]


def wanted_names(framework_map: str, path: str | None, arch: str) -> Template | None:
    """Return the names and shapes that a map is to give, or None if nothing says them.

    Args:
        framework_map: The map, as --map names it.
        path: A checkpoint that has these names (--like), or None.
        arch: The architecture that has these names (--arch), or auto or none. Its names are torch's.
    """
    from .. import reading
    from ..mapping.pairing import Template, template_of
    from ..providers.asking import model_of

    if path:
        return template_of(reading.open(path))
    if arch in ("auto", "none"):
        return None
    if not framework_map.endswith("-to-torch"):
        what = f"--arch {arch} has the names of torch, and --map {framework_map} makes others"
        raise UsageError(what, "--like OTHER says whose names are wanted")
    model = model_of(Checkpoint({}), arch)
    return Template(model.shapes, [list(group) for group in model.ties]) if model else None

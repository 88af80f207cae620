"""Which file is read for a path: the file itself, the model in a folder, or the main one of several; and what lies beside it."""

from __future__ import annotations

import os

from ..errors import ReadError, about
from ..tensors.checkpoint import Checkpoint
from . import Format, Index, PartSet, SeveralFiles, formats


def locate(path: str) -> str:
    """The file to be read for `path`: itself, or the model in a folder, or in the one folder below that has one. Raises ReadError."""
    if path == "-":
        raise ReadError("a checkpoint is read from a file, not from standard input", "give its path")
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        return _main_file(path) or path
    models = _models(path)
    if not models:
        with about(path):
            subfolders = sorted(entry.path for entry in os.scandir(path) if entry.is_dir())
        models = [model for folder in subfolders for model in _models(folder)[:1]]
    _check_index(path, models)
    if len(models) == 1:
        return models[0]
    if not models:
        raise ReadError("the folder holds no model", "give the file itself", path)
    listed = ", ".join(os.path.relpath(model, path) for model in models[:20]) + (", …" if len(models) > 20 else "")
    raise ReadError(f"the folder holds several models: {listed}", f"name the one that you mean: {models[0]}", path)


def set_of_parts(path: str, main: str) -> Format | None:
    """The format of the set of parts whose first part is `main`, where `path` is the folder that it was located in."""
    if not os.path.isdir(path):
        return None
    return next((form for form in formats.built_in() if isinstance(form, PartSet) and form.is_main(main, path)), None)


# Files that name the newest step of a run: Megatron's and DeepSpeed's.
_TRACKERS = ("latest_checkpointed_iteration.txt", "latest", "latest_universal")
# What the path of a part has in it → the format that knows its set. A file with other names is not asked about.
_PARTS = {"mp_rank_": ("deepspeed", "megatron"), "consolidated.": ("llama",)}


def part_notes(path: str, checkpoint: Checkpoint) -> tuple[str, ...]:
    """A note on a file that was read by itself, and is one of a set."""
    asked = [formats[name] for mark, names in _PARTS.items() if mark in path for name in names]
    return tuple(note for form in asked if isinstance(form, PartSet) and (note := form.part_note(path, checkpoint)))


def parted(path: str) -> tuple[str, str]:
    """The path of an archive and the name of a member, as `FILE!MEMBER` gives them; the path alone where a file has that name."""
    if "!" in path and not os.path.lexists(path):
        for at in (at for at, char in enumerate(path) if char == "!" and at):
            if os.path.isfile(path[:at]) and path[at + 1 :]:
                return path[:at], path[at + 1 :]
    return path, ""


def _check_index(folder: str, models: list[str]) -> None:
    """Raise ReadError where what was found in `folder` is what an index lists, and the index is missing."""
    names = [os.path.relpath(model, folder) for model in models]
    for index in _indices() if names else ():
        if error := index.missing_index(folder, names):
            raise error


def _models(folder: str) -> list[str]:
    """The model in a folder, by the names that models have, or by what makes it a checkpoint itself; else all files that could be one."""
    names = _model_files(folder)
    endings = tuple(suffix for index in _indices() for suffix in index.suffixes)
    known = (name + ending for name in _known_names() for ending in ("", *endings))
    if model := next((name for name in known if name in names), None):
        return [os.path.join(folder, model)]
    if main := _main_file(folder):
        return [main]
    listing = [name for name in names if name.endswith(endings)]
    return [os.path.join(folder, name) for name in listing or names]


def _known_names() -> list[str]:
    """What a folder's model is called, the likeliest name first: that of a whole model before that of an adapter."""
    forms = list(formats.built_in())
    return [name for form in forms for name in form.model_names] + [name for form in forms for name in form.adapter_names]


def _indices() -> list[Index]:
    return [form for form in formats.built_in() if isinstance(form, Index)]


def _main_file(path: str) -> str | None:
    """The main file of the checkpoint of several files that is in the folder `path`, or that has `path` as its prefix."""
    several = (form for form in formats.built_in() if isinstance(form, SeveralFiles))
    return next((main for form in several if (main := form.locate(path))), None)


def _model_files(folder: str) -> list[str]:
    """The names of the files in a folder that could be a model, by their suffixes."""
    suffixes = tuple(suffix for form in formats.built_in() for suffix in form.model_suffixes)
    with about(folder):
        return sorted(name for name in os.listdir(folder) if name.endswith(suffixes))


def notes_beside(path: str, checkpoint: Checkpoint) -> tuple[str, ...]:
    """A note on what lies beside the model in the folder `path` and is opened by its own path: an optimizer, random states, …."""
    if not os.path.isdir(path) or checkpoint.origin is None:
        return ()
    main = checkpoint.origin.path
    step = os.path.relpath(main, path).split(os.sep)
    named = [f"{step[0]} is opened, which {name} names" for name in _TRACKERS if len(step) > 1 and os.path.isfile(os.path.join(path, name))]
    own = {os.path.basename(file.path) for file in formats[checkpoint.origin.format].files_read(checkpoint)}
    others = [name for name in _model_files(os.path.dirname(main)) if name not in own]
    beside = [f"{main} is opened; beside it lie {', '.join(others[:8])}"] if others else []
    return (*named[:1], *beside)

"""Which file is read for a path: the file itself, the model in a folder, or the main one of several; and what lies beside it."""

from __future__ import annotations

import os
import re

from ..errors import ReadError, about
from ..tensors.checkpoint import Checkpoint
from . import Format, Index, PartSet, SeveralFiles, formats, numbered_steps


def locate(path: str, ignore_index: bool = False) -> str:
    """The file to be read for `path`: itself, or the model in a folder, in its newest step, or in the one folder below that has one.

    Args:
        path: What the user named.
        ignore_index: Shards whose index is missing are taken, too: the file is one of them then.

    Raises:
        ReadError: There is no model, or there are several.
    """
    if path == "-":
        raise ReadError("a checkpoint is read from a file, not from standard input", "give its path")
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        return _main_file(path) or path
    if only := _only_model(path):
        return only
    models = _found_in(path)
    if error := _missing_index(path, models):
        if ignore_index:
            return models[0]
        raise error
    if len(models) == 1:
        return models[0]
    if not models:
        raise ReadError("the folder holds no model", _snapshot(path) or "give the file itself", path)
    listed = ", ".join(os.path.relpath(model, path) for model in models[:20]) + (", …" if len(models) > 20 else "")
    raise ReadError(f"the folder holds several models: {listed}", f"name the one that you mean: {models[0]}", path)


def _snapshot(path: str) -> str:
    """What to name in place of a repository in the hub's cache; empty for other folders."""
    snapshots = os.path.join(path, "snapshots")
    names = sorted(os.listdir(snapshots)) if os.path.isdir(snapshots) else []
    return f"name a snapshot: {', '.join(os.path.join(snapshots, name) for name in names[:3])}" if names else ""


# What lies in a model's folder and is no checkpoint of any format, nor an index.
_NO_MODEL = re.compile(r".*(?<!\.index)(?<!\.weights)\.json|.*\.(txt|md|jinja|model|py)|LICENSE|\.gitattributes|\.cache")


def _only_model(folder: str) -> str | None:
    """The file of a usual name that is the only one in a folder that can be a model; so the other formats need not be imported to ask."""
    with about(folder):
        others = [name for name in os.listdir(folder) if not _NO_MODEL.fullmatch(name)]
    usual = {name for form in formats.likely_ones() for name in form.model_names}
    return os.path.join(folder, others[0]) if len(others) == 1 and others[0] in usual else None


def set_of_parts(path: str, main: str) -> Format | None:
    """The format of the set of parts whose first part is `main`, where `path` is the folder that it was located in."""
    if not os.path.isdir(path) or _only_model(path) == main:
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


def _found_in(path: str, steps: bool = True) -> list[str]:
    """The models in a folder, in its newest step, or one in each of the folders below. `steps`: whether it may be a folder of steps."""
    models = _models(path)
    if len(models) > 1:
        newest = numbered_steps.newest_first(map(os.path.basename, models))
        return [os.path.join(path, name) for name in newest[:1]] or models
    if models:
        return models
    with about(path), os.scandir(path) as entries:
        below = sorted((numbered_steps.is_a_folder(entry), entry.name) for entry in entries if not numbered_steps.is_unfinished(entry.name))
    folders = {name: models for is_dir, name in below if is_dir and (models := _in_folder_below(os.path.join(path, name), steps))}
    if steps and (newest := numbered_steps.newest_first(folders)):
        return folders[newest[0]]
    files = numbered_steps.newest_first(name for is_dir, name in below if not is_dir and "." not in name)
    if not folders and files:
        return [os.path.join(path, files[0])]
    return [model for models in folders.values() for model in models[:1]]


def _in_folder_below(folder: str, steps: bool) -> list[str]:
    """The models in a folder below; where that is a step, it is looked into as any folder is."""
    is_step = steps and numbered_steps.newest_first([os.path.basename(folder)])
    return _found_in(folder, steps=False) if is_step else _models(folder)


def _missing_index(folder: str, models: list[str]) -> ReadError | None:
    """The error where what was found in `folder` is what an index lists, and the index is missing."""
    names = [os.path.relpath(model, folder) for model in models]
    return next((error for index in _indices() if (error := index.missing_index(folder, names))), None) if names else None


def _models(folder: str) -> list[str]:
    """The model in a folder, by the names that models have, or by what makes it a checkpoint itself; else all files that could be one."""
    names = _model_files(folder)
    endings = tuple(suffix for index in _indices() for suffix in index.suffixes)
    known = (name + ending for name in _known_names() for ending in ("", *endings))
    if model := next((name for name in known if name in names), None):
        return [os.path.join(folder, model)]
    if main := _main_file(folder):
        return [main]
    if variants := _variants(names):
        return [os.path.join(folder, name) for name in variants]
    listing = [name for name in names if any(index.is_called(name) for index in _indices())]
    return [os.path.join(folder, name) for name in listing or names]


def _variants(names: list[str]) -> list[str]:
    """The variants of a model of a known name, or the indices of their shards: model.fp16.safetensors, as save_pretrained calls it."""
    whole = {name: _whole(name) for name in names if not any(index.is_listed(name) for index in _indices())}
    for known in _known_names():
        stem, suffix = os.path.splitext(known)
        ends = {
            name: file[len(stem) + 1 : -len(suffix)]
            for name, file in whole.items()
            if file.startswith(f"{stem}.") and file.endswith(suffix)
        }
        if found := [name for name, variant in ends.items() if variant and "." not in variant]:
            return found
    return []


def _whole(name: str) -> str:
    """What the one file would be called whose parts an index lists; any other file's own name."""
    return next((index.whole(name) for index in _indices() if index.is_called(name)), name)


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
    """The names of the files in a folder that could be a model, by what they are called."""
    suffixes = tuple(suffix for form in formats.built_in() for suffix in form.model_suffixes)
    indices = _indices()
    with about(folder):
        return sorted(name for name in os.listdir(folder) if name.endswith(suffixes) or any(index.is_called(name) for index in indices))


def notes_beside(path: str, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Notes on the folder `path`: which of its steps is opened, and what lies beside the model (an optimizer, a variant, …)."""
    if not os.path.isdir(path) or checkpoint.origin is None:
        return ()
    main = checkpoint.origin.path
    if _only_model(path) == main:
        return ()
    own = {os.path.basename(file.path) for file in formats[checkpoint.origin.format].files_read(checkpoint)}
    below = os.path.relpath(main, path).split(os.sep)
    step = numbered_steps.note(path, below[0]) or _tracked(path, below)
    others = [name for name in _model_files(os.path.dirname(main)) if name not in own]
    indices = [(index, name) for index in _indices() for name in others if index.is_called(name)]
    listed = {file for index, name in indices for file in index.listed(os.path.join(os.path.dirname(main), name))}
    others = [name for name in others if name not in listed and not (step and numbered_steps.newest_first([name]))]
    beside = (f"{main} is opened; beside it lie {', '.join(others[:8])}",) if others else ()
    return (f"{path}: {step}", *beside) if step else beside


def _tracked(path: str, below: list[str]) -> str:
    """The step of a run that is opened, and the file that names it; empty where no file does."""
    tracker = next((name for name in _TRACKERS if len(below) > 1 and os.path.isfile(os.path.join(path, name))), None)
    return f"{below[0]} is opened, which {tracker} names" if tracker else ""

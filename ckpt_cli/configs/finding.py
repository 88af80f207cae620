"""Which config belongs to a checkpoint, and where it lies: in the file itself, beside it, or above the folder of a step or a part."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from ..errors import ReadError
from ..storage.file import File
from ..tensors.checkpoint import Checkpoint
from .config import Config
from .folder import Folder, read_document
from .reader import Reader, readers
from .whole import whole_of

# Folders that hold no more than a step or a part of the weights; the config lies above them.
_STEP_OR_PART = re.compile(
    r"(?:.*[-_.])?(?:checkpoint|ckpt|step|iter|epoch)[-_=]?[0-9]+|mp_rank_.*|pytorch_model_fsdp_[0-9]+|dist_ckpt|original|[0-9]+"
)
_MOST_UP = 3  # folders
# Files that training leaves beside the weights, and that no config of a model is about.
_NO_MODELS = ("optimizer", "optim_", "scheduler", "scaler", "rng_state", "random_states", "training_args", "tokenizer")


class Found(NamedTuple):
    """The config that was found.

    Attributes:
        config: the config; None where there is none.
        folder: the folder that it lies in, or that of the weights; None for a checkpoint that was not read from a file.
        notes: what is wrong with files that could have been it.
    """

    config: Config | None
    folder: Folder | None = None
    notes: tuple[str, ...] = ()


def config_of(checkpoint: Checkpoint) -> Config | None:
    """Return the config that belongs to a checkpoint; None where there is none that can be read."""
    return find(checkpoint).config


def config_at(path: str) -> Config:
    """Return the config in a file that the user names, or in a folder.

    Raises:
        ReadError: there is no such file, it is no config, or the folder has none.
    """
    if os.path.isdir(path):
        folder = Folder(path)
        config = _beside(folder, list(readers.built_in()))
        if config:
            return config
        raise ReadError(folder.notes[0]) if folder.notes else ReadError("the folder holds no config", "name the file", path)
    document = read_document(path)
    if not isinstance(document, dict | list):
        raise ReadError("it is no config: a JSON object is needed", where=path)
    folder, name = Folder(os.path.dirname(path)), os.path.basename(path)
    named = [reader for reader in readers.built_in() if name in reader.files]
    folder.take(name if named else "config.json", document)
    config = _beside(folder, named or list(readers.built_in()))
    if config is None:
        raise ReadError("it names no model, and no sizes of one", "give the config.json of a model", path)
    return replace(config, path=path)


def find(checkpoint: Checkpoint) -> Found:
    """Return the config that belongs to a checkpoint; the files are read once for each file of weights."""
    if checkpoint.origin is None:
        return Found(None)
    found: Found = checkpoint.origin.file.fact("config", lambda file: _find(checkpoint, file))
    return found


def _find(checkpoint: Checkpoint, file: File) -> Found:
    name = os.path.basename(file.path)
    first = Folder(os.path.dirname(file.path), name)
    if config := _inside(checkpoint, always=True):
        return Found(config, first)
    if name.startswith(_NO_MODELS):
        return Found(None, first)
    asked = _readers_for(name)
    for folder in _folders(first, file.stands_for):
        if config := _beside(folder, asked):
            return Found(config, folder, tuple(folder.notes))
    return Found(_inside(checkpoint, always=False), first, tuple(first.notes))


def _inside(checkpoint: Checkpoint, always: bool) -> Config | None:
    """What the file itself says. `always`: of a kind that has no other place; else of one that a file beside it would be preferred to."""
    asked = (reader for reader in readers.built_in() if always is not bool(reader.files))
    return next((config for reader in asked if (config := reader.inside(checkpoint))), None)


def _readers_for(weights: str) -> list[Reader]:
    """The readers to ask about a file of weights: those of its name alone where there are any; else those of general ones first."""
    known = sorted(readers.built_in(), key=lambda reader: bool(reader.weights))
    return [reader for reader in known if weights.startswith(reader.weights or ("\\0",))] or known


def _folders(folder: Folder, stands_for: str) -> Iterator[Folder]:
    """The folders to look into, the nearest first: up to the one that the user named, and out of those of steps and parts."""
    top = os.path.realpath(stands_for) if stands_for else ""
    for _ in range(_MOST_UP + 1):
        yield folder
        here = os.path.realpath(folder.path)
        below_named = top and here != top and here.startswith(os.path.join(top, ""))
        if not below_named and not _STEP_OR_PART.fullmatch(folder.name):
            return
        folder = folder.above


def _beside(folder: Folder, asked: list[Reader]) -> Config | None:
    config = next((config for reader in asked if (config := reader.beside(folder))), None)
    return replace(config, within=whole_of(folder)) if config else None

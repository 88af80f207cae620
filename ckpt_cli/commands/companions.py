"""What lies beside the weights of a model: small files that a model folder needs, and the rest, which stays behind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ..configs.folder import Folder
from ..configs.whole import module_types
from ..formats import Format, Index, SeveralFiles, formats
from ..storage.file import is_plain, leads_out
from ..tensors.checkpoint import Checkpoint

_LARGEST = 64 << 20  # bytes of a file beside the weights: the tokenizers of large vocabularies have 20 MB
# Configs, tokenizers, the model card, the licence and the model's own code; what a training keeps for itself is not among them.
_SMALL = re.compile(r".*\.(json|txt|md|model|jinja|py|tiktoken|ya?ml|bpe|vocab)|(LICENSE|LICENCE|NOTICE|USE_POLICY)[^/]*", re.IGNORECASE)
_TRAINING = {"trainer_state.json"}
_OF_SAVED_MODEL = ("saved_model.pb", "keras_metadata.pb", "fingerprint.pb")
_FOLDERS = ("additional_chat_templates", "assets")  # of transformers and of Keras' presets, besides those that modules.json names
_MOST_FILES = 1000  # of one such folder


def companions(checkpoint: Checkpoint) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the paths of the files beside the source that belong to the model, by name, and the names of what else is there.

    Where the source is no model folder, there are none. Links out of the folder are not followed, but for those of the hub's cache.
    """
    origin = checkpoint.origin
    own = formats[origin.format] if origin else None
    if origin is None or own is None or not (origin.file.stands_for or is_usual(os.path.basename(origin.path), own)):
        return {}, ()
    folder, weights = os.path.dirname(os.path.abspath(origin.path)), {os.path.abspath(file.path) for file in own.files_read(checkpoint)}
    below = below_whole(checkpoint)
    copied, left = _beside(folder, weights)
    if below:
        copied, left = {f"{below}/{name}": path for name, path in copied.items()}, [f"{below}/{name}" for name in left]
        others, more = _beside(os.path.dirname(folder), weights)
        copied, left = copied | others, left + more
    elif os.path.basename(folder) in _parts(Folder(os.path.dirname(folder))):
        left.append(f"the rest of {os.path.dirname(os.path.dirname(origin.path)) or os.curdir}/")
    return copied, tuple(left)


def below_whole(checkpoint: Checkpoint) -> str:
    """Return the name of the folder that the weights are in, where the folder above it is what was opened and is loaded as a whole.

    That is a SentenceTransformer, a pipeline of diffusers, or a SavedModel. Empty for all else.
    """
    path = checkpoint.origin.path if checkpoint.origin else ""
    folder = os.path.dirname(os.path.abspath(path))
    above, name = os.path.split(folder)
    stands_for = checkpoint.origin.file.stands_for if checkpoint.origin else ""
    if not stands_for or os.path.realpath(stands_for) != os.path.realpath(above):
        return ""
    if name == "variables" and os.path.isfile(os.path.join(above, "saved_model.pb")):
        return name
    return name if name in _parts(Folder(above)) else ""


def _parts(whole: Folder) -> set[str]:
    """The names of the folders below that hold parts of a model: modules of a SentenceTransformer, models of a pipeline."""
    return {*module_types(whole), *whole.object("model_index.json")}


def _beside(folder: str, weights: set[str]) -> tuple[dict[str, str], list[str]]:
    """The files in a folder that belong to the model, by name, and what else is there."""
    needed = _needed_folders(folder)
    copied: dict[str, str] = {}
    left: list[str] = []
    for name, path in _entries(folder):
        if path in weights or name.startswith(".") or any(each.startswith(os.path.join(path, "")) for each in weights):
            continue
        if leads_out(path, folder):
            left.append(f"{name} (a link to elsewhere)")
        elif os.path.isdir(path):
            inner, large = _module(path, name) if name in needed else ({}, [f"{name}/"])
            copied |= inner
            left += large
        elif os.path.isfile(path) and os.path.getsize(path) <= _LARGEST and _is_small(name):
            copied[name] = path
        else:
            left.append(name)
    return copied, left


def _is_small(name: str) -> bool:
    """Whether a file is called as what a model needs besides its weights."""
    return name in _OF_SAVED_MODEL or (bool(_SMALL.fullmatch(name)) and name not in _TRAINING and not is_weights(name))


def _needed_folders(folder: str) -> set[str]:
    """The names of the folders below that a model is not loaded without: the modules of a SentenceTransformer, chat templates."""
    named = module_types(Folder(folder)) if os.path.isfile(os.path.join(folder, "modules.json")) else {}
    return {path for path in named if path and "/" not in path and is_plain(path)} | set(_FOLDERS)


def _module(folder: str, name: str) -> tuple[dict[str, str], list[str]]:
    """The files of a folder below that are not large, with its own small weights; and the others."""
    copied: dict[str, str] = {}
    left: list[str] = []
    for number, (file, path) in enumerate(_entries(folder)):
        is_small = os.path.isfile(path) and not leads_out(path, os.path.dirname(folder)) and os.path.getsize(path) <= _LARGEST
        if is_small and number < _MOST_FILES:
            copied[f"{name}/{file}"] = path
        else:
            left.append(f"{name}/{file}")
    return copied, left


def _entries(folder: str) -> Iterator[tuple[str, str]]:
    """The names in a folder, in order, with their paths."""
    return ((name, os.path.join(folder, name)) for name in sorted(os.listdir(folder)))


def is_usual(name: str, form: Format) -> bool:
    """Return whether weights are called as in a model folder: by a usual name, that of a variant, an index, or the one of their format."""
    if isinstance(form, SeveralFiles | Index):
        return True
    stems = [os.path.splitext(usual) for each in formats.built_in() for usual in (*each.model_names, *each.adapter_names)]
    return any(re.fullmatch(rf"{re.escape(stem)}(\.[^.]+)?{re.escape(suffix)}", name) for stem, suffix in stems)


def is_weights(name: str) -> bool:
    """Return whether a file is called as weights are, or as an index of shards is."""
    called = (form for form in formats.built_in() if form.is_called(name))
    return any(isinstance(form, Index) or not name.endswith((".json", ".txt")) for form in called)

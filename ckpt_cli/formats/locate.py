"""Which file stands for a path: the file itself, the model in a folder, the main file of a prefix; and what lies beside it."""

from __future__ import annotations

import os
import re

from ..errors import ReadError, about
from ..tensors.checkpoint import Checkpoint
from . import formats

# What a folder's model is called, the likeliest first.
_STEMS = ("model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.bin")
_MODELS = [name + index for name in (*_STEMS, "adapter_model.safetensors", "adapter_model.bin") for index in ("", ".index.json")]


def find(path: str) -> str:
    """The file that `path` means: itself, or the model in a folder, or in the one folder below that has one. Raises ReadError."""
    if path == "-":
        raise ReadError("a checkpoint is read from a file, not from standard input", "give its path")
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        return _stands_for(path) or path
    found = _models(path)
    if not found:
        with about(path):
            below = sorted(entry.path for entry in os.scandir(path) if entry.is_dir())
        found = [model for folder in below for model in _models(folder)[:1]]
    _check_whole(path, found)
    if len(found) == 1:
        return found[0]
    if not found:
        raise ReadError("the folder holds no model", "give the file itself", path)
    listed = ", ".join(os.path.relpath(model, path) for model in found[:20]) + (", …" if len(found) > 20 else "")
    raise ReadError(f"the folder holds several models: {listed}", f"name the one that you mean: {found[0]}", path)


_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})(\.\w+)")


def _check_whole(path: str, found: list[str]) -> None:
    """Raises ReadError where what was found in the folder `path` are shards without their index."""
    shards = [shard for model in found if (shard := _SHARD.fullmatch(os.path.relpath(model, path)))]
    if not shards or len(shards) < len(found) or (len(shards), int(shards[0][2])) == (1, 1):
        return
    total, index = int(shards[0][2]), f"{shards[0][1]}{shards[0][3]}.index.json"
    count = f"{total}" if len(shards) == total else f"{len(shards)} of {total}"
    raise ReadError(f"{count} shards, whose index ({index}) is missing", "download it, too, or name one of the shards", path)


def _models(folder: str) -> list[str]:
    """The model in a folder, by the names that models have, or by what makes it a checkpoint itself; else all that could be one."""
    inside = _checkpoints(folder)
    for name in _MODELS:
        if name in inside:
            return [os.path.join(folder, name)]
    if whole := _stands_for(folder):
        return [whole]
    indices = [name for name in inside if name.endswith(".index.json")]
    return [os.path.join(folder, name) for name in indices or inside]


def _stands_for(path: str) -> str | None:
    """The file by which a checkpoint of several files is known: of a folder, or of a prefix."""
    return next((found for form in formats.built_in() if (found := form.find(path))), None)


def _checkpoints(folder: str) -> list[str]:
    suffixes = tuple(suffix for form in formats.built_in() if form.alone for suffix in form.suffixes)
    with about(folder):
        return sorted(name for name in os.listdir(folder) if name.endswith(suffixes))


def beside(path: str, found: Checkpoint) -> tuple[str, ...]:
    """What lies beside the model in the folder `path` and is opened by a path of its own: an optimizer, random states, another model."""
    if not os.path.isdir(path) or found.origin is None:
        return ()
    home = os.path.dirname(found.origin.path)
    own = {os.path.basename(file.path) for file in formats[found.origin.format].parts(found)}
    others = [name for name in _checkpoints(home) if name not in own]
    return (f"{found.origin.path} is opened; beside it lie {', '.join(others[:8])}",) if others else ()

"""`-o DIR/`: a model folder: the weights under their usual name, in shards as the source has them, and the small files beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..errors import WriteError
from ..formats import Index, Savable, formats
from ..tensors.checkpoint import Checkpoint
from .companions import below_whole, companions, is_usual, is_weights

if TYPE_CHECKING:
    from ..configs import Config
    from ..configs.json_text import Path
    from ..disk.layout import FileLayout
    from ..writing import Folder

_DIFFUSERS = "diffusion_pytorch_model.safetensors"
_DEFAULT = "safetensors"  # the format whose usual name the weights get where their own has none


class ModelFolder(NamedTuple):
    """A model folder to be written.

    Attributes:
        path: Its path.
        weights: The path of the weights in it: their file, or the main one of several.
        copied: The paths of the files that are copied into it, by their names there.
        left: The names of what else lies beside the source.
        replaced: The paths of the shards of the model that is there.
        made: The contents of other small files by name.
    """

    path: str
    weights: str
    copied: Mapping[str, str] = {}
    left: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    made: tuple[tuple[str, bytes], ...] = ()

    def written(self) -> Folder:
        """What is written beside the weights, and which shards are removed where they are not written."""
        from ..disk.file_to_write import FileToWrite
        from ..writing import Folder

        files = [FileToWrite(os.path.join(self.path, name), partial(_copy, path)) for name, path in self.copied.items()]
        files += [FileToWrite(os.path.join(self.path, name), partial(_write, contents)) for name, contents in self.made]
        return Folder(self.path, files, self.replaced)

    def name_of(self, path: str) -> str:
        """Return what the small file at `path` is called in the folder, which it is copied into or is in already; empty for others."""
        own = os.path.join(os.path.dirname(self.weights), os.path.basename(path))
        here = (name for name, other in self.copied.items() if os.path.realpath(other) == os.path.realpath(path))
        return next(here, os.path.relpath(own, self.path) if os.path.realpath(own) == os.path.realpath(path) else "")

    def without(self, names: Sequence[str]) -> ModelFolder:
        """Return the folder without small files of these names, which are left behind."""
        gone = tuple(name for name in self.copied if os.path.basename(name) in names)
        return self._replace(copied={name: path for name, path in self.copied.items() if name not in gone}, left=(*self.left, *gone))

    def making(self, name: str, contents: bytes) -> ModelFolder:
        """Return the folder with a small file of these contents, which is then not copied."""
        return self._replace(copied={each: path for each, path in self.copied.items() if each != name}, made=(*self.made, (name, contents)))


def _copy(path: str, file_layout: FileLayout) -> None:
    """Lay out a copy of the small file at `path`."""
    with open(path, "rb") as file:
        file_layout.write(file.read())


def _write(contents: bytes, file_layout: FileLayout) -> None:
    """Lay out a small file of these contents."""
    file_layout.write(contents)


def is_folder(output: str | None) -> bool:
    """Whether -o names a model folder: its path ends in a slash."""
    return output is not None and output.endswith("/")


def model_folder(checkpoint: Checkpoint, output: str, name: str, replace: bool = False) -> ModelFolder:
    """The folder `output` for a checkpoint that is edited.

    Args:
        checkpoint: The checkpoint as it was read.
        output: The folder, which ends in a slash.
        name: What the weights are called in it; a name with a slash is in a folder below.
        replace: Whether the folder may be there already.

    Raises:
        WriteError: It is there already, or holds another model.
    """
    path = output.rstrip("/") or "/"
    weights = os.path.join(path, name)
    require_free(path, weights, replace)
    if checkpoint.origin and os.path.realpath(weights) == os.path.realpath(checkpoint.origin.path):
        return ModelFolder(path, weights)  # of which unchanged shards are not written
    copied, left = companions(checkpoint)
    return ModelFolder(path, weights, copied, left, tuple(_shards_listed(weights)))


def fresh_folder(checkpoint: Checkpoint, config: Config, output: str, replace: bool = False) -> ModelFolder:
    """The folder `output` for a checkpoint that is made from a config: its weights, in shards where they are large, and the config.

    Raises:
        WriteError: It is there already, or holds another model.
    """
    from ..configs.json_text import REMOVED
    from ..configs.quantisation import OF_PACKED
    from ..formats.safetensors.format_sharded import SHARD_SIZE
    from ..formats.safetensors.index_names import SUFFIX

    name = _DIFFUSERS if config.library == "diffusers" else formats[_DEFAULT].model_names[0]
    if sum(tensor.nbytes for tensor in checkpoint.distinct().values()) > SHARD_SIZE:
        name += SUFFIX
    path = output.rstrip("/") or "/"
    weights, called = os.path.join(path, name), os.path.basename(config.path)
    require_free(path, weights, replace)
    folder = ModelFolder(path, weights, {called: config.path}, replaced=tuple(_shards_listed(weights)))
    packed = [key for key in OF_PACKED if key in config.entries]  # what is made is not quantised
    return folder.making(called, rewritten(config, [((key,), REMOVED) for key in packed])) if packed else folder


def rewritten(config: Config, changes: Sequence[tuple[Path, object]]) -> bytes:
    """Return the file of a config with entries changed, which is as it was in all else."""
    from ..configs.json_text import changed

    with open(config.path, encoding="utf-8", newline="") as file:
        return changed(file.read(), changes).encode("utf-8")


def require_free(folder: str, weights: str, replace: bool) -> None:
    """Refuse a folder that is there already, and one that holds another model than the one at the path `weights`.

    Raises:
        WriteError: It is one of these.
    """
    if not os.path.lexists(folder):
        return
    if not os.path.isdir(folder):
        raise WriteError("this is no folder", "choose another name, or leave out the slash", folder)
    if not replace:
        raise WriteError("the folder is there already", "--force writes into it, or choose another name", folder)
    within = os.path.dirname(weights)
    names = sorted(os.listdir(within)) if os.path.isdir(within) else []
    others = [name for name in names if is_weights(name) and name != os.path.basename(weights)]
    listed = _listed(weights)
    if stray := next((name for name in others if name not in listed), None):
        raise WriteError(f"the folder holds another model: {stray}", "remove it, or choose another folder", folder)


def _listed(weights: str) -> set[str]:
    """The shards that an index at the path `weights` lists."""
    index = next((form for form in formats.built_in() if isinstance(form, Index) and form.is_called(weights)), None)
    return set(index.listed(weights)) if index and os.path.isfile(weights) else set()


def _shards_listed(weights: str) -> Iterator[str]:
    """The paths of the shards that are there, of those that an index at the path `weights` lists."""
    paths = (os.path.join(os.path.dirname(weights), name) for name in sorted(_listed(weights)))
    return (path for path in paths if os.path.isfile(path))


def weights_name(checkpoint: Checkpoint, format_name: str | None) -> str:
    """Return what the weights are called in a folder: as in the folder of the source, or as their format's usually are.

    Where the source is a whole of several folders, that of the weights stands before it, and a slash.
    """
    below = below_whole(checkpoint)
    name = _name(checkpoint, format_name)
    return f"{below}/{name}" if below else name


def _name(checkpoint: Checkpoint, format_name: str | None) -> str:
    """What the file of the weights is called."""
    origin = checkpoint.origin
    own = formats[origin.format] if origin else None
    name = os.path.basename(origin.path) if origin else ""
    if format_name is None and origin and own and isinstance(own, Savable) and is_usual(name, own):
        return name
    form = formats[format_name] if format_name else own
    usual = form.model_names if isinstance(form, Savable) else ()
    if not usual and form is own and isinstance(own, Savable) and own.is_target:
        return name
    return (usual or formats[_DEFAULT].model_names)[0]

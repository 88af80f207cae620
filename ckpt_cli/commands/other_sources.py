"""The other files that an edit reads: none of them is where its result goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ..errors import UsageError, about
from ..formats import Savable, SeveralFiles, formats
from ..tensors.checkpoint import Checkpoint
from .editing import Destination, target_and_format
from .params import open_checkpoint

_CONFIGS = ("config.json", "adapter_config.json")


class Others(dict[str, Checkpoint]):
    """The other checkpoints that an edit has opened, by their paths."""

    def open(self, path: str) -> Checkpoint:
        """Return the checkpoint at `path`; it is opened once."""
        if path not in self:
            self[path] = open_checkpoint(path)
        return self[path]


def refuse_outputs(before: Checkpoint, after: Checkpoint, to: Destination, others: Iterable[Checkpoint], texts: Iterable[str] = ()) -> None:
    """Check that the result of an edit replaces none of the other files that it is made of, nor a config beside one.

    Nothing but headers is read.

    Args:
        before: The checkpoint as it was read. It may itself be one of the others.
        after: The checkpoint as the edit made it.
        to: The destination.
        others: The other checkpoints.
        texts: The paths of other files that were read, such as a recipe.

    Raises:
        UsageError: The result would be written over one of them, under whatever name.
    """
    own = {_identity(path) for path in _files(before)}
    others = [*others]
    paths = [path for other in others for path in _files(other)] + [*texts, *_configs((before, *others))]
    read = {_identity(path): path for path in paths}
    for path in _outputs(before, after, to) if read.keys() - own else ():
        identity = _identity(path)
        if identity in read and identity not in own:
            raise UsageError(f"the result would replace {read[identity]}, which it is made of", "write it to another file", path)


def _files(checkpoint: Checkpoint) -> list[str]:
    """The paths of the files that a checkpoint was read from."""
    origin = checkpoint.origin
    return [file.path for file in formats[origin.format].files_read(checkpoint)] if origin else []


def _configs(checkpoints: Iterable[Checkpoint]) -> Iterator[str]:
    """The configs that lie beside checkpoints."""
    folders = {os.path.dirname(each.origin.path) for each in checkpoints if each.origin}
    paths = (os.path.join(folder, name) for folder in sorted(folders) for name in _CONFIGS)
    return (path for path in paths if os.path.isfile(path))


def _outputs(before: Checkpoint, after: Checkpoint, to: Destination) -> Iterator[str]:
    """The paths that are written, as far as they are known before."""
    target, form, _ = target_and_format(before, to)
    yield target
    if isinstance(form, SeveralFiles) and isinstance(form, Savable):
        with about(target):
            yield from (file.path for file in form.files_to_write(after, form.main_file(target, after)))


def _identity(path: str) -> object:
    """Equal for names of one file; of what does not exist, the path itself."""
    try:
        found = os.stat(path)
    except OSError:
        return os.path.abspath(path)
    return found.st_dev, found.st_ino

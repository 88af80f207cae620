"""TensorFlow's checkpoints since 0.12 (tf.train.Checkpoint, Saver, save_weights): PREFIX.index and PREFIX.data-00000-of-00001, ….

    PREFIX.index    a LevelDB table: "" → header, NAME → dtype, shape, data file, offset, size, CRC-32C
    PREFIX.data-…   the bytes of the tensors, one after the other, little-endian

As in tensorflow/core/util/tensor_bundle. Peculiarities:
- A checkpoint is its prefix; a folder means the one that its file `checkpoint` names, a SavedModel its variables.
- Variables of an object graph have names that end in `/.ATTRIBUTES/VARIABLE_VALUE`: that is left out here, and written again.
- Strings (the object graph is one) are objects: carried along. A partitioned variable is slices of one tensor.
- Tied names are entries of the same bytes: TensorFlow reads them, and writes them apart.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ...errors import about
from ...storage.file import File, leads_out
from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint
from .. import Format, changed_storages, formats

if TYPE_CHECKING:
    from ...disk.file_to_write import FileToWrite

_MAGIC = bytes.fromhex("57fb808b247547db")
_LATEST = re.compile(rb'\s*model_checkpoint_path:\s*"([^"\\]{1,4096})"')


class TensorFlow(Format):
    name = "tensorflow"
    title = "TensorFlow checkpoint (.index and .data)"
    called = "a TensorFlow checkpoint"
    suffixes = (".index",)
    patches = ties = objects = prefixed = True
    layout = "io"

    def find(self, path: str) -> str | None:
        if os.path.isdir(path):
            return _saved_model(path) or _latest(path)
        return path + ".index" if os.path.isfile(path + ".index") and not os.path.exists(path) else None

    def sniff(self, file: File) -> bool:
        return is_table(file) and not is_first_version(file)

    def read(self, file: File) -> Checkpoint:
        from .bundle import Bundle

        bundle = Bundle(file)
        return Checkpoint(bundle.tensors(), objects=bundle.objects(), rest=bundle, separator="/")

    def check(self, checkpoint: Checkpoint) -> None:
        from .bundle_writing import Plan

        Plan(checkpoint)

    def carried(self, checkpoint: Checkpoint) -> Iterable[str]:
        from .bundle_writing import carried

        return carried(checkpoint)

    def outputs(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        from .bundle_patching import patched
        from .bundle_writing import written_anew

        origin = checkpoint.origin
        own = origin is not None and origin.format == self.name
        found = patched(checkpoint, changed_storages(checkpoint), path) if own else None
        yield from written_anew(checkpoint, path) if found is None else found

    def emptied(self, checkpoint: Checkpoint, path: str) -> list[str]:
        from .bundle_patching import superseded

        origin = checkpoint.origin
        same = origin and origin.format == self.name and os.path.realpath(path) == os.path.realpath(origin.path)
        return superseded(checkpoint, changed_storages(checkpoint)) if same else []

    def records(self, checkpoint: Checkpoint) -> Iterable[tuple[str, Storage]]:
        from .bundle import Bundle

        return checkpoint.rest.records() if isinstance(checkpoint.rest, Bundle) else ()

    def parts(self, checkpoint: Checkpoint) -> list[File]:
        from .bundle import Bundle

        files = checkpoint.rest.files if isinstance(checkpoint.rest, Bundle) else {}
        return super().parts(checkpoint) + [files[shard] for shard in sorted(files)]


def is_table(file: File) -> bool:
    """Whether it is a LevelDB table, which TensorFlow alone keeps checkpoints in."""
    return file.size >= 48 + 2 * 5 and file.read(file.size - 8, 8) == _MAGIC


def is_first_version(file: File) -> bool:
    """Whether the value of the first key is a message, as in the files from before 0.12, and not the header of a bundle."""
    from ...errors import Malformed
    from .sstable import Table, first_value

    try:
        return first_value(Table(file))[:1] == b"\n"
    except Malformed:
        return False


def _saved_model(folder: str) -> str | None:
    index = os.path.join(folder, "variables", "variables.index")
    return index if os.path.isfile(os.path.join(folder, "saved_model.pb")) and os.path.isfile(index) else None


def _latest(folder: str) -> str | None:
    """What the file `checkpoint` in a folder names. Folders are moved: of an absolute path, the name counts."""
    state = os.path.join(folder, "checkpoint")
    if not os.path.isfile(state):
        return None
    with about(state), open(state, "rb") as file:
        found = _LATEST.match(file.read(8192))
    if not found or b"\0" in found[1]:
        return None
    named = os.fsdecode(found[1])
    prefix = os.path.join(folder, os.path.basename(named) if os.path.isabs(named) else named)
    path = next((path for path in (prefix + ".index", prefix) if os.path.isfile(path)), None)
    return path if path and not leads_out(path, folder) else None


formats.add(TensorFlow.name, TensorFlow())

"""TensorFlow's checkpoints since 0.12 (tf.train.Checkpoint, Saver, save_weights): PREFIX.index and PREFIX.data-00000-of-00001, ….

    PREFIX.index    a LevelDB table: "" → header, NAME → dtype, shape, data file, offset, size, CRC-32C
    PREFIX.data-…   the bytes of the tensors, one after the other, little-endian

As in tensorflow/core/util/tensor_bundle. Peculiarities:
- A checkpoint is called by its prefix. A folder stands for the checkpoint that its file `checkpoint` names, a SavedModel for its variables.
- Variables of an object graph have names that end in `/.ATTRIBUTES/VARIABLE_VALUE`: that is left out here, and written again.
- Strings (the object graph is one) are objects, and are written again. A partitioned variable lies in slices, and is one tensor here.
- Tied names are entries of the same bytes: TensorFlow reads them as two variables, and writes each by itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ...errors import UnknownFormat, about
from ...storage.file import File, leads_out
from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint
from .. import HasChecksums, Patcher, SeveralFiles, Writer, formats

if TYPE_CHECKING:
    from ...disk.file_to_write import FileToWrite

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_MAGIC = bytes.fromhex("57fb808b247547db")
_LATEST = re.compile(rb'\s*model_checkpoint_path:\s*"([^"\\]{1,4096})"')
_DATA = re.compile(r"(?P<prefix>.+)\.data-\d{5}-of-\d{5}", re.DOTALL)  # as in tensorflow/core/util/tensor_bundle/naming.h


class TensorFlow(SeveralFiles, Writer, Patcher, HasChecksums):
    """Bundles of an index and its data files."""

    name = "tensorflow"
    title = "TensorFlow checkpoint (.index and .data)"
    called = "a TensorFlow checkpoint"
    suffixes = (".index",)
    ties = objects = by_prefix = True
    axes = "io"

    def locate(self, path: str) -> str | None:
        """The index of the checkpoint that the folder `path` stands for, or whose prefix is `path`."""
        if os.path.isdir(path):
            return _saved_model(path) or _latest(path)
        return path + ".index" if os.path.isfile(path + ".index") and not os.path.exists(path) else None

    def part_error(self, path: str) -> UnknownFormat | None:
        """The error for a data file whose index lies beside it."""
        data = _DATA.fullmatch(path)
        if not data or not os.path.isfile(data["prefix"] + ".index"):
            return None
        return UnknownFormat("this holds the data of a TensorFlow checkpoint, which goes by its prefix", f"give {data['prefix']}")

    def stray_part_error(self, path: str) -> UnknownFormat | None:
        """The error for a file that is called as a data file is."""
        data = _DATA.fullmatch(path)
        what = "this may hold the data of a TensorFlow checkpoint, whose index is missing"
        return UnknownFormat(what, f"copy {data['prefix']}.index, too") if data else None

    def sniff(self, file: File) -> bool:
        """A table that begins with the header of a bundle."""
        return is_table(file) and not is_first_version(file)

    def read(self, file: File) -> Checkpoint:
        """The variables that the index lists, strings as objects; the data files are opened, not read."""
        from .bundle import Bundle

        bundle = Bundle(file)
        return Checkpoint(bundle.tensors(), objects=bundle.objects(), rest=bundle, separator="/", undecoded=bundle.undecoded())

    def sizes_told(self, checkpoint: Checkpoint, changed: Mapping[str, tuple[int, ...]]) -> str:
        """The graph of a SavedModel."""
        folder = os.path.dirname(os.path.dirname(os.path.abspath(checkpoint.origin.path))) if checkpoint.origin else ""
        graph = os.path.join(folder, "saved_model.pb")
        return f"{graph} keeps the old sizes, and a SavedModel is not loaded with other ones: save it anew" if os.path.isfile(graph) else ""

    def check_place(self, checkpoint: Checkpoint) -> None:
        """Raise CannotHold for a tensor or a name that a bundle has no place for."""
        from .bundle_writing import Plan

        Plan(checkpoint)

    def main_file(self, path: str, checkpoint: Checkpoint | None = None) -> str:
        """The index of the prefix `path`, or `path` itself where it is one."""
        return path if path.endswith(self.suffixes) else path + self.suffixes[0]

    def told_of_new(self, checkpoint: Checkpoint, new: str) -> str:
        """That TensorFlow goes by the object graph in the bundle, where there is one."""
        graph = any(_OBJECT_GRAPH in name for name in checkpoint.objects)
        return f"the object graph in the checkpoint does not know of {new}: tf.train.Checkpoint restores none of it" if graph else ""

    def objects_to_write(self, checkpoint: Checkpoint) -> Iterable[str]:
        """The strings that were read from a bundle."""
        from .bundle_writing import carried

        return carried(checkpoint)

    def files_to_write(self, checkpoint: Checkpoint, path: str) -> Iterator[FileToWrite]:
        """The files with the values that changed, patched; where more than values changed, one data file and the index, anew."""
        from ..patching import changed_storages
        from .bundle_patching import patched
        from .bundle_writing import written_anew

        files = patched(checkpoint, changed_storages(checkpoint), path) if self.is_origin_of(checkpoint) else None
        yield from written_anew(checkpoint, path) if files is None else files

    def files_to_remove(self, checkpoint: Checkpoint, path: str) -> list[str]:
        """The data files that a bundle written anew in the same place has no use for."""
        from ..patching import changed_storages
        from .bundle_patching import superseded

        origin = checkpoint.origin if self.is_origin_of(checkpoint) else None
        same_place = origin is not None and os.path.realpath(path) == os.path.realpath(origin.path)
        return superseded(checkpoint, changed_storages(checkpoint)) if same_place else []

    def checksummed(self, checkpoint: Checkpoint) -> Iterable[tuple[str, Storage]]:
        """The blocks of the index, and the strings."""
        from .bundle import Bundle

        return checkpoint.rest.records() if isinstance(checkpoint.rest, Bundle) else ()

    def files_read(self, checkpoint: Checkpoint) -> list[File]:
        """The index, then the data files."""
        from .bundle import Bundle

        files = checkpoint.rest.files if isinstance(checkpoint.rest, Bundle) else {}
        return super().files_read(checkpoint) + [files[shard] for shard in sorted(files)]


def is_table(file: File) -> bool:
    """Whether `file` is a LevelDB table; of frameworks, TensorFlow alone keeps checkpoints in one."""
    return file.size >= 48 + 2 * 5 and file.read(file.size - 8, 8) == _MAGIC


def is_first_version(file: File) -> bool:
    """Whether the first value of a table is a message, as in files from before 0.12, and not the header of a bundle."""
    from ...errors import Malformed
    from .sstable import Table, first_value

    try:
        return first_value(Table(file))[:1] == b"\n"
    except Malformed:
        return False


def _saved_model(folder: str) -> str | None:
    """The index of the variables of a SavedModel."""
    index = os.path.join(folder, "variables", "variables.index")
    return index if os.path.isfile(os.path.join(folder, "saved_model.pb")) and os.path.isfile(index) else None


def _latest(folder: str) -> str | None:
    """The index of what the file `checkpoint` in a folder names. As folders are moved, only the name of an absolute path counts."""
    state = os.path.join(folder, "checkpoint")
    if not os.path.isfile(state):
        return None
    with about(state), open(state, "rb") as file:
        latest = _LATEST.match(file.read(8192))
    if not latest or b"\0" in latest[1]:
        return None
    named = os.fsdecode(latest[1])
    prefix = os.path.join(folder, os.path.basename(named) if os.path.isabs(named) else named)
    path = next((path for path in (prefix + ".index", prefix) if os.path.isfile(path)), None)
    return path if path and not leads_out(path, folder) else None


formats.add(TensorFlow.name, TensorFlow())

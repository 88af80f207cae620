"""TensorFlow's checkpoints from before 0.12 (tf.train.Saver with write_version V1): one file, called by its prefix alone.

    a LevelDB table: "" → names, shapes, dtypes and slices; KEY OF A SLICE → its values

As in tensorflow/core/util/tensor_slice_writer.cc. Such files are read, not written; an edited checkpoint is written to a new place, as the
bundle that every TensorFlow since 0.12 reads (`--format tensorflow`, or `-o PREFIX.index`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ...storage.file import File
from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint
from .. import HasChecksums, formats
from .format_tensorflow import is_first_version, is_table


class TensorFlowV1(HasChecksums):
    """Checkpoints of `tf.train.Saver` before 0.12."""

    name = "tensorflow-v1"
    title = "TensorFlow checkpoint before 0.12 (V1)"
    objects = True
    axes = "io"

    def sniff(self, file: File) -> bool:
        """A table whose first value is a message about tensors."""
        return is_table(file) and is_first_version(file)

    def read(self, file: File) -> Checkpoint:
        """The variables, put together from their slices; strings as objects."""
        from .saved_slices import SavedSlices

        saved = SavedSlices(file)
        return Checkpoint(saved.tensors, objects=saved.objects, rest=saved, separator="/", undecoded=saved.undecoded)

    def checksummed(self, checkpoint: Checkpoint) -> Iterable[tuple[str, Storage]]:
        """The blocks of the table."""
        from .saved_slices import SavedSlices

        return checkpoint.rest.records() if isinstance(checkpoint.rest, SavedSlices) else ()


formats.add(TensorFlowV1.name, TensorFlowV1())

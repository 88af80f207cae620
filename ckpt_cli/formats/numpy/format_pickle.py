"""Pickles of numpy arrays (`pickle.dump` of a dict of them; .pkl), protocols 0 to 5, of Python 2 and 3.

    opcodes that make dicts, lists, and calls of numpy._core.multiarray._reconstruct, whose state is (1, shape, dtype, fortran, bytes)

As in CPython's Lib/pickletools.py and numpy's methods.c (`array_reduce`), numeric.py (`_frombuffer`). Peculiarities:
- The pickle is read as symbols; nothing is called.
- Bytes are bytes, a bytearray, Python 2's `str`, or text in latin-1 (below protocol 3). Arrays that are one object are tied.
- Written: the tree that was read, with its edits, in its protocol; of another format, a dict of arrays, in protocol 4. What has no dtype of
  numpy's (bfloat16) is cast first, unless it is as it was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, Writer, formats
from ..encodings.pickle_sniffing import is_array_pickle, is_paddle_pickle

if TYPE_CHECKING:
    from ...disk.layout import FileLayout


class Pickle(Writer, Patcher):
    """Pickles of numpy arrays by any program."""

    name = "pickle"
    title = "Pickled numpy arrays"
    suffixes = (".pkl", ".pickle", ".joblib")
    ties = objects = edits_objects = True

    def sniff(self, file: File) -> bool:
        """A pickle that names numpy and is not Paddle's."""
        return is_array_pickle(file) and not is_paddle_pickle(file)

    def read(self, file: File) -> Checkpoint:
        """The arrays under the paths by which they are reached from the pickled object; all else in it as objects."""
        from ..encodings.pickle_file import no_storage, read_pickles
        from ..encodings.pickled_tensors import TensorReader

        return read_pickles(file, TensorReader(no_storage))

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """The tree that was read, with its edits, or a new dict of arrays. Raises CannotHold where numpy has no such dtype."""
        from ..encodings.array_pickles import ArrayEditor, edited_pickle, lay_out, new_pickle
        from ..encodings.pickle_file import no_storage
        from ..encodings.pickled_tensors import TensorReader

        is_edit = self.is_origin_of(checkpoint)
        lay_out(edited_pickle(ArrayEditor(checkpoint, TensorReader(no_storage))) if is_edit else new_pickle(checkpoint), file_layout)


formats.add(Pickle.name, Pickle())

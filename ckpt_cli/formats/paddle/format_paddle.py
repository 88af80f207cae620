"""Paddle's pickles (`paddle.save`; .pdparams .pdopt .pdz): dicts of numpy arrays, or of calls that stand for tensors.

    {NAME: array, …, "StructuredToParameterName@@": {NAME: name in the program}}     a state dict
    {…: tuple((name, array)), …: eval("data", {"data": array})}                      anything else

As in python/paddle/framework/io.py. Nothing is called; bfloat16 lies in arrays of uint16. Written: the tree that was read, with its edits,
which the table of names follows; of another format, a state dict in which each name stands for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, Writer, formats
from ..encodings.pickle_sniffing import is_array_pickle, is_paddle_pickle

if TYPE_CHECKING:
    from ...disk.layout import FileLayout


class Paddle(Writer, Patcher):
    """Pickles by `paddle.save`."""

    name = "paddle"
    title = "Paddle (paddle.save)"
    suffixes = (".pdparams", ".pdopt", ".pdz")
    ties = objects = edits_objects = True
    axes = "io"

    def sniff(self, file: File) -> bool:
        """A pickle of numpy arrays with what only Paddle writes."""
        return is_array_pickle(file) and is_paddle_pickle(file)

    def read(self, file: File) -> Checkpoint:
        """The tensors under the paths by which they are reached from the pickled object; all else in it as objects."""
        from ..encodings.pickle_file import no_storage, read_pickles
        from .tensor_calls import PaddleReader

        return read_pickles(file, PaddleReader(no_storage))

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """The tree that was read, with its edits, or a new state dict. Raises CannotHold where Paddle has no such dtype."""
        from ..encodings.array_pickles import lay_out
        from .state_dict_writing import pieces_of

        lay_out(pieces_of(checkpoint, edited=self.is_origin_of(checkpoint)), file_layout)


formats.add(Paddle.name, Paddle())

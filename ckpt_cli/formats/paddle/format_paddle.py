"""Paddle's pickles (`paddle.save`; .pdparams .pdopt .pdz): dicts of numpy arrays, or of calls that stand for tensors.

    {NAME: array, …, "StructuredToParameterName@@": {NAME: name in the program}}     a state dict
    {…: tuple((name, array)), …: eval("data", {"data": array})}                      anything else

As in python/paddle/framework/io.py. Nothing is called; bfloat16 lies in arrays of uint16. Read, not written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...storage.file import File
from .. import formats
from ..encodings.pickle_sniffing import is_array_pickle, is_paddle_pickle
from ..numpy.format_pickle import Pickle

if TYPE_CHECKING:
    from ..encodings.pickled_tensors import TensorReader


class Paddle(Pickle):
    """Pickles by `paddle.save`."""

    name = "paddle"
    title = "Paddle (paddle.save)"
    suffixes = (".pdparams", ".pdopt", ".pdz")
    axes = "io"

    def sniff(self, file: File) -> bool:
        """A pickle of numpy arrays with what only Paddle writes."""
        return is_array_pickle(file) and is_paddle_pickle(file)

    def reader(self) -> TensorReader:
        """What tells Paddle's tensors, too, from other objects."""
        from ..encodings.pickle_file import no_storage
        from .tensor_calls import PaddleReader

        return PaddleReader(no_storage)


formats.add(Paddle.name, Paddle())

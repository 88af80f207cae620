"""Paddle's pickles (`paddle.save`; .pdparams .pdopt .pdz): dicts of numpy arrays, or of calls that stand for tensors.

    {NAME: array, …, "StructuredToParameterName@@": {NAME: name in the program}}     a state dict
    {…: tuple((name, array)), …: eval("data", {"data": array})}                      anything else

As in python/paddle/framework/io.py. Nothing is called; bfloat16 lies in arrays of uint16. Read, not written.
"""

from __future__ import annotations

from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import Format, formats
from ..numpy.format_pickle import beginning, is_pickle

_TABLE = "StructuredToParameterName@@"
_CALLS = rb"builtins(?:\x94|q.|r.{4})?\x8c\x05tuple|c(?:builtins|__builtin__)\n(?:tuple|eval)\n|builtins\x94?\x8c\x04eval"
_TAIL = 1 << 20


def is_paddle(file: File) -> bool:
    """Whether a pickle says so: the table of names at the end of a state dict, or tensors as calls of tuple or eval."""
    import re

    if re.search(_CALLS, beginning(file), re.DOTALL) or _TABLE.encode() in beginning(file):
        return True
    count = min(_TAIL, file.size)
    return _TABLE.encode() in file.read(file.size - count, count)


class Paddle(Format):
    name = "paddle"
    title = "Paddle (paddle.save)"
    suffixes = (".pdparams", ".pdopt", ".pdz")
    layout = "io"
    writes = False
    ties = objects = True

    def sniff(self, file: File) -> bool:
        return is_pickle(file) and is_paddle(file)

    def read(self, file: File) -> Checkpoint:
        from ..encodings.pickle_file import no_storage, read_pickle
        from .tensor_calls import PaddleReader

        return read_pickle(file, PaddleReader(no_storage))


formats.add(Paddle.name, Paddle())

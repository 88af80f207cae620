"""Pickles of numpy arrays (`pickle.dump` of a dict of them; .pkl), protocols 0 to 5, of Python 2 and 3.

    opcodes that make dicts, lists, and calls of numpy._core.multiarray._reconstruct, whose state is (1, shape, dtype, fortran, bytes)

As in CPython's Lib/pickletools.py and numpy's methods.c (`array_reduce`), numeric.py (`_frombuffer`). Read as symbols, nothing is called.
Peculiarities: bytes are bytes, a bytearray, Python 2's `str`, or text in latin-1 (below protocol 3); arrays that are one object are tied.
Not written: what loads such a file would run what is in it; safetensors or .npz hold the same.
"""

from __future__ import annotations

from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import Format, formats

# How a pickle begins: its protocol, or what protocols 0 and 1 have there, a container or a class.
_BEGINS = rb"\x80[\x02-\x05]|\((?:[dl]p\d|[(c])|[}\]][q(]|c(?:numpy|collections|copy_reg|_codecs|__builtin__)"
_LOOKED_AT = 1 << 16  # bytes: a file that names numpy later than that is not told to be one


def is_pickle(file: File) -> bool:
    """Whether the file is a pickle that names numpy early on, and none of torch's."""
    head = file.head
    if head[:1] not in (b"\x80", b"(", b"}", b"]", b"c") or b"torch." in head[:64] or b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" in head[:32]:
        return False
    import re  # most files are told apart without

    return re.match(_BEGINS, head) is not None and b"numpy" in beginning(file)


def beginning(file: File) -> bytes:
    found: bytes = file.fact("beginning", lambda file: file.read(0, min(_LOOKED_AT, file.size)))
    return found


class Pickle(Format):
    name = "pickle"
    title = "Pickled numpy arrays"
    suffixes = (".pkl", ".pickle")
    writes = False
    ties = objects = True

    def sniff(self, file: File) -> bool:
        from ..paddle.format_paddle import is_paddle

        return is_pickle(file) and not is_paddle(file)

    def read(self, file: File) -> Checkpoint:
        from ..encodings.pickle_file import no_storage, read_pickle
        from ..encodings.pickled_tensors import TensorReader

        return read_pickle(file, TensorReader(no_storage))


formats.add(Pickle.name, Pickle())

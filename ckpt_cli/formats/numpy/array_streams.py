"""Arrays that follow one another in a file, and what is pickled in an array of objects: what .npy and .npz have in common.

As numpy.save writes them to one open file, and Equinox' `tree_serialise_leaves` (equinox/_serialisation.py). Before the arrays may stand a
line of JSON, where Equinox' documentation has the hyperparameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ...errors import CannotHold, Malformed
from ...storage.file import File
from ...storage.storage import Extent, Overlay, Storage
from ...tensors.checkpoint import Checkpoint
from ..encodings.one_of_several import one_of_several
from .npy import MAGIC, Header, elements_nbytes, header, tensor

_MOST_LINE = 1 << 16  # bytes
_MOST_ARRAYS = 1_000_000


class Rest(NamedTuple):
    """What is kept of the files that were read.

    Attributes:
        headers: The header of each array, by name.
        pickles: The pickle of each array of objects that is listed by what it holds, by its name.
        line: What stands before the first array: a line of JSON, and its newline.
    """

    headers: Mapping[str, Header]
    pickles: Mapping[str, Storage] = {}
    line: bytes = b""

    @classmethod
    def of(cls, arrays: Mapping[str, ReadArray], line: bytes = b"") -> Rest:
        """What is kept of some arrays."""
        pickles = {name: array.pickle for name, array in arrays.items() if array.pickle is not None}
        return cls({name: array.header for name, array in arrays.items()}, pickles, line)

    @staticmethod
    def for_writing(checkpoint: Checkpoint, same_format: bool) -> Rest:
        """What is kept of the file that a checkpoint was read from; arrays of objects stay such in a file of the same format alone."""
        rest = checkpoint.rest if isinstance(checkpoint.rest, Rest) else Rest({})
        return rest if same_format else Rest(rest.headers)


class ReadArray(NamedTuple):
    """An array of a file.

    Attributes:
        header: Its header.
        checkpoint: What it makes; a plain array has the empty name there.
        pickle: The pickle that holds what was listed of an array of objects; None for any other array.
    """

    header: Header
    checkpoint: Checkpoint
    pickle: Storage | None = None


def line_before(file: File) -> bytes | None:
    """The line of JSON before the first array, with its newline; None where there is none."""
    if file.head[:1] != b"{":
        return None
    start: bytes = file.fact("line", lambda file: file.read(0, min(_MOST_LINE, file.size)))
    line, newline, behind = start.partition(b"\n")
    return line + newline if behind[: len(MAGIC)] == MAGIC and line.rstrip()[-1:] == b"}" else None


def arrays_in(file: File, at: int) -> Iterator[ReadArray]:
    """The arrays of a file, from byte `at` to its end. Raises Malformed where something else follows one."""
    count = 0
    while count == 0 or at < file.size:
        left = file.size - at
        if count and not MAGIC.startswith(file.read(at, min(len(MAGIC), left))):
            raise Malformed(f"{left:,} bytes stand after the array")
        if count == _MOST_ARRAYS:
            raise Malformed(f"over {_MOST_ARRAYS:,} arrays follow one another")
        array, at = _array_at(file, at)
        yield array
        count += 1


def _array_at(file: File, at: int) -> tuple[ReadArray, int]:
    """The array that begins at byte `at`, and the byte behind its end."""
    found = header(lambda start, stop: file.read(at + start, stop - start), file.size - at)
    begin, need = at + found.size, elements_nbytes(found)
    if need is None:
        from ..encodings.pickle_file import load_within

        root, end = load_within(file, begin, file.size)
        return objects_in(found, root, Extent(file, begin, end - begin)), end
    if begin + need > file.size:
        missing = begin + need - file.size
        raise Malformed(f"truncated: {missing:,} of {need:,} bytes of data are missing", "download or copy it again")
    return ReadArray(found, Checkpoint({"": tensor(found, Extent(file, begin, need))})), begin + need


def objects_in(found: Header, root: Any, pickle: Storage) -> ReadArray:
    """An array of objects: what its pickle, of which `root` is the tree, holds. One without numbers stays what it is: the `pickle`."""
    from ..encodings.pickle_file import checkpoint_of, no_storage
    from ..encodings.pickled_arrays import objects_in as elements_of
    from ..encodings.pickled_tensors import TensorReader

    made = checkpoint_of(root, TensorReader(no_storage))
    if list(made) == [""] or elements_of(root) is None:
        return ReadArray(found, Checkpoint({"": tensor(found, pickle)}))
    return ReadArray(found, made, pickle)


def gathered(arrays: Mapping[str, ReadArray]) -> Checkpoint:
    """One checkpoint of several arrays: what each makes, below its name."""
    return one_of_several({name: array.checkpoint for name, array in arrays.items()})


def written_parts(checkpoint: Checkpoint, rest: Rest) -> Iterator[tuple[str, bytes, Storage]]:
    """The name, the header and the elements of each array of a checkpoint that was read from such arrays, as they are written again.

    Raises:
        CannotHold: numpy lacks a dtype, or something else than values changed in an array of objects.
    """
    from .npy_writing import header_bytes, written

    done: set[str] = set()
    for name, array in checkpoint.items():
        source = checkpoint.sources.get(name, name)
        holder = _holder(source, rest)
        if holder is None:
            yield name, *written(name, array, rest.headers.get(source))
        elif holder not in done:
            done.add(holder)
            yield holder, header_bytes(rest.headers[holder]), _edited(checkpoint, holder, rest.pickles[holder])


def kept_objects(checkpoint: Checkpoint, same_format: bool) -> list[str]:
    """The objects that are written again: those in arrays of objects whose pickles are."""
    rest = Rest.for_writing(checkpoint, same_format)
    written = {_holder(checkpoint.sources.get(name, name), rest) for name in checkpoint} if rest.pickles else set()
    return [name for name in checkpoint.objects if (holder := _holder(name, rest)) is not None and holder in written]


def _holder(name: str, rest: Rest) -> str | None:
    """The array of objects whose pickle holds what is called so; None for what lies in none."""
    return next((prefix for prefix in rest.pickles if not prefix or name.startswith(f"{prefix}.")), None)


def _edited(checkpoint: Checkpoint, prefix: str, pickle: Storage) -> Storage:
    """The pickle of an array of objects with the values that its arrays have now."""
    before, raw = checkpoint.origin.read if checkpoint.origin else checkpoint, pickle
    for name in (name for name in before.objects if not prefix or name.startswith(f"{prefix}.")):
        if name not in checkpoint.objects:
            raise CannotHold(f"{name} lies in a pickle, from which no object is taken out", "convert it, say to .pt")
    for name in (name for name in before if not prefix or name.startswith(f"{prefix}.")):
        old, new = before[name], checkpoint.tensors.get(name)
        if new is old:
            continue
        in_file = isinstance(old.storage, Extent) and isinstance(raw, Extent)
        if not in_file or new is None or (new.dtype, new.shape, new.strides) != (old.dtype, old.shape, old.strides):
            raise CannotHold(f"{name} lies in a pickle, where the values of larger arrays alone are edited", "convert it, say to .npz")
        pickle = Overlay(pickle, _place(old.storage) - _place(raw), new.storage)
    return pickle


def _place(storage: Storage) -> int:
    return storage.place() if isinstance(storage, Extent) else 0

"""NumPy's `.npy` (`numpy.save`): one array, which has no name.

    \\x93NUMPY, version, length, {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, the elements

As in numpy/lib/format.py; byte for byte in npy.py. Peculiarities:
- The array is called by the empty name: `ckpt get a.npy ''`.
- Fortran order is a view with other strides, read and written where it lies. Big-endian elements are swapped when they are read.
- Records, text, dates, long doubles are listed as numpy calls them. Of Python objects there is a pickle, which is never loaded.
- Files of several arrays, saved to one handle, give the first, as numpy.load does; the others are carried along.
- numpy has no bfloat16 and no 8-bit floats: cast them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ...errors import CannotHold, Malformed
from ...storage.file import File
from ...storage.storage import Extent, Mapped, swapped
from ...tensors.checkpoint import Checkpoint
from .. import Format, changed_storages, formats

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Change, Patch
    from .npy import Header


class Rest(NamedTuple):
    """The headers of the arrays as they were read, by name, and what stands behind the elements of the first."""

    headers: Mapping[str, Header]
    behind: Extent | None = None


class Npy(Format):
    name = "npy"
    title = "NumPy array (numpy.save)"
    called = "a .npy file"
    suffixes = (".npy",)
    patches = True
    alone = False

    def sniff(self, file: File) -> bool:
        return file.head[:6] == b"\x93NUMPY"

    def read(self, file: File) -> Checkpoint:
        from .npy import elements_nbytes, header, tensor

        found = header(lambda start, stop: file.read(start, stop - start), file.size)
        need, left = elements_nbytes(found), file.size - found.size
        need = left if need is None else need
        if need > left:
            raise Malformed(f"truncated: {need - left:,} of {need:,} bytes of data are missing", "download or copy it again")
        behind = Extent(file, found.size + need, left - need)
        if behind.nbytes and not b"\x93NUMPY".startswith(behind.read(0, min(6, behind.nbytes))):
            raise Malformed(f"{behind.nbytes:,} bytes stand after the array")
        notes = (f"{file.path}: another array follows the first, which alone is read",) if behind.nbytes else ()
        return Checkpoint({"": tensor(found, Extent(file, found.size, need))}, rest=Rest({"": found}, behind), notes=notes)

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        from .npy_writing import written

        if len(checkpoint) != 1:
            raise CannotHold(f"a .npy file holds one array, not {len(checkpoint):,}", "write .npz, or choose one: --select NAME")
        [(name, array)] = checkpoint.items()
        header, elements = written(name, array, before(checkpoint, name))
        file_layout.write(header)
        file_layout.put(elements)
        if isinstance(checkpoint.rest, Rest) and checkpoint.rest.behind:
            file_layout.put(checkpoint.rest.behind)

    def left_behind(self, checkpoint: Checkpoint) -> list[str]:
        names = [f"the name {name}" for name in checkpoint if name]
        return super().left_behind(checkpoint) + names

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        from ...disk.patch import Patch

        found = edits(checkpoint)
        return Patch(checkpoint.origin.file, found, []) if checkpoint.origin and found is not None else None


def before(checkpoint: Checkpoint, name: str) -> Header | None:
    """The header that an array was read from, if it was."""
    return checkpoint.rest.headers.get(checkpoint.sources.get(name, name)) if isinstance(checkpoint.rest, Rest) else None


def edits(checkpoint: Checkpoint) -> list[Change] | None:
    """What changes in the file, in file order and its byte order; None where that is more than values, or they do not lie there so."""
    from ...disk.patch import of_extents

    pairs = changed_storages(checkpoint)
    own = [(old.of, swapped(new, old.before)) if isinstance(old, Mapped) else (old, new) for old, new in pairs or ()]
    return None if pairs is None else of_extents(own)


formats.add(Npy.name, Npy())

r"""NumPy's `.npy` (`numpy.save`): one array, which has no name.

    \x93NUMPY, version, length, {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, the elements

As in numpy/lib/format.py; the header is read and written by npy.py. Peculiarities:
- The array is called by the empty name: `ckpt get a.npy ''`.
- Fortran order is a view with other strides, read and written where it lies. Big-endian elements are swapped when they are read.
- Records, text, dates, long doubles are listed as numpy calls them. Python objects lie in a pickle, which is never loaded.
- A file of several arrays, saved to one handle, gives the first, as numpy.load does; the others are copied when it is written.
- numpy has no bfloat16 and no 8-bit floats: cast them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...errors import CannotHold, Malformed
from ...storage.file import File
from ...storage.mapped import Mapped, swapped
from ...storage.storage import Extent, Storage
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, Writer, formats

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Change, Patch
    from .npy import Header


class Rest(NamedTuple):
    """What is kept of the files that were read: the header of each array, by name, and what stands behind the elements of the first."""

    headers: Mapping[str, Header]
    behind: Extent | None = None


class Npy(Writer, Patcher):
    """Files of one array."""

    name = "npy"
    title = "NumPy array (numpy.save)"
    called = "a .npy file"
    suffixes = (".npy",)
    model_suffixes = ()  # an array in a folder is no model

    def sniff(self, file: File) -> bool:
        """NumPy's magic."""
        return file.head[:6] == b"\x93NUMPY"

    def read(self, file: File) -> Checkpoint:
        """The first array, under the empty name; a note says that others follow."""
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
        """The one array, in the order of axes that it has. Raises CannotHold for more than one, and for a dtype that numpy lacks."""
        from .npy_writing import written

        if len(checkpoint) != 1:
            raise CannotHold(f"a .npy file holds one array, not {len(checkpoint):,}", "write .npz, or choose one: --select NAME")
        [(name, array)] = checkpoint.items()
        header, elements = written(name, array, header_of(checkpoint, name))
        file_layout.write(header)
        file_layout.put(elements)
        if isinstance(checkpoint.rest, Rest) and checkpoint.rest.behind:
            file_layout.put(checkpoint.rest.behind)

    def losses(self, checkpoint: Checkpoint) -> list[str]:
        """What has no place in the file, the array's name included."""
        return super().losses(checkpoint) + [f"the name {name}" for name in checkpoint if name]

    def patch_of(self, file: File, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
        """The elements written over, in the byte order of the file."""
        from ...disk.patch import Patch

        changes = changes_of(pairs)
        return None if changes is None else Patch(file, changes, [])


def header_of(checkpoint: Checkpoint, name: str) -> Header | None:
    """The header with which an array was read; None for one that comes from elsewhere."""
    return checkpoint.rest.headers.get(checkpoint.sources.get(name, name)) if isinstance(checkpoint.rest, Rest) else None


def changes_of(pairs: Sequence[tuple[Storage, Storage]]) -> list[Change] | None:
    """The changes, in file order, that exchange storages, in the byte order of the file; None where one is no run of its bytes."""
    from ...disk.patch import of_extents

    return of_extents([(old.of, swapped(new, old.before)) if isinstance(old, Mapped) else (old, new) for old, new in pairs])


formats.add(Npy.name, Npy())

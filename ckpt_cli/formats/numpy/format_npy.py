r"""NumPy's `.npy` (`numpy.save`): one array, which has no name, or several, one after another.

    \x93NUMPY, version, length, {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, the elements

As in numpy/lib/format.py; the header is read and written by npy.py. Peculiarities:
- The array is called by the empty name: `ckpt get a.npy ''`. Several, which were saved to one handle, are called 0, 1, …, as those of
  Equinox' `tree_serialise_leaves` (.eqx), which may have a line of JSON before them.
- Fortran order is a view with other strides, read and written where it lies. Big-endian elements are swapped when they are read.
- Records, text, dates, long doubles are listed as numpy calls them.
- An array of Python objects is a pickle, which is read as symbols: where it holds arrays or tensors, they are listed by their paths.
- numpy has no bfloat16 and no 8-bit floats: cast them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...errors import CannotHold
from ...storage.file import File
from ...storage.mapped import Mapped, swapped
from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, Writer, formats

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Change, Patch


class Npy(Writer, Patcher):
    """Files of arrays."""

    name = "npy"
    title = "NumPy array (numpy.save)"
    called = "a .npy file"
    suffixes = (".npy", ".eqx")
    model_suffixes = (".eqx",)  # an array in a folder is no model

    def sniff(self, file: File) -> bool:
        """NumPy's magic, or a line of JSON before it."""
        from .array_streams import line_before

        return file.head[:6] == b"\x93NUMPY" or (file.head[:1] == b"{" and line_before(file) is not None)

    def read(self, file: File) -> Checkpoint:
        """The array under the empty name, several ones under their numbers; what is pickled in one below its name."""
        from .array_streams import Rest, arrays_in, gathered, line_before

        line = line_before(file) or b""
        read = list(arrays_in(file, len(line)))
        named = {str(i) if len(read) > 1 else "": array for i, array in enumerate(read)}
        metadata = {"": line.decode().strip()} if line else {}
        return gathered(named).replacing(rest=Rest.of(named, line), metadata=metadata)

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """The one array, or those that were read, in the order of axes that each has.

        Raises:
            CannotHold: There are more, or others, and where numpy lacks a dtype.
        """
        from .array_streams import Rest, written_parts

        rest = Rest.for_writing(checkpoint, self.is_origin_of(checkpoint))
        parts = list(written_parts(checkpoint, rest))
        own = self.is_origin_of(checkpoint)
        if len(parts) != 1 and not (own and [checkpoint.sources.get(name, name) for name, _, _ in parts] == list(rest.headers)):
            raise CannotHold(f"a .npy file holds one array, not {len(parts):,}", "write .npz, or choose one: --select NAME")
        if rest.line:
            file_layout.write(rest.line)
        for _, header, elements in parts:
            file_layout.write(header)
            file_layout.put(elements)

    def objects_to_write(self, checkpoint: Checkpoint) -> Iterable[str]:
        """Those in arrays of Python objects, which stay in a file of the same format."""
        from .array_streams import kept_objects

        return kept_objects(checkpoint, self.is_origin_of(checkpoint))

    def losses(self, checkpoint: Checkpoint) -> list[str]:
        """What has no place in the file, the array's name included."""
        own = self.is_origin_of(checkpoint)
        return super().losses(checkpoint) + [f"the name {name}" for name in checkpoint if name and not own]

    def patch_of(self, file: File, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
        """The elements written over, in the byte order of the file."""
        from ...disk.patch import Patch

        changes = changes_of(pairs)
        return None if changes is None else Patch(file, changes, [])


def changes_of(pairs: Sequence[tuple[Storage, Storage]]) -> list[Change] | None:
    """The changes, in file order, that exchange storages, in the byte order of the file; None where one is no run of its bytes."""
    from ...disk.patch import of_extents

    return of_extents([(old.of, swapped(new, old.before)) if isinstance(old, Mapped) else (old, new) for old, new in pairs])


formats.add(Npy.name, Npy())

"""NumPy's `.npz` (`numpy.savez`, `savez_compressed`): a zip of `.npy` files, each called as its array.

    NAME.npy …    stored, or deflated

As in numpy/lib/_npyio_impl.py and npy.py. Peculiarities:
- `savez(FILE, a, b)` calls the arrays arr_0, arr_1; `savez(FILE)` is the end record of a zip alone, 22 bytes.
- Stored members are read and edited where they lie, with their CRC-32. Deflated ones are inflated as they are read, and written stored.
- Written: stored, data at multiples of 64, deterministic. What numpy has no dtype for is refused; there are no ties.
- Names may hold `/`, as those of a flattened tree of parameters do; it divides them then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import CannotHold, Malformed
from ...storage.file import File
from ...storage.storage import Extent, Slice
from ...tensors.checkpoint import Checkpoint, Tensor
from .. import Format, formats
from ..encodings import zip as zips
from .format_npy import Rest, before, edits

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch
    from .npy import Header

_END = b"PK\5\6" + bytes(18)


class Npz(Format):
    name = "npz"
    title = "NumPy arrays (numpy.savez)"
    called = "a .npz file"
    suffixes = (".npz",)
    patches = True
    alone = False

    def sniff(self, file: File) -> bool:
        if file.head == _END:
            return True
        return zips.is_zip(file) and bool(zips.members(file)) and all(name.endswith(".npy") for name in zips.members(file))

    def read(self, file: File) -> Checkpoint:
        tensors: dict[str, Tensor] = {}
        headers: dict[str, Header] = {}
        for member in zips.members(file).values():
            name = member.name.removesuffix(".npy")
            try:
                tensors[name], headers[name] = _array(member)
            except Malformed as error:
                error.what = f"array {name!r}: {error.what}"
                raise
        return Checkpoint(tensors, rest=Rest(headers), separator="/" if any("/" in name for name in tensors) else ".")

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        from ..encodings.zip_writer import Writer
        from .npy_writing import written

        arrays = {_member(name): written(name, array, before(checkpoint, name)) for name, array in checkpoint.items()}
        archive = Writer(file_layout)
        for name, contents in arrays.items():
            archive.add(name, *contents)
        archive.close()

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        from ...disk.patch import Patch
        from ..encodings.zip_patch import checksum

        found = edits(checkpoint)
        if found is None or checkpoint.origin is None:
            return None
        members = zips.members(checkpoint.origin.file).values()
        return Patch(checkpoint.origin.file, found, [checksum(member) for member in members if not member.method])


def _array(member: zips.Member) -> tuple[Tensor, Header]:
    """The array in a member of the zip, which has to be all that is in it."""
    from ..encodings.zip_inflate import inflated
    from .npy import elements_nbytes, header, tensor

    found = header(inflated(member).read, member.nbytes)
    left, need = member.nbytes - found.size, elements_nbytes(found)
    if need is not None and need != left:
        raise Malformed(f"its elements take {need:,} bytes, the zip has {left:,}")
    if member.method:  # inflated anew when it is read: what was inflated for the header is let go of
        return tensor(found, Slice(inflated(member), found.size, left)), found
    return tensor(found, Extent(member.file, member.place() + found.size, left)), found


def _member(name: str) -> str:
    """What the member of an array is called."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise CannotHold("a name that is no valid Unicode has no place in a zip", "rename it") from None
    if "\0" in name or length > 60_000:
        raise CannotHold(f"a name of {length:,} bytes" if length > 60_000 else "a name with a NUL", "rename it")
    return f"{name}.npy"


formats.add(Npz.name, Npz())

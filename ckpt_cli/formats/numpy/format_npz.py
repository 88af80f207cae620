"""NumPy's `.npz` (`numpy.savez`, `savez_compressed`): a zip of `.npy` files, each called as its array.

    NAME.npy …    stored, or deflated

As in numpy/lib/_npyio_impl.py; a member is read and written as a .npy is (npy.py). Peculiarities:
- `savez(FILE, a, b)` calls the arrays arr_0, arr_1; `savez(FILE)` is the end record of a zip alone, 22 bytes.
- Stored members are read and edited where they lie, with their CRC-32. Deflated ones are inflated as they are read, and written stored.
- Written: stored, data at multiples of 64, deterministic. What numpy has no dtype for is refused; there are no ties.
- Names may hold `/`, as those of a flattened tree of parameters do; it divides them then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...errors import CannotHold, Malformed
from ...storage.file import File
from ...storage.storage import Extent, Slice, Storage
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, Writer, formats
from ..encodings import zip as zips
from .format_npy import changes_of

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch
    from .array_streams import ReadArray
    from .npy import Header

_END = b"PK\5\6" + bytes(18)


class Npz(Writer, Patcher):
    """Zips of arrays."""

    name = "npz"
    title = "NumPy arrays (numpy.savez)"
    called = "a .npz file"
    suffixes = (".npz",)
    model_suffixes = ()  # arrays in a folder are no model

    def sniff(self, file: File) -> bool:
        """A zip in which everything is a .npy, or which is empty."""
        if file.head == _END:
            return True
        return zips.is_zip(file) and bool(zips.members(file)) and all(name.endswith(".npy") for name in zips.members(file))

    def read(self, file: File) -> Checkpoint:
        """The arrays, in the order of the zip."""
        from .array_streams import Rest, gathered

        arrays: dict[str, ReadArray] = {}
        for member in zips.members(file).values():
            name = member.name.removesuffix(".npy")
            try:
                arrays[name] = _array(member)
            except Malformed as error:
                error.what = f"array {name!r}: {error.what}"
                raise
        return gathered(arrays).replacing(rest=Rest.of(arrays), separator="/" if any("/" in name for name in arrays) else ".")

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """All arrays, stored. Raises CannotHold for a dtype that numpy lacks, and for a name that has no place in a zip."""
        from ..encodings import zip_writer
        from .array_streams import Rest, written_parts

        rest = Rest.for_writing(checkpoint, self.is_origin_of(checkpoint))
        arrays = [(_member(name), header, elements) for name, header, elements in written_parts(checkpoint, rest)]
        archive = zip_writer.Writer(file_layout)
        for name, header, elements in arrays:
            archive.add(name, header, elements)
        archive.close()

    def objects_to_write(self, checkpoint: Checkpoint) -> Iterable[str]:
        """Those in arrays of Python objects, which stay in a file of the same format."""
        from .array_streams import kept_objects

        return kept_objects(checkpoint, self.is_origin_of(checkpoint))

    def patch_of(self, file: File, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
        """The elements of stored members written over, with the members' checksums."""
        from ...disk.patch import Patch
        from ..encodings.zip_patch import checksum

        changes = changes_of(pairs)
        if changes is None:
            return None
        return Patch(file, changes, [checksum(member) for member in zips.members(file).values() if not member.method])


def _array(member: zips.Member) -> ReadArray:
    """The array in a member of the zip. Raises Malformed where the member holds more or less than the array."""
    from ..encodings.zip_inflate import inflated
    from .array_streams import ReadArray
    from .npy import elements_nbytes, header, tensor

    found = header(inflated(member).read, member.nbytes)
    left, need = member.nbytes - found.size, elements_nbytes(found)
    if need is not None and need != left:
        raise Malformed(f"its elements take {need:,} bytes, the zip has {left:,}")
    # Inflated anew when it is read: what was inflated for the header is not kept.
    elements = Slice(inflated(member), found.size, left) if member.method else Extent(member.file, member.place() + found.size, left)
    if need is None:
        return _objects(found, member, elements)
    return ReadArray(found, Checkpoint({"": tensor(found, elements)}))


def _objects(found: Header, member: zips.Member, elements: Storage) -> ReadArray:
    """The array of objects that a member holds. Raises Malformed where its pickle is cut off or not all of it."""
    from ..encodings.pickle_file import load_within
    from ..encodings.pickle_reader import Unpickler
    from .array_streams import objects_in

    if member.method:
        machine = Unpickler(member.contents(), found.size)
        root, end = machine.load(), machine.at
    else:
        root, end = load_within(member.file, member.place() + found.size, member.place() + member.nbytes)
        end -= member.place()
    if end != member.nbytes:
        raise Malformed(f"{member.nbytes - end:,} bytes stand after the end of its pickle")
    return objects_in(found, root, elements)


def _member(name: str) -> str:
    """The name of an array's member. Raises CannotHold where a zip has no place for it."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise CannotHold("a name that is no valid Unicode has no place in a zip", "rename it") from None
    if "\0" in name or length > 60_000:
        raise CannotHold(f"a name of {length:,} bytes" if length > 60_000 else "a name with a NUL", "rename it")
    return f"{name}.npy"


formats.add(Npz.name, Npz())

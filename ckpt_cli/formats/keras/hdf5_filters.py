"""Filters of chunks as the HDF5 library runs them, for those that are not undone here, and for all that are applied.

Chunks of a file are decoded in a child process, where the library may crash; what is encoded are elements, and the library runs here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...errors import CannotHold
from ...numbers.shapes import numel_of
from .hdf5_library import SparseFile, library
from .hdf5_objects import ElementKind
from .hdf5_sandbox import run_in_child
from .hdf5_types import file_type, library_type

# Filters whose parameters say what the elements are: szip, n-bit, scale-offset.
OF_ONE_TYPE = (4, 5, 6)

Filter = list[Any]  # number, name, flags and parameters


class Pipeline(NamedTuple):
    """The filters of a dataset, and what they take.

    Attributes:
        element_type: The description of the element type (see hdf5_types).
        chunk_shape: The shape of a chunk.
        filters: Those of the dataset, the first to encode first.
        fill: The element that stands where nothing was written, as bytes; empty for the library's own.
    """

    element_type: list[Any]
    chunk_shape: tuple[int, ...]
    filters: list[Filter]
    fill: bytes = b""

    def of_type(self, element_type: list[Any], chunk_shape: tuple[int, ...]) -> Pipeline:
        """Return the filters for elements of another type."""
        filters = [each for each in self.filters if each[0] not in OF_ONE_TYPE]
        return Pipeline(element_type, chunk_shape, filters, converted(self.fill, self.element_type, element_type))

    def properties(self) -> Any:
        """Return the properties of a dataset that is made of such chunks."""
        from h5py import h5d, h5p

        plist = h5p.create(h5p.DATASET_CREATE)
        plist.set_layout(h5d.CHUNKED)
        plist.set_chunk(self.chunk_shape)
        plist.set_obj_track_times(False)
        set_fill(plist, self.fill, self.element_type)
        for number, _, flags, parameters in self.filters:
            plist.set_filter(number, flags, tuple(parameters))
        return plist

    def _scratch(self, file: Any, plist: Any) -> Any:
        """Create a dataset of one chunk."""
        from h5py import h5d, h5s

        return h5d.create(file.id, b"chunk", file_type(self.element_type), h5s.create_simple(self.chunk_shape), plist)

    def encoded(self, data: bytes) -> tuple[int, bytes]:
        """Return what a chunk is kept as, and the mask of the filters that it did not pass. Raises CannotHold where they fail."""
        try:
            return self._encoded(data)
        except (ValueError, RuntimeError, OSError) as error:
            filters = ", ".join(str(name or number) for number, name, *_ in self.filters)
            what = f"the filters {filters} cannot be applied: {str(error).splitlines()[0]}"
            raise CannotHold(what, "h5repack -f NONE undoes those of the file") from None

    def _encoded(self, data: bytes) -> tuple[int, bytes]:
        import numpy
        from h5py import h5s

        with library().File(SparseFile(), "w") as file:
            dataset = self._scratch(file, self.properties())
            elements = numpy.frombuffer(data, f"V{dataset.get_type().get_size()}").reshape(self.chunk_shape)
            dataset.write(h5s.ALL, h5s.ALL, elements, mtype=dataset.get_type())
            dataset.flush()
            mask, raw = dataset.read_direct_chunk((0,) * len(self.chunk_shape))
        return mask, bytes(raw)

    def decoded(self, chunks: Sequence[tuple[bytes, int]]) -> bytes:
        """Return the elements of chunks of a file, one after another, each given with its mask. Raises Malformed."""
        library()  # once, before the processes that need it are forked
        return run_in_child(lambda: b"".join(self._decoded(raw, mask) for raw, mask in chunks))

    def _decoded(self, raw: bytes, mask: int) -> bytes:
        import numpy
        from h5py import h5s

        with library().File(SparseFile(), "w") as file:
            dataset = self._scratch(file, self.properties())
            dataset.write_direct_chunk((0,) * len(self.chunk_shape), raw, mask)
            elements = numpy.zeros(numel_of(self.chunk_shape), f"V{dataset.get_type().get_size()}").reshape(self.chunk_shape)
            dataset.read(h5s.ALL, h5s.ALL, elements, mtype=dataset.get_type())
        return elements.tobytes()


def set_fill(plist: Any, fill: bytes, element_type: list[Any]) -> None:
    """Let a dataset of numbers have the element `fill` where nothing was written; the library's own where it is empty."""
    import numpy

    if fill and _numpy_type(element_type):
        plist.set_fill_value(numpy.frombuffer(fill, _numpy_type(element_type)).reshape(()))


def _numpy_type(element_type: list[Any]) -> Any:
    """Return numpy's type of numbers; None where it has none."""
    is_number = element_type[0] == ElementKind.PLAIN and not element_type[1].endswith("bfloat16")
    return library_type(element_type).dtype if is_number else None


def converted(fill: bytes, before: list[Any], after: list[Any]) -> bytes:
    """Return a fill value in another element type; nothing where either is none of numpy's numbers, or an integer cannot hold it."""
    import numpy

    if before == after or not fill:
        return fill
    old_type, new_type = _numpy_type(before), _numpy_type(after)
    if not old_type or not new_type:
        return b""
    old = numpy.frombuffer(fill, old_type)
    with numpy.errstate(all="ignore"):
        new = old.astype(new_type)
    return new.tobytes() if new_type.kind in "fc" or numpy.array_equal(new, old) else b""

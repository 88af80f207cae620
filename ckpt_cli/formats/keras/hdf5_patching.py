"""Edits of values in an HDF5 file whose data do not lie in it as they are: in chunks, compact, of the other byte order, never written.

The library writes the changed elements into a copy of the file of which only changed pages are held (in a child process, as it reads the
file): it encodes the chunks that hold them, and puts them in their places, or behind the file. What then differs is the patch. So filters,
attributes, unknown objects and every other chunk stay, to the last byte.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...disk.patch import Change, Patch, of_extents
from ...errors import Malformed
from ...storage.file import File
from ...storage.mapped import swapped
from ...storage.storage import Extent, Memory, Storage
from .hdf5_boxes import Box, bands_of, boxes
from .hdf5_objects import ElementKind, HDF5Tree, Node

if TYPE_CHECKING:
    from ...tensors.tensor import Tensor

_MOST = 16 << 20  # bytes of elements that are changed so; if there are more, the file is written anew

Boxes = dict[str, list[Box]]  # by the path of the dataset


def patch_of(file: File, tree: HDF5Tree, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
    """Return the patch of `file`; None where so much changes that the file had better be written anew.

    Args:
        file: The HDF5 file.
        tree: Its contents.
        pairs: The storages of its tensors before and after the edit.
    """
    changes = of_extents([(before, after) for before, after in pairs if isinstance(before, Extent)]) or []
    others = [(before, after) for before, after in pairs if not isinstance(before, Extent)]
    if others:
        changed = _changed(tree, others)
        by_library = None if changed is None else _written(Extent(file, 0, file.size), changed)
        if by_library is None:
            return None
        changes += by_library
    return Patch(file, sorted(changes, key=lambda change: change.at), [])


def _changed(tree: HDF5Tree, pairs: Sequence[tuple[Storage, Storage]]) -> Boxes | None:
    """Return the elements that differ, as the file keeps them; None where there are too many."""
    paths = {id(tensor.storage): path for path, tensor in tree.tensors.items()}
    room, found = _MOST, Boxes()
    for before, after in pairs:
        path = paths[id(before)]
        node, tensor = tree.nodes[path], tree.tensors[path]
        for box in boxes(tensor.shape, tensor.dtype.nbytes, chunk_shape_of(node, tensor), before, after):
            room -= len(box.data)
            if room < 0:
                return None
            found.setdefault(path, []).append(box._replace(data=as_in_file(node, tensor, box.data)))
    return found


def chunk_shape_of(node: Node, tensor: Tensor) -> tuple[int, ...]:
    """Return the shape of the parts that a dataset is written by."""
    return tuple(node.record["chunk"]) if "chunk" in node.record else bands_of(tensor.shape, tensor.dtype.nbytes)


def as_in_file(node: Node, tensor: Tensor, data: bytes) -> bytes:
    """Return elements in the byte order of the dataset."""
    kind, name = node.record["type"][:2]
    big_endian = kind == ElementKind.PLAIN and name.startswith(">")
    return swapped(Memory(data), tensor.dtype.part).read() if big_endian else data


def _written(source: Storage, changed: Boxes) -> list[Change] | None:
    """Return what differs once the library has written the boxes; None where it does not."""
    from .hdf5_sandbox import run_in_child

    if not changed:
        return []
    try:
        runs = json.loads(run_in_child(lambda: _write(source, changed)))
    except Malformed:  # a filter that is not there, say: what writes the file anew tells the reason
        return None
    return [Change(at, Memory(b64decode(data))) for at, data in runs]


def _write(source: Storage, changed: Boxes) -> bytes:
    """Write the boxes into a copy of the file; return the runs of bytes that differ, as JSON. Runs in a child process."""
    import numpy
    from h5py import h5d, h5s

    from .hdf5_library import ChangedFile, library

    file = ChangedFile(lambda at, count: source.read(at, at + count), source.nbytes)
    with library().File(file, "r+") as opened:
        for path, parts in changed.items():
            dataset = h5d.open(opened.id, path.encode())
            element_type, space = dataset.get_type(), dataset.get_space()
            for box in parts:
                elements = numpy.frombuffer(box.data, f"V{element_type.get_size()}").reshape(box.shape)
                if box.shape:
                    space.select_hyperslab(box.begin, box.shape)
                memory_space = h5s.create_simple(box.shape) if box.shape else h5s.create(h5s.SCALAR)
                dataset.write(memory_space, space, elements, mtype=element_type)
    return json.dumps([(at, b64encode(data).decode()) for at, data in file.changes()]).encode()

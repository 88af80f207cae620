"""Reads HDF5 files: groups, datasets and attributes as plain values, and where in the file the data of each dataset lie.

As in the HDF5 File Format Specification 3.0. The HDF5 library runs in a child process only (hdf5_sandbox); the data are read without it.
"""

from __future__ import annotations

from ...errors import Malformed
from ...storage.storage import Storage
from .hdf5_datasets import Datasets
from .hdf5_objects import HDF5Tree, Node, ObjectKind
from .hdf5_sandbox import walk_in_child

_END_OF_FILE = {0: 40, 1: 44, 2: 28, 3: 28}  # version of the superblock → the byte of its End of File Address
_HEAD = 48  # bytes of the shortest superblock


def read_tree(source: Storage) -> HDF5Tree:
    """Read the structure of the HDF5 file whose bytes are `source`. No data of datasets are read, but for texts and compact ones.

    Raises:
        Malformed: The file is broken, cut off, or not what the library can read within its limits.
        ReadError: This system cannot fork a process for the library.
    """
    import json

    _check_length(source)
    answer = json.loads(walk_in_child(source))
    if "error" in answer:
        raise Malformed(f"the HDF5 file is broken: {answer['error']}")
    nodes = {record["path"]: Node.from_record(record) for record in answer["objects"]}
    if len(nodes) != len(answer["objects"]):
        raise Malformed("two objects of the HDF5 file have one name")
    datasets = Datasets(source)
    tensors = {path: datasets.tensor(node) for path, node in nodes.items() if node.kind == ObjectKind.DATASET}
    found = {path: datasets.undecoded(node) for path, node in nodes.items()}
    undecoded = {path: each for path, each in found.items() if each is not None}
    datasets.check_apart()
    return HDF5Tree(nodes, tensors, undecoded)


def _check_length(source: Storage) -> None:
    """Raise Malformed where the file is shorter than its superblock says, which takes no library to find out."""
    head = source.read(0, min(64, source.nbytes))
    if len(head) < _HEAD:
        raise Malformed("truncated: the superblock of the HDF5 file is not whole", "download or copy it again")
    version = head[8]
    at = _END_OF_FILE.get(version)
    bytes_of_offset = head[13] if version < 2 else head[9]
    if at is None or bytes_of_offset != 8:
        return
    missing = int.from_bytes(head[at : at + 8], "little") - source.nbytes
    if missing > 0:
        raise Malformed(f"truncated: {missing:,} bytes of the HDF5 file are missing", "download or copy it again")

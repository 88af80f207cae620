"""Storages in a pickle that `pickle.dump` wrote of torch tensors: each is a stream of `torch.save` of its own, in a run of bytes.

    magic number, protocol version, system info, the persistent id of the storage, the list of its key, its count (int64), its bytes

As in torch/storage.py (`TypedStorage.__reduce__`, `_load_from_bytes`) and torch/serialization.py (`_legacy_save`).
"""

from __future__ import annotations

from ...errors import Malformed
from ...numbers.dtypes import DType
from ...storage.storage import Slice, Storage
from . import pickled_arrays
from .object_nodes import Call
from .pickle_reader import Unpickler
from .storage_ids import LEGACY_MAGIC, StorageId, is_storage_id

_NOT_READ = "a storage in the pickle is kept in a way that is not read"
_MEND = "`ckpt check --safe` tells what code it names"
_MOST_HEAD = 4096  # bytes: the pickles at the head of such a stream have some three hundred


def storage_in_bytes(node: Call) -> tuple[Storage, DType | None]:
    """The storage that `node`, a call of torch.storage._load_from_bytes, stands for, and the dtype of its elements.

    Raises:
        Malformed: The bytes are no stream of one storage.
    """
    args = node.arguments()
    stream = pickled_arrays.storage_of(args[0]) if len(args) == 1 else None
    if stream is None:
        raise Malformed("a storage of the pickle is described in an unknown way")
    head = stream.read(0, min(_MOST_HEAD, stream.nbytes))
    storage_id, at = _described(head)
    begin = at + 8
    count = int.from_bytes(head[at:begin], "little")
    width = storage_id.dtype.nbytes if storage_id.dtype else 1
    if count * width != storage_id.nbytes or begin + storage_id.nbytes != stream.nbytes:
        raise Malformed(f"a storage of the pickle has {stream.nbytes - begin:,} bytes, and says {storage_id.nbytes:,}")
    return Slice(stream, begin, storage_id.nbytes), storage_id.dtype


def _described(head: bytes) -> tuple[StorageId, int]:
    """What the pickles at the head of a stream say of its storage, and where they end. Raises Malformed."""
    pickles, at = [], 0
    try:
        for _ in range(5):
            machine = Unpickler(head, at)
            pickles.append(machine.load())
            at = machine.at
    except Malformed:  # the pickle around these is whole
        kind = "a zip, as torch.save writes files" if head.startswith(b"PK\3\4") else "bytes that torch.save did not write"
        raise Malformed(f"{_NOT_READ}: {kind}", _MEND) from None
    if type(pickles[0]) is not int or pickles[0] != LEGACY_MAGIC or not is_storage_id(pickles[3]):
        raise Malformed(f"{_NOT_READ}: bytes of torch.save that are another object", _MEND)
    return StorageId(pickles[3]), at

"""Flax's msgpack (`flax.serialization.to_bytes`, `msgpack_serialize`): a tree of maps whose leaves are arrays.

    {"params": {"Dense_0": {"kernel": ext 1 [shape, dtype's name, bytes], …}}, "step": 7, …}

As in flax/serialization.py, over the specification of msgpack/msgpack. Peculiarities:
- An array of over 2^30 bytes is kept in chunks, and is one tensor here. NumPy scalars (ext 3) are tensors without axes.
- Flax turns a list into a map with the keys "0", "1", …; a list that is in the file stays a list. An empty map (`optax.EmptyState`) is an
  object, and stays in the file.
- Flax writes the bytes of an array that is big-endian in memory as they are, under the name of the little-endian dtype.
- There are no ties and no checksums. ml_dtypes of less than a byte have a byte for each element; they are listed, not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, Writer, formats

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch
    from ...storage.storage import Storage

_ARRAY = {0xC7: 2, 0xC8: 3, 0xC9: 5, 0xD4: 1, 0xD5: 1, 0xD6: 1, 0xD7: 1, 0xD8: 1}  # how an extension begins → where its type stands
_TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}  # how a text of over 31 bytes begins → bytes of its length
_INTEGERS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}


class Flax(Writer, Patcher):
    """Files of `flax.serialization.to_bytes`."""

    name = "flax-msgpack"
    title = "Flax msgpack (flax.serialization)"
    suffixes = (".msgpack",)
    objects = edits_objects = True
    axes = "io"

    def sniff(self, file: File) -> bool:
        """A map that is not empty and whose first key is a text, or an integer before an array or such a map; or one array alone."""
        head = file.head
        while head:
            at = _ARRAY.get(head[0], 0)
            if at:
                return head[at : at + 2] == b"\x01\x93"
            at = {0xDE: 3, 0xDF: 5}.get(head[0], 1 if 0x81 <= head[0] <= 0x8F else 0)
            key = head[at : at + 1]
            if not at or not key:
                return False
            if key[0] in _TEXTS or 0xA0 <= key[0] < 0xC0:
                return _is_text(head[at:])
            width = _INTEGERS.get(key[0], 0 if key[0] < 0x80 or key[0] >= 0xE0 else None)
            head = b"" if width is None else head[at + 1 + width :]
        return False

    def read(self, file: File) -> Checkpoint:
        """The arrays of the tree, by their keys joined by dots; its other leaves as objects."""
        from .flax_tree import read_tree

        return read_tree(file)

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """The tree, as Flax writes it. Raises CannotHold for a dtype that numpy and ml_dtypes have no name for."""
        from .flax_writing import write_tree

        write_tree(checkpoint, file_layout)

    def objects_to_write(self, checkpoint: Checkpoint) -> Iterable[str]:
        """All that were read from such a file, and those from elsewhere that msgpack has a place for."""
        from .flax_tree import FlaxTree
        from .flax_writing import holdable

        own = isinstance(checkpoint.rest, FlaxTree)
        return [name for name, value in checkpoint.objects.items() if own or holdable(value)]

    def patch_of(self, file: File, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
        """The elements written over, chunk by chunk."""
        from ...disk.patch import Patch
        from .flax_patching import changes_of, patchable

        if not all(patchable(before) for before, _ in pairs):
            return None
        changes = [change for before, after in pairs for change in changes_of(before, after)]
        return Patch(file, sorted(changes, key=lambda change: change.at), [])


def _is_text(head: bytes) -> bool:
    """Whether `head`, which may end within it, begins with a text."""
    width = _TEXTS.get(head[0], 0)
    length = int.from_bytes(head[1 : 1 + width], "big") if width else head[0] & 31
    text = head[1 + width : 1 + width + length]
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return len(text) < length and error.reason == "unexpected end of data"
    return len(head) > width


formats.add(Flax.name, Flax())

"""Writes an ONNX model with other entries of its `metadata_props`: what else is in it is copied, entries that are new stand at the end.

A field may stand anywhere in a message of Protocol Buffers, so that nothing has to move but what follows an entry that goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...disk.layout import FileLayout
from ...disk.patch import Change
from ...errors import EditError
from ...storage.file import File
from ...storage.storage import Extent
from ...tensors.checkpoint import Checkpoint
from ..encodings.protobuf import BYTES, PagedBytes, fields, nested, piece

_METADATA_PROPS = 14
_KEY, _VALUE = 1, 2


class NewMetadata:
    """What becomes of the entries of a model.

    Raises:
        EditError: What is to change is a field of the model itself, such as its producer, or no valid Unicode.
    """

    def __init__(self, checkpoint: Checkpoint, file: File) -> None:
        before = checkpoint.origin.read.metadata if checkpoint.origin else {}
        self.file, self.entries = file, _entries(file)
        now = checkpoint.metadata
        self.gone = {key for key, text in before.items() if now.get(key) != text}
        self.new = {key: text for key, text in now.items() if before.get(key) != text}
        fact = next((key for key in self.gone if key not in self.entries), None)
        if fact is not None:
            raise EditError(f"{fact} is a field of the model, not of its metadata", "its program sets it")
        self.end = b"".join(_encoded(key, text) for key, text in self.new.items())

    def write(self, changes: Sequence[Change], file_layout: FileLayout) -> None:
        """Lay out the model; `changes`: values that are written over, in file order."""
        for start, stop in self._kept():
            at = start
            for change in changes:
                if start <= change.at < stop:
                    file_layout.put(Extent(self.file, at, change.at - at))
                    file_layout.put(change.contents)
                    at = change.stop
            file_layout.put(Extent(self.file, at, stop - at))
        file_layout.write(self.end)

    def _kept(self) -> Iterator[tuple[int, int]]:
        """The bytes between the entries that go."""
        at = 0
        for start, stop in sorted(place for key, place in self.entries.items() if key in self.gone):
            yield at, start
            at = stop
        yield at, self.file.size


def _entries(file: File) -> Mapping[str, tuple[int, int]]:
    """Where each entry lies in the file, by its key."""
    data = PagedBytes(file, 0, file.size)
    found: dict[str, tuple[int, int]] = {}
    at = 0
    for field in fields(data):
        if field.number == _METADATA_PROPS and field.kind == BYTES:
            inner = (each for each in fields(data, field.start, field.stop) if each.number == _KEY)
            key = b"".join(piece(data, each.start, each.stop) for each in inner)
            found[key.decode(errors="replace")] = at, field.stop
        at = field.stop
    return found


def _encoded(key: str, text: str) -> bytes:
    try:
        inner = nested(_KEY, key.encode()) + nested(_VALUE, text.encode())
    except UnicodeEncodeError:
        raise EditError("ONNX has no place for a text that is no valid Unicode", "choose another one") from None
    return nested(_METADATA_PROPS, inner)

"""A zip of torch's that somebody unpacked: a folder with `data.pkl`, `version` and `data/KEY`.

As in torch/serialization.py, `_save`; formats/torch/archive.py reads the same of a zip. Storages are opened when they are read: there may
be thousands. Read, not written: zip the folder, or convert it.
"""

from __future__ import annotations

import os
from typing import Any

from ...disk.opening import open_file
from ...errors import Malformed, about
from ...storage.file import File, leads_out
from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint
from .. import SeveralFiles, formats
from ..encodings.pickle_tree import TorchTree, read_tree
from .archive import Archive

_PICKLE, _VERSION = "data.pkl", "version"
_ROOT = "archive"  # the folder in a zip that would hold it all
_MOST_FILES = 2_000_000
_MOST_CONTENTS = 1 << 30  # bytes of what is read as a whole


class _UnpackedMember(Storage):
    """A file of the folder, which is opened when it is read. It has what an Archive asks of a member of a zip."""

    __slots__ = ("path",)
    method = 0

    def __init__(self, path: str, nbytes: int) -> None:
        self.path, self.nbytes = path, nbytes

    def readinto(self, start: int, view: memoryview) -> None:
        """Fill `view` from the file."""
        with about(self.path):
            file = open_file(self.path)
            if file.size != self.nbytes:
                raise Malformed("the file became longer or shorter while it was read")
            file.readinto(start, view)

    def contents(self) -> bytes:
        """All bytes of the file."""
        if self.nbytes > _MOST_CONTENTS:
            raise Malformed(f"the file has {self.nbytes:,} bytes; over {_MOST_CONTENTS:,} are not read", "", self.path)
        return self.read()


class TorchFolder(SeveralFiles):
    """Folders of what was in a zip by `torch.save`."""

    name = "torch-folder"
    title = "PyTorch zip, unpacked (a folder)"
    ties = objects = True

    def locate(self, path: str) -> str | None:
        """The pickle in the folder `path`."""
        pickle = os.path.join(path, _PICKLE)
        return pickle if os.path.isfile(pickle) and os.path.isfile(os.path.join(path, _VERSION)) else None

    def sniff(self, file: File) -> bool:
        """A pickle called data.pkl, with a version beside it."""
        return (
            file.head[:1] == b"\x80"
            and os.path.basename(file.path) == _PICKLE
            and self.locate(os.path.dirname(file.path) or ".") is not None
        )

    def read(self, file: File) -> Checkpoint:
        """The tensors under the paths by which they are reached from the pickled object; all else in it as objects."""
        folder = os.path.dirname(file.path) or "."
        members: Any = _members(folder)
        archive = Archive(members)
        if f"{_ROOT}/constants.pkl" in members:
            from .torchscript_modules import read_modules

            return read_modules(archive)
        return read_tree(TorchTree(archive.pickle, archive.storage, archive.carried(), archive.root))

    def bytes_on_disk(self, checkpoint: Checkpoint) -> int:
        """The size of the pickle and of the storages."""
        storages = {id(tensor.storage): tensor.storage.nbytes for tensor in checkpoint.values()}
        return super().bytes_on_disk(checkpoint) + sum(storages.values())


def _members(folder: str) -> dict[str, _UnpackedMember]:
    """The files below `folder`, by the names that they would have in a zip. Raises Malformed for what is no plain file below it."""
    members: dict[str, _UnpackedMember] = {}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(os.path.join(folder, below)) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = f"{below}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                else:
                    members[f"{_ROOT}/{name}"] = _member(folder, name)
        if len(members) > _MOST_FILES:
            raise Malformed(f"the folder has over {_MOST_FILES:,} files")
    return members


def _member(folder: str, name: str) -> _UnpackedMember:
    path = os.path.join(folder, name)
    if leads_out(path, folder):
        raise Malformed(f"{name!r} is a link that leads out of the folder", "copy what it names into the folder")
    if not os.path.isfile(path):
        raise Malformed(f"{name!r} is no file")
    return _UnpackedMember(path, os.path.getsize(path))


formats.add(TorchFolder.name, TorchFolder())

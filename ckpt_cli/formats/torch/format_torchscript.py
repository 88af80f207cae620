"""TorchScript archives (`torch.jit.save`; .pt): a torch zip that also holds the program.

    NAME/data.pkl, NAME/data/KEY       the modules, as objects of classes `__torch__.…`, and their storages
    NAME/code/__torch__/….py           those classes, and which of their attributes are parameters and buffers
    NAME/constants.pkl, NAME/constants/KEY

As in torch/csrc/jit/serialization (export_module.cpp, import.cpp). Names are those of `state_dict`; other attributes are objects. The code
is never run. Values are written over where they lie; names, shapes and dtypes belong to the program, and stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, formats
from ..encodings import zip as zips
from .archive import Archive, root_of

if TYPE_CHECKING:
    from ...disk.patch import Patch
    from ...storage.storage import Storage


def is_script(file: File) -> bool:
    """Whether a zip of torch's has the constants of a program beside its pickle."""
    members = zips.members(file)
    root = root_of(members)
    return root is not None and f"{root}/constants.pkl" in members


class TorchScript(Patcher):
    """Archives of `torch.jit.save`."""

    name = "torchscript"
    title = "TorchScript (torch.jit.save; values alone are edited)"
    ties = objects = True

    def sniff(self, file: File) -> bool:
        """A zip with a pickle called data.pkl, and the constants of a program."""
        return zips.is_zip(file) and is_script(file)

    def read(self, file: File) -> Checkpoint:
        """Parameters and buffers by the names that `state_dict` gives them; other attributes as objects."""
        from .torchscript_modules import read_modules

        return read_modules(Archive(zips.members(file)))

    def patch_of(self, file: File, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
        """Records written over in the zip, with their checksums."""
        from ..encodings.zip_patch import patch_members

        return patch_members(file, pairs)


formats.add(TorchScript.name, TorchScript())

"""TorchScript archives (`torch.jit.save`; .pt): a torch zip that holds the program, too.

    NAME/data.pkl, NAME/data/KEY       the modules, as objects of classes `__torch__.…`, and their storages
    NAME/code/__torch__/….py           those classes, and which of their attributes are parameters and buffers
    NAME/constants.pkl, NAME/constants/KEY

As in torch/csrc/jit/serialization (export_module.cpp, import.cpp). Names are those of `state_dict`, other attributes are objects. The code
is never run. Values are written over where they lie; names, shapes and dtypes are the program's, and stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import ValuesOnly, changed_storages, formats
from ..encodings import zip as zips
from .archive import Archive, root_of

if TYPE_CHECKING:
    from ...disk.patch import Patch


def is_script(file: File) -> bool:
    """A torch zip with constants of a program beside its pickle."""
    members = zips.members(file)
    root = root_of(members)
    return root is not None and f"{root}/constants.pkl" in members


class TorchScript(ValuesOnly):
    name = "torchscript"
    title = "TorchScript (torch.jit.save; values alone are edited)"
    ties = objects = True

    def sniff(self, file: File) -> bool:
        return zips.is_zip(file) and is_script(file)

    def read(self, file: File) -> Checkpoint:
        from .torchscript_modules import read_modules

        return read_modules(Archive(zips.members(file)))

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        from ..encodings.zip_patch import patch_members

        return patch_members(checkpoint.origin.file, changed_storages(checkpoint)) if checkpoint.origin else None


formats.add(TorchScript.name, TorchScript())

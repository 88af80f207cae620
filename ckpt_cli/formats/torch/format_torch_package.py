"""Packages of torch's (`torch.package.PackageExporter`; .pt): a zip of pickles, of the code that they need, and of storages.

    NAME/PACKAGE/RESOURCE.pkl    the objects that were saved
    NAME/.data/KEY.storage       the bytes of a storage, which all pickles share
    NAME/.data/extern_modules    modules that are imported from elsewhere; NAME/….py is code, which is never run here

As in torch/package/package_exporter.py and package_importer.py. The tensors of the only pickle have the names that they have in it, those
of several ones the pickle's name before them. Values are written over where they lie; all else belongs to the program, and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import Malformed
from ...numbers.dtypes import DType
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, formats
from ..encodings import zip as zips
from ..encodings.object_nodes import Dict
from ..encodings.pickle_reader import load
from ..encodings.pickle_tree import objects_of, sorted_leaves, undecoded_of
from ..encodings.pickled_tensors import TensorReader

if TYPE_CHECKING:
    from ...disk.patch import Patch
    from ...storage.storage import Storage

_MARK = "/.data/extern_modules"


def _root(file: File) -> str | None:
    """The folder in a zip that holds all; None where it is no package."""
    roots = [name[: -len(_MARK)] for name in zips.members(file) if name.endswith(_MARK) and name.count("/") == 2]
    return roots[0] if len(roots) == 1 else None


class TorchPackage(Patcher):
    """Archives of `torch.package`."""

    name = "torch-package"
    title = "torch.package (values alone are edited)"
    ties = objects = True

    def sniff(self, file: File) -> bool:
        """A zip that lists the modules that it takes from elsewhere."""
        return zips.is_zip(file) and _root(file) is not None

    def read(self, file: File) -> Checkpoint:
        """The tensors in the pickles, under the paths by which they are reached; all else in them as objects."""
        package = _Package(file)
        roots = {name.removesuffix(".pkl"): load(member.contents()) for name, member in package.pickles.items()}
        root = next(iter(roots.values())) if len(roots) == 1 else Dict(list(roots.items()))
        reader = TensorReader(package.storage)
        leaves = sorted_leaves(root, reader)
        return Checkpoint(leaves.tensors, objects=objects_of(leaves), layers=leaves.layers, undecoded=undecoded_of(leaves, reader))

    def patch_of(self, file: File, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
        """Records written over in the zip, with their checksums."""
        from ..encodings.zip_patch import patch_members

        return patch_members(file, pairs)


class _Package:
    """The members of a package: its pickles by their path, and its storages."""

    def __init__(self, file: File) -> None:
        self.members, self.root = zips.members(file), _root(file)
        inside = {name.removeprefix(f"{self.root}/"): member for name, member in self.members.items()}
        self.pickles = {name: member for name, member in inside.items() if name.endswith(".pkl") and not name.startswith(".data/")}

    def storage(self, key: str, dtype: DType | None, nbytes: int) -> Storage:
        """The storage of a key. Raises Malformed where the package has none of that size."""
        member = self.members.get(f"{self.root}/.data/{key}.storage")
        if member is None:
            raise Malformed(f"storage {key!r} is not in the package")
        if member.nbytes != nbytes:
            raise Malformed(f"storage {key!r} has {member.nbytes:,} bytes, the pickle says {nbytes:,}")
        return member


formats.add(TorchPackage.name, TorchPackage())

"""PyTorch's zip files (`torch.save` since 1.6; .pt .pth .bin .ckpt): a stored zip of a pickle and one record a storage.

    NAME/data.pkl            the object, its storages left out as persistent ids ('storage', class, key, location, numel)
    NAME/byteorder           "little" or "big"
    NAME/data/KEY            the bytes of a storage
    NAME/version, NAME/.format_version, NAME/.storage_alignment, NAME/.data/serialization_id …

As in torch/serialization.py and caffe2/serialize/inline_container.cc. The pickle is read as symbols and written from symbols: no class
is imported, and what an edit does not concern is carried along. Peculiarities: data begin at multiples of 64 (padding in the extra
field), checksums stand behind the data and in the central directory; dtypes without a typed storage are untyped ones, counted in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import Format, changed_storages, formats
from ..encodings import zip as zips
from ..encodings.pickle_reader import globals_of
from ..encodings.pickle_tree import TorchTree, read_tree
from .archive import Archive, root_of
from .format_torchscript import is_script

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch


class TorchZip(Format):
    name = "torch"
    title = "PyTorch zip (torch.save)"
    suffixes = (".pt", ".pth", ".bin", ".ckpt")
    patches = ties = objects = takes_objects = True

    def sniff(self, file: File) -> bool:
        return zips.is_zip(file) and root_of(zips.members(file)) is not None and not is_script(file)

    def read(self, file: File) -> Checkpoint:
        archive = Archive(zips.members(file))
        return read_tree(TorchTree(archive.pickle, archive.storage, archive.carried(), archive.root))

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        from ..encodings.zip_writer import Writer
        from .archive_writing import lay_out
        from .pickle_writing import write_tree

        pickle, storages = write_tree(checkpoint)
        records: Mapping[str, Any] = checkpoint.rest.records if isinstance(checkpoint.rest, TorchTree) else {}
        root = checkpoint.rest.root if records else "archive"
        archive = Writer(file_layout)
        lay_out(archive, root, pickle, storages, records)
        archive.close()

    def carried(self, checkpoint: Checkpoint) -> Iterable[str]:
        from .pickle_writing import written_objects

        return written_objects(checkpoint)

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        from ..encodings.zip_patch import patch_members

        return patch_members(checkpoint.origin.file, changed_storages(checkpoint)) if checkpoint.origin else None

    def code(self, checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
        from .safe_globals import unsafe_names

        if checkpoint.origin:
            pickle = Archive(zips.members(checkpoint.origin.file)).pickle
            yield from ((checkpoint.origin.path, name) for name in unsafe_names(globals_of(pickle)))


formats.add(TorchZip.name, TorchZip())

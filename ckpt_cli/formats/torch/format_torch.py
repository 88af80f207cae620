"""PyTorch's zip files (`torch.save` since 1.6; .pt .pth .bin .ckpt): a stored zip of a pickle and one record a storage.

    NAME/data.pkl            the object, its storages left out as persistent ids ('storage', class, key, location, numel)
    NAME/byteorder           "little" or "big"
    NAME/data/KEY            the bytes of a storage
    NAME/version, NAME/.format_version, NAME/.storage_alignment, NAME/.data/serialization_id …

As in torch/serialization.py and caffe2/serialize/inline_container.cc. Peculiarities:
- The pickle is read as symbols and written from symbols: no class is imported, and what an edit does not concern stays as it is.
- Data begin at multiples of 64 bytes (padding in the extra field); checksums stand behind the data and in the central directory.
- A dtype that has no typed storage class lies in an untyped storage, which is counted in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, Writer, formats
from ..encodings import zip as zips
from ..encodings.pickle_tree import TorchTree, read_tree
from .archive import Archive, root_of
from .format_torchscript import is_script

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch
    from ...storage.storage import Storage


class TorchZip(Writer, Patcher):
    """Files of `torch.save`."""

    name = "torch"
    title = "PyTorch zip (torch.save)"
    suffixes = (".pt", ".pth", ".bin", ".ckpt")
    ties = objects = edits_objects = writes_new_objects = in_model_order = True
    model_names = ("pytorch_model.bin", "diffusion_pytorch_model.bin")
    adapter_names = ("adapter_model.bin",)

    def sniff(self, file: File) -> bool:
        """A zip with a pickle called data.pkl, and none of the constants of a TorchScript program."""
        return zips.is_zip(file) and root_of(zips.members(file)) is not None and not is_script(file)

    def read(self, file: File) -> Checkpoint:
        """The tensors under the paths by which they are reached from the pickled object; all else in it as objects."""
        archive = Archive(zips.members(file))
        read = read_tree(TorchTree(archive.pickle, archive.storage, archive.carried(), archive.root))
        left, strange = archive.unasked(), archive.strange()
        if not left and not strange:
            return read
        records = {**read.rest.records, **{name: each.storage for name, each in left.items()}}
        return read.replacing(undecoded={**read.undecoded, **left, **strange}, rest=read.rest._replace(records=records))

    def sizes_told(self, checkpoint: Checkpoint, changed: Mapping[str, tuple[int, ...]]) -> str:
        """The attributes of modules that were pickled whole."""
        whole = any(checkpoint.layer_and_leaf(name)[0] in checkpoint.layers for name in changed)
        return "the modules in the file keep attributes of the old sizes (num_embeddings, out_features)" if whole else ""

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """A zip as torch writes it; records that are no storages are copied from the file that was read."""
        from ..encodings import zip_writer
        from .archive_writing import lay_out
        from .pickle_writing import write_tree

        pickle, storages = write_tree(checkpoint)
        records: Mapping[str, Any] = checkpoint.rest.records if isinstance(checkpoint.rest, TorchTree) else {}
        root = checkpoint.rest.root if records else "archive"
        archive = zip_writer.Writer(file_layout)
        lay_out(archive, root, pickle, storages, records)
        archive.close()

    def objects_to_write(self, checkpoint: Checkpoint) -> Iterable[str]:
        """All that were read from a pickle of torch's, and plain values from elsewhere."""
        from .pickle_writing import written_objects

        return written_objects(checkpoint)

    def patch_of(self, file: File, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
        """Records written over in the zip, with their checksums."""
        from ..encodings.zip_patch import patch_members

        return patch_members(file, pairs)


formats.add(TorchZip.name, TorchZip())

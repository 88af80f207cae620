"""HDF5 as Keras writes it: .weights.h5 (Keras 3), whole models and weights in .h5 (Keras 2 and 3, tf.keras).

    layers/dense/vars/0, optimizer/vars/3       save_weights of Keras 3: containers, classes in snake case, variables by number
    model_weights/dense/dense/kernel:0          a whole model: layers by their own names; its config is the attribute model_config
    dense/dense/kernel:0                        save_weights of Keras 2; `layer_names` and `weight_names` give the order

As in the HDF5 File Format Specification 3.0 (hdf5.py) and Keras' saving_lib.py and legacy_h5_format.py. Peculiarities:
- Kernels are in × out; a bfloat16 is an opaque |V2 with an attribute dtype.
- A dataset in chunks keeps their shape, its filters and its limits of growth. Of a chunk nothing is decoded that no edit touches.
- A second name of a dataset is a hard link, read and written as a tie.
- Soft links and links to other files are listed as what they are, never followed. Data that lie in other files, and virtual datasets,
  which are made of others, are not read.
- Written from another format, the parts of a name between slashes are groups; any other name is that of a dataset at the top.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...storage.file import File
from ...storage.storage import Extent
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, Writer, formats

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch

_MAGIC = b"\x89HDF\r\n\x1a\n"


class HDF5(Writer, Patcher):
    """HDF5 files of Keras, and plain ones."""

    name = "hdf5"
    title = "HDF5: Keras' .weights.h5, .h5"
    called = "HDF5"
    suffixes = (".h5", ".hdf5")
    ties = metadata = edits_metadata = objects = True
    axes = "io"

    def sniff(self, file: File) -> bool:
        """HDF5's magic."""
        return file.head[:8] == _MAGIC

    def read(self, file: File) -> Checkpoint:
        """The datasets under their paths, and the layers that Keras says they are in."""
        from . import hdf5, hdf5_checkpoint, shard_map

        tree = hdf5.read_tree(Extent(file, 0, file.size))
        found = hdf5_checkpoint.checkpoint_of(tree, hdf5_checkpoint.model_config(tree))
        note = shard_map.part_note(file.path)
        return found.replacing(notes=(*found.notes, note)) if note else found

    def told_of_new(self, checkpoint: Checkpoint, new: str) -> str:
        """That Keras goes by its config, where there is one, and by its lists of names."""
        from . import hdf5_checkpoint
        from .hdf5_objects import HDF5Tree

        tree = checkpoint.rest
        listed = isinstance(tree, HDF5Tree) and any(tree.nodes[""].attribute(name) for name in ("model_config", "layer_names"))
        return hdf5_checkpoint.told_of_new(new) if listed else ""

    def attributes(self, checkpoint: Checkpoint) -> Mapping[str, object]:
        """The attributes of groups and datasets."""
        from . import hdf5_checkpoint

        return hdf5_checkpoint.attributes(checkpoint.rest)

    def sizes_told(self, checkpoint: Checkpoint, changed: Mapping[str, tuple[int, ...]]) -> str:
        """The config of a whole model, by which Keras builds it before it loads the weights."""
        from .hdf5_checkpoint import model_config

        whole = model_config(checkpoint.rest) is not None
        told = "load_model() fails, load_weights() into a new model does not, from a name in .h5 without .weights"
        return f"model_config in the .h5 keeps the old sizes: {told}" if whole else ""

    def check_place(self, checkpoint: Checkpoint) -> None:
        """Raise CannotHold for what HDF5 has no place for. Where values alone change, there is nothing."""
        from ..patching import changed_storages
        from . import hdf5_writing

        if not (self.is_origin_of(checkpoint) and changed_storages(checkpoint) is not None):
            hdf5_writing.check(checkpoint)

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """Groups, datasets and attributes, laid out anew. Raises CannotHold for what HDF5 has no place for."""
        from . import hdf5_writing

        for piece in hdf5_writing.laid_out(checkpoint).pieces:  # each by itself: workers share them, the kernel copies what lies in a file
            file_layout.put(piece)
        file_layout.settle()

    def losses(self, checkpoint: Checkpoint) -> list[str]:
        """What has no place in HDF5, and the filters that do not fit another element type."""
        from .hdf5_objects import HDF5Tree

        lines, tree = super().losses(checkpoint), checkpoint.rest
        if isinstance(tree, HDF5Tree):
            from .hdf5_chunk_writing import filters_lost

            lines += filters_lost(tree, checkpoint)
        return lines

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        """The bytes that change where values alone do; chunks are encoded by the library."""
        from ..patching import changed_storages

        pairs = changed_storages(checkpoint)
        if pairs is None or not checkpoint.origin:
            return None
        from . import hdf5_patching

        return hdf5_patching.patch_of(checkpoint.origin.file, checkpoint.rest, pairs)


formats.add(HDF5.name, HDF5())

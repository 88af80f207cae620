"""HDF5 as Keras writes it: .weights.h5 (Keras 3), whole models and weights in .h5 (Keras 2 and 3, tf.keras).

    layers/dense/vars/0, optimizer/vars/3       save_weights of Keras 3: containers, classes in snake case, variables by number
    model_weights/dense/dense/kernel:0          a whole model: layers by their own names; its config is the attribute model_config
    dense/dense/kernel:0                        save_weights of Keras 2; `layer_names` and `weight_names` give the order

The container is HDF5 File Format Specification 3.0 (containers/hdf5.py), the layout Keras' saving_lib.py and legacy_h5_format.py.
Peculiarities: kernels are in×out; a bfloat16 is an opaque |V2 with an attribute dtype; a second name of a dataset is a hard link, read and
written as a tie. Links that are soft or lead out are listed as what they are, never followed; nor are data kept outside or made of others.
Written from another format, the parts of a name between slashes are groups; any other name is that of a dataset at the top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...storage.file import File
from ...storage.storage import Extent
from ...tensors.checkpoint import Checkpoint
from .. import Format, changed_storages, formats, patch_of

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch

_MAGIC = b"\x89HDF\r\n\x1a\n"


class HDF5(Format):
    name = "hdf5"
    title = "HDF5: Keras' .weights.h5, .h5"
    called = "HDF5"
    suffixes = (".h5", ".hdf5")
    patches = ties = metadata = objects = True
    layout = "io"

    def sniff(self, file: File) -> bool:
        return file.head[:8] == _MAGIC

    def read(self, file: File) -> Checkpoint:
        from . import hdf5, hdf5_checkpoint

        tree = hdf5.read_tree(Extent(file, 0, file.size))
        return hdf5_checkpoint.checkpoint_of(tree, hdf5_checkpoint.model_config(tree))

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        from . import hdf5_writing

        hdf5_writing.laid_out(checkpoint).put(file_layout)
        file_layout.settle()

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        return patch_of(checkpoint, changed_storages(checkpoint))


formats.add(HDF5.name, HDF5())

"""Keras 3's own format, .keras: a stored zip of the model's config and of its weights in HDF5.

    config.json         the layers with their classes, names and arguments, the optimizer, the loss
    metadata.json       Keras' version, the date
    model.weights.h5    layers/dense/vars/0, optimizer/vars/3 …, as in a .weights.h5 (formats/hdf5.py)
    assets/…            vocabularies and the like

As in keras/src/saving/saving_lib.py. The weights are read where they lie in the zip. Peculiarities: all that is no weight is carried
along byte for byte, the date included; without a config there is no .keras, so one is written of what came out of one alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import CannotHold, Malformed
from ...storage.file import File
from ...storage.storage import Memory
from ...tensors.checkpoint import Checkpoint
from .. import Format, changed_storages, formats, patch_of
from ..encodings import zip as zips

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch

_WEIGHTS = "model.weights.h5"


class Keras(Format):
    name = "keras"
    title = "Keras 3 (model.save)"
    suffixes = (".keras",)
    patches = ties = metadata = objects = True
    layout = "io"

    def sniff(self, file: File) -> bool:
        return zips.is_zip(file) and {"config.json", "metadata.json"} <= zips.members(file).keys()

    def read(self, file: File) -> Checkpoint:
        from ..encodings.zip_inflate import inflated
        from . import hdf5, weights

        members = zips.members(file)
        if _WEIGHTS not in members:
            kept = next((name for name in members if name.startswith("model.weights")), "nothing")
            raise Malformed(f"the weights are not in {_WEIGHTS} but in {kept}", "save the model with Keras' defaults")
        data = members[_WEIGHTS]
        tree = hdf5.read(Memory(data.contents()) if data.method else data)
        rest = weights.Archive(tree, {name: inflated(each) for name, each in members.items()})
        config = weights.config(members["config.json"].contents(), "config.json")
        metadata = weights.config(members["metadata.json"].contents(), "metadata.json")
        found = weights.checkpoint(tree, config, rest)
        return found.replacing(metadata={key: value for key, value in metadata.items() if type(value) is str} | dict(found.metadata))

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        from ..encodings.zip_writer import Writer
        from . import hdf5_writing, weights

        if not isinstance(checkpoint.rest, weights.Archive):
            raise CannotHold(
                "a .keras is written from another .keras alone: the config of the model that it holds is not there",
                "write NAME.weights.h5 for model.load_weights(), from torch with --map torch-to-keras",
            )
        archive = Writer(file_layout)
        for name, record in checkpoint.rest.records.items():
            archive.add(name, hdf5_writing.laid_out(checkpoint) if name == _WEIGHTS else record)
        archive.close()

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        from ..encodings.zip_patch import checksum

        found = patch_of(checkpoint, changed_storages(checkpoint))
        return found._replace(checksums=[checksum(zips.members(found.file)[_WEIGHTS])]) if found else None


formats.add(Keras.name, Keras())

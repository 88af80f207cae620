"""Keras 3's own format, .keras: a stored zip of the model's config and of its weights in HDF5.

    config.json         the layers with their classes, names and arguments, the optimizer, the loss
    metadata.json       Keras' version, the date
    model.weights.h5    layers/dense/vars/0, optimizer/vars/3 …, as in a .weights.h5 (format_hdf5.py)
    assets/…            vocabularies and the like

As in keras/src/saving/saving_lib.py. The weights are read where they lie in the zip. Peculiarities:
- Everything but the weights is copied byte for byte, the date included.
- A .keras needs the config of its model: one is written only from what was read from another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import CannotHold, Malformed
from ...storage.file import File
from ...storage.storage import Memory, Storage
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, Writer, formats
from ..encodings import zip as zips

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Patch
    from .hdf5_checkpoint import Archive

_WEIGHTS = "model.weights.h5"


class Keras(Writer, Patcher):
    """Zips of a model's config and its weights."""

    name = "keras"
    title = "Keras 3 (model.save)"
    suffixes = (".keras",)
    ties = metadata = objects = in_model_order = True
    axes = "io"

    def sniff(self, file: File) -> bool:
        """A zip with Keras' config and metadata."""
        return zips.is_zip(file) and {"config.json", "metadata.json"} <= zips.members(file).keys()

    def read(self, file: File) -> Checkpoint:
        """The weights by their paths in the HDF5 file within the zip, with the layers that the config says."""
        from ..encodings.zip_inflate import inflated
        from . import hdf5, hdf5_checkpoint

        members = zips.members(file)
        if _WEIGHTS not in members:
            kept = next((name for name in members if name.startswith("model.weights")), "nothing")
            raise Malformed(f"the weights are not in {_WEIGHTS} but in {kept}", "save the model with Keras' defaults")
        data = members[_WEIGHTS]
        tree = hdf5.read_tree(Memory(data.contents()) if data.method else data)
        rest = hdf5_checkpoint.Archive(tree, {name: inflated(each) for name, each in members.items()})
        config = hdf5_checkpoint.json_object(members["config.json"].contents(), "config.json")
        metadata = hdf5_checkpoint.json_object(members["metadata.json"].contents(), "metadata.json")
        found = hdf5_checkpoint.checkpoint_of(tree, config, rest)
        return found.replacing(metadata={key: value for key, value in metadata.items() if type(value) is str} | dict(found.metadata))

    def told_of_new(self, checkpoint: Checkpoint, new: str) -> str:
        """That Keras goes by the config in the file."""
        from . import hdf5_checkpoint

        return hdf5_checkpoint.told_of_new(new)

    def attributes(self, checkpoint: Checkpoint) -> Mapping[str, object]:
        """The attributes of groups and datasets."""
        from . import hdf5_checkpoint

        return hdf5_checkpoint.attributes(checkpoint.rest.tree)

    def optimizer_settings(self, checkpoint: Checkpoint) -> Mapping[str, object]:
        """The arguments of the optimizer that the model was compiled with; nothing where it was not."""
        from . import hdf5_checkpoint

        found: object = hdf5_checkpoint.json_object(_archive(checkpoint).records["config.json"].read(), "config.json")
        for key in ("compile_config", "optimizer", "config"):
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def sizes_told(self, checkpoint: Checkpoint, changed: Mapping[str, tuple[int, ...]]) -> str:
        """The config, by which Keras builds the model before it loads the weights."""
        return "config.json in a .keras keeps the old sizes, and Keras does not load it: write NAME.weights.h5 for model.load_weights()"

    def check_place(self, checkpoint: Checkpoint) -> None:
        """Raise CannotHold for what comes from another format, which has no config, and for what HDF5 has no place for."""
        from . import hdf5_writing

        _archive(checkpoint)
        hdf5_writing.check(checkpoint)

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """The zip with its weights laid out anew. Raises CannotHold for what comes from another format, which has no config."""
        from ..encodings import zip_writer
        from . import hdf5_writing

        archive = zip_writer.Writer(file_layout)
        for name, record in _archive(checkpoint).records.items():
            archive.add(name, hdf5_writing.laid_out(checkpoint) if name == _WEIGHTS else record)
        archive.close()

    def patch_of(self, file: File, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
        """The values written over, and the checksum of the weights in the zip."""
        from ..encodings.zip_patch import checksum

        patch = super().patch_of(file, pairs)
        return patch._replace(checksums=[checksum(zips.members(file)[_WEIGHTS])]) if patch else None


def _archive(checkpoint: Checkpoint) -> Archive:
    """The records of the .keras file that a checkpoint was read from. Raises CannotHold."""
    from . import hdf5_checkpoint

    if not isinstance(checkpoint.rest, hdf5_checkpoint.Archive):
        raise CannotHold(
            "a .keras is written from another .keras alone: the config of the model that it holds is not there",
            "write NAME.weights.h5 for model.load_weights(), from torch with --map torch-to-keras",
        )
    return checkpoint.rest


formats.add(Keras.name, Keras())

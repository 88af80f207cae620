"""Keras: the config that the file of a whole model holds: `config.json` in `.keras`, the attribute `model_config` in HDF5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import CkptError
from .config import Config
from .reader import Reader, readers, text

if TYPE_CHECKING:
    from ..tensors.checkpoint import Checkpoint

_FORMATS = ("keras", "hdf5")


class Keras(Reader):
    """Whole models of Keras."""

    name = "keras"
    files = ()

    def inside(self, checkpoint: Checkpoint) -> Config | None:
        """What the file says of the model."""
        if not checkpoint.origin or checkpoint.origin.format not in _FORMATS:
            return None
        entries = _entries(checkpoint)
        class_name = text(entries.get("class_name"))
        return Config(checkpoint.origin.path, self.name, class_name, "", entries) if class_name else None


def _entries(checkpoint: Checkpoint) -> dict[str, Any]:
    """The config, which the format has read; an empty one where the file has none."""
    from ..formats.keras.hdf5_checkpoint import Archive, json_object, model_config
    from ..formats.keras.hdf5_objects import HDF5Tree

    rest = checkpoint.rest
    try:
        if isinstance(rest, Archive):
            return json_object(rest.records["config.json"].read(), "config.json")
        return (model_config(rest) or {}) if isinstance(rest, HDF5Tree) else {}
    except CkptError:
        return {}


readers.add(Keras.name, Keras())

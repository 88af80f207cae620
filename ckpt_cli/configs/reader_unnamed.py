"""Sizes without a name: in a `config.json` that names no library, and in what training scripts keep in the file of the weights.

`config.json` of mamba_ssm and of PyTorchModelHubMixin; `model_args` of nanoGPT, `dims` of Whisper, `hyper_parameters` of Lightning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import Config
from .folder import Folder
from .reader import Reader, readers
from .sizes import sizes_of

if TYPE_CHECKING:
    from ..tensors.checkpoint import Checkpoint

_KEPT = ("model_args", "dims", "model_config", "config", "hyper_parameters")


class Unnamed(Reader):
    """Configs of sizes alone. The module is the last one of its kind, so that every other reader is asked before."""

    name = "unnamed"

    def beside(self, folder: Folder) -> Config | None:
        """What config.json says, where it tells layers or a hidden size."""
        entries = folder.object("config.json")
        known = sizes_of(entries)
        return Config(folder.file("config.json"), "", "", "", entries) if known.keys() & {"layers", "hidden"} else None

    def inside(self, checkpoint: Checkpoint) -> Config | None:
        """What an object of the file says, where it tells layers and a hidden size."""
        for kept in _KEPT if checkpoint.origin else ():
            start = f"{kept}{checkpoint.separator}"
            entries = {path[len(start) :]: checkpoint.objects[path] for path in checkpoint.objects if path.startswith(start)}
            if checkpoint.origin and sizes_of(entries).keys() >= {"layers", "hidden"}:
                return Config(checkpoint.origin.path, "", "", "", entries)
        return None


readers.add(Unnamed.name, Unnamed())

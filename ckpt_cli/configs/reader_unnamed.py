"""A `config.json` that says of which library it is by nothing but its folder: mamba_ssm's, PyTorchModelHubMixin's. Its sizes are read."""

from __future__ import annotations

from .config import Config
from .folder import Folder
from .reader import Reader, readers
from .sizes import sizes_of


class Unnamed(Reader):
    """Configs of sizes alone. The module is the last one of its kind, so that every other reader is asked before."""

    name = "unnamed"

    def beside(self, folder: Folder) -> Config | None:
        """What config.json says, where it tells layers or a hidden size."""
        entries = folder.object("config.json")
        known = sizes_of(entries)
        return Config(folder.file("config.json"), "", "", "", entries) if known.keys() & {"layers", "hidden"} else None


readers.add(Unnamed.name, Unnamed())

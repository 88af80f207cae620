"""sentence-transformers: `modules.json` lists modules, each with its class and its folder (sentence_transformers/base/model.py).

The transformer itself lies in the same folder or in `0_Transformer/`, and has transformers' config.json; the others (`2_Dense/`) have one
of their own.
"""

from __future__ import annotations

from ..storage.file import is_plain
from .config import Config
from .folder import Folder
from .reader import Reader, readers
from .whole import module_types


class SentenceTransformers(Reader):
    """Modules of a SentenceTransformer besides the transformer."""

    name = "sentence-transformers"
    files = ("modules.json", "config.json")

    def beside(self, folder: Folder) -> Config | None:
        """What config.json says of a module whose class is in the modules.json above it; in the folder of all, the first one's config."""
        entries = folder.object("config.json")
        named = module_types(folder.above).get(folder.name, "")
        if named and entries:
            return Config(folder.file("config.json"), self.name, named.rpartition(".")[2], "", entries)
        first = next((path for path in module_types(folder) if path and is_plain(path)), "")
        return readers["transformers"].beside(folder.below(first)) if first and not entries else None


readers.add(SentenceTransformers.name, SentenceTransformers())

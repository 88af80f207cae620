"""Llama: `params.json` as Meta wrote it beside consolidated.00.pth (llama/model.py, ModelArgs)."""

from __future__ import annotations

from typing import ClassVar

from .config import Config
from .folder import Folder
from .reader import Reader, readers


class Llama(Reader):
    """Meta's own folders, and `original/` on the hub."""

    name = "llama"
    files = ("params.json",)
    weights = ("consolidated.",)
    spellings: ClassVar = {"hidden": ("dim",), "layers": ("n_layers",), "heads": ("n_heads",), "kv_heads": ("n_kv_heads",)}

    def beside(self, folder: Folder) -> Config | None:
        """What params.json says; with the width of the feed-forward layers in it, it is Mistral's."""
        entries = folder.object("params.json")
        if not entries.keys() >= {"dim", "n_layers"} or "hidden_dim" in entries:
            return None
        return Config(folder.file("params.json"), self.name, "", "llama", entries)


readers.add(Llama.name, Llama())

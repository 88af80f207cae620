"""Mistral: `params.json` beside consolidated.safetensors (mistral-inference, args.py)."""

from __future__ import annotations

from typing import ClassVar

from .config import Config
from .folder import Folder
from .reader import Reader, readers


class Mistral(Reader):
    """Mistral's own files."""

    name = "mistral"
    files = ("params.json",)
    weights = ("consolidated.",)
    spellings: ClassVar = {
        "hidden": ("dim",),
        "layers": ("n_layers",),
        "intermediate": ("hidden_dim",),
        "experts": ("moe.num_experts",),
        "experts_per_token": ("moe.num_experts_per_tok",),
    }

    def beside(self, folder: Folder) -> Config | None:
        """What params.json says."""
        entries = folder.object("params.json")
        if not entries.keys() >= {"dim", "n_layers", "hidden_dim"}:
            return None
        family = "mixtral" if isinstance(entries.get("moe"), dict) else "mistral"
        return Config(folder.file("params.json"), self.name, "", family, entries)


readers.add(Mistral.name, Mistral())

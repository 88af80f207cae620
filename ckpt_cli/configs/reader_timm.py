"""timm: `config.json` with `architecture` (timm/models/_hub.py)."""

from __future__ import annotations

from typing import ClassVar

from .config import Config
from .folder import Folder
from .reader import Reader, readers, text


class Timm(Reader):
    """Folders of timm's models on the hub."""

    name = "timm"
    spellings: ClassVar = {"image": ("pretrained_cfg.input_size", "input_size"), "hidden": ("num_features",), "labels": ("num_classes",)}
    again: ClassVar = {
        "labels": ("num_classes", "model_args.num_classes", "pretrained_cfg.num_classes"),
        "channels": ("model_args.in_chans", "pretrained_cfg.input_size.0", "pretrained_cfg.test_input_size.0"),
        "layers": ("model_args.depth",),
        "hidden": ("model_args.embed_dim",),
    }

    def beside(self, folder: Folder) -> Config | None:
        """What config.json says. transformers' own wrapper of timm names a class, too, and is not timm's."""
        entries = folder.object("config.json")
        architecture = text(entries.get("architecture"))
        if not architecture or "architectures" in entries:
            return None
        return Config(folder.file("config.json"), self.name, architecture, "", entries)


readers.add(Timm.name, Timm())

"""KerasHub: `config.json` of a preset with `class_name`, `module` and `config` (keras_hub/src/utils/preset_utils.py)."""

from __future__ import annotations

from typing import ClassVar

from .config import Config
from .folder import Folder
from .reader import Reader, readers, text


class KerasHub(Reader):
    """Presets: config.json beside model.weights.h5."""

    name = "keras-hub"
    spellings: ClassVar = {"hidden": ("hidden_dim", "embedding_dim"), "heads": ("num_query_heads", "num_heads"), "image": ("image_shape",)}

    def beside(self, folder: Folder) -> Config | None:
        """What config.json says of the backbone."""
        document = folder.object("config.json")
        class_name, entries = text(document.get("class_name")), document.get("config")
        if not class_name or not isinstance(entries, dict) or "module" not in document:
            return None
        return Config(folder.file("config.json"), self.name, class_name, "", entries)


readers.add(KerasHub.name, KerasHub())

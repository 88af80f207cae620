"""transformers: `config.json` with `architectures` and `model_type` (configuration_utils.py). MLX keeps the same file."""

from __future__ import annotations

from .config import Config
from .folder import Folder
from .reader import Reader, first_text, readers, text


class Transformers(Reader):
    """Folders that save_pretrained wrote, of torch, TensorFlow, Flax or MLX."""

    name = "transformers"

    def beside(self, folder: Folder) -> Config | None:
        """What config.json says."""
        entries = folder.object("config.json")
        if "_class_name" in entries or not entries.keys() & {"architectures", "model_type", "transformers_version"}:
            return None
        class_name, model_type = first_text(entries.get("architectures")), text(entries.get("model_type"))
        return Config(folder.file("config.json"), self.name, class_name, model_type, entries)


readers.add(Transformers.name, Transformers())

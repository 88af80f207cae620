"""diffusers: `config.json` with `_class_name` (configuration_utils.py); `model_index.json` is a pipeline's, whose models lie below."""

from __future__ import annotations

from typing import ClassVar

from .config import Config
from .folder import Folder
from .reader import Reader, readers, text


class Diffusers(Reader):
    """Models of diffusers, and whole pipelines."""

    name = "diffusers"
    files = ("config.json", "model_index.json")
    spellings: ClassVar = {
        "widths": ("block_out_channels",),
        "depths": ("layers_per_block",),
        "hidden": ("hidden_size", "dim", "inner_dim"),
        "head_size": ("attention_head_dim",),
        "image": ("sample_size",),
    }

    def beside(self, folder: Folder) -> Config | None:
        """What config.json says; without one, what model_index.json says of the model in this folder, or of the pipeline."""
        entries = folder.object("config.json")
        if class_name := class_of(entries):
            return Config(folder.file("config.json"), self.name, class_name, "", entries)
        if entries:
            return None
        index = folder.object("model_index.json")
        if class_name := class_of(index):
            return Config(folder.file("model_index.json"), self.name, class_name, "", index)
        return self._component(folder)

    def _component(self, folder: Folder) -> Config | None:
        """A model without a config.json, whose library and class model_index.json one level up names."""
        index = folder.above.object("model_index.json")
        named = index.get(folder.name)
        if not class_of(index) or not isinstance(named, list) or len(named) != 2:
            return None
        library, class_name = map(text, named)
        return Config(folder.above.file("model_index.json"), library, class_name, "", {}) if class_name else None


def class_of(entries: dict[str, object]) -> str:
    """Return the class; a pipeline whose code lies beside it has `[MODULE, CLASS]`."""
    value = entries.get("_class_name")
    return text(value[-1]) if isinstance(value, list) and value else text(value)


readers.add(Diffusers.name, Diffusers())

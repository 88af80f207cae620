"""open_clip: `open_clip_config.json` with `model_cfg` (open_clip/factory.py); beside it may lie the config of transformers or timm."""

from __future__ import annotations

from typing import ClassVar

from .config import Config
from .folder import Folder
from .reader import Reader, readers, text


class OpenClip(Reader):
    """Models of open_clip on the hub."""

    name = "open-clip"
    files = ("open_clip_config.json",)
    weights = ("open_clip",)
    spellings: ClassVar = {"hidden": ("width", "embed_dim"), "positions": ("context_length",), "layers": ("layers",), "heads": ("heads",)}

    def beside(self, folder: Folder) -> Config | None:
        """What open_clip_config.json says of the model."""
        entries = folder.object("open_clip_config.json").get("model_cfg")
        if not isinstance(entries, dict):
            return None
        vision, words = entries.get("vision_cfg"), entries.get("text_cfg")
        towers = [text(each.get(key)) for each, key in ((vision, "timm_model_name"), (words, "hf_model_name")) if isinstance(each, dict)]
        named = f"({', '.join(filter(None, towers))})" if any(towers) else ""
        return Config(folder.file("open_clip_config.json"), self.name, f"CLIP{named}", "open_clip", entries)


readers.add(OpenClip.name, OpenClip())

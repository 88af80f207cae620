"""Metadata of safetensors files of diffusion models: `modelspec.…` of Stability AI's model metadata standard, `ss_…` of kohya's scripts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .config import Config
from .reader import Reader, readers, text

if TYPE_CHECKING:
    from ..tensors.checkpoint import Checkpoint

# A key of the metadata → what it is called.
_TOLD = {"ss_sd_model_name": "an adapter of", "ss_network_dim": "r", "ss_network_alpha": "alpha"}


class Modelspec(Reader):
    """Single files and LoRA adapters of diffusion models, whose metadata name the architecture."""

    name = "modelspec"
    files = ()

    def inside(self, checkpoint: Checkpoint) -> Config | None:
        """What the metadata say."""
        keys = ("modelspec.architecture", "ss_base_model_version")
        found = next((value for key in keys if (value := checkpoint.metadata.get(key))), "")
        if not checkpoint.origin or not found:
            return None
        return Config(checkpoint.origin.path, self.name, found, "", dict(checkpoint.metadata))

    def told(self, config: Config) -> Iterable[str]:
        """Of an adapter: the model that it was trained on, rank and alpha."""
        return (f"{word} {text(config.entries[key]):.60}" for key, word in _TOLD.items() if config.entries.get(key))


readers.add(Modelspec.name, Modelspec())

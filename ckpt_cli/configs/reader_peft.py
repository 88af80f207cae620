"""PEFT: `adapter_config.json` with `peft_type` (peft/config.py)."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import shortened
from .config import Config
from .folder import Folder
from .reader import Reader, readers, text
from .sizes import entry_of

_SHOWN = 8  # target modules
_NUMBERS = {
    "r": "r",
    "lora_parameters.rank": "r",
    "lora_alpha": "alpha",
    "lora_parameters.scale": "scale",
    "num_virtual_tokens": "virtual tokens",
}


class Peft(Reader):
    """Adapters, which change a model that lies elsewhere."""

    name = "peft"
    files = ("adapter_config.json",)
    weights = ("adapter_model", "adapters.")  # PEFT's and mlx-lm's

    def beside(self, folder: Folder) -> Config | None:
        """What adapter_config.json says."""
        entries = folder.object("adapter_config.json")
        kind = text(entries.get("peft_type")) or text(entries.get("fine_tune_type"))
        return Config(folder.file("adapter_config.json"), self.name, "", kind.lower(), entries) if kind else None

    def told(self, config: Config) -> Iterable[str]:
        """The base model, rank, alpha and target modules."""
        entries = config.entries
        if base := text(entries.get("base_model_name_or_path")) or text(entries.get("model")):
            yield f"an adapter of {shortened(base)}"
        for key, word in _NUMBERS.items():
            value = entry_of(entries, key)
            if type(value) in (int, float):
                yield f"{word} {value}"
        targets = entries.get("target_modules")
        if isinstance(targets, str):
            yield f"target modules {shortened(targets)}"
        elif names := sorted(map(text, targets)) if isinstance(targets, list) else []:
            yield f"target modules {' '.join(map(shortened, names[:_SHOWN]))}" + (
                f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
            )


readers.add(Peft.name, Peft())

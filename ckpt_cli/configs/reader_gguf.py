"""GGUF: `general.architecture` and the sizes under its name, in the metadata of the file (docs/gguf.md of ggml-org/ggml)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .config import Config
from .reader import Reader, readers

if TYPE_CHECKING:
    from ..tensors.checkpoint import Checkpoint

_MOST_DIGITS = 15


class Gguf(Reader):
    """Files of llama.cpp. The entries are called as in the file, those of the architecture without its name: `block_count`."""

    name = "gguf"
    files = ()
    spellings: ClassVar = {
        "layers": ("block_count",),
        "hidden": ("embedding_length",),
        "heads": ("attention.head_count",),
        "kv_heads": ("attention.head_count_kv",),
        "head_size": ("attention.key_length",),
        "intermediate": ("feed_forward_length",),
        "experts": ("expert_count",),
        "experts_per_token": ("expert_used_count",),
        "positions": ("context_length",),
    }

    def inside(self, checkpoint: Checkpoint) -> Config | None:
        """What the metadata say."""
        if not checkpoint.origin or not checkpoint.origin.format.startswith("gguf"):
            return None
        family = checkpoint.metadata.get("general.architecture", "")
        entries = {key.removeprefix(f"{family}."): _number(value) for key, value in checkpoint.metadata.items()}
        return Config(checkpoint.origin.path, self.name, "", family, entries) if family else None


def _number(value: str) -> object:
    return int(value) if value.isdecimal() and value.isascii() and len(value) <= _MOST_DIGITS else value


readers.add(Gguf.name, Gguf())

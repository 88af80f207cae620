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

    def quantised(self, config: Config) -> str:
        """The mixture of types that most of the weights have (enum llama_ftype of llama.h); plain floats are none."""
        code = config.entries.get("general.file_type")
        return _MIXTURES.get(code, "") if isinstance(code, int) else ""


_MIXTURES = {
    2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M",
    16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S",
    25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 36: "TQ1_0", 37: "TQ2_0",
    38: "MXFP4_MOE",
}  # fmt: skip


def _number(value: str) -> object:
    return int(value) if value.isdecimal() and value.isascii() and len(value) <= _MOST_DIGITS else value


readers.add(Gguf.name, Gguf())

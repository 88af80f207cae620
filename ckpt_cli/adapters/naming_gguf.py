"""llama.cpp: adapters in GGUF, `blk.0.attn_q.weight.lora_a`, with alpha in the metadata (convert_lora_to_gguf.py, llama-adapter.cpp)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..errors import EditError
from .layer import Layer
from .naming import Naming, Notes, Source, namings, ratio

_ALPHA, _TOKENS = "adapter.lora.alpha", "adapter.alora.invocation_tokens"


class Gguf(Naming):
    """Names of llama.cpp, those of the tensors of a GGUF file."""

    name = "gguf"
    title = "llama.cpp"
    marks = r"\.weight\.lora_a$"
    ends: ClassVar[Mapping[str, str]] = {r"(?<=token_embd)\.weight\.lora_a": "tokens_rank", r"\.weight\.lora_a": "down"} | {
        r"(?<=token_embd)\.weight\.lora_b": "features_rank",
        r"\.weight\.lora_b": "up",
    }

    def layers(self, source: Source) -> list[Layer]:
        """The layers. Raises EditError for an adapter that acts on some tokens only."""
        if _TOKENS in source.checkpoint.objects:
            raise EditError("it acts after certain tokens only (aLoRA), which no sum of weights does", "load it with llama.cpp")
        return super().layers(source)

    def scale(self, source: Source, layer: Layer, rank: int, notes: Notes) -> float:
        """Alpha / rank; 1 where alpha is 0 or not there, as llama.cpp takes it."""
        text = source.checkpoint.metadata.get(_ALPHA, "0")
        try:
            alpha = float(text)
        except ValueError:
            raise EditError(f"its metadata have {_ALPHA} = {text!r:.40}, which is no number", "convert the adapter again") from None
        notes.assumed += not alpha
        return ratio(alpha or rank, rank, layer.key)


namings.add(Gguf.name, Gguf())

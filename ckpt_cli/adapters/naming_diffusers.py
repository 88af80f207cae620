"""diffusers: `unet.….lora_A.weight`, `….lora.down.weight`, `….processor.to_q_lora.down.weight`; alpha in the metadata of the file.

ComfyUI, ai-toolkit and Black Forest Labs write the same tensors below `diffusion_model.` or below nothing, with `.alpha`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from ..errors import CkptError, EditError
from .layer import Layer
from .naming import LORA, LYCORIS, Naming, Notes, Source, namings, ratio
from .pattern import alpha_of

_METADATA = "lora_adapter_metadata"  # diffusers/loaders/lora_base.py: LORA_ADAPTER_METADATA_KEY
_PROCESSOR = re.compile(r"(?P<layer>.*)\.processor\.(?P<part>to_[a-z]+|add_[a-z]_proj|to_add_out)_lora")


class Diffusers(Naming):
    """Names of diffusers, as all its versions wrote them, and of those who follow it."""

    name = "diffusers"
    title = "diffusers"
    marks = r"\.lora_(?:A|B|down|up)\b|[._]lora\.(?:down|up)\b|_lora\.(?:down|up)\b|\.lora_linear_layer\.|\.(?:hada|lokr)_w|\.diff(?:_b)?$"
    ends: ClassVar[Mapping[str, str]] = {
        **LORA,
        **LYCORIS,
        r"(?:\.lora|_lora|\.lora_linear_layer)\.down\.weight": "down",
        r"(?:\.lora|_lora|\.lora_linear_layer)\.up\.weight": "up",
    }
    components: ClassVar[Mapping[str, str]] = {
        r"unet\.": "unet",
        r"transformer\.": "transformer",
        r"(?:base_model\.)?(?:model\.)?diffusion_model\.": "diffusion_model",
        r"text_encoder\.": "text_encoder",
        r"text_encoder_2\.": "text_encoder_2",
        r"text_encoder_3\.": "text_encoder_3",
        r"text_encoders\.[a-z0-9_]+\.": "text_encoder",
        r"controlnet\.": "controlnet",
        r"prior\.": "prior",
    }

    def place(self, key: str) -> tuple[str, str, str] | None:
        """Where a tensor belongs; those of the old attention processors name the layer within."""
        name = re.sub(r"\.(?:lora_linear_layer|processor)\.(?=.*alpha$)", ".", key)
        if match := re.fullmatch(rf"{_PROCESSOR.pattern}\.(?P<way>down|up)\.weight", name):
            part = "to_out.0" if match["part"] == "to_out" else match["part"]
            component, module = self.split(f"{match['layer']}.{part}")
            return component, module, match["way"]
        return super().place(name)

    def scale(self, source: Source, layer: Layer, rank: int, notes: Notes) -> float:
        """Alpha / rank by the tensor of alpha, else by the metadata, else 1."""
        text = source.checkpoint.metadata.get(_METADATA)
        if "alpha" in layer.parts or text is None:
            return super().scale(source, layer, rank, notes)
        config = _of_component(_parsed(text), layer.component)
        alpha = alpha_of(config, layer.module, ("lora_alpha", "alpha"))
        if alpha is None:
            return super().scale(source, layer, rank, notes)
        return ratio(alpha, rank**0.5 if config.get("use_rslora") is True else rank, layer.key)


@lru_cache(1)
def _parsed(text: str) -> Mapping[str, Any]:
    """The metadata. Raises EditError where they are no JSON object."""
    from ..formats.encodings import strict_json

    try:
        found = strict_json.loads(text.encode())
    except CkptError as error:
        raise EditError(f"its metadata {_METADATA} are no JSON: {error.what}", "save the adapter again") from None
    return found if isinstance(found, dict) else {}


def _of_component(entries: Mapping[str, Any], component: str) -> Mapping[str, Any]:
    """The entries of one model of a pipeline, whose keys begin with its name; those of a single model have no such beginning."""
    begin = f"{component}."
    own = {key.removeprefix(begin): value for key, value in entries.items() if component and key.startswith(begin)}
    return own or entries


namings.add(Diffusers.name, Diffusers())

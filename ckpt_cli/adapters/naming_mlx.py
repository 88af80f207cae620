"""MLX: `model.layers.0.self_attn.q_proj.lora_a`, inputs × rank, and `lora_b`, rank × outputs; the scale is in `adapter_config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..errors import EditError
from .layer import Layer
from .naming import Naming, Notes, Source, namings, ratio


class Mlx(Naming):
    """Names of mlx-lm (tuner/lora.py, tuner/dora.py)."""

    name = "mlx"
    title = "MLX"
    marks = r"(?<!\.weight)\.lora_a$"
    ends: ClassVar[Mapping[str, str]] = {r"\.lora_a": "inputs_rank", r"\.lora_b": "rank_outputs", r"\.m": "magnitude"}

    def scale(self, source: Source, layer: Layer, rank: int, notes: Notes) -> float:
        """The scale itself; older versions had alpha besides, and multiplied it by alpha / rank."""
        found = source.config.get("lora_parameters")
        parameters = found if isinstance(found, Mapping) else {}
        scale, alpha = parameters.get("scale"), parameters.get("alpha")
        if not isinstance(scale, int | float):
            raise EditError("there is no adapter_config.json with lora_parameters.scale beside it", "put it there, as it was saved with it")
        return ratio(scale, 1, layer.key) * (ratio(alpha, rank, layer.key) if isinstance(alpha, int | float) else 1)


namings.add(Mlx.name, Mlx())

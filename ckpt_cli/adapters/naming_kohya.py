"""kohya's sd-scripts and LyCORIS: `lora_unet_down_blocks_0_….lora_down.weight`, with underscores for dots, and `….alpha`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from .naming import Naming, namings


class Kohya(Naming):
    """Names of kohya's scripts (networks/lora.py) and of LyCORIS (wrapper.py), which ComfyUI and A1111 read, too."""

    name = "kohya"
    title = "kohya's scripts"
    flat = True
    marks = r"^(?:lora|lycoris)_[^.]+\.[a-z]"
    components: ClassVar[Mapping[str, str]] = {
        r"(?:lora|lycoris)_(?:prior_)?unet_": "unet",
        r"(?:lora|lycoris)_transformer_": "transformer",
        r"(?:lora|lycoris)_(?:prior_)?te_": "text_encoder",
        r"(?:lora|lycoris)_te1_": "text_encoder",
        r"(?:lora|lycoris)_te2_": "text_encoder_2",
        r"(?:lora|lycoris)_te3_": "text_encoder_3",
        r"(?:lora|lycoris)_": "",
    }


namings.add(Kohya.name, Kohya())

"""What a config says of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LONGEST_NAME = 200  # characters; the longest class names of libraries have some 60


@dataclass(frozen=True)
class Config:
    """What a config says. Nothing in it is run, imported or fetched, and nothing is believed that is not checked where it is used.

    Names longer than LONGEST_NAME are cut, with an ellipsis for the rest.

    Attributes:
        path: the file that was read.
        library: the library whose config it is: `transformers`, `diffusers`, `timm` and so on; empty where nothing tells.
        class_name: the class of the model: `LlamaForCausalLM`, `UNet2DConditionModel`, `resnet18`; empty where none is named.
        model_type: the family as the library calls it: `llama`; empty where none is named.
        entries: the whole document.
        within: what the model is a part of: `StableDiffusionPipeline`; empty where nothing tells.
    """

    path: str
    library: str
    class_name: str
    model_type: str
    entries: Mapping[str, object]
    within: str = ""

    def __post_init__(self) -> None:
        for field in ("library", "class_name", "model_type", "within"):
            name = getattr(self, field)
            if len(name) > LONGEST_NAME:
                object.__setattr__(self, field, f"{name[: LONGEST_NAME - 1]}…")

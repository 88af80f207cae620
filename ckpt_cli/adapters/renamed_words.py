"""Layers whose names changed from one version of transformers to another: PEFT saves adapters in the names of the version it ran with.

Source: transformers' conversion_mapping.py (files keep the old names; modules have the new ones).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .places import Leaves


class Renaming(NamedTuple):
    """Names of files, and those of the modules that they are loaded into.

    Attributes:
        marks: what some name of such a file matches, as a regular expression.
        rules: regular expressions, and what they become, one after the other.
    """

    marks: str
    rules: tuple[tuple[str, str], ...]


_TOWERS = "vision_tower|vision_model|audio_tower|multi_modal_projector|image_newline"
_VISION = (
    (r"\battention\.attention\.(query|key|value)\b", r"attention.\1"),
    (r"\battention\.query\b", "attention.q_proj"),
    (r"\battention\.key\b", "attention.k_proj"),
    (r"\battention\.value\b", "attention.v_proj"),
    (r"\battention\.output\.dense\b", "attention.o_proj"),
    (r"\bintermediate\.dense\b", "mlp.fc1"),
    (r"\boutput\.dense\b", "mlp.fc2"),
)
_RENAMINGS = (
    # Llava and its kin, and back
    Renaming(
        r"^language_model\.model\.",
        (
            (r"^language_model\.lm_head", "lm_head"),
            (r"^language_model\.model\.", "model.language_model."),
            (rf"^({_TOWERS})\b", r"model.\1"),
        ),
    ),
    Renaming(
        r"^model\.language_model\.",
        (
            (r"^lm_head", "language_model.lm_head"),
            (r"^model\.language_model\.", "language_model.model."),
            (rf"^model\.({_TOWERS})\b", r"\1"),
        ),
    ),
    # Qwen2-VL and its kin, and back
    Renaming(r"^visual\.", ((r"^visual\.", "model.visual."), (r"^model\.(?!language_model\.|visual\.)", "model.language_model."))),
    Renaming(r"^model\.visual\.", ((r"^model\.visual\.", "visual."), (r"^model\.language_model\.", "model."))),
    # Vision transformers: ViT and its kin, and Dinov2
    Renaming(r"encoder\.layer\.0\.attention\.attention\.query", ((r"\bencoder\.layer\.", "layers."), *_VISION)),
    Renaming(r"encoder\.layer\.0\.attention\.attention\.query", _VISION),
)


def renamed(layers: Mapping[str, Leaves]) -> list[Mapping[str, Leaves]]:
    """Return the layers of a base under the names of other versions of transformers: a mapping for each set of names."""
    found: list[Mapping[str, Leaves]] = []
    for renaming in _RENAMINGS:
        mark = re.compile(renaming.marks)
        if any(mark.search(path) for path in layers):
            made = {_applied(path, renaming): leaves for path, leaves in layers.items()}
            found += [made] if len(made) == len(layers) else []
    return found


def _applied(path: str, renaming: Renaming) -> str:
    for old, new in renaming.rules:
        path = re.sub(old, new, path)
    return path

"""The plan of a re-initialisation: how each tensor is filled, for the reader and for `-n --json`."""

from __future__ import annotations

from typing import NamedTuple

KEPT = "keep"  # what is drawn for a tensor that a preset leaves as it is


class Planned(NamedTuple):
    """How one tensor is filled.

    Attributes:
        name: The name of the tensor.
        scheme: The scheme with its arguments, or the preset.
        draw: What is drawn; KEPT where a preset does not know what to draw.
        seed: The seed of this tensor alone; None where nothing is random, or one generator draws all tensors.
        reason: Why: the pattern of the rule, or the role of the tensor and how it was recognised.
    """

    name: str
    scheme: str
    draw: str
    seed: int | None
    reason: str

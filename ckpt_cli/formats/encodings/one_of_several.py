"""Several checkpoints that lie in one file, as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...tensors.checkpoint import Checkpoint


def one_of_several(checkpoints: Mapping[str, Checkpoint]) -> Checkpoint:
    """One checkpoint of several: the names of each below the name that it has here. An empty name stands for none."""
    parts: dict[str, Any] = {"tensors": {}, "objects": {}, "layers": {}, "undecoded": {}}
    for prefix, checkpoint in checkpoints.items():
        for part, things in parts.items():
            things |= {_below(prefix, name): thing for name, thing in getattr(checkpoint, part).items()}
    return Checkpoint(**parts)


def _below(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix and name else prefix or name

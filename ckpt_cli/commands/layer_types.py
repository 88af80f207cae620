"""The types of the layers of a checkpoint, which `@Type` patterns ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..tensors.checkpoint import Checkpoint

if TYPE_CHECKING:
    from ..tensors.selection import Layers


def layers_of(checkpoint: Checkpoint, arch: str = "auto") -> Layers:
    """Return a function that gives the type of each layer by its path, which `@Type` patterns ask for.

    The types come from the architecture that `arch` names or that is recognised, else from the file; where none of them is the type that is
    asked for, from the library that the config beside the file names. Nothing is recognised, and no library asked, before the call.
    """

    def layers(kind: str = "") -> Mapping[str, str]:
        from ..providers import asking

        model = asking.model_of(checkpoint, arch)
        types = model.placed if model else checkpoint.layers
        return types if not kind or arch != "auto" or kind in types.values() else asking.types_with(checkpoint, kind, types)

    return layers

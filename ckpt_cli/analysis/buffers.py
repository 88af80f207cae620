"""Which tensors of a model are buffers: kept with its parameters, and not trained."""

from __future__ import annotations

import re
from typing import Protocol

from ..architectures.model import Model
from ..numbers.dtypes import DType

# Running statistics of a normalisation.
_RUNNING_STATISTICS = re.compile(r"(running|moving)_(mean|var|variance)$")


class Typed(Protocol):
    """What has a dtype: a tensor, or what a header says of one."""

    @property
    def dtype(self) -> DType:
        """The dtype."""


def is_buffer(name: str, tensor: Typed, model: Model | None) -> bool:
    """Return whether a tensor is a buffer: as the architecture says; else if it is a running statistic, or of a dtype without gradients."""
    if model and model.architecture:
        return name[len(model.prefix) :] in model.buffers
    return bool(_RUNNING_STATISTICS.search(name)) or tensor.dtype.kind in "biu"

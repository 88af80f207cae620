"""What Flax's layers do by default."""

from __future__ import annotations

from math import sqrt

from ..distribution import Distribution, Normal
from ..matrices import orthogonal
from ..roles import Role
from ..scaling import lecun_normal
from ..target import Target
from . import KERNELS, neutral, preset


@preset
def flax(target: Target, role: Role) -> Distribution | None:
    """Kernels lecun_normal, biases 0; embeddings N(0, 1/features); recurrent kernels orthogonal; norms 1 and 0; running statistics 0 and 1.

    flax.linen: Dense, Conv, Embed, LSTMCell, BatchNorm, LayerNorm. Drawn by torch's generator.
    """
    if role in KERNELS:
        return lecun_normal(target)
    if role == Role.RECURRENT and len(target.shape) == 2:
        return orthogonal(target)
    if role == Role.EMBEDDING and target.shape[-1]:
        return Normal(0.0, 1 / sqrt(target.shape[-1]))
    return neutral(target, role)

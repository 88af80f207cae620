"""What Flax's layers do by default."""

from __future__ import annotations

from math import sqrt

from ..distribution import Draw, Normal
from ..matrices import orthogonal
from ..roles import Kind
from ..scaling import lecun_normal
from ..target import Target
from . import neutral, preset


@preset
def flax(target: Target, role: Kind) -> Draw | None:
    """Kernels lecun_normal, biases 0; embeddings N(0, 1/features); recurrent kernels orthogonal; norms 1 and 0; running statistics 0 and 1.

    flax.linen: Dense, Conv, Embed, LSTMCell, BatchNorm, LayerNorm. Drawn by torch's generator.
    """
    if role in ("linear", "conv", "recurrent_input"):
        return lecun_normal(target)
    if role == "recurrent" and len(target.shape) == 2:
        return orthogonal(target)
    if role == "embedding" and target.shape[-1]:
        return Normal(0.0, 1 / sqrt(target.shape[-1]))
    return neutral(target, role)

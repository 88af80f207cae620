"""What Keras' layers do by default."""

from __future__ import annotations

from ..constant import zeros
from ..distribution import Distribution, Uniform
from ..matrices import orthogonal
from ..mxnet import LSTMBias
from ..roles import Role
from ..scaling import glorot_uniform
from ..target import Layout, Target
from . import KERNELS, neutral, preset


@preset
def keras(target: Target, role: Role) -> Distribution | None:
    """Kernels glorot_uniform, biases 0; embeddings U(±0.05); recurrent kernels orthogonal, and an LSTM's bias 1 in the forget gate
    where the file is Keras' own; norms 1 and 0; moving statistics 0 and 1;
    slopes of PReLU 0.

    Keras' Dense, Conv, Embedding, LSTM, GRU, BatchNormalization, PReLU. Drawn by torch's generator.
    """
    if role in KERNELS:
        return glorot_uniform(target)
    if role == Role.RECURRENT and len(target.shape) == 2:
        return orthogonal(target)
    if role == Role.EMBEDDING:
        return Uniform(-0.05, 0.05)
    if role == Role.SLOPE:
        return zeros(target)
    if role in (Role.BIAS, Role.RECURRENT_BIAS) and _of_lstm(target):
        return LSTMBias(target, 1.0)
    return neutral(target, role)


def _of_lstm(target: Target) -> bool:
    """Whether a recurrent kernel of units × 4·units lies beside a bias of 4·units; only Keras has one bias, not two."""
    if target.layout != Layout.IN_OUT or len(target.shape) != 1:
        return False
    folder = target.name[: max(target.name.rfind("/"), target.name.rfind(".")) + 1]
    units = target.shape[0] // 4
    beside = (target.shapes.get(folder + leaf) for leaf in ("recurrent_kernel", "1"))
    return (units, 4 * units) in beside

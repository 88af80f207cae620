"""What Gluon's layers do by default."""

from __future__ import annotations

from ..distribution import Draw, Fill
from ..mxnet import Uniform
from ..roles import Kind
from ..target import Target
from . import neutral, preset


@preset
def mxnet(target: Target, role: Kind) -> Draw | None:
    """Weights U(−0.07, 0.07), biases 0, norms 1 and 0, running statistics 0 and 1, PReLU 0.25.

    MXNet 1.9: net.initialize(), whose default is mxnet.init.Uniform().
    """
    if role in ("linear", "conv", "embedding", "recurrent", "recurrent_input"):
        return Uniform(target, 0.07)
    return Fill(0.25) if role == "slope" else neutral(target, role)

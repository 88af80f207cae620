"""What Gluon's layers do by default."""

from __future__ import annotations

from ..distribution import Constant, Distribution
from ..mxnet import Uniform
from ..roles import Role
from ..target import Target
from . import WEIGHTS, neutral, preset


@preset
def mxnet(target: Target, role: Role) -> Distribution | None:
    """Weights U(−0.07, 0.07), biases 0, norms 1 and 0, running statistics 0 and 1, PReLU 0.25.

    MXNet 1.9: net.initialize(), whose default is mxnet.init.Uniform().
    """
    if role in WEIGHTS:
        return Uniform(target, 0.07)
    return Constant(0.25) if role == Role.SLOPE else neutral(target, role)

"""What the papers of GPT-2 and BERT, and their implementations in transformers, do."""

from __future__ import annotations

import re

from ..depth import count_layers, gpt2_residual
from ..distribution import Distribution, Normal
from ..roles import Role
from ..target import Target
from . import WEIGHTS, neutral, preset

# The projections that end in the residual stream, in the names of GPT-2, LLaMA, OPT, GPT-NeoX, nanoGPT and MPT.
_RESIDUAL = re.compile(r"(^|[./_])(c_proj|o_proj|out_proj|down_proj|fc2|wo|dense_4h_to_h)[./]weight$")


@preset
def gpt2(target: Target, role: Role) -> Distribution | None:
    """Weights and embeddings N(0, 0.02²), projections into the residual stream N(0, (0.02/√(2·layers))²), biases 0, norms 1 and 0.

    Radford et al. 2019; transformers' GPT2PreTrainedModel. Where no names of layers tell how many there are, nothing is scaled.
    """
    if role in (Role.LINEAR, Role.CONV) and _RESIDUAL.search(target.name) and count_layers(target):
        return gpt2_residual(target)
    return bert(target, role)


@preset
def bert(target: Target, role: Role) -> Distribution | None:
    """Weights and embeddings N(0, 0.02²), biases 0, norms 1 and 0. The padding row is not known, and drawn like the others.

    Devlin et al. 2019; transformers' BertPreTrainedModel (the paper's own code cuts the normal off at two σ).
    """
    if role in WEIGHTS:
        return Normal(0.0, 0.02)
    return neutral(target, role)

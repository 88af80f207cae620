"""What the papers of GPT-2 and BERT, and their implementations in transformers, do."""

from __future__ import annotations

import re

from ..depth import gpt2_residual, layers_of
from ..distribution import Draw, Normal
from ..roles import Kind
from ..target import Target
from . import neutral, preset

# The projections that end in the residual stream, in the names of GPT-2, LLaMA, OPT, GPT-NeoX, nanoGPT and MPT.
_RESIDUAL = re.compile(r"(^|[./_])(c_proj|o_proj|out_proj|down_proj|fc2|wo|dense_4h_to_h)[./]weight$")


@preset
def gpt2(target: Target, role: Kind) -> Draw | None:
    """Weights and embeddings N(0, 0.02²), projections into the residual stream N(0, (0.02/√(2·layers))²), biases 0, norms 1 and 0.

    Radford et al. 2019; transformers' GPT2PreTrainedModel. Where no names of layers tell how many there are, nothing is scaled.
    """
    if role in ("linear", "conv") and _RESIDUAL.search(target.name) and layers_of(target):
        return gpt2_residual(target)
    return bert(target, role)


@preset
def bert(target: Target, role: Kind) -> Draw | None:
    """Weights and embeddings N(0, 0.02²), biases 0, norms 1 and 0. The padding row is not known, and drawn like the others.

    Devlin et al. 2019; transformers' BertPreTrainedModel (the paper's own code cuts the normal off at two σ).
    """
    if role in ("linear", "conv", "embedding", "recurrent", "recurrent_input"):
        return Normal(0.0, 0.02)
    return neutral(target, role)

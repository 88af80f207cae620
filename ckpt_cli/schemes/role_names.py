"""Names that tell the role of a tensor, as data. Tables are tried from the top; the first pattern that matches a whole name decides.

The words are those of torch, transformers, diffusers, timm, torchvision, Keras, Flax, Gluon, Paddle, GGUF and Meta's Llama.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Role(StrEnum):
    """What a tensor is in its layer."""

    LINEAR = "linear"
    CONV = "conv"  # transposed convolutions, too
    EXPERTS = "experts"  # the linear layers of all experts of a mixture, in one tensor
    EMBEDDING = "embedding"
    TOKEN = "token"  # a learned vector that stands among embedded ones: a class token, a mask, a query
    POSITION = "position"  # a learned table of positions that is no embedding layer
    RELATIVE_POSITION = "relative_position"  # what attention adds by distance: a table that is no embedding layer
    ATTENTION_BIAS = "attention_bias"  # what is added to queries or to scores of attention: sinks, XLNet's r_w_bias
    NORM_SCALE = "norm_scale"  # γ of a normalisation
    NORM_SHIFT = "norm_shift"  # β of a normalisation
    RESPONSE = "response"  # γ and β of a global response normalisation, both 0 at first
    LAYER_SCALE = "layer_scale"  # what the output of a residual branch is multiplied by
    BIAS = "bias"  # of anything else
    RECURRENT_INPUT = "recurrent_input"  # the weight of an RNN from its input
    RECURRENT = "recurrent"  # the weight of an RNN from its own state
    RECURRENT_BIAS = "recurrent_bias"
    STATE_SPACE = "state_space"  # A, D and Δ of a state space, decays and mixtures of RWKV
    SLOPE = "slope"  # of a PReLU
    LOGIT = "logit"  # a temperature: the scale or the bias of the logits of a contrastive loss
    CODEBOOK = "codebook"  # the vectors of a quantiser
    WEIGHT_GAIN = "weight_gain"  # g of weight normalisation, the norm of what is beside it
    ADAPTER_IN = "adapter_in"  # A of LoRA, from the inputs
    ADAPTER_OUT = "adapter_out"  # B of LoRA, to the outputs: 0 at first, so that the adapter changes nothing
    RUNNING_MEAN = "running_mean"
    RUNNING_VAR = "running_var"
    COUNTER = "counter"  # num_batches_tracked and the like
    COMPUTED = "computed"  # follows from the config: frequencies of rotary positions, sinusoids, masks
    OTHER = "other"  # no parameter of a model: optimizer states, integers, complex numbers, scales of packed weights
    UNKNOWN = "unknown"  # nothing tells; presets leave it as it is, and the plan names it


# The last part of a name, or the end of it after an underscore as Gluon writes it, whatever the shape.
ENDINGS: tuple[tuple[str, Role], ...] = (
    (r"running_mean|moving_mean", Role.RUNNING_MEAN),
    (r"running_var|moving_var(iance)?", Role.RUNNING_VAR),
    (r"num_batches_tracked", Role.COUNTER),
    (r"weight_hh\w*|h2h_weight|recurrent_kernel", Role.RECURRENT),
    (r"weight_(ih|hr)\w*|i2h_weight|h2r_weight", Role.RECURRENT_INPUT),
    (r"bias_(ih|hh)\w*|[ih]2h_bias", Role.RECURRENT_BIAS),
    (r"in_proj_bias", Role.BIAS),
    (r"in_proj_weight|[qkv]_proj_weight", Role.LINEAR),
    (r"prelu\d*_alpha", Role.SLOPE),
)

# The last part of a name.
LEAVES: tuple[tuple[str, Role], ...] = (
    (r"relative_coords_table|(\w+_)?inv_freq|freqs(_\w+)?|rope_freqs\w*|(cos|sin)(_cache\w*)?|(cached_)?(cos|sin)", Role.COMPUTED),
    (r"masked_bias|((causal|attn|attention)_)?mask|tril|(\w+_)?position_ids|(\w+_)?position_index", Role.COMPUTED),
    (r"(\w+_)?rel(ative)?_pos(ition)?\w*|rel_(height|width)|attention_biases", Role.RELATIVE_POSITION),
    (r"(\w+_)?pos(ition(al)?)?_(emb|enc|table)\w*", Role.POSITION),
    (r"(?!\w*embed)(\w+_)?tokens?|cls|probe|mask(ed_spec)?_emb\w*|class_emb\w*|latents?|queries|(learned|query)_\w*quer\w*", Role.TOKEN),
    (r"query_(embed|token)\w*", Role.TOKEN),
    (r"gain", Role.NORM_SCALE),  # of a convolution whose weight is standardised
    (r"skipinit_gain|layer_?scale\w*|(lambda|gamma)_?\d+|ls_?\d*", Role.LAYER_SCALE),
    (r"A_logs?|dt_bias|ssm_[ad]|time_(decay|first|faaaa|mix_\w+|maa_\w+)", Role.STATE_SPACE),
    (r"r_[wrs]_bias|(pos_)?bias_u|pos_bias_v|sinks?", Role.ATTENTION_BIAS),
    (r"(\w+_)?logit_(scale|bias)\w*|temperature|t_prime", Role.LOGIT),
    (r"codevectors|(\w+_)?codebooks?", Role.CODEBOOK),
    (r"inited|initialized|cluster_(size|usage)|embed_(avg|sum)", Role.COMPUTED),  # what a quantiser counts while it is trained
    (r"weight_g", Role.WEIGHT_GAIN),
    (
        r"scales|(weight|input|output|[kv])_scale(_inv|_2)?|scale_(weight|input)|(nested_)?(absmax|quant_map)|SCB",
        Role.OTHER,
    ),  # of packed weights
)

# LoRA in the names of PEFT, diffusers and kohya.
ADAPTERS: tuple[tuple[str, Role], ...] = (
    (r"lora_(A|down)", Role.ADAPTER_IN),
    (r"lora_(B|up)", Role.ADAPTER_OUT),
)

# The layer's own name, before `weight`, `bias` and the like.
LAYERS: tuple[tuple[str, Role], ...] = (
    (r"(\w+_)?grn", Role.RESPONSE),
    (r"\w*layer_?scale_?\d*", Role.LAYER_SCALE),
    (r"rope_freqs|rope_factors\w*", Role.COMPUTED),
    (r"attn_sinks", Role.ATTENTION_BIAS),
)
NORM = re.compile(r"\w*norm\w*|\w*normalization\w*|ln(_?\w+)?|[bg]n\d*|\w+_(ln|bn)", re.IGNORECASE)
EMBEDDING = re.compile(
    r"(?!\w*(proj|mapping|head|patch|embed_?out))(shared|codebook|quer(y|ies)_(feat|emb|pos)\w*|reference_points|wte|wpe|\w*emb(ed\w*|ds?|s)?|tok(en)?(s|_types)?|\w+_tokens?)"
    r"|relative_attention_bias|attn_rel_b",
    re.IGNORECASE,
)
EXPERTS = re.compile(r"\w*experts?|\w+_exps|moe", re.IGNORECASE)
HEADS = re.compile(r"[qkvor](_kernel)?|query|key|value|out|[qkvo]_proj")  # of an attention whose weight has an axis for the heads

# The last part of a name of a weight, a bias, and the scale of a norm.
WEIGHT = re.compile(
    r"(\w*_)?(weights?|kernel|filters?|matrix|w|proj\w*)(_?\d+|_orig|_v)?|[WUV]\d*|\d+|original\d?|onnx::(MatMul|Gemm|Conv)_\d+",
    re.IGNORECASE,
)
BIAS = re.compile(r"(\w*_)?(bias\w*|b(_?\d+)?)")
SCALE = re.compile(r"(\w*_)?(weight|gamma|scale|g)")
SCALE_ANYWHERE = re.compile(r"(\w*_)?weight")  # the same outside of what is called a norm: in a Sequential, norms have numbers

# Model types, with - for _, whose tables of positions are sinusoids that are not trained, and the names of those; a third word is the
# entry of the config that says so. transformers: models/*/modeling_*.py, what sets the table in _init_weights or freezes it.
SINUSOIDS: tuple[tuple[str, str, str], ...] = (
    (r"whisper|qwen2-audio.*|voxtral.*|audioflamingo3.*", r"(?!.*decoder\.).*(embed_positions\.weight|encoder\.positional_embedding)", ""),
    (r"pegasus|marian|fsmt|roformer|informer|autoformer|time-series-transformer", r".*embed_positions\.weight", ""),
    (r"vit-mae", r".*(position_embeddings|decoder_pos_embed)", ""),
    (r"distilbert", r".*position_embeddings\.weight", "sinusoidal_pos_embds"),
    (r"xlm|flaubert", r".*position_embeddings\.weight", "sinusoidal_embeddings"),
)

# What a training checkpoint holds beside the model.
TRAINING = re.compile(r"(^|[./])(optim\w*|opt_state|\w*scheduler\w*|\w*scaler|rng\w*|random\w*)[./]")


class Family(StrEnum):
    """Layer types whose tensors have the same roles."""

    SINUSOIDS = "sinusoids"
    RESPONSE = "response"
    NORM = "norm"
    EMBEDDING = "embedding"
    CONV = "conv"
    LINEAR = "linear"
    RECURRENT = "recurrent"
    SLOPE = "slope"


# A layer's type, as torch, Keras, MXNet and what builds upon them call it.
TYPES: tuple[tuple[str, Family], ...] = (
    (r"Sinusoid", Family.SINUSOIDS),
    (r"GRN$|GlobalResponseNorm", Family.RESPONSE),
    (r"Norm(?!alization|ed)|(Batch|Layer|Group|RMS)Normalization", Family.NORM),  # Keras' Normalization has statistics of the data
    (r"Embedding", Family.EMBEDDING),
    (r"Conv|^Deconvolution$", Family.CONV),
    (r"(^|[a-z])(Linear|Dense)$|^FullyConnected$|Multi[Hh]eadAttention", Family.LINEAR),
    (r"^(Simple|Lazy)?(LSTM|GRU|RNN)(Cell)?$", Family.RECURRENT),
    (r"^(PReLU|LeakyReLU)$", Family.SLOPE),  # MXNet's LeakyReLU has tensors where it is a PReLU
)

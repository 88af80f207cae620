"""Which preset fits a model: by the `model_type` of its config, or the name of its family."""

from __future__ import annotations

import re
from collections.abc import Mapping

# A family, with - for _ → the preset that draws what its library draws, as `--preset` takes it; the first that matches.
_FITTING: tuple[tuple[str, str], ...] = (
    (r"gpt2|gpt-bigcode|gpt-sw3|decision-transformer|nanogpt|imagegpt", "gpt2"),
    (r"(mamba2?|falcon-mamba)(-.*)?", "mamba"),
    (r"(gpt-neox?|gptj|codegen|falcon(?!-h1)|bloom|mpt|nemotron-h|ctrl|openai-gpt|xlnet|persimmon).*", "bert(padding=false)"),
    (r"(m?t5|umt5|longt5|switch-transformers|pop2piano|udop|t5-encoder|flan-t5)(-.*)?", "t5"),
    (r"(gemma[123]?|t5gemma2?|paligemma|shieldgemma\d?|recurrent-gemma|vaultgemma)(-text)?", "gemma"),
    (r"(llama|mistral|mixtral|qwen|phi|olmo|deepseek|gpt-oss|cohere|granite|stablelm|starcoder2|smollm|yi|internlm|glm|exaone).*", "llama"),
    (r"modernbert.*", "modernbert"),
    (r"(clip|clipseg|chinese-clip|altclip|groupvit|metaclip-2|x-?clip|owlvit|owlv2|kosmos-2-vision-model|mlcd)(-.*)?", "clip"),
    (r"siglip2?(-.*)?", "siglip"),
    (r"(deit|beit|data2vec-vision|audio-spectrogram-transformer|sam|sam-hq|yolos|internvl-vision)(-.*)?", "vit(zero_tokens=true)"),
    (r"(vit|dinov2|swin|ijepa|vivit|dpt|videomae|dinov3-vit)(-.*)?", "vit"),
    (r"convnext(v2|-v2)?(-.*)?|mambaout", "convnext"),
    (r"rwkv.*", "rwkv"),
    (r"(wav2vec2|wavlm|unispeech|data2vec-audio|mimi)(-.*)?", "wav2vec2"),
    (r"(hubert|sew)(-.*)?", "wav2vec2(zero_bias=true)"),
    (r"(resnet|resnext|wide-resnet|regnet|rt-detr-resnet|bit).*", "resnet"),
    (r"(vgg|densenet).*", "resnet(linear_std=0.01, zero_bias=true)"),
    (r"squeezenet.*", "resnet(mode=fan_in, distribution=uniform, zero_bias=true)"),
    (r"(efficientnet|mobilenetv3|mobilenet-v3|mnasnet).*", "efficientnet"),
    (r"(mlp-)?mixer.*", "mixer"),
    (r"encodec.*|unet.*|vae|autoencoder.*|dit|flux|sd3|mlp", "pytorch"),
)
# The same for the architectures of timm, which initialises some families otherwise.
_FITTING_TIMM: tuple[tuple[str, str], ...] = (
    (r"(test-)?vit-(rel|srel)pos.*", "pytorch(layer_scale=1e-6)"),
    (r"(test-)?(vit|deit|swin|cait|eva|volo|pit|levit).*", "timm_vit"),
    (r"beit.*", "timm_vit(token=0.02, layer_scale=0.1, rescale=true)"),
    (r"(test-)?mambaout.*", "convnext(layer_scale=1e-5)"),
    (r"(test-)?(dm-|eca-)?nf\w*net.*", "resnet(mode=fan_in, nonlinearity=linear, linear_std=0.01, zero_bias=true, zero_init=true)"),
    (r"(test-)?(\w*resnet|resnext|wide-resnet|regnet|se\w*net).*", "resnet(zero_init=true)"),
    (r"(test-)?\w*(efficientnet|mobilenet|mnasnet|mixnet|fbnet|hardcorenas|spnasnet|tinynet).*", "efficientnet"),
)
# The same for llama.cpp's architectures: its files hold 1 + w of Gemma's norms.
_FITTING_GGUF: tuple[tuple[str, str], ...] = ((r"gemma.*", "llama"), *_FITTING)


def preset_for(config: Mapping[str, object], family: str = "") -> str:
    """Return the preset that fits a model, with its arguments, as `--preset` takes it; empty where none is known to.

    Args:
        config: the entries of the config beside the checkpoint; empty where there is none.
        family: the name of the family, where an architecture was recognised.
    """
    timm, model_type = config.get("architecture"), config.get("model_type")
    gguf = (_FITTING_GGUF, config.get("general.architecture"))
    for table, named in (gguf, (_FITTING_TIMM, timm), (_FITTING, model_type), (_FITTING, timm), (_FITTING, family)):
        if isinstance(named, str) and (found := _fitting(table, named.lower().replace("_", "-"))):
            return found
    if isinstance(config.get("_class_name"), str):
        return "pytorch"  # diffusers leaves its layers as torch makes them
    return "bert" if isinstance(model_type, str) else ""


def preset_without_config(entries: Mapping[str, object], family: str, familys_own: str) -> str:
    """Return the preset that fits a model, as `preset_for` does; where neither config nor table tells one, the one that its family names.

    Args:
        entries: the entries of the config; empty where there is none.
        family: the name of the recognised architecture; empty where none was.
        familys_own: the preset in the family's data file, `Family.preset`; empty where it has none.
    """
    return preset_for(entries, family) or (familys_own if family else "")


def _fitting(table: tuple[tuple[str, str], ...], family: str) -> str:
    return next((preset for pattern, preset in table if re.fullmatch(pattern, family)), "")

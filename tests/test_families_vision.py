"""Families of vision, audio, diffusion and state-space models, recognised from names and shapes.

The oracles: what the libraries write (`models/truth.json.gz`), the sizes in their configs, the names that the first programs gave the
tensors (as the libraries' converters have them), and the published numbers of parameters.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Ckpt
from models.truth import load

from ckpt_cli.architectures import architectures
from ckpt_cli.architectures.family import Family
from ckpt_cli.architectures.recognition import recognise
from ckpt_cli.errors import CkptError

Shapes = dict[str, tuple[int, ...]]
Config = Mapping[str, Any]

TRUTH = load()
VIT = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "mlp": "intermediate_size",
    "patch": "patch_size",
    "channels": "num_channels",
}
CONV = {"depths": "depths", "widths": "hidden_sizes", "channels": "num_channels"}
SPEECH = {"layers": "num_hidden_layers", "hidden": "hidden_size", "mlp": "intermediate_size", "conv_widths": "conv_dim"}
SPEECH |= {"kernels": "conv_kernel", "kernel": "num_conv_pos_embeddings", "vocab": "vocab_size"}
MAMBA = {"layers": "num_hidden_layers", "hidden": "hidden_size", "kernel": "conv_kernel", "vocab": "vocab_size"}
DIFFUSERS = {"widths": "block_out_channels", "channels": "in_channels"}
TIMM = {"layers": "depth", "hidden": "embed_dim", "channels": "in_chans", "classes": "num_classes"}
# the truth's name → the family, and hyperparameter → where its config has the value, or the value
EXPECTED: dict[str, tuple[str, dict[str, object]]] = {
    "ast": ("ast", {**VIT, "channels": 1}),
    "beit": ("beit", {**VIT, "heads": "num_attention_heads"}),
    "clip": (
        "clip",
        {"projection": "projection_dim", "hidden": "vision_config.hidden_size", "text_layers": "text_config.num_hidden_layers"},
    ),
    "convnext": ("convnext", {**CONV, "patch": "patch_size"}),
    "convnextv2": ("convnextv2", {**CONV, "patch": "patch_size"}),
    "deit": ("deit", VIT),
    "detr": ("detr", {"layers": "encoder_layers", "queries": "num_queries", "hidden": "d_model", "widths": [16, 32]}),
    "dinov2": ("dinov2", {**VIT, "mlp": 64}),
    "dit": ("dit", {"layers": "num_layers", "patch": "patch_size", "channels": "in_channels", "hidden": 16}),
    "falcon_mamba": ("mamba", {**MAMBA, "inner": "intermediate_size", "state": "state_size", "rank": "time_step_rank"}),
    "flux": ("flux", {"layers": "num_layers", "single_layers": "num_single_layers", "context": "joint_attention_dim"}),
    "hubert": ("hubert", SPEECH),
    "llava": ("llava", {"vision_hidden": "vision_config.hidden_size", "text_vocab": "text_config.vocab_size"}),
    "mamba": ("mamba", {**MAMBA, "inner": "intermediate_size", "state": "state_size", "rank": "time_step_rank"}),
    "mamba2": ("mamba2", {**MAMBA, "heads": "num_heads"}),
    "mobilenet_v2": ("mobilenet-v2", {"later": 16, "channels": "num_channels"}),
    "resnet": ("resnet", {**CONV, "stem": "embedding_size"}),
    "resnet_basic": ("resnet", {**CONV, "stem": "embedding_size", "bottleneck": False}),
    "sam": ("sam", {"layers": "vision_config.num_hidden_layers", "width": "mask_decoder_config.hidden_size"}),
    "sd3": ("sd3", {"layers": "num_layers", "patch": "patch_size", "channels": "in_channels", "context": "joint_attention_dim"}),
    "segformer": ("segformer", {"depths": "depths", "widths": "hidden_sizes", "patches": "patch_sizes"}),
    "siglip": ("siglip", {"hidden": "vision_config.hidden_size", "vocab": "text_config.vocab_size"}),
    "swin": ("swin", {"depths": "depths", "heads": "num_heads", "patch": "patch_size", "widths": [8, 16]}),
    "timm_beit": ("beit", {**TIMM, "heads": "num_heads"}),
    "timm_convnext": ("convnext", {"depths": "depths", "widths": "dims", "classes": "num_classes", "pointwise": True}),
    "timm_efficientnet": ("efficientnet", {"depths": [1, 2, 2, 3, 3, 4, 1], "classes": "num_classes"}),
    "timm_mixer": ("mixer", {"layers": 8, "hidden": 512, "patch": 32}),
    "timm_mobilenetv3": ("efficientnet", {"depths": [1, 2, 3, 2, 3, 1], "classes": "num_classes"}),
    "timm_resnet": ("resnet", {"depths": [1, 1, 1, 1], "deep_stem": True, "pooled": True, "bottleneck": False}),
    "timm_resnet18": ("resnet", {"depths": [2, 2, 2, 2], "widths": [64, 128, 256, 512]}),
    "timm_swin": ("swin", {"depths": "depths", "heads": "num_heads", "widths": [12, 24]}),
    "timm_vit": ("vit", TIMM),
    "torchvision_convnext": ("convnext", {"depths": [3, 3, 9, 3], "widths": [96, 192, 384, 768]}),
    "torchvision_mobilenet_v2": ("mobilenet-v2", {"blocks": 17, "stem": 32, "last": 1280}),
    "torchvision_resnet18": ("resnet", {"depths": [2, 2, 2, 2], "widths": [64, 128, 256, 512]}),
    "torchvision_swin": ("swin", {"depths": [2, 2, 6, 2], "heads": [3, 6, 12, 24]}),
    "torchvision_vgg11": ("vgg", {"depths": [1, 1, 2, 2, 2], "norm": True}),
    "torchvision_vit": ("vit", {"layers": 12, "hidden": 768, "patch": 32}),
    "unet": ("unet", {**DIFFUSERS, "context": "cross_attention_dim", "resnets": "layers_per_block", "outputs": "out_channels"}),
    "unet_unconditional": ("unet2d", {**DIFFUSERS, "resnets": "layers_per_block"}),
    "vae": ("vae", {**DIFFUSERS, "latents": "latent_channels"}),
    "vit": ("vit", VIT),
    "wav2vec2": ("wav2vec2", SPEECH),
    "whisper": ("whisper", {"layers": "encoder_layers", "text_layers": "decoder_layers", "hidden": "d_model", "mels": "num_mel_bins"}),
}
# Types of torch.nn; a library's own norm, embedding or attention has another name in each.
GENERIC = {"Linear", "Conv1d", "Conv2d", "LayerNorm", "GroupNorm", "BatchNorm2d", "Embedding", "MultiheadAttention"}
MINE = {name for name, _ in EXPECTED.values()} | {
    "clip-text",
    "clip-vision",
    "data2vec-vision",
    "densenet",
    "dinov2-registers",
    "mobilenet-v1",
}
MINE |= {"mobilenet-v1", "mobilenet-v3", "siglip-vision", "stable-diffusion", "swinv2", "unet-ldm", "unet-segmentation", "vit-mae"}


def shapes_in(name: str) -> Shapes:
    """The names and shapes of the file that the library writes."""
    return {tensor: tuple(told["shape"]) for tensor, told in TRUTH[name]["tensors"].items()}


def told_by(config: Config, place: object) -> object:
    """What a config has at `text_config.vocab_size`, or the value itself."""
    if not isinstance(place, str):
        return place
    value: Any = {**config, **config.get("model_args", {})}
    for key in place.split("."):
        value = value[key]
    return value


def hollow(path: Path, shapes: Mapping[str, Iterable[int]]) -> Path:
    """Write a safetensors file of these names and shapes; its values are a hole in the file."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


def architecture_of(ckpt: Ckpt, path: Path) -> dict[str, Any]:
    """What `ckpt summary` says of a file's architecture; its name is empty where it is not known."""
    found: dict[str, Any] = ckpt("summary", path, "--json").json["architecture"] or {"name": ""}
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_of_a_library_is_recognised_with_the_sizes_of_its_config(ckpt: Ckpt, tmp_path: Path, name: str) -> None:
    family, sizes = EXPECTED[name]
    found = architecture_of(ckpt, hollow(tmp_path / "m.safetensors", shapes_in(name)))
    assert found["name"] == family
    options = {key: each.default for key, each in known(family).items()}
    values = {key: found["hyperparameters"].get(key, options[key]) for key in sizes}
    assert values == {key: told_by(TRUTH[name]["config"], place) for key, place in sizes.items()}


CONV_LAYERS = r"resnet\.(embedder\.embedder|encoder\..*\.layer\.\d)\..*"
IN_CLASS = [
    ("resnet", "ResNetConvLayer", CONV_LAYERS),
    ("resnet_basic", "ResNetConvLayer", CONV_LAYERS),
    ("resnet", "Sequential", r"resnet\.encoder\.stages\.\d\.layers\..*|classifier\..*"),
    ("detr", "ResNetConvLayer", r".*\.(embedder\.embedder|layer\.\d)\.(convolution|normalization)\..*"),
    ("siglip", "SiglipMLP", r".*\.mlp\..*"),
    ("timm_efficientnet", "DepthwiseSeparableConv", r"blocks\.0\..*"),
    ("timm_efficientnet", "InvertedResidual", r"blocks\.[1-6]\..*"),
    ("timm_mobilenetv3", "ConvBnAct", r"blocks\.5\..*"),
]


@pytest.mark.parametrize(("name", "kind", "inside"), IN_CLASS)
def test_a_class_picks_all_layers_that_have_it_in_the_library(name: str, kind: str, inside: str, ckpt: Ckpt, tmp_path: Path) -> None:
    """All families are compared with their libraries by `make models`."""
    shapes = shapes_in(name)
    rows = ckpt("ls", hollow(tmp_path / "m.safetensors", shapes), f"@{kind}").rows
    assert {row[0] for row in rows} == {tensor for tensor in shapes if re.fullmatch(inside, tensor)} != set()


def known(family: str) -> Mapping[str, Any]:
    """The hyperparameters of a family; those that have their default need not be in an answer."""
    from ckpt_cli.architectures.hyperparameters import schema

    return schema(architectures[family])


@pytest.mark.parametrize("name", EXPECTED)
def test_layers_have_the_types_of_the_library(name: str) -> None:
    model = recognise(shapes_in(name), TRUTH[name]["ties"])
    assert model
    wrong = {
        tensor: (model.placed.get(tensor.rpartition(".")[0]), told["layer_type"])
        for tensor, told in TRUTH[name]["tensors"].items()
        if told["layer_type"] in GENERIC and model.placed.get(tensor.rpartition(".")[0]) != told["layer_type"]
    }
    assert not wrong
    buffers = {tensor for tensor, told in TRUTH[name]["tensors"].items() if told.get("buffer")}
    assert {model.prefix + tensor for tensor in model.buffers} >= buffers & {tensor for tensor in buffers if "running_" in tensor}


def test_types_select_without_a_library(ckpt: Ckpt, tmp_path: Path) -> None:
    path = hollow(tmp_path / "m.safetensors", shapes_in("resnet_basic"))
    convolutions = [row[0] for row in ckpt("ls", path, "@Conv2d").rows]
    assert convolutions == sorted(name for name, told in TRUTH["resnet_basic"]["tensors"].items() if told["layer_type"] == "Conv2d")


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "module.model.", "network."])
@pytest.mark.parametrize("name", ["timm_vit", "resnet", "unet", "whisper", "mamba", "torchvision_mobilenet_v2"])
def test_a_wrapper_before_the_names_does_not_matter(ckpt: Ckpt, tmp_path: Path, name: str, prefix: str) -> None:
    path = hollow(tmp_path / "m.safetensors", {prefix + tensor: shape for tensor, shape in shapes_in(name).items()})
    assert architecture_of(ckpt, path)["name"] == EXPECTED[name][0]


def test_a_model_is_recognised_within_a_training_checkpoint(ckpt: Ckpt, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {name: torch.zeros(shape) for name, shape in shapes_in("timm_vit").items()}
    average = {name: value.clone() for name, value in state.items()}
    state = {f"module.{name}": value for name, value in state.items()}
    moments = {number: {"exp_avg": torch.zeros(3), "step": torch.tensor(1.0)} for number in range(3)}
    path = tmp_path / "epoch-3.pt"
    torch.save({"epoch": 3, "model": state, "ema": average, "optimizer": {"state": moments, "param_groups": []}}, path)
    found = architecture_of(ckpt, path)
    assert (found["name"], found["prefix"]) == ("vit", "model.module.")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_that_lacks_a_tensor_or_has_another_shape_is_of_no_family(name: str) -> None:
    shapes = shapes_in(name)
    inside = [tensor for tensor in shapes if re.search(r"\d", tensor) and len(shapes[tensor]) > 1 and tensor.endswith("weight")]
    for tensor in inside[len(inside) // 4 :: max(len(inside) // 2, 1)]:
        without = {other: shape for other, shape in shapes.items() if other != tensor}
        wider = {**shapes, tensor: (shapes[tensor][0] + 1, *shapes[tensor][1:])}
        assert not recognise(without), f"{tensor} is missing"
        assert not recognise(wider), f"{tensor} is wider"


@pytest.mark.parametrize("name", EXPECTED)
def test_no_two_families_claim_a_file(name: str) -> None:
    shapes = shapes_in(name)
    ends = {".".join(tensor.split(".")[-2:]) for tensor in shapes}
    families = (architectures[family] for family in sorted(MINE))
    asked = (family for family in families if not isinstance(family, Family) or family.may_hold(ends))
    assert [family.name for family in asked if family.recognise(shapes, {})] == [EXPECTED[name][0]]


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("resnet", "resnet.encoder.stages.1.layers.0.layer.1.convolution.weight"),
        ("timm_resnet18", "layer2.1.conv2.weight"),
        ("convnext", "convnext.encoder.stages.0.layers.0.pwconv1.weight"),
        ("swin", "swin.encoder.layers.1.blocks.0.attention.self.relative_position_bias_table"),
        ("unet", "up_blocks.0.resnets.1.conv1.weight"),
        ("whisper", "model.decoder.layers.1.fc1.weight"),
        ("timm_efficientnet", "blocks.2.1.conv_dw.weight"),
    ],
)
def test_check_says_which_tensor_a_file_lacks(ckpt: Ckpt, tmp_path: Path, name: str, tensor: str) -> None:
    shapes = shapes_in(name)
    del shapes[tensor]
    checked = ckpt("check", hollow(tmp_path / "m.safetensors", shapes), "--arch", EXPECTED[name][0], "--json", status=1)
    assert [row["name"] for row in checked.json["violations"] if row["kind"] == "missing"] == [tensor]


# What the first programs called the tensors, as rules from the names in the libraries; then what they keep in one tensor.
Rules = list[tuple[str, str]]
WHISPER: Rules = [(r"^model\.", ""), (r"embed_positions\.weight", "positional_embedding"), (r"embed_tokens", "token_embedding")]
WHISPER += [(r"encoder_attn_layer_norm", "cross_attn_ln"), (r"self_attn_layer_norm", "attn_ln"), (r"final_layer_norm", "mlp_ln")]
WHISPER += [(r"\.layers\.", ".blocks."), (r"encoder_attn", "cross_attn"), (r"self_attn", "attn"), (r"fc1", "mlp.0"), (r"fc2", "mlp.2")]
WHISPER += [(r"q_proj", "query"), (r"k_proj", "key"), (r"v_proj", "value"), (r"out_proj", "out")]
WHISPER += [(r"^encoder\.layer_norm", "encoder.ln_post"), (r"^decoder\.layer_norm", "decoder.ln")]
CONVNEXT: Rules = [(r"^convnext(v2)?\.", ""), (r"embeddings\.patch_embeddings", "downsample_layers.0.0")]
CONVNEXT += [(r"embeddings\.layernorm", "downsample_layers.0.1"), (r"encoder\.stages\.(\d+)\.downsampling_layer", r"downsample_layers.\1")]
CONVNEXT += [(r"encoder\.stages\.(\d+)\.layers", r"stages.\1"), (r"layer_scale_parameter", "gamma"), (r"layernorm", "norm")]
CONVNEXT += [(r"^classifier", "head"), (r"grn\.weight", "grn.gamma"), (r"grn\.bias", "grn.beta")]
LDM: Rules = [(r"down_blocks\.(\d+)\.resnets", r"down.\1.block"), (r"up_blocks\.0\.resnets", "up.1.block")]
LDM += [(r"up_blocks\.1\.resnets", "up.0.block"), (r"up_blocks\.0\.upsamplers\.0", "up.1.upsample"), (r"conv_shortcut", "nin_shortcut")]
LDM += [(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample"), (r"mid_block\.resnets\.0", "mid.block_1")]
LDM += [(r"mid_block\.resnets\.1", "mid.block_2"), (r"mid_block\.attentions\.0", "mid.attn_1"), (r"group_norm", "norm")]
LDM += [(r"to_([qkv])", r"\1"), (r"to_out\.0", "proj_out"), (r"conv_norm_out", "norm_out")]
CLIP: Rules = [
    (r"^vision_model\.encoder\.layers", "visual.transformer.resblocks"),
    (r"^text_model\.encoder\.layers", "transformer.resblocks"),
]
CLIP += [(r"layer_norm(\d)", r"ln_\1"), (r"fc1", "c_fc"), (r"fc2", "c_proj"), (r"self_attn", "attn"), (r"embeddings\.", "")]
CLIP += [(r"text_model\.final_layer_norm", "ln_final"), (r"^text_model\.", ""), (r"^vision_model\.", "visual.")]
CLIP += [(r"patch_embedding", "conv1"), (r"pre_layrnorm", "ln_pre"), (r"post_layernorm", "ln_post"), (r"token_ids", "")]
CLIP += [(r"position_embedding\.weight", "positional_embedding"), (r"visual_projection\.weight", "visual.proj")]
CLIP += [(r"text_projection\.weight", "text_projection")]


def renamed(shapes: Shapes, rules: Rules) -> Shapes:
    """The same shapes under other names."""
    result = {}
    for tensor, shape in shapes.items():
        for pattern, other in rules:
            tensor = re.sub(pattern, other, tensor)
        result[tensor] = shape
    return result


def fused(shapes: Shapes, pattern: str, whole: str) -> Shapes:
    """With the tensors of queries, keys and values as one, of which the pattern's `X` is q, k or v."""
    result = {}
    for tensor, shape in shapes.items():
        if found := re.fullmatch(pattern.replace("X", "([qkv])"), tensor):
            before, letter, after = found.groups()
            if letter == "q":
                result[f"{before}{whole}{after}"] = (3 * shape[0], *shape[1:])
        else:
            result[tensor] = shape
    return result


def openai_clip(shapes: Shapes) -> Shapes:
    """CLIP as OpenAI keeps it: projections transposed, one matrix for queries, keys and values, three sizes beside them."""
    shapes = fused(renamed(shapes, CLIP), r"(.*attn\.)X_proj\.(.*)", "in_proj_")
    for projection in ("visual.proj", "text_projection"):
        shapes[projection] = shapes[projection][::-1]
    return {**shapes, **dict.fromkeys(("input_resolution", "context_length", "vocab_size"), ())}


def vae_of_ldm(shapes: Shapes) -> Shapes:
    """The attention of the VAE was made of 1x1 convolutions."""
    shapes = renamed(shapes, LDM)
    projections = (tensor for tensor in shapes if re.search(r"attn_1\.(q|k|v|proj_out)\.weight", tensor))
    return {**shapes, **{tensor: (*shapes[tensor], 1, 1) for tensor in projections}}


def unet_of_ldm(shapes: Shapes) -> Shapes:
    """The U-Net of the truth: two stages of one residual block each, as CompVis numbers its blocks."""
    places = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
    places |= {f"time_embedding.linear_{number}": f"time_embed.{2 * number - 2}" for number in (1, 2)}
    places |= {"mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1", "mid_block.resnets.1": "middle_block.2"}
    for stage in range(2):
        places[f"down_blocks.{stage}.resnets.0"] = f"input_blocks.{2 * stage + 1}.0"
        places[f"down_blocks.{stage}.attentions.0"] = f"input_blocks.{2 * stage + 1}.1"
        for block in range(2):
            places[f"up_blocks.{stage}.resnets.{block}"] = f"output_blocks.{2 * stage + block}.0"
            places[f"up_blocks.{stage}.attentions.{block}"] = f"output_blocks.{2 * stage + block}.1"
    places |= {"down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op", "up_blocks.0.upsamplers.0": "output_blocks.1.2"}
    within = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3"}
    within |= {"time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
    result = {}
    for tensor, shape in shapes.items():
        before = next(place for place in places if tensor.startswith(f"{place}."))
        pieces = tensor[len(before) + 1 :].split(".")
        leaf = [within.get(piece, piece) for piece in pieces] if "resnets" in tensor else pieces
        result[".".join([places[before], *leaf])] = shape
    return result


def stable_diffusion(shapes: Shapes) -> Shapes:
    """U-Net, VAE, the text's encoder and the schedule of noise in one file."""
    text = {tensor: shape for tensor, shape in shapes_in("clip").items() if tensor.startswith("text_model.")}
    parts = {"model.diffusion_model.": unet_of_ldm(shapes), "first_stage_model.": vae_of_ldm(shapes_in("vae"))}
    parts["cond_stage_model.transformer."] = text
    whole = {prefix + tensor: shape for prefix, part in parts.items() for tensor, shape in part.items()}
    return {**whole, "betas": (1000,), "alphas_cumprod": (1000,), "model_ema.decay": ()}


def flax(name: str) -> Shapes:
    """The names and the order of axes that Flax has: kernels are inputs times outputs."""
    result = {}
    for tensor, told in TRUTH[name]["tensors"].items():
        kind, shape = told["layer_type"], tuple(told["shape"])
        layer, _, leaf = tensor.rpartition(".")
        if leaf == "weight" and kind in ("Linear", "Conv1d", "Conv2d"):
            leaf, shape = "kernel", (*shape[2:], shape[1], shape[0])
        elif leaf == "weight":
            leaf = "scale" if kind == "LayerNorm" else "embedding" if "Embedding" in kind else leaf
        result[f"{layer}.{leaf}" if layer else leaf] = shape
    return result


LLAMA_CPP: Rules = [(r"vision_model\.", "v."), (r"encoder\.layers", "blk"), (r"embeddings\.class_embedding", "class_embd")]
LLAMA_CPP += [(r"embeddings\.(patch|position)_embedding", r"\1_embd"), (r"pre_layrnorm", "pre_ln"), (r"post_layernorm", "post_ln")]
LLAMA_CPP += [(r"layer_norm", "ln"), (r"mlp\.fc1", "ffn_up"), (r"mlp\.fc2", "ffn_down"), (r"self_attn\.out_proj", "attn_out")]
LLAMA_CPP += [(r"self_attn\.([qkv])_proj", r"attn_\1")]


def projector(shapes: Shapes) -> Shapes:
    """The images' half of CLIP and the projector of LLaVA, as llama.cpp's converter writes them."""
    vision = {tensor: shape for tensor, shape in shapes.items() if tensor.startswith("vision_model.")}
    return renamed(vision, LLAMA_CPP) | {"mm.0.weight": (64, 32), "mm.0.bias": (64,), "mm.2.weight": (64, 64), "mm.2.bias": (64,)}


ORIGINAL: dict[str, tuple[str, Callable[[Shapes], Shapes], str, str]] = {
    "Whisper of OpenAI": ("whisper", lambda shapes: renamed(shapes, WHISPER), "whisper", "openai"),
    "CLIP of OpenAI": ("clip", openai_clip, "clip", "openai"),
    "ConvNeXt of Facebook": ("convnext", lambda shapes: renamed(shapes, CONVNEXT), "convnext", "facebook"),
    "U-Net of CompVis": ("unet", unet_of_ldm, "unet-ldm", "ldm"),
    "U-Net of CompVis in its program": (
        "unet",
        lambda shapes: {f"model.diffusion_model.{name}": shape for name, shape in unet_of_ldm(shapes).items()},
        "unet-ldm",
        "ldm",
    ),
    "Stable Diffusion in one file": ("unet", stable_diffusion, "stable-diffusion", "v1"),
    "VAE of CompVis": ("vae", vae_of_ldm, "vae", "ldm"),
    **{f"{name} of Flax": (name, lambda shapes, name=name: flax(name), name, "flax") for name in ("beit", "clip", "vit", "whisper")},
    "CLIP of llama.cpp": ("clip", projector, "clip-vision", "gguf"),
    "Mamba of its authors": ("mamba", lambda shapes: renamed(shapes, [("embeddings", "embedding")]), "mamba", "mamba_ssm"),
    "Mamba 2 of its authors": ("mamba2", lambda shapes: renamed(shapes, [("embeddings", "embedding")]), "mamba2", "mamba_ssm"),
    "OpenAI's dictionary": (
        "whisper",
        lambda shapes: {f"model_state_dict.{name}": shape for name, shape in renamed(shapes, WHISPER).items()},
        "whisper",
        "openai",
    ),
}


@pytest.mark.parametrize("name", ORIGINAL)
def test_the_names_of_the_first_programs_are_known(ckpt: Ckpt, tmp_path: Path, name: str) -> None:
    library, rename, family, style = ORIGINAL[name]
    found = architecture_of(ckpt, hollow(tmp_path / "m.safetensors", rename(shapes_in(library))))
    assert (found["name"], found["hyperparameters"].get("names", next(iter(styles_of(family))))) == (family, style)
    if family != library:
        return
    theirs = architecture_of(ckpt, hollow(tmp_path / "l.safetensors", shapes_in(library)))["hyperparameters"]
    same = set(theirs) & set(found["hyperparameters"]) - {"names", "output", "narrowed"}
    assert len(same) > 4 and {key: found["hyperparameters"][key] for key in same} == {key: theirs[key] for key in same}


# family, hyperparameters → the number of parameters that its paper, or the library's page, gives
PUBLISHED: dict[str, tuple[str, dict[str, object], int]] = {
    "ViT-B/16": ("vit", {"names": "timm", "head": True}, 86_567_656),
    "ViT-B/16 of torchvision": ("vit", {"names": "torchvision", "head": True}, 86_567_656),
    "DeiT-B distilled": ("vit", {"names": "timm", "head": True, "distilled": True, "positions": 198}, 87_338_192),
    "ResNet-50": ("resnet", {}, 25_557_032),
    "ResNet-18": (
        "resnet",
        {"depths": (2,) * 4, "widths": (64, 128, 256, 512), "bottleneck": False, "shortcuts": (False, True, True, True)},
        11_689_512,
    ),
    "ResNeXt-50 32x4d": ("resnet", {"inner": (128, 256, 512, 1024), "grouped": (4, 8, 16, 32)}, 25_028_904),
    "EfficientNet-B0": ("efficientnet", {}, 5_288_548),
    "EfficientNet-B0 of torchvision": ("efficientnet", {"names": "torchvision"}, 5_288_548),
    "ConvNeXt-T": ("convnext", {"names": "timm", "head": True}, 28_589_128),
    "Swin-T": ("swin", {"names": "timm", "head": True}, 28_288_354),
    "Mixer-B/16": ("mixer", {"head": True}, 59_880_472),
    "MobileNet v2": ("mobilenet-v2", {}, 3_504_872),
    "MobileNet v3 large": ("mobilenet-v3", {}, 5_483_032),
    "DenseNet-121": ("densenet", {}, 7_978_856),
    "VGG-16": ("vgg", {}, 138_357_544),
    "CLIP ViT-B/32": ("clip", {}, 151_277_313),
    "Stable Diffusion 1.5, U-Net": ("unet", {}, 859_520_964),
    "Stable Diffusion, VAE": ("vae", {}, 83_653_863),
    "Mamba 130m": ("mamba", {"output": False}, 129_135_360),
    "wav2vec 2.0 base": ("wav2vec2", {"names": "transformers-bare"}, 94_371_712),
    "Whisper base": ("whisper", {"output": False}, 72_593_920),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_real_size_has_the_parameters_that_are_published(name: str) -> None:
    family, sizes, count = PUBLISHED[name]
    tree = architectures[family].layers(**{key: each.default for key, each in known(family).items()} | sizes)
    shapes, buffers = tree.shapes(), tree.buffer_names()
    assert sum(prod(shape) for tensor, shape in shapes.items() if tensor not in buffers) == count
    before = time.process_time()
    model = recognise(shapes)
    assert model and model.architecture == family
    assert time.process_time() - before < 2, "recognition of a real model takes a tenth of a second"


def styles_of(name: str) -> Iterable[str]:
    """The naming styles of a family."""
    family = architectures[name]
    assert isinstance(family, Family)
    return family.styles


@pytest.mark.parametrize(
    "shapes",
    [
        {"layer1.999999999.conv1.weight": (64, 64, 3, 3), "layer1.0.bn2.running_var": (64,), "layer1.0.conv2.weight": (64, 64, 3, 3)},
        {f"blocks.{number}.{number}.conv_dw.weight": (8, 1, 3, 3) for number in range(0, 99_999, 999)}
        | {"conv_stem.weight": (8, 3, 3, 3), "conv_head.weight": (8, 8, 1, 1)},
        {"backbone.layers.99999.mixer.A_log": (0, 0), "x_proj.weight": (), "backbone.embeddings.weight": (1,)},
        {"features.0.weight": (0, 0, 0, 0), "classifier.0.weight": (0, 0), "classifier.6.weight": (0, 0)},
    ],
    ids=["a huge number", "many numbers", "nothing in it", "VGG of no channels"],
)
def test_hostile_names_and_shapes_are_of_no_family_and_cost_nothing(shapes: Shapes) -> None:
    before = time.process_time()
    for name in MINE:
        assert not recognise(shapes, families=[architectures[name]])
    assert time.process_time() - before < 5


@pytest.mark.parametrize("name", ["resnet", "segformer pixels=true", "mobilenet-v2", "efficientnet", "mobilenet-v3", "densenet"])
def test_new_counts_the_batches_of_every_batch_norm(ckpt: Ckpt, tmp_path: Path, name: str) -> None:
    ckpt("new", *name.split(), "-o", tmp_path / "m.pt", "--seed", 1)
    tensors = torch.load(tmp_path / "m.pt")
    means = {tensor.removesuffix("running_mean") for tensor in tensors if tensor.endswith("running_mean")}
    counters = {tensor: value for tensor, value in tensors.items() if tensor.endswith("num_batches_tracked")}
    assert means and {tensor.removesuffix("num_batches_tracked") for tensor in counters} == means
    assert all(value.dtype == torch.int64 and value.shape == () and not value for value in counters.values())


def test_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(CkptError):
        architectures["resnet"].layers(depths=(3, 4))  # four stages have four depths

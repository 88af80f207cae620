"""Adapters folded in by `ckpt merge --lora` are what PEFT, diffusers and LyCORIS make of them, to one rounding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
Run = Callable[..., str]
SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 60}
LORA: dict[str, Any] = {"r": 4, "lora_alpha": 12}


def llama(**others: Any) -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, **others))


def gpt2() -> Any:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=60))


def bert() -> Any:
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SIZES, num_labels=3))


def mixtral() -> Any:
    return transformers.MixtralForCausalLM(transformers.MixtralConfig(**SIZES, num_local_experts=4, num_key_value_heads=2))


def gpt_oss() -> Any:
    """Experts that are stacked as inputs × outputs, and square where hidden and intermediate sizes are one."""
    sizes = SIZES | {"intermediate_size": 32, "num_local_experts": 4, "head_dim": 8, "num_key_value_heads": 2}
    return transformers.GptOssForCausalLM(transformers.GptOssConfig(**sizes))


def vit() -> Any:
    """A model whose layers are called otherwise in its file."""
    sizes = {key: size for key, size in SIZES.items() if key != "vocab_size"}
    return transformers.ViTModel(transformers.ViTConfig(**sizes, image_size=16, patch_size=8))


def resnet() -> Any:
    sizes: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    return transformers.ResNetModel(transformers.ResNetConfig(**sizes))


CASES: dict[str, tuple[Callable[[], Any], Any]] = {
    "linear": (llama, peft.LoraConfig(**LORA, target_modules="all-linear")),
    "bfloat16": (lambda: llama().bfloat16(), peft.LoraConfig(**LORA, target_modules="all-linear")),
    "float16": (lambda: llama().half(), peft.LoraConfig(**LORA, target_modules="all-linear")),
    "dora": (llama, peft.LoraConfig(**LORA, use_dora=True, target_modules=["q_proj", "down_proj", "embed_tokens"])),
    "patterns": (
        llama,
        peft.LoraConfig(
            **LORA,
            use_rslora=True,
            rank_pattern={"q_proj": 2, r"layers\.1\.mlp\.down_proj": 3},
            alpha_pattern={"^model.layers.0.self_attn.q_proj": 7},
            target_modules=["q_proj", "down_proj"],
        ),
    ),
    "saved": (llama, peft.LoraConfig(**LORA, modules_to_save=["lm_head", "norm"], target_modules=["q_proj"])),
    "embedding": (llama, peft.LoraConfig(**LORA, target_modules=["embed_tokens", "q_proj"])),
    "tied": (lambda: llama(tie_word_embeddings=True), peft.LoraConfig(**LORA, target_modules=["embed_tokens", "q_proj"])),
    "tokens": (llama, peft.LoraConfig(**LORA, target_modules=["q_proj"], trainable_token_indices=[1, 5, 7])),
    "conv1d": (gpt2, peft.LoraConfig(**LORA, fan_in_fan_out=True, target_modules=["c_attn", "c_proj", "c_fc"])),
    "conv1d, said wrongly": (gpt2, peft.LoraConfig(**LORA, target_modules=["c_proj"])),
    "conv1d dora": (gpt2, peft.LoraConfig(**LORA, use_dora=True, fan_in_fan_out=True, target_modules=["c_attn", "c_proj"])),
    "biases": (bert, peft.LoraConfig(**LORA, task_type="SEQ_CLS", bias="all", target_modules=["query", "value"])),
    "bias of B": (bert, peft.LoraConfig(**LORA, lora_bias=True, target_modules=["query", "value"])),
    "convolution": (resnet, peft.LoraConfig(**LORA, target_modules=["convolution"])),
    "convolution dora": (resnet, peft.LoraConfig(**LORA, use_dora=True, target_modules=["convolution"])),
    "loha": (llama, peft.LoHaConfig(r=4, alpha=12, target_modules=["q_proj", "down_proj"])),
    "loha of kernels": (resnet, peft.LoHaConfig(r=4, alpha=12, use_effective_conv2d=True, target_modules=["convolution"])),
    "lokr": (llama, peft.LoKrConfig(r=4, alpha=12, target_modules=["q_proj", "down_proj"])),
    "lokr of two": (llama, peft.LoKrConfig(r=2, alpha=12, decompose_both=True, target_modules=["q_proj", "down_proj"])),
    "lokr of kernels": (resnet, peft.LoKrConfig(r=2, alpha=12, use_effective_conv2d=True, target_modules=["convolution"])),
    "experts one by one": (mixtral, peft.LoraConfig(**LORA, target_modules="all-linear")),
    "experts one by one, said stacked": (
        mixtral,
        peft.LoraConfig(**LORA, target_modules=["q_proj"], target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),
    ),
    "experts stacked": (
        gpt_oss,
        peft.LoraConfig(**LORA, target_modules=["q_proj"], target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),
    ),
    "experts stacked, square": (
        gpt_oss,
        peft.LoraConfig(**LORA, target_modules=["q_proj"], target_parameters=["mlp.experts.down_proj"]),
    ),
    "names of another version": (vit, peft.LoraConfig(**LORA, target_modules="all-linear")),
    "ia3": (
        bert,
        peft.IA3Config(target_modules=["query", "output.dense"], feedforward_modules=["output.dense"], task_type="SEQ_CLS"),
    ),
}


def trained(model: Any) -> None:
    """Give all parameters of an adapter other values."""
    for name, values in model.named_parameters():
        if values.requires_grad:
            around = (
                1 if "magnitude" in name or "ia3" in name else 0 if any(part in name for part in ("lora_", "hada", "lokr")) else values.data
            )
            values.data = torch.randn_like(values) * 0.05 + around


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(expected) <= set(found)
    for name, values in expected.items():
        step = torch.finfo(values.dtype).eps if values.is_floating_point() else 0
        torch.testing.assert_close(found[name], values, rtol=8 * step, atol=8e-7, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(("build", "config"), CASES.values(), ids=CASES.keys())
def test_peft(build: Callable[[], Any], config: Any, tmp_path: Path, ckpt: Run) -> None:
    torch.manual_seed(0)
    model = build()
    model.save_pretrained(tmp_path / "base")
    adapted = peft.get_peft_model(model, config)
    trained(adapted)
    adapted.save_pretrained(tmp_path / "adapter")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    ckpt("merge", tmp_path / "base", "--lora", tmp_path / "adapter", "-o", tmp_path / "out.safetensors")
    assert_same(load_file(tmp_path / "out.safetensors"), load_file(tmp_path / "merged" / "model.safetensors"))


def unet() -> Any:
    diffusers = pytest.importorskip("diffusers")
    sizes: dict[str, Any] = {"sample_size": 16, "block_out_channels": (8, 16), "norm_num_groups": 4, "attention_head_dim": 4}
    blocks: dict[str, Any] = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }
    return diffusers.UNet2DConditionModel(**sizes, **blocks, cross_attention_dim=16, layers_per_block=2)


def test_diffusers(tmp_path: Path, ckpt: Run) -> None:
    """What `save_lora_adapter` writes, with alpha in the metadata."""
    torch.manual_seed(0)
    model = unet()
    save_file(model.state_dict(), tmp_path / "base.safetensors")
    model.add_adapter(peft.LoraConfig(r=4, lora_alpha=2, target_modules=["to_q", "to_out.0", "conv1", "conv_in", "time_emb_proj"]))
    trained(model)
    model.save_lora_adapter(tmp_path / "adapter")
    model.fuse_lora()
    model.unload_lora()
    lora = tmp_path / "adapter" / "pytorch_lora_weights.safetensors"
    ckpt("merge", tmp_path / "base.safetensors", "--lora", lora, "-o", tmp_path / "out.safetensors")
    assert_same(load_file(tmp_path / "out.safetensors"), model.state_dict())


def test_names_of_latent_diffusion(tmp_path: Path, ckpt: Run) -> None:
    """A LoRA in the names of latent diffusion, and the U-Net as diffusers converts it from these names."""
    single_file_utils = pytest.importorskip("diffusers.loaders.single_file_utils")
    torch.manual_seed(0)
    model = unet()
    before = model.state_dict()
    layer = "input_blocks.4.1.transformer_blocks.0.attn1.to_q"
    named = {f"model.diffusion_model.{name}": values for name, values in _latent_diffusion(before).items()}
    assert single_file_utils.convert_ldm_unet_checkpoint(dict(named), dict(model.config)).keys() == before.keys()
    down, up = torch.randn(4, 16), torch.randn(16, 4)
    flat = f"lora_unet_{layer.replace('.', '_')}"
    save_file(
        {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up, f"{flat}.alpha": torch.tensor(2.0)}, tmp_path / "lora.safetensors"
    )
    changed = named | {f"model.diffusion_model.{layer}.weight": named[f"model.diffusion_model.{layer}.weight"] + 0.5 * (up @ down)}
    converted = single_file_utils.convert_ldm_unet_checkpoint(dict(changed), dict(model.config))
    for base, expected in ((before, converted), (named, changed)):
        save_file(base, tmp_path / "base.safetensors")
        ckpt("merge", tmp_path / "base.safetensors", "--lora", tmp_path / "lora.safetensors", "-o", tmp_path / "out.safetensors", "--force")
        assert_same(load_file(tmp_path / "out.safetensors"), expected)


def _latent_diffusion(tensors: dict[str, Any]) -> dict[str, Any]:
    """The U-Net above in the names of latent diffusion, level by level, two layers each."""
    blocks = {
        "conv_in.": "input_blocks.0.0.",
        "conv_norm_out.": "out.0.",
        "conv_out.": "out.2.",
        "down_blocks.0.downsamplers.0.conv.": "input_blocks.3.0.op.",
    }
    blocks |= {
        "time_embedding.linear_1.": "time_embed.0.",
        "time_embedding.linear_2.": "time_embed.2.",
        "up_blocks.0.upsamplers.0.conv.": "output_blocks.2.2.conv.",
    }
    blocks |= {
        "mid_block.resnets.0.": "middle_block.0.",
        "mid_block.attentions.0.": "middle_block.1.",
        "mid_block.resnets.1.": "middle_block.2.",
    }
    for level in (0, 1):
        for side, other, first, count in (("down", "input", 1, 2), ("up", "output", 0, 3)):
            for index in range(count):
                at = first + 3 * level + index
                blocks[f"{side}_blocks.{level}.resnets.{index}."] = f"{other}_blocks.{at}.0."
                blocks[f"{side}_blocks.{level}.attentions.{index}."] = f"{other}_blocks.{at}.1."
    parts = {
        "norm1.": "in_layers.0.",
        "conv1.": "in_layers.2.",
        "time_emb_proj.": "emb_layers.1.",
        "norm2.": "out_layers.0.",
        "conv2.": "out_layers.3.",
    }
    parts["conv_shortcut."] = "skip_connection."
    named = {}
    for name, values in tensors.items():
        old = next(old for old in blocks if name.startswith(old))
        rest = name.removeprefix(old)
        if "resnets" in old:
            part = next(part for part in parts if rest.startswith(part))
            rest = parts[part] + rest.removeprefix(part)
        named[blocks[old] + rest] = values
    return named


LYCORIS: dict[str, dict[str, Any]] = {
    "locon": {"algo": "lora", "linear_alpha": 2.0, "conv_alpha": 1.5},
    "locon with a core": {"algo": "lora", "linear_alpha": 2.0, "conv_alpha": 1.5, "use_tucker": True},
    "norms": {"algo": "lora", "linear_alpha": 2.0, "conv_alpha": 1.5, "train_norm": True},
    "dora by outputs": {"algo": "lora", "linear_alpha": 2.0, "conv_alpha": 1.5, "dora_wd": True},
    "dora by inputs": {"algo": "lora", "linear_alpha": 2.0, "conv_alpha": 1.5, "dora_wd": True, "wd_on_output": False},
    # alpha = rank: LyCORIS 4.1 multiplies by alpha / rank twice as it merges these two, and once as it trains them
    "loha": {"algo": "loha", "linear_alpha": 4.0, "conv_alpha": 3.0},
    "loha with cores": {"algo": "loha", "linear_alpha": 4.0, "conv_alpha": 3.0, "use_tucker": True},
    "lokr": {"algo": "lokr", "linear_alpha": 4.0, "conv_alpha": 3.0},
    "lokr with a core": {"algo": "lokr", "linear_alpha": 4.0, "conv_alpha": 3.0, "use_tucker": True, "factor": 4},
    "lokr of two": {"algo": "lokr", "linear_alpha": 4.0, "conv_alpha": 3.0, "decompose_both": True, "factor": 4},
}


@pytest.mark.parametrize("options", LYCORIS.values(), ids=LYCORIS.keys())
def test_lycoris(options: dict[str, Any], tmp_path: Path, ckpt: Run) -> None:
    lycoris = pytest.importorskip("lycoris")
    torch.manual_seed(0)
    model = unet()
    save_file(model.state_dict(), tmp_path / "base.safetensors")
    norms = ["GroupNorm", "LayerNorm"] if "train_norm" in options else []
    lycoris.LycorisNetwork.apply_preset({"enable_conv": True, "target_module": ["Linear", "Conv2d", *norms]})
    network = lycoris.create_lycoris(model, 1.0, linear_dim=4, conv_dim=3, **options)
    network.apply_to()
    for values in network.parameters():
        values.data += torch.randn_like(values) * 0.05
    network.save_weights(tmp_path / "lora.safetensors", torch.float32, {"made": "by a test"})
    for layer in network.loras:
        layer.merge_to(1.0)
    ckpt("merge", tmp_path / "base.safetensors", "--lora", tmp_path / "lora.safetensors", "-o", tmp_path / "out.safetensors")
    names = load_file(tmp_path / "base.safetensors").keys()
    assert_same(load_file(tmp_path / "out.safetensors"), {name: values for name, values in model.state_dict().items() if name in names})

"""Writes the tiny models that the Makefile works on: made from configs by their own libraries, nothing is downloaded."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, PreTrainedModel

BERT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
}
GPT2 = {"vocab_size": 60, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 20, "bos_token_id": 0, "eos_token_id": 0}
RANKS = {"style": 4, "topic": 2}


def build(folder: Path) -> None:
    """Write all models below `folder`."""
    torch.manual_seed(0)
    classifier(folder)
    GPT2LMHeadModel(GPT2Config(**GPT2)).save_pretrained(folder / "gpt2")
    unet().save_pretrained(folder / "unet")
    training(folder / "training")
    for name, rank in RANKS.items():
        adapter(folder / name, rank)


def classifier(folder: Path) -> None:
    """BERT for two classes, a fine-tune of it whose embeddings and first layer were frozen, and BERT without the classifier."""
    model = BertForSequenceClassification(BertConfig(**BERT, num_labels=2))
    model.save_pretrained(folder / "bert")
    tuned = copy.deepcopy(model)
    train(tuned, [name for name, _ in tuned.named_parameters() if "embeddings" not in name and "layer.0." not in name])
    tuned.save_pretrained(folder / "bert-tuned")
    BertForMaskedLM(BertConfig(**BERT)).save_pretrained(folder / "bert-masked")


def train(model: PreTrainedModel, names: list[str]) -> None:
    """Move the parameters called `names` a little."""
    with torch.no_grad():
        for name in names:
            parameter = model.get_parameter(name)
            parameter += 0.01 * torch.randn_like(parameter)


def unet() -> UNet2DConditionModel:
    """A U-Net of the shape that Stable Diffusion has."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def network() -> torch.nn.Sequential:
    """The model that is trained."""
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3))


def training(folder: Path) -> None:
    """Three checkpoints of one training: the model, its optimizer, the step."""
    folder.mkdir(parents=True)
    net = network()
    optimizer = torch.optim.AdamW(net.parameters())
    for step in range(1, 31):
        net(torch.randn(16, 6)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 0:
            torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, folder / f"step-{step}.pt")


def adapter(folder: Path, rank: int) -> None:
    """A LoRA adapter of the fused attention matrices of GPT-2, as PEFT saves it."""
    folder.mkdir(parents=True)
    width, tensors = GPT2["n_embd"], {}
    for layer in range(GPT2["n_layer"]):
        stem = f"base_model.model.transformer.h.{layer}.attn.c_attn"
        tensors[f"{stem}.lora_A.weight"] = torch.randn(rank, width)
        tensors[f"{stem}.lora_B.weight"] = torch.randn(3 * width, rank)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": ["c_attn"], "fan_in_fan_out": True, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    build(Path(sys.argv[1]))

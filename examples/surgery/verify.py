"""Has the models' own libraries load what the Makefile made, and looks whether it is what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from transformers import BertForSequenceClassification, GPT2LMHeadModel

BUILD, OUT = Path("build"), Path("out")


def verify() -> None:
    """Look at each result. Raises AssertionError where one is wrong."""
    for check in (bert, gpt2, unet, lora, head, mean, frozen):
        check()
        print(f"{check.__name__}: as it should be")


def same(one: torch.Tensor, other: torch.Tensor) -> None:
    """Raise AssertionError where two tensors differ."""
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def loaded(kind: Any, name: str) -> Any:
    """The model in out/NAME; all its parameters come from the file."""
    model, report = kind.from_pretrained(OUT / name, output_loading_info=True)
    if report["missing_keys"] or report["mismatched_keys"]:
        raise AssertionError(f"{name}: {report}")
    return model.eval()


def bert() -> None:
    """Three labels: the rows of the first two are the old ones."""
    model, old = loaded(BertForSequenceClassification, "bert"), load_file(BUILD / "bert/model.safetensors")
    same(model.classifier.weight[:2], old["classifier.weight"])
    same(model.classifier.bias, torch.cat([old["classifier.bias"], torch.zeros(1)]))
    if model.config.num_labels != 3 or model(torch.arange(6).view(1, 6)).logits.shape != (1, 3):
        raise AssertionError("bert: not three labels")


def gpt2() -> None:
    """13 more tokens; the output layer is the embedding."""
    model, old = loaded(GPT2LMHeadModel, "gpt2"), load_file(BUILD / "gpt2/model.safetensors")["transformer.wte.weight"]
    same(model.transformer.wte.weight[:60], old)
    torch.testing.assert_close(model.transformer.wte.weight[60:], old.mean(0).expand(13, -1))
    if model.lm_head.weight is not model.transformer.wte.weight or model(torch.tensor([[1, 72]])).logits.shape != (1, 2, 73):
        raise AssertionError("gpt2: not 73 tokens, tied")


def unet() -> None:
    """Nine channels: what is in the new ones changes nothing yet."""
    model = loaded(UNet2DConditionModel, "unet")
    old = UNet2DConditionModel.from_pretrained(BUILD / "unet").eval()
    image, text = torch.randn(1, 9, 8, 8), torch.randn(1, 3, 8)
    torch.testing.assert_close(model(image, 5, text).sample, old(image[:, :4], 5, text).sample)


def lora() -> None:
    """W + 0.7·α/r·(BA)ᵀ + 0.3·α/r·(BA)ᵀ, since GPT-2 keeps its weights in × out."""
    model, base = loaded(GPT2LMHeadModel, "lora"), load_file(BUILD / "gpt2/model.safetensors")
    adapters = [
        (load_file(BUILD / name / "adapter_model.safetensors"), scale, rank) for name, scale, rank in (("style", 0.7, 4), ("topic", 0.3, 2))
    ]
    for layer, block in enumerate(model.transformer.h):
        stem = f"base_model.model.transformer.h.{layer}.attn.c_attn.lora_"
        changes = [scale * 8 / rank * (each[f"{stem}B.weight"] @ each[f"{stem}A.weight"]).T for each, scale, rank in adapters]
        torch.testing.assert_close(block.attn.c_attn.weight, base[f"transformer.h.{layer}.attn.c_attn.weight"] + sum(changes))
        same(block.mlp.c_fc.weight, base[f"transformer.h.{layer}.mlp.c_fc.weight"])


def head() -> None:
    """The body of one file, the pooler and the classifier of the other."""
    model = loaded(BertForSequenceClassification, "head").state_dict()
    body, other = load_file(BUILD / "bert-masked/model.safetensors"), load_file(BUILD / "bert/model.safetensors")
    for name, tensor in model.items():
        same(tensor, other[name] if name.startswith(("bert.pooler.", "classifier.")) else body[name])


def mean() -> None:
    """The mean of each parameter; no optimizer."""
    steps = [torch.load(BUILD / f"training/step-{step}.pt")["model"] for step in (30, 20, 10)]
    made = torch.load(OUT / "mean.pt")
    for name, tensor in made["model"].items():
        each = torch.stack([step[name] for step in steps])
        torch.testing.assert_close(tensor, each.mean(0) if tensor.is_floating_point() else each[0])
    if made.keys() != {"model", "step"} or made["step"] != 30:
        raise AssertionError(f"mean: {list(made)}")


def frozen() -> None:
    """The embeddings and the first layer, and no other."""
    layers = [line.split("\t")[1] for line in (OUT / "frozen.txt").read_text().splitlines() if line.startswith("unchanged")]
    kept = {
        name.rpartition(".")[0] for name in load_file(BUILD / "bert/model.safetensors") if ".embeddings." in name or ".layer.0." in name
    }
    if set(layers) != kept:
        raise AssertionError(f"frozen: {layers}")


if __name__ == "__main__":
    verify()

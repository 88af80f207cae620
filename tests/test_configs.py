"""What `ckpt summary` says of the config beside the weights: which one it is, class and sizes, and what in the weights contradicts it."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CASES, Ckpt, Result
from safetensors.torch import save_file

pytestmark = pytest.mark.filterwarnings("ignore")
real = pytest.mark.skipif(not (CASES / "hf5").is_dir(), reason=f"no real checkpoints at {CASES}: set CKPT_CASES")

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2,
    "num_key_value_heads": 1, "intermediate_size": 12, "vocab_size": 20, "tie_word_embeddings": False, "torch_dtype": "float32",
}  # fmt: skip


def llama(
    layers: int = 3, hidden: int = 8, rows: int = 20, head: bool = True, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Tensors that are called as those of a Llama."""
    shapes = {"model.embed_tokens.weight": (rows, hidden), "model.norm.weight": (hidden,)}
    for at in range(layers):
        shapes |= {f"model.layers.{at}.self_attn.q_proj.weight": (hidden, hidden), f"model.layers.{at}.mlp.up_proj.weight": (12, hidden)}
        shapes |= {f"model.layers.{at}.input_layernorm.weight": (hidden,)}
    if head:
        shapes["lm_head.weight"] = (rows, hidden)
    return {name: torch.ones(shape, dtype=dtype) for name, shape in shapes.items()}


def mixtral(experts: int, layers: int = 3) -> dict[str, torch.Tensor]:
    """A Llama with numbered experts."""
    names = (f"model.layers.{at}.block_sparse_moe.experts.{one}.w1.weight" for at in range(layers) for one in range(experts))
    return llama() | {name: torch.ones(12, 8) for name in names}


def written(folder: Path, files: dict[str, Any]) -> Path:
    """A folder of files: tensors (with metadata), documents of JSON, or text."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".safetensors"):
            tensors, metadata = content if isinstance(content, tuple) else (content, None)
            save_file(tensors, path, metadata)
        elif name.endswith((".bin", ".pt", ".pth")):
            torch.save(content, path)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def told(ckpt: Ckpt, path: Path) -> dict[str, Any]:
    """The entry `config` of the document, with the contradictions."""
    document = ckpt("summary", path, "--json").json
    return (document["config"] or {}) | {"contradictions": document["contradictions"]}


def of(result: Result, kind: str) -> list[list[str]]:
    return [fields for first, *fields in result.rows if first == kind]


# Real folders

# (folder, class, layers, hidden, vocabulary, how it is quantised)
REAL = [
    ("hf4/gpt2_variant", "GPT2LMHeadModel", 2, 16, 64, None),
    ("hf4/llama_bf16_bin", "LlamaForCausalLM", 2, 16, 64, None),
    ("hf4/llama_tied_bin_sharded", "LlamaForCausalLM", 2, 16, 64, None),
    ("hf4/t5_bin_sharded", "T5ForConditionalGeneration", 2, 16, 64, None),
    ("hf5/bert", "BertForMaskedLM", 2, 16, 64, None),
    ("hf5/bert_sharded", "BertForMaskedLM", 2, 16, 64, None),
    ("hf5/diffusers_unet_sharded", "UNet2DModel", None, None, None, None),
    ("hf5/gpt2", "GPT2LMHeadModel", 2, 16, 64, None),
    ("hf5/gpt2_sharded", "GPT2LMHeadModel", 2, 16, 64, None),
    ("hf5/llama_tied", "LlamaForCausalLM", 2, 16, 64, None),
    ("hf5/llama_tied_sharded", "LlamaForCausalLM", 2, 16, 64, None),
    ("hf5/mixtral", "MixtralForCausalLM", 2, 16, 64, None),
    ("hf5/t5", "T5ForConditionalGeneration", 2, 16, 64, None),
    ("quant/bnb_nf4", "LlamaForCausalLM", 1, 64, 64, "bitsandbytes nf4"),
    ("quant/ct_int8", None, 1, 64, 64, "compressed-tensors int-quantized, 8 bit"),
    ("quant/ct_nvfp4", None, 1, 64, 64, "compressed-tensors nvfp4-pack-quantized, 4 bit, group 16"),
]


@real
@pytest.mark.parametrize(("folder", "named", "layers", "hidden", "vocabulary", "quantised"), REAL)
def test_a_real_folder_is_named_and_nothing_in_it_contradicts_its_config(
    folder: str, named: str | None, layers: int, hidden: int, vocabulary: int, quantised: str | None, ckpt: Ckpt
) -> None:
    config = told(ckpt, CASES / folder)
    assert (config["class"], config["quantised"], config["contradictions"]) == (named, quantised, [])
    assert [config["sizes"].get(name) for name in ("layers", "hidden", "vocabulary")] == [layers, hidden, vocabulary]
    assert config["path"] == str(CASES / folder / "config.json")


@real
def test_real_files_that_hold_their_config(ckpt: Ckpt) -> None:
    gguf = told(ckpt, CASES / "gguf/shapes.gguf")
    assert (gguf["library"], gguf["model_type"], gguf["quantised"]) == ("gguf", "llama", "Q8_0")
    assert gguf["sizes"] == {"layers": 1, "hidden": 32, "positions": 32}
    for file, named in (("plain.keras", "Sequential"), ("tied.keras", "Functional"), ("image.legacy.h5", "Sequential")):
        keras = told(ckpt, CASES / "keras3" / file)
        assert (keras["library"], keras["class"], keras["path"]) == ("keras", named, str(CASES / "keras3" / file))


@real
def test_the_newest_step_of_a_run_has_its_own_config(ckpt: Ckpt) -> None:
    run = CASES / "reports/trainer-steps/run"
    assert told(ckpt, run)["path"] == str(run / "checkpoint-1000/config.json")
    assert told(ckpt, run / "checkpoint-500")["path"] == str(run / "checkpoint-500/config.json")


# The forms in which a checkpoint is given

SHARDS = {
    "model-00001-of-00002.safetensors": {"model.embed_tokens.weight": torch.ones(20, 8)},
    "model-00002-of-00002.safetensors": {name: tensor for name, tensor in llama().items() if "embed" not in name},
}
INDEX = {"metadata": {}, "weight_map": {name: file for file, tensors in SHARDS.items() for name in tensors}}
FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "a folder": ({"m/model.safetensors": llama(), "m/config.json": LLAMA}, "m"),
    "a file": ({"m/model.safetensors": llama(), "m/config.json": LLAMA}, "m/model.safetensors"),
    "a file of any name": ({"m/final.safetensors": llama(), "m/config.json": LLAMA}, "m/final.safetensors"),
    "a pickle": ({"m/pytorch_model.bin": llama(), "m/config.json": LLAMA}, "m"),
    "a variant": ({"m/model.fp16.safetensors": llama(dtype=torch.float16), "m/config.json": LLAMA}, "m"),
    "an index": (SHARDS | {"model.safetensors.index.json": INDEX, "config.json": LLAMA}, "model.safetensors.index.json"),
    "a folder of shards": (SHARDS | {"model.safetensors.index.json": INDEX, "config.json": LLAMA}, ""),
    "a shard": (SHARDS | {"model.safetensors.index.json": INDEX, "config.json": LLAMA}, "model-00002-of-00002.safetensors"),
    "the newest step": ({"run/checkpoint-5/model.safetensors": llama(), "run/checkpoint-5/config.json": LLAMA}, "run"),
    "a step under its config": ({"run/config.json": LLAMA, "run/checkpoint_0/model.safetensors": llama()}, "run/checkpoint_0"),
    "a step of DeepSpeed": ({"run/config.json": LLAMA, "run/global_step5/model.safetensors": llama()}, "run/global_step5"),
    "a model below the folder": ({"m/config.json": LLAMA, "m/weights/model.safetensors": llama()}, "m"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_config_is_found_in_whatever_form_the_checkpoint_is_given(form: str, tmp_path: Path, ckpt: Ckpt) -> None:
    files, path = FORMS[form]
    config = told(ckpt, written(tmp_path, files) / path)
    assert (config["class"], config["sizes"]["layers"], config["contradictions"]) == ("LlamaForCausalLM", 3, [])


def test_paths_are_as_the_user_wrote_them(tmp_path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, {"run/config.json": LLAMA, "run/checkpoint_0/model.safetensors": llama()})
    for folder, path, want in (
        (".", "run/checkpoint_0", "run/config.json"),
        ("run", "checkpoint_0", "config.json"),
        ("run/checkpoint_0", "model.safetensors", str(tmp_path / "run/config.json")),
        ("run/checkpoint_0", ".", str(tmp_path / "run/config.json")),
    ):
        monkeypatch.chdir(tmp_path / folder)
        assert told(ckpt, Path(path))["path"] == want


def test_a_config_elsewhere_is_not_that_of_a_file(tmp_path: Path, ckpt: Ckpt) -> None:
    written(tmp_path, {"config.json": LLAMA, "other/model.safetensors": llama(), "optimizer.pt": {"state": torch.ones(2)}})
    assert told(ckpt, tmp_path / "other") == {"contradictions": []}
    assert told(ckpt, tmp_path / "optimizer.pt") == {"contradictions": []}


# Kinds of configs

ONE = {"x.weight": torch.ones(2)}
PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text": ["transformers", "CLIPTextModel"],
}
MODULES = [
    {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
]
VISION = {"hidden_size": 4, "num_hidden_layers": 5, "image_size": 16, "patch_size": 8}

# kind → (files, path, what the config is said to be)
KINDS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "diffusers": (
        {"config.json": {"_class_name": "UNet2DModel", "block_out_channels": [4, 8], "layers_per_block": 2}, "model.safetensors": ONE},
        "", {"library": "diffusers", "class": "UNet2DModel", "sizes": {"widths": [4, 8], "depths": 2}},
    ),
    "a model of a pipeline": (
        {"model_index.json": PIPELINE, "unet/config.json": {"_class_name": "UNet2DConditionModel"}, "unet/model.safetensors": ONE},
        "unet", {"library": "diffusers", "class": "UNet2DConditionModel", "within": "StableDiffusionPipeline"},
    ),
    "a model of a pipeline without a config": (
        {"model_index.json": PIPELINE, "text/model.safetensors": ONE},
        "text", {"library": "transformers", "class": "CLIPTextModel", "within": "StableDiffusionPipeline"},
    ),
    "timm": (
        {"config.json": {"architecture": "resnet18", "num_classes": 3, "num_features": 512}, "model.safetensors": ONE},
        "", {"library": "timm", "class": "resnet18", "sizes": {"hidden": 512, "labels": 3}},
    ),
    "transformers' wrapper of timm": (
        {"config.json": {"architecture": "resnet18", "architectures": ["TimmWrapperModel"], "model_type": "timm_wrapper"},
         "model.safetensors": ONE},
        "", {"library": "transformers", "class": "TimmWrapperModel"},
    ),
    "MLX": (
        {"config.json": LLAMA | {"quantization": {"group_size": 64, "bits": 4}}, "model.safetensors": llama()},
        "", {"library": "transformers", "class": "LlamaForCausalLM", "quantised": "MLX 4 bit, group 64"},
    ),
    "sentence-transformers": (
        {"modules.json": MODULES, "config.json": {"architectures": ["BertModel"], "model_type": "bert"}, "model.safetensors": ONE},
        "", {"library": "transformers", "class": "BertModel", "within": "SentenceTransformer(Transformer, Pooling, Dense)"},
    ),
    "an old folder of sentence-transformers": (
        {"modules.json": [MODULES[0] | {"path": "0_Transformer"}], "0_Transformer/config.json": {"architectures": ["BertModel"]},
         "0_Transformer/model.safetensors": ONE},
        "", {"class": "BertModel", "within": "SentenceTransformer(Transformer)"},
    ),
    "a module of sentence-transformers": (
        {"modules.json": MODULES, "2_Dense/config.json": {"in_features": 2, "out_features": 3}, "2_Dense/model.safetensors": ONE},
        "2_Dense", {"library": "sentence-transformers", "class": "Dense"},
    ),
    "PEFT": (
        {"adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "meta/llama", "r": 8, "lora_alpha": 16,
                                 "target_modules": ["v_proj", "q_proj"]}, "adapter_model.safetensors": ONE, "config.json": LLAMA},
        "", {"library": "peft", "class": None, "model_type": "lora",
             "told": ["an adapter of meta/llama", "r 8", "alpha 16", "target modules q_proj v_proj"]},
    ),
    "an adapter of mlx-lm": (
        {"adapter_config.json": {"fine_tune_type": "lora", "model": "some/llama", "lora_parameters": {"rank": 8, "scale": 2.0}},
         "adapters.safetensors": ONE},
        "", {"library": "peft", "model_type": "lora", "told": ["an adapter of some/llama", "r 8", "scale 2.0"]},
    ),
    "Llama's own": (
        {"params.json": {"dim": 8, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "vocab_size": -1, "multiple_of": 256},
         "consolidated.00.pth": {"x": torch.ones(2)}, "config.json": LLAMA},
        "", {"library": "llama", "model_type": "llama", "sizes": {"layers": 2, "hidden": 8, "heads": 4, "kv_heads": 2}},
    ),
    "Mistral's own": (
        {"params.json": {"dim": 8, "n_layers": 2, "hidden_dim": 12, "n_heads": 4, "head_dim": 2, "moe": {"num_experts": 4}},
         "consolidated.safetensors": ONE},
        "consolidated.safetensors",
        {"library": "mistral", "model_type": "mixtral",
         "sizes": {"layers": 2, "hidden": 8, "heads": 4, "head_size": 2, "intermediate": 12, "experts": 4}},
    ),
    "open_clip": (
        {"open_clip_config.json": {"model_cfg": {"embed_dim": 4, "vision_cfg": {"layers": 2, "width": 8, "patch_size": 4},
                                                 "text_cfg": {"layers": 3, "width": 6, "vocab_size": 9}}},
         "open_clip_model.safetensors": ONE, "config.json": LLAMA},
        "open_clip_model.safetensors",
        {"library": "open-clip", "class": "CLIP",
         "sizes": {"hidden": 4, "vision.layers": 2, "vision.hidden": 8, "vision.patch": 4,
                   "text.layers": 3, "text.hidden": 6, "text.vocabulary": 9}},
    ),
    "KerasHub": (
        {"config.json": {"module": "keras_hub", "class_name": "BertBackbone", "config": {"num_layers": 2, "hidden_dim": 8}},
         "model.safetensors": ONE},
        "", {"library": "keras-hub", "class": "BertBackbone", "sizes": {"layers": 2, "hidden": 8}},
    ),
    "parts": (
        {"config.json": {"architectures": ["LlavaForConditionalGeneration"], "text_config": LLAMA, "vision_config": VISION},
         "model.safetensors": ONE},
        "", {"class": "LlavaForConditionalGeneration",
             "sizes": {**{f"text.{name}": size for name, size in {"layers": 3, "hidden": 8, "heads": 2, "kv_heads": 1, "intermediate": 12,
                                                                  "vocabulary": 20}.items()},
                       "vision.layers": 5, "vision.hidden": 4, "vision.image": 16, "vision.patch": 8}},
    ),
    "sizes alone": (
        {"config.json": {"d_model": 8, "n_layer": 2, "vocab_size": 9, "ssm_cfg": {}}, "model.safetensors": ONE},
        "", {"library": None, "class": None, "sizes": {"layers": 2, "hidden": 8, "vocabulary": 9}},
    ),
    "sizes in the file": (
        {"ckpt.pt": {"model": ONE, "model_args": {"n_layer": 2, "n_embd": 8, "bias": False}, "iter_num": 5}},
        "ckpt.pt", {"library": None, "sizes": {"layers": 2, "hidden": 8}},
    ),
    "sizes in the file, and a config beside it": (
        {"ckpt.pt": {"model": ONE, "model_args": {"n_layer": 2, "n_embd": 8}}, "config.json": LLAMA},
        "ckpt.pt", {"library": "transformers", "class": "LlamaForCausalLM"},
    ),
    "metadata of kohya's": (
        {"lora.safetensors": (ONE, {"ss_base_model_version": "sdxl_base_v1-0", "ss_network_dim": "8", "ss_network_alpha": "4"})},
        "lora.safetensors", {"library": "modelspec", "class": "sdxl_base_v1-0", "told": ["r 8", "alpha 4"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_config_is_known(kind: str, tmp_path: Path, ckpt: Ckpt) -> None:
    files, path, want = KINDS[kind]
    found = told(ckpt, written(tmp_path, files) / path)
    assert {key: found[key] for key in want} == want


QUANTISED = [
    ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "GPTQ 4 bit, group 128"),
    ({"quant_method": "awq", "bits": 4, "group_size": 64}, "AWQ 4 bit, group 64"),
    ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "GPTQ 8 bit"),
    ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes int8"),
    (
        {"quant_method": "bitsandbytes", "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
        "bitsandbytes nf4, double-quantised",
    ),
    ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8, blocks of 128x128"),
    ({"quant_method": "mxfp4"}, "MXFP4"),
    ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}}}, "torchao Int8WeightOnlyConfig"),
    ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}}, "HQQ 4 bit, group 64"),
    ({"quant_method": "exl3", "bits": 2.5}, "exl3 2.5 bit"),
    ({"quant_method": 7, "bits": "4"}, None),
]


@pytest.mark.parametrize(("entry", "title"), QUANTISED)
def test_the_quantisation_of_a_config_has_a_title(entry: dict[str, Any], title: str | None, tmp_path: Path, ckpt: Ckpt) -> None:
    written(tmp_path, {"model.safetensors": llama(), "config.json": LLAMA | {"quantization_config": entry}})
    assert told(ckpt, tmp_path)["quantised"] == title


def test_a_sheet_a_pipe_and_a_document_say_the_same(tmp_path: Path, ckpt: Ckpt) -> None:
    written(tmp_path, {"model.safetensors": llama(layers=2), "config.json": LLAMA | {"quantization_config": {"quant_method": "mxfp4"}}})
    sheet = ckpt("summary", tmp_path, "--color", "always").out.splitlines()
    assert sheet[1:5] == [
        "LlamaForCausalLM, 3 layers, hidden 8, 2 heads (1 key-value), intermediate 12, vocabulary 20 (config.json)",
        "quantised: MXFP4",
        "contradicts config.json: quantization_config says MXFP4, the weights have nothing but plain floats",
        "contradicts config.json: num_hidden_layers says 3, the weights have 2 (model.layers)",
    ]
    piped = ckpt("summary", tmp_path)
    assert of(piped, "config") == [[str(tmp_path / "config.json"), "transformers", "LlamaForCausalLM", "llama", ""]]
    assert dict(map(tuple, of(piped, "size"))) == {
        "layers": "3",
        "hidden": "8",
        "heads": "2",
        "kv_heads": "1",
        "intermediate": "12",
        "vocabulary": "20",
    }
    assert of(piped, "said") == [["dtype", "float32"], ["tied", "false"], ["quantised", "MXFP4"]]
    assert of(piped, "contradicts")[1:] == [["num_hidden_layers", "3", "2 (model.layers)"]]


# What contradicts a config


def without(tensors: dict[str, torch.Tensor], text: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if text not in name}


def one_tensor() -> dict[str, torch.Tensor]:
    tensors = llama()
    return tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}


T5 = {
    "architectures": ["T5ForConditionalGeneration"],
    "model_type": "t5",
    "num_layers": 2,
    "num_decoder_layers": 2,
    "d_model": 8,
    "num_heads": 2,
}
T5_BLOCKS = {
    f"{side}.block.{at}.layer.0.SelfAttention.q.weight": torch.ones(8, 8)
    for side, most in (("encoder", 2), ("decoder", 1))
    for at in range(most)
}
TIED = {"tie_word_embeddings": True}

# what is wrong → (tensors, entries of the config, the contradictions: entry, says, found)
WRONG: dict[str, tuple[dict[str, torch.Tensor], dict[str, Any], list[tuple[str, str, str]]]] = {
    "nothing": (llama(), {}, []),
    "nothing, tied": (llama(head=False), TIED, []),
    "nothing, one tensor": (one_tensor(), TIED, []),
    "fewer layers": (llama(layers=2), {}, [("num_hidden_layers", "3", "2 (model.layers)")]),
    "more layers": (llama(layers=5), {}, [("num_hidden_layers", "3", "5 (model.layers)")]),
    "a layer is missing": (without(llama(), "layers.1."), {}, [("num_hidden_layers", "3", "2 (model.layers.0 to .2 without 1)")]),
    "layers of one side": (T5_BLOCKS, T5, [("num_decoder_layers", "2", "1 (decoder.block)")]),
    "hidden size": (llama(hidden=6), {}, [("hidden_size", "8", "6 (the width of model.embed_tokens.weight)")]),
    "vocabulary": (llama(rows=21), {}, [("vocab_size", "20", "21 rows (model.embed_tokens.weight)")]),
    "dtype": (llama(dtype=torch.bfloat16), {}, [("torch_dtype", "float32", "bfloat16")]),
    "quantised no more": (
        llama(), {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        [("quantization_config", "GPTQ 4 bit", "nothing but plain floats")],
    ),
    "quantised as it is loaded": (
        llama(), {"quantization_config": {"quant_method": "compressed-tensors", "quantization_status": "frozen"}}, [],
    ),
    "quantised in a way that is not known": (
        llama() | {"model.layers.0.mlp.up_proj.codes": torch.ones(2, 2, dtype=torch.int16)},
        {"quantization_config": {"quant_method": "aqlm"}}, [],
    ),
    "a newer dtype": (llama(), {"dtype": "bfloat16", "torch_dtype": "float32"}, [("dtype", "bfloat16", "float32")]),
    "tied, of two shapes": (
        llama() | {"lm_head.weight": torch.ones(24, 8)}, TIED,
        [("tie_word_embeddings", "true", "lm_head.weight of 24x8 and model.embed_tokens.weight of 20x8")],
    ),
    "tied, two tensors": (llama(), TIED, [("tie_word_embeddings", "true", "lm_head.weight and model.embed_tokens.weight as two tensors")]),
    "not tied, one tensor": (
        one_tensor(), {}, [("tie_word_embeddings", "false", "lm_head.weight and model.embed_tokens.weight as one tensor")],
    ),
    "not tied, no head": (
        llama(head=False), {},
        [("tie_word_embeddings", "false", "no output head (no tensor but model.embed_tokens.weight has an axis for the vocabulary)")],
    ),
    "experts": (mixtral(4), {"model_type": "mixtral", "num_local_experts": 8}, [("num_local_experts", "8", "4")]),
    "experts in one tensor": (
        llama() | {"model.layers.0.mlp.experts.gate_up_proj": torch.ones(4, 8, 12)}, {"num_experts": 8}, [("num_experts", "8", "4")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_contradicts_a_config_is_told_and_nothing_else(wrong: str, tmp_path: Path, ckpt: Ckpt) -> None:
    tensors, entries, want = WRONG[wrong]
    config = entries if "architectures" in entries else LLAMA | entries
    written(tmp_path, {"pytorch_model.bin": tensors, "config.json": config})
    found = told(ckpt, tmp_path)["contradictions"]
    assert [tuple(each.values()) for each in found] == want


def test_under_another_prefix_and_beside_an_optimizer_it_is_the_same(tmp_path: Path, ckpt: Ckpt) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in llama(layers=2).items()}
    written(
        tmp_path, {"model.pt": {"model": wrapped, "optimizer": {"state": {0: {"exp_avg": torch.ones(3, 3).half()}}}}, "config.json": LLAMA}
    )
    found = told(ckpt, tmp_path / "model.pt")["contradictions"]
    assert [tuple(each.values()) for each in found] == [("num_hidden_layers", "3", "2 (model.module.model.layers)")]


def test_without_the_entry_the_family_says_whether_embeddings_are_tied(tmp_path: Path, ckpt: Ckpt) -> None:
    for family, tied in (("llama", False), ("gpt2", True), ("never_heard_of", None)):
        config = {key: value for key, value in LLAMA.items() if key != "tie_word_embeddings"} | {"model_type": family}
        written(tmp_path / family, {"model.safetensors": llama(), "config.json": config})
        found = told(ckpt, tmp_path / family)
        assert (found["tied"], bool(found["contradictions"])) == (tied, tied is True)


def test_an_adapter_is_compared_with_its_own_config(tmp_path: Path, ckpt: Ckpt) -> None:
    names = [f"base_model.model.model.layers.{at}.self_attn.q_proj.lora_{side}.weight" for at in range(2) for side in "AB"]
    config = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj", "v_proj"]}
    tensors = {name: torch.ones((2, 8) if "lora_A" in name else (8, 2)) for name in names}
    written(tmp_path, {"adapter_model.safetensors": tensors, "adapter_config.json": config, "config.json": LLAMA})
    assert [tuple(each.values()) for each in told(ckpt, tmp_path)["contradictions"]] == [
        ("r", "4", f"2 in {names[0]}, and in 2 of 2 modules"),
        ("target_modules", "v_proj", "no such module in the adapter"),
    ]


# Hostile configs


def nested(depth: int) -> str:
    return '{"text_config":' * depth + "{}" + "}" * depth


HOSTILE: dict[str, tuple[str, str]] = {  # the text of the config, and the beginning of what is said of it
    "deep": (nested(100_000), "the JSON is broken"),
    "deep lists": ("[" * 200_000, "the JSON is broken"),
    "a key twice": ('{"architectures": ["A"], "architectures": ["B"]}', "the JSON has the key 'architectures' twice"),
    "no JSON": ("architectures: A", "the JSON is broken"),
    "empty": ("", "the JSON is broken"),
    "large": (" " * (17 << 20), "its 17,825,792 bytes are too many for a config"),
    "a huge number": ('{"hidden_size": ' + "9" * 5000 + "}", "the JSON is broken"),
    "a lone surrogate": ('{"architectures": ["\\ud800"]}', "the JSON is not UTF-8"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_config_that_cannot_be_read_is_a_note(what: str, tmp_path: Path, ckpt: Ckpt) -> None:
    text, why = HOSTILE[what]
    written(tmp_path, {"model.safetensors": llama(), "config.json": text})
    result = ckpt("summary", tmp_path, "--json")
    assert result.json["config"] is None and result.json["params"] == sum(tensor.numel() for tensor in llama().values())
    assert result.err.startswith(f"ckpt: {tmp_path / 'config.json'} is not read: {why}") and result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (os.mkfifo, "a FIFO"),
        (Path.mkdir, "a folder"),
        (lambda path: path.symlink_to("nowhere"), "no such file"),
        (lambda path: path.symlink_to(path), "too many levels"),
    ],
)
def test_a_config_that_is_no_file_is_a_note(make: Callable[[Path], None], why: str, tmp_path: Path, ckpt: Ckpt) -> None:
    written(tmp_path, {"model.safetensors": llama()})
    make(tmp_path / "config.json")
    result = ckpt("summary", tmp_path, "--json")
    assert result.json["config"] is None and f"is not read: {why}" in result.err and result.err.count("\n") == 1


WRONG_TYPES: list[Any] = [None, True, -1, 0, 1.5, math.nan, math.inf, 1 << 70, "8", [], [1, "2"], {}, {"height": 1}, [[1]], [1] * 1000]


@pytest.mark.parametrize("value", WRONG_TYPES, ids=repr)
def test_entries_of_a_wrong_type_are_not_believed(value: Any, tmp_path: Path, ckpt: Ckpt) -> None:
    keys = [*LLAMA, "auto_map", "custom_pipelines", "quantization_config", "quantization", "text_config", "vision_config", "dtype",
            "initializer_range", "pad_token_id", "num_experts", "num_nextn_predict_layers", "attn_implementation", "depths"]  # fmt: skip
    written(tmp_path, {"model.safetensors": llama(), "config.json": dict.fromkeys(keys, value) | {"model_type": "llama"}})
    found = told(ckpt, tmp_path)
    named = value if isinstance(value, str) else None
    assert (found["class"], found["sizes"], found["dtype"], found["quantised"]) == (named, {}, None, None)
    ckpt("summary", tmp_path, "--color", "always")


def test_a_config_of_very_many_entries_costs_no_more_than_its_reading(tmp_path: Path, ckpt: Ckpt) -> None:
    config = LLAMA | {f"x{at}_config": {"hidden_size": at + 1, "num_hidden_layers": [1] * 9} for at in range(20_000)}
    written(tmp_path, {"model.safetensors": llama(), "config.json": config | {"target_modules": ["A" * 1000] * 1000}})
    start = time.process_time()
    assert len(told(ckpt, tmp_path)["sizes"]) < 50
    assert time.process_time() - start < 5


def test_texts_of_a_config_do_not_reach_the_terminal_as_they_are(tmp_path: Path, ckpt: Ckpt) -> None:
    config = {"architectures": ["\x1b[31mL\n" + "A" * 100_000], "model_type": "\x1b]0;x\x07", "auto_map": {"a": "\x1b[1mx.Y"}}
    written(tmp_path, {"model.safetensors": llama(), "config.json": config})
    result = ckpt("summary", tmp_path, "--color", "always", "--depth", 0)
    assert "\x1b[31m" not in result.out and "\x1b[1m" not in result.err and "A" * 300 not in result.out


@pytest.mark.parametrize("path", ["../secret", "/etc", "..", "a/../../secret", "\0", "0_Transformer"])
def test_no_path_in_a_list_of_modules_leads_out_of_the_folder(path: str, tmp_path: Path, ckpt: Ckpt) -> None:
    written(tmp_path, {"secret/config.json": {"architectures": ["Secret"]}, "m/model.safetensors": llama()})
    written(tmp_path / "m", {"modules.json": [{"path": path, "type": "sentence_transformers.models.Transformer"}]})
    assert "class" not in told(ckpt, tmp_path / "m")


# Trust


def test_code_that_a_config_names_is_told_and_not_run(tmp_path: Path, ckpt: Ckpt) -> None:
    canary = f"open({str(tmp_path / 'canary')!r}, 'w')\nclass X: pass\n"
    config = LLAMA | {"auto_map": {"AutoModel": "modeling_x.X", "AutoConfig": ["someone/repo--conf.C"]}, "time_step_limit": [0.0, math.inf]}
    config |= {"attn_implementation": "kernels-community/flash-attn", "trust_remote_code": True}
    modules = [{"path": "", "type": "modeling_x.Own"}]
    written(
        tmp_path, {"model.safetensors": llama(), "config.json": config, "modeling_x.py": canary, "conf.py": canary, "modules.json": modules}
    )
    result = ckpt("summary", tmp_path)
    assert of(result, "contradicts") == [] and of(result, "config")[0][2] == "LlamaForCausalLM"
    assert result.err.count("\n") == 1 and "modeling_x.X, someone/repo--conf.C, kernels-community/flash-attn and 1 more" in result.err
    safe = ckpt("check", tmp_path, "--safe", status=1)
    assert [row[1] for row in safe.rows] == ["modeling_x.X", "someone/repo--conf.C", "kernels-community/flash-attn"]
    assert not (tmp_path / "canary").exists()


def test_a_plain_config_with_infinities_is_no_reason_to_distrust_a_folder(tmp_path: Path, ckpt: Ckpt) -> None:
    written(tmp_path, {"model.safetensors": llama(), "config.json": LLAMA | {"time_step_limit": [0.0, math.inf]}})
    assert ckpt("check", tmp_path, "--safe").out == ""


# Speed, and what others ask of configs


def test_a_header_is_read_without_configs_and_a_config_without_libraries(tmp_path: Path) -> None:
    written(tmp_path, {"model.safetensors": llama(), "config.json": LLAMA})
    program = (
        "import sys; from ckpt_cli.cli import main; main([{!r}, {!r}]); "
        "print(*sorted(each for each in sys.modules if each in ('torch', 'numpy', 'transformers', 'ckpt_cli.configs')), file=sys.stderr)"
    )
    for command, want in (("ls", ""), ("summary", "ckpt_cli.configs")):
        run = subprocess.run([sys.executable, "-c", program.format(command, str(tmp_path))], capture_output=True, text=True, check=True)
        assert run.stderr.strip() == want


def test_the_spellings_and_defaults_are_those_of_transformers() -> None:
    """The oracle: what each family's own class calls its sizes, its ties, its padding and its initialisation."""
    pytest.importorskip("transformers")
    from transformers import CONFIG_MAPPING

    from ckpt_cli.configs.settings import initial_std, padding_row
    from ckpt_cli.configs.sizes import sizes_of
    from ckpt_cli.configs.ties import default_of

    families = """albert bart bert bloom bigbird_pegasus blenderbot
        codegen cohere ctrl deberta-v2 distilbert electra falcon gemma gemma2 gpt2 gpt_neo
        gpt_neox gptj llama longformer m2m_100 mamba marian mistral mixtral mpt mt5 olmo opt pegasus phi phi3 qwen2 qwen2_moe qwen3 roberta
        rwkv stablelm t5 vit whisper xglm xlm xlm-roberta xlnet
    """
    names = {"layers": "num_hidden_layers", "hidden": "hidden_size", "heads": "num_attention_heads", "vocabulary": "vocab_size"}
    wrong = []
    for family in families.split():
        config = CONFIG_MAPPING[family]()
        entries = json.loads(config.to_json_string(use_diff=False))
        sizes = sizes_of(entries)
        want = {size: getattr(config, name) for size, name in names.items() if isinstance(getattr(config, name, None), int)}
        found = {size: sizes[size].value for size in want if size in sizes}
        settings = [(initial_std, "initializer_range"), (padding_row, "pad_token_id")]
        mistaken = [name for get, name in settings if (value := config.__dict__.get(name)) is not None and get(entries) != value]
        ties = [] if default_of(family) is getattr(config, "tie_word_embeddings", None) else ["tie_word_embeddings"]
        if found != want or mistaken or ties:
            wrong.append((family, want, found, mistaken, ties))
    assert not wrong


def test_a_config_is_named_as_a_file_or_as_a_folder(tmp_path: Path) -> None:
    from ckpt_cli.configs import config_at
    from ckpt_cli.errors import CkptError

    written(tmp_path, {"config.json": LLAMA, "mine.json": LLAMA | {"architectures": ["Mine"]}, "list.json": [1], "odd.json": {"a": 1}})
    (tmp_path / "empty").mkdir()
    shutil.copy(tmp_path / "config.json", tmp_path / "adapter_config.json")
    assert [config_at(str(path)).class_name for path in (tmp_path, tmp_path / "config.json", tmp_path / "mine.json")] == [
        "LlamaForCausalLM", "LlamaForCausalLM", "Mine",
    ]  # fmt: skip
    assert config_at(str(tmp_path / "mine.json")).path == str(tmp_path / "mine.json")
    for name in ("empty", "list.json", "odd.json", "nothing.json", "adapter_config.json"):
        with pytest.raises(CkptError) as error:
            config_at(str(tmp_path / name))
        assert error.value.where == str(tmp_path / name)


@pytest.mark.parametrize("entry", ["architectures", "model_type", "_class_name"])
def test_a_name_of_any_length_is_shown_in_a_few_characters(entry: str, tmp_path: Path, ckpt: Ckpt) -> None:
    config = {"model_type": "llama", entry: ["A" * 100_000] if entry == "architectures" else "A" * 100_000}
    written(tmp_path, {"model.safetensors": llama(), "config.json": config})
    for args in (["summary"], ["summary", "--json"], ["summary", "--types"], ["check"]):
        found = ckpt(*args, tmp_path, status=None)
        assert "A" * 201 not in found.out + found.err
    said = told(ckpt, tmp_path)
    assert f"{'A' * 199}…" in (said["class"], said["model_type"])

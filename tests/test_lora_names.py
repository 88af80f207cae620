"""Adapters in other words than the base's: U-Nets, fused and split attention, stacked experts, other versions, llama.cpp, pipelines.

That these pairs of names are right is judged by diffusers and PEFT in tests/oracle/adapters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Ckpt
from safetensors.numpy import load_file, save_file
from test_lora import Array, Arrays, close, config, lora, matrix, peft

RANK, ALPHA = 4, 6.0
SCALE = ALPHA / RANK

# diffusers → latent diffusion, of two layers a level; the second level has attention
UNET = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "down_blocks.0.resnets.0.conv1": "input_blocks.1.0.in_layers.2",
    "down_blocks.0.resnets.1.conv1": "input_blocks.2.0.in_layers.2",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.3.0.op",
    "down_blocks.1.resnets.0.conv_shortcut": "input_blocks.4.0.skip_connection",
    "down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_out.0": "input_blocks.5.1.transformer_blocks.0.attn1.to_out.0",
    "mid_block.attentions.0.proj_in": "middle_block.1.proj_in",
    "mid_block.resnets.1.time_emb_proj": "middle_block.2.emb_layers.1",
    "up_blocks.0.attentions.0.norm": "output_blocks.0.1.norm",
    "up_blocks.0.attentions.2.proj_out": "output_blocks.2.1.proj_out",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.2.2.conv",
    "up_blocks.1.resnets.2.conv2": "output_blocks.5.0.out_layers.3",
    "conv_out": "out.2",
}


@pytest.mark.parametrize("of_base", [0, 1], ids=["base of diffusers", "base of latent diffusion"])
@pytest.mark.parametrize("of_adapter", [0, 1], ids=["LoRA of diffusers", "LoRA of latent diffusion"])
def test_unets(of_base: int, of_adapter: int, tmp_path: Path, ckpt: Ckpt) -> None:
    before: Arrays = {}
    expected: Arrays = {}
    tensors: Arrays = {}
    for names in UNET.items():
        name = ("model.diffusion_model." if of_base else "") + names[of_base]
        before[f"{name}.weight"] = weight = matrix(8, 6, 3, 3)
        if not name.endswith(".norm"):
            down, up = matrix(RANK, 6, 3, 3), matrix(8, RANK, 1, 1)
            tensors |= lora(names[of_adapter], down, up)
            weight = weight + SCALE * np.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
        expected[f"{name}.weight"] = weight
    save_file(before, tmp_path / "base.safetensors")
    save_file(tensors, tmp_path / "lora.safetensors")
    ckpt("merge", tmp_path / "base.safetensors", "--lora", tmp_path / "lora.safetensors", "-o", tmp_path / "out.safetensors")
    close(load_file(tmp_path / "out.safetensors"), expected)


SPLIT = ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]


def flux(fused: bool) -> Arrays:
    if fused:
        return {"single_blocks.0.linear1.weight": matrix(56, 8), "single_blocks.0.linear1.bias": matrix(56)}
    return {f"single_transformer_blocks.0.{part}.weight": matrix(32 if "mlp" in part else 8, 8) for part in SPLIT}


def test_fused_base_and_split_adapter(tmp_path: Path, ckpt: Ckpt) -> None:
    """Flux of Black Forest Labs, and a LoRA of two of the four parts in diffusers' names."""
    before = flux(fused=True)
    save_file(before, tmp_path / "base.safetensors")
    expected = before["single_blocks.0.linear1.weight"].copy()
    tensors: Arrays = {}
    for part, rows in (("attn.to_k", slice(8, 16)), ("proj_mlp", slice(24, 56))):
        down, up = matrix(RANK, 8), matrix(rows.stop - rows.start, RANK)
        tensors |= {f"transformer.single_transformer_blocks.0.{part}.lora_{k}.weight": v for k, v in (("A", down), ("B", up))}
        expected[rows] += up @ down
    save_file(tensors, tmp_path / "lora.safetensors")
    result = ckpt("merge", tmp_path / "base.safetensors", "--lora", tmp_path / "lora.safetensors", "-o", tmp_path / "out.safetensors")
    close(load_file(tmp_path / "out.safetensors"), before | {"single_blocks.0.linear1.weight": expected})
    assert "called as diffusers calls them" in result.err


def test_split_base_and_fused_adapter(tmp_path: Path, ckpt: Ckpt) -> None:
    """The other way round, DoRA too: norms of rows are those of the parts."""
    before = flux(fused=False)
    save_file(before, tmp_path / "base.safetensors")
    down, up, sizes = matrix(RANK, 8), matrix(56, RANK), np.abs(matrix(56, 1)) + 1
    save_file(
        lora("single_blocks.0.linear1", down, up) | {"lora_unet_single_blocks_0_linear1.dora_scale": sizes}, tmp_path / "lora.safetensors"
    )
    ckpt("merge", tmp_path / "base.safetensors", "--lora", tmp_path / "lora.safetensors", "-o", tmp_path / "out.safetensors")
    whole = np.concatenate([before[f"single_transformer_blocks.0.{part}.weight"] for part in SPLIT]) + SCALE * (up @ down)
    whole *= sizes / np.linalg.norm(whole, axis=1, keepdims=True)
    parts = np.split(whole, [8, 16, 24])
    close(
        load_file(tmp_path / "out.safetensors"), {f"single_transformer_blocks.0.{p}.weight": w for p, w in zip(SPLIT, parts, strict=True)}
    )


def experts(down: Array, up: Array, count: int) -> Array:
    """Δ of each expert, outputs × inputs (peft tuners/lora/layer.py: get_delta_weight)."""
    shown: Array = np.einsum("ore,eri->eoi", up.reshape(len(up), -1, count), down.reshape(count, -1, down.shape[1]))
    return shown


@pytest.mark.parametrize("form", ["stacked", "stacked, inputs first", "one by one"])
def test_experts(form: str, tmp_path: Path, ckpt: Ckpt) -> None:
    """Three experts of 8 → 2·6 → 8, as PEFT nests the LoRA of two parameters of one layer."""
    stacks = {"gate_up_proj": matrix(3, 12, 8), "down_proj": matrix(3, 8, 6)}
    factors = {"gate_up_proj": (matrix(3 * RANK, 8), matrix(12, 3 * RANK)), "down_proj": (matrix(3 * RANK, 6), matrix(8, 3 * RANK))}

    def saved(stacked: Arrays) -> Arrays:
        if form == "one by one":
            parts = {
                ("gate_proj", "gate_up_proj"): slice(6),
                ("up_proj", "gate_up_proj"): slice(6, 12),
                ("down_proj", "down_proj"): slice(8),
            }
            return {
                f"model.layers.0.mlp.experts.{n}.{part}.weight": stacked[stack][n, rows].copy()
                for n in range(3)
                for (part, stack), rows in parts.items()
            }
        turned = {name: values.transpose(0, 2, 1).copy() if "first" in form else values for name, values in stacked.items()}
        return {f"model.layers.0.mlp.experts.{name}": values for name, values in turned.items()}

    save_file(saved(stacks), tmp_path / "base.safetensors")
    outer, inner = factors["down_proj"], factors["gate_up_proj"]
    module = "model.layers.0.mlp.experts"
    tensors = peft(module, lora_A__weight=outer[0], lora_B__weight=outer[1])
    tensors |= peft(f"{module}.base_layer", lora_A__weight=inner[0], lora_B__weight=inner[1])
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    config(tmp_path, target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"])
    ckpt("merge", tmp_path / "base.safetensors", "--lora", tmp_path / "adapter_model.safetensors", "-o", tmp_path / "out.safetensors")
    close(load_file(tmp_path / "out.safetensors"), saved({name: w + SCALE * experts(*factors[name], 3) for name, w in stacks.items()}))


@pytest.mark.parametrize(
    ("in_file", "in_adapter"),
    [
        ("language_model.model.layers.0.q_proj", "model.language_model.layers.0.q_proj"),
        ("model.language_model.layers.0.q_proj", "language_model.model.layers.0.q_proj"),
        ("vit.encoder.layer.0.attention.attention.query", "vit.layers.0.attention.q_proj"),
        ("encoder.layer.0.attention.attention.query", "encoder.layer.0.attention.q_proj"),
    ],
)
def test_versions_of_transformers(in_file: str, in_adapter: str, tmp_path: Path, ckpt: Ckpt) -> None:
    before, down, up = matrix(8, 8), matrix(RANK, 8), matrix(8, RANK)
    save_file({f"{in_file}.weight": before}, tmp_path / "base.safetensors")
    save_file(peft(in_adapter, lora_A__weight=down, lora_B__weight=up), tmp_path / "adapter_model.safetensors")
    config(tmp_path)
    ckpt("merge", tmp_path / "base.safetensors", "--lora", tmp_path / "adapter_model.safetensors", "-o", tmp_path / "out.safetensors")
    close(load_file(tmp_path / "out.safetensors"), {f"{in_file}.weight": before + SCALE * (up @ down)})


def test_llama_cpp(tmp_path: Path, ckpt: Ckpt) -> None:
    """An adapter in GGUF and its base; the embedding's factors are tokens × rank and features × rank. A quantised base is refused."""
    before = {"blk.0.attn_q.weight": matrix(8, 32), "token_embd.weight": matrix(12, 32)}
    down, up, tokens, features = matrix(RANK, 32), matrix(8, RANK), matrix(12, RANK), matrix(32, RANK)
    tensors = {
        "blk.0.attn_q.weight.lora_a": down,
        "blk.0.attn_q.weight.lora_b": up,
        "token_embd.weight.lora_a": tokens,
        "token_embd.weight.lora_b": features,
    }
    for name, arrays, metadata in (("base", before, {}), ("lora", tensors, {"adapter.lora.alpha": str(ALPHA), "adapter.type": "lora"})):
        save_file(arrays, tmp_path / f"{name}.safetensors", metadata)
        ckpt("convert", tmp_path / f"{name}.safetensors", tmp_path / f"{name}.gguf")
    ckpt("merge", tmp_path / "base.gguf", "--lora", tmp_path / "lora.gguf", "-o", tmp_path / "out.gguf")
    ckpt("convert", tmp_path / "out.gguf", tmp_path / "out.safetensors")
    expected = {
        "blk.0.attn_q.weight": before["blk.0.attn_q.weight"] + SCALE * (up @ down),
        "token_embd.weight": before["token_embd.weight"] + SCALE * (tokens @ features.T),
    }
    close(load_file(tmp_path / "out.safetensors"), expected)


def test_packed_base(tmp_path: Path, ckpt: Ckpt) -> None:
    """A packed parameter is refused with the command that decodes it."""
    scale = np.ones((1, 1), "f")
    weight = np.zeros((8, 8), "f")
    import torch
    from safetensors.torch import save_file

    packed = {"a.weight": torch.from_numpy(weight).to(torch.float8_e4m3fn), "a.weight_scale_inv": torch.from_numpy(scale)}
    save_file(packed, tmp_path / "base.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}))
    tensors = {key: torch.from_numpy(values) for key, values in lora("a", matrix(RANK, 8), matrix(8, RANK)).items()}
    save_file(tensors, tmp_path / "lora.safetensors")
    args = ("--lora", tmp_path / "lora.safetensors", "-o", tmp_path / "out.safetensors")
    assert "--dequantise" in ckpt("merge", tmp_path / "base.safetensors", *args, status=2).err


def test_every_writable_format(tmp_path: Path, ckpt: Ckpt) -> None:
    """In place, sharded and into other formats: the values are the same."""
    before, down, up = matrix(64, 64), matrix(RANK, 64), matrix(64, RANK)
    names = [f"layers.{n}.q.weight" for n in range(4)]
    save_file(dict.fromkeys(names, before), tmp_path / "base.safetensors")
    save_file(lora("layers.2.q", down, up), tmp_path / "lora.safetensors")
    (tmp_path / "sharded").mkdir()
    ckpt("convert", tmp_path / "base.safetensors", tmp_path / "sharded" / "model.safetensors.index.json", "--shard-size", "20kB")
    lora_of = ("--lora", tmp_path / "lora.safetensors")
    ckpt("merge", tmp_path / "base.safetensors", *lora_of, "-o", tmp_path / "out.safetensors")
    close(load_file(tmp_path / "out.safetensors"), dict.fromkeys(names, before) | {names[2]: before + SCALE * (up @ down)})
    for suffix in (".pt", ".npz", ".h5", ".msgpack", ".gguf"):
        ckpt("merge", tmp_path / "sharded", *lora_of, "-o", tmp_path / f"out{suffix}")
        ckpt("diff", tmp_path / "out.safetensors", tmp_path / f"out{suffix}")
    ckpt("merge", tmp_path / "sharded", *lora_of, "-i")
    ckpt("diff", tmp_path / "out.safetensors", tmp_path / "sharded")


def test_summary_tells_what_it_is(tmp_path: Path, ckpt: Ckpt) -> None:
    save_file(lora("a", matrix(RANK, 8), matrix(8, RANK)) | lora("b", matrix(2, 8), matrix(8, 2)), tmp_path / "lora.safetensors")
    said = ckpt("summary", tmp_path / "lora.safetensors").err
    assert "an adapter in the names of kohya's scripts: 2 layers, rank 2 to 4, alpha / rank 1.5 to 3" in said


_MEASURED = """
import resource, sys
from ckpt_cli.cli import main
status = main(sys.argv[1:])
own = open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]
print(max(int(own), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024)
sys.exit(status)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory(tmp_path: Path) -> None:
    """One tensor of 64 MB, of which DoRA reads all rows for the norms of its columns: less than 100 MB, its float32 has 128."""
    rows, columns = 4096, 8192
    before = {"h.c_attn.weight": np.ones((rows, columns), "f2"), "h.c_attn.bias": matrix(columns)}
    save_file(before, tmp_path / "base.safetensors")
    down, up, sizes = matrix(8, rows), matrix(columns, 8), matrix(columns)
    save_file(peft("h.c_attn", lora_A__weight=down, lora_B__weight=up, lora_magnitude_vector=sizes), tmp_path / "adapter_model.safetensors")
    config(tmp_path, r=8, lora_alpha=0.01, use_dora=True)
    args = ["merge", "base.safetensors", "--lora", "adapter_model.safetensors", "-o", "out.safetensors"]
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # as `ckpt` starts
    done = subprocess.run([sys.executable, "-c", _MEASURED, *args], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100

"""Roles, against the classes of the layers in the libraries: `tests/models/truth.json.gz` has names, shapes and classes of 100 families.

`python tests/test_roles.py` prints the table of families.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ckpt_cli.schemes import Target
from ckpt_cli.schemes.roles import Role, role_of

TRUTH = Path(os.environ.get("CKPT_TRUTH") or Path(__file__).parent / "models/truth.json.gz")
needs_truth = pytest.mark.skipif(not TRUTH.exists(), reason="the truth of the libraries is not there")

# What a class of the libraries is; the first that fits. Its weight and its bias have these roles.
CLASSES = (
    (r"GRN$", "response", "response"),
    (r"Norm", "norm_scale", "norm_shift"),
    (r"PositionalEmbeddings?$", "embedding", ""),
    (r"(Linear|MultiheadAttention|Router|Experts)$", "linear", "bias"),
    (r"^Conv1D$", "linear", "bias"),
    (r"Conv\w*[123]d|^Conv2dSame$", "conv", "bias"),
    (r"Embedding$", "embedding", ""),
    (r"Head$|Model$|For\w+$", "", "bias"),
)

# What parameters are that their module calls otherwise than weight and bias: read in the libraries' source.
PARAMETERS = {
    **dict.fromkeys(("cls_token", "class_token", "mask_token", "distillation_token", "class_embedding", "mask_emb"), "token"),
    **dict.fromkeys(("masked_spec_embed", "probe", "query_tokens"), "token"),
    **dict.fromkeys(("position_embeddings", "pos_embed", "pos_embedding", "positional_embedding", "position_embedding"), "position"),
    **dict.fromkeys(("relative_position_bias_table", "rel_pos_h", "rel_pos_w"), "relative_position"),
    **dict.fromkeys(
        ("layer_scale", "layer_scale_parameter", "lambda1", "lambda_1", "lambda_2", "gamma", "gamma_1", "gamma_2"), "layer_scale"
    ),
    **dict.fromkeys(("A_log", "D", "dt_bias", "time_decay", "time_first"), "state_space"),
    **dict.fromkeys(("time_mix_key", "time_mix_value", "time_mix_receptance"), "state_space"),
    **dict.fromkeys(("r_r_bias", "r_s_bias", "r_w_bias", "sinks"), "attention_bias"),
    **dict.fromkeys(("logit_scale", "logit_bias"), "logit"),
    **dict.fromkeys(("e_score_correction_bias", "final_logits_bias", "q_bias", "v_bias", "in_proj_bias"), "bias"),
    **dict.fromkeys(("gate_up_proj_bias", "down_proj_bias"), "bias"),
    **dict.fromkeys(("gate_up_proj", "down_proj"), "experts"),
    **dict.fromkeys(("q", "k", "v", "o", "r", "in_proj_weight"), "linear"),
    "seg_embed": "embedding",
    "gain": "norm_scale",  # of a convolution whose weight is standardised
    "original0": "weight_gain",
    "original1": "conv",
    "codevectors": "codebook",
    **dict.fromkeys(("relative_position_index", "relative_coords_table"), "computed"),
    "running_mean": "running_mean",
    "running_var": "running_var",
    "num_batches_tracked": "counter",
}


def true_role(name: str, facts: dict[str, Any]) -> str:
    """The role of a tensor by the class of its layer in the library."""
    leaf, kind = name.rpartition(".")[2], facts["layer_type"]
    if facts["init"][0] == "fixed" and kind.endswith(("Embedding", "PatchEmbed")):
        return "computed"  # sinusoids
    if kind.startswith("Sam") and kind.endswith("PositionalEmbedding"):
        return "computed"  # random frequencies
    if leaf in PARAMETERS and not (leaf == "gamma" and "Norm" in kind):
        return PARAMETERS[leaf]
    weight, bias = next(((weight, bias) for pattern, weight, bias in CLASSES if re.search(pattern, kind)), ("", ""))
    return {"weight": weight, "bias": bias}.get(leaf, "") or f"? {kind}.{leaf}"


@cache
def families() -> dict[str, Any]:
    text = gzip.decompress(TRUTH.read_bytes()) if TRUTH.suffix == ".gz" else TRUTH.read_bytes()
    read: dict[str, Any] = json.loads(text)
    return read


def targets(family: dict[str, Any]) -> Iterator[tuple[Target, dict[str, Any]]]:
    """What the schemes know of each tensor of a family, and the truth."""
    shapes = {name: tuple(facts["shape"]) for name, facts in family["tensors"].items()}
    for name, facts in family["tensors"].items():
        dtype = "int64" if name.endswith("num_batches_tracked") else "float32"
        yield Target(name, shapes[name], dtype, shapes=shapes, config=family["config"]), facts


def wrong(family: dict[str, Any], typed: bool) -> list[tuple[str, str, str]]:
    """The tensors whose role is taken for another: name, true role, role."""
    answers = ((t.name, true_role(t.name, facts), role_of(t, facts["layer_type"] if typed else None).role) for t, facts in targets(family))
    return [answer for answer in answers if answer[1] != answer[2]]


@needs_truth
@pytest.mark.parametrize("typed", [False, True], ids=["names", "types"])
def test_roles_of_all_families(typed):
    found = {name: wrong(family, typed) for name, family in families().items()}
    tensors = sum(len(family["tensors"]) for family in families().values())
    mistaken = [(name, *each) for name, many in found.items() for each in many]
    assert len(mistaken) <= 0.01 * tensors, mistaken[:20]
    assert not [each for each in mistaken if each[2].startswith("?")], "PARAMETERS needs these"


NAMES = [
    # name, shape, role; with each other beside them
    ("blk.0.attn_q.weight", (8, 8), "linear"),
    ("blk.0.ffn_down_exps.weight", (4, 8, 8), "experts"),
    ("blk.0.exp_probs_b.bias", (4,), "bias"),
    ("blk.0.ssm_conv1d.weight", (8, 4), "conv"),
    ("blk.0.ssm_a", (8, 4), "state_space"),
    ("blk.0.ssm_d", (8,), "state_space"),
    ("blk.0.attn_sinks.weight", (4,), "attention_bias"),
    ("blk.0.attn_norm.weight", (8,), "norm_scale"),
    ("rope_freqs.weight", (8,), "computed"),
    ("token_embd.weight", (99, 8), "embedding"),
    ("token_embd_norm.weight", (8,), "norm_scale"),
    ("token_types.weight", (2, 8), "embedding"),
    ("enc.blk.0.attn_rel_b.weight", (32, 4), "embedding"),
    ("layers.0.attention.wq.weight", (8, 8), "linear"),
    ("layers.0.feed_forward.w2.weight", (8, 8), "linear"),
    ("rope.freqs", (4,), "computed"),
    ("model.layers.0.self_attn.rotary_emb.inv_freq", (4,), "computed"),
    ("h.0.attn.bias", (1, 1, 64, 64), "computed"),
    ("h.0.attn.masked_bias", (), "computed"),
    ("encoder.embed_positions.weights", (64, 8), "computed"),
    ("params/encoder/layer_0/attention/query/kernel", (8, 2, 4), "linear"),
    ("params/encoder/layer_0/ln/scale", (8,), "norm_scale"),
    ("params/wte/embedding", (99, 8), "embedding"),
    ("params/pos_embedding", (1, 9, 8), "position"),
    ("params/bn/mean", (8,), "running_mean"),
    ("shared.weight", (99, 8), "embedding"),
    ("embed_out.weight", (99, 8), "linear"),
    ("x_embedder.weight", (16, 8), "linear"),
    ("x_embedder.bias", (16,), "bias"),
    ("class_embed.weight", (3, 8), "linear"),
    ("class_embed.bias", (3,), "bias"),
    ("time_embed.0.weight", (16, 8), "linear"),
    ("time_embed.0.bias", (16,), "bias"),
    ("conv.weight_g", (16, 1, 1), "weight_gain"),
    ("conv.weight_v", (16, 8, 3), "conv"),
    ("sn.weight_orig", (16, 8), "linear"),
    ("sn.weight_u", (16,), "computed"),
    ("sn.weight_v", (8,), "computed"),
    ("quantizer.codevectors", (1, 32, 8), "codebook"),
    ("blocks.0.ls1.gamma", (8,), "layer_scale"),
    ("stages.0.gamma", (8,), "layer_scale"),
    ("bert.LayerNorm.gamma", (8,), "norm_scale"),
    ("batchnorm0_gamma", (8,), "norm_scale"),
    ("rmsnorm.gamma", (8,), "norm_scale"),
    ("stages.0.grn.gamma", (1, 1, 1, 8), "response"),
    ("stages.0.grn.beta", (1, 1, 1, 8), "response"),
    ("cls_token", (1, 1, 8), "token"),
    ("query_tokens", (1, 32, 8), "token"),
    ("linear_0.w_0", (8, 4), "linear"),
    ("linear_0.b_0", (4,), "bias"),
    ("onnx::MatMul_12", (8, 4), "linear"),
    ("enc.attn.pos_bias_u", (2, 4), "attention_bias"),
    ("enc.attn.pos_bias_v", (2, 4), "attention_bias"),
    ("rel.bias_u", (2, 4), "attention_bias"),
    ("rel.bias_v", (2, 4), "attention_bias"),
    ("mha.bias_v", (1, 1, 8), "bias"),
    ("snake.alpha", (8,), "unknown"),
    ("snake.beta", (8,), "unknown"),
    ("self_attn_layer_scale.scale", (8,), "layer_scale"),
    ("ffn_hc.scale", (3,), "unknown"),
    ("quantizer.codebook.embed", (64, 8), "codebook"),
    ("quantizer.codebook.cluster_size", (64,), "computed"),
    ("moe.input_linear.weight", (4, 16, 8), "experts"),
    ("attention.query_key_value.weight", (24, 8), "linear"),
    ("patch_embed.weight", (16, 12), "linear"),
    ("shared_embedding.positional_embedding", (2, 16), "computed"),
    ("q_proj.lora_A.weight", (4, 8), "adapter_in"),
    ("q_proj.lora_B.default.weight", (8, 4), "adapter_out"),
    ("lora_unet_q.lora_up.weight", (8, 4, 1, 1), "adapter_out"),
    ("mlx.scales", (8, 2), "other"),
    ("mlx.biases", (8, 2), "other"),
    ("fp8.weight_scale_inv", (2, 2), "other"),
    ("scale_shift_table", (6, 8), "unknown"),
    ("mixing", (8, 8), "unknown"),
    ("threshold", (8,), "unknown"),
    ("factor", (), "unknown"),
    ("D", (8,), "unknown"),  # of Mamba only beside A_log
]


@pytest.mark.parametrize(("name", "shape", "role"), NAMES, ids=[row[0] for row in NAMES])
def test_roles_by_name(name, shape, role):
    assert role_of(Target(name, shape, shapes={row[0]: row[1] for row in NAMES})).role == role


def test_roles_do_not_depend_on_a_prefix():
    for prefix in ("model.", "module.", "_orig_mod.", "state_dict.model."):
        shapes = {prefix + row[0]: row[1] for row in NAMES}
        assert [role_of(Target(name, shape, shapes=shapes)).role for name, shape in shapes.items()] == [row[2] for row in NAMES]


def test_every_role_is_documented():
    page = (Path(__file__).parents[1] / "docs/schemes.md").read_text()
    assert not [role for role in Role if f"| `{role}` |" not in page]


if __name__ == "__main__":
    for name, family in families().items():
        by_name, by_type = wrong(family, False), wrong(family, True)
        print(f"{name:28}{len(family['tensors']):6}{len(by_name):4}{len(by_type):4}  {by_name[:2] or by_type[:2] or ''}")

"""`ckpt merge BASE --lora ADAPTER`: adapters in the names of every program, against the formulas of their papers in numpy.

PEFT itself is the judge in tests/oracle/adapters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import Ckpt
from safetensors.numpy import load_file, save_file

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
random = np.random.default_rng(13)
RANK, ALPHA = 4, 6.0
LAYERS = {"layers.0.self_attn.q_proj": (8, 8), "layers.0.mlp.down_proj": (8, 16), "layers.1.self_attn.q_proj": (8, 8)}


def matrix(*shape: int) -> Array:
    return random.standard_normal(shape).astype("f")


def base(prefix: str = "model.") -> Arrays:
    return {f"{prefix}{layer}.weight": matrix(*shape) for layer, shape in LAYERS.items()} | {f"{prefix}norm.weight": matrix(8)}


class Factors(NamedTuple):
    """A and B of one layer: rank × inputs, outputs × rank."""

    down: Array
    up: Array


FACTORS = {layer: Factors(matrix(RANK, shape[1]), matrix(shape[0], RANK)) for layer, shape in LAYERS.items()}


def close(found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    """Equal names, and values to the rounding of a float32 sum."""
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-6, atol=2e-6, err_msg=name)


def added(before: Arrays, scale: float, factors: Mapping[str, Factors] = FACTORS, prefix: str = "model.") -> Arrays:
    """W + scale · BA."""
    changed = {f"{prefix}{layer}.weight": before[f"{prefix}{layer}.weight"] + scale * (f.up @ f.down) for layer, f in factors.items()}
    return before | changed


def config(folder: Path, **entries: Any) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA} | entries))


class Naming(NamedTuple):
    """How a program names a layer's parts. `prefix` is what its base has before the names of layers."""

    parts: Callable[[str, Factors], Arrays]
    scale: float = ALPHA / RANK
    config: Mapping[str, Any] | None = None
    metadata: dict[str, str] | None = None
    prefix: str = "model."


def two(down: str, up: str, before: str = "") -> Callable[[str, Factors], Arrays]:
    return lambda layer, f: {before + layer + down: f.down, before + layer + up: f.up}


def kohya(layer: str, f: Factors) -> Arrays:
    name = f"lora_unet_{layer.replace('.', '_')}"
    return {f"{name}.lora_down.weight": f.down, f"{name}.lora_up.weight": f.up, f"{name}.alpha": np.array(ALPHA, "f")}


def comfy(layer: str, f: Factors) -> Arrays:
    return {**two(".lora_A.weight", ".lora_B.weight", "diffusion_model.")(layer, f), f"diffusion_model.{layer}.alpha": np.array(ALPHA, "f")}


def mlx(layer: str, f: Factors) -> Arrays:
    return {f"model.{layer}.lora_a": f.down.T.copy(), f"model.{layer}.lora_b": f.up.T.copy()}


PEFT = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA}
LAYERS_METADATA = {"lora_adapter_metadata": json.dumps({"transformer.r": RANK, "transformer.lora_alpha": ALPHA})}
NAMINGS = {
    "peft": Naming(two(".lora_A.weight", ".lora_B.weight", "base_model.model.model."), config=PEFT),
    "peft named": Naming(two(".lora_A.mine.weight", ".lora_B.mine.weight", "base_model.model.model."), config=PEFT),
    "peft stabilised": Naming(
        two(".lora_A.weight", ".lora_B.weight", "base_model.model.model."), scale=ALPHA / RANK**0.5, config=PEFT | {"use_rslora": True}
    ),
    "peft of a whole model, base without": Naming(
        two(".lora_A.weight", ".lora_B.weight", "base_model.model.bert."), config=PEFT, prefix=""
    ),
    "peft of a part, base with": Naming(two(".lora_A.weight", ".lora_B.weight", "base_model.model."), config=PEFT, prefix="bert."),
    "kohya": Naming(kohya),
    "kohya in one file of a pipeline": Naming(kohya, prefix="model.diffusion_model."),
    "kohya without alpha": Naming(lambda layer, f: {k: v for k, v in kohya(layer, f).items() if not k.endswith("alpha")}, scale=1),
    "diffusers": Naming(two(".lora_A.weight", ".lora_B.weight", "transformer."), metadata=LAYERS_METADATA, prefix=""),
    "diffusers without metadata": Naming(two(".lora_A.weight", ".lora_B.weight", "transformer."), scale=1, prefix=""),
    "diffusers of one model": Naming(
        two(".lora_A.weight", ".lora_B.weight"), metadata={"lora_adapter_metadata": json.dumps({"r": RANK, "lora_alpha": ALPHA})}
    ),
    "diffusers before PEFT": Naming(two(".lora.down.weight", ".lora.up.weight", "unet."), scale=1),
    "diffusers, text encoder": Naming(
        two(".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight", "text_encoder."), scale=1, prefix="text_model."
    ),
    "ComfyUI": Naming(comfy, prefix=""),
    "mlx": Naming(mlx, scale=20.0, config={"fine_tune_type": "lora", "lora_parameters": {"rank": RANK, "scale": 20.0}}),
}


@pytest.mark.parametrize("naming", NAMINGS.values(), ids=NAMINGS.keys())
def test_every_naming(naming: Naming, tmp_path: Path, ckpt: Ckpt) -> None:
    before = base(naming.prefix)
    save_file(before, tmp_path / "base.safetensors")
    folder = tmp_path / "adapter"
    folder.mkdir()
    tensors: Arrays = {}
    for layer, factors in FACTORS.items():
        tensors |= naming.parts(layer, factors)
    save_file(tensors, folder / "adapter_model.safetensors", naming.metadata)
    if naming.config:
        (folder / "adapter_config.json").write_text(json.dumps(naming.config))
    for scale in (1.0, 0.7, -2.0):
        adapter = f"{folder}/adapter_model.safetensors:{scale}"
        ckpt("merge", tmp_path / "base.safetensors", "--lora", adapter, "-o", tmp_path / "out.safetensors", "--force")
        close(load_file(tmp_path / "out.safetensors"), added(before, scale * naming.scale, prefix=naming.prefix))


def test_two_adapters_in_one_pass(tmp_path: Path, ckpt: Ckpt) -> None:
    """0.7 of one and 0.3 of another; the folder of an adapter stands for it."""
    before = base()
    save_file(before, tmp_path / "base.safetensors")
    other = {layer: Factors(matrix(2, f.down.shape[1]), matrix(f.up.shape[0], 2)) for layer, f in list(FACTORS.items())[:2]}
    for name, factors, rank in (("one", FACTORS, RANK), ("two", other, 2)):
        (tmp_path / name).mkdir()
        naming = two(".lora_A.weight", ".lora_B.weight", "base_model.model.model.")
        tensors = {key: value for layer, f in factors.items() for key, value in naming(layer, f).items()}
        save_file(tensors, tmp_path / name / "adapter_model.safetensors")
        config(tmp_path / name, r=rank)
    args = ("--lora", f"{tmp_path}/one:0.7", "--lora", f"{tmp_path}/two:0.3")
    ckpt("merge", tmp_path / "base.safetensors", *args, "-o", tmp_path / "out.safetensors")
    close(load_file(tmp_path / "out.safetensors"), added(added(before, 0.7 * ALPHA / RANK), 0.3 * ALPHA / 2, other))
    recipe = ckpt("merge", tmp_path / "base.safetensors", *args, "--print-recipe").out
    (tmp_path / "recipe.toml").write_text(recipe)
    ckpt("apply", tmp_path / "base.safetensors", tmp_path / "recipe.toml", "-o", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "out.safetensors").read_bytes()


class World(NamedTuple):
    """A base and an adapter in a folder, and what `merge` makes of them."""

    folder: Path
    ckpt: Ckpt

    def merge(self, before: Arrays, tensors: Arrays, scale: str = "", status: int = 0, peft: Mapping[str, Any] | None = None) -> Any:
        """The merged tensors and the notes; of an error, its line."""
        folder = self.folder / "adapter"
        folder.mkdir(exist_ok=True)
        save_file(before, self.folder / "base.safetensors")
        save_file(tensors, folder / "adapter_model.safetensors")
        if peft is not None:
            config(folder, **peft)
        out = self.folder / "out.safetensors"
        lora = f"{folder}/adapter_model.safetensors{scale}"
        result = self.ckpt("merge", self.folder / "base.safetensors", "--lora", lora, "-o", out, "--force", status=status)
        assert status == 0 or not out.exists()
        return result.err if status else (load_file(out), result.err)


@pytest.fixture
def world(tmp_path: Path, ckpt: Ckpt) -> World:
    return World(tmp_path, ckpt)


def lora(path: str, down: Array, up: Array, alpha: float = ALPHA) -> Arrays:
    """One layer in kohya's names."""
    name = f"lora_unet_{path.replace('.', '_')}"
    return {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": np.array(alpha, "f")}


def peft(path: str, **parts: Array) -> Arrays:
    return {f"base_model.model.{path}.{part.replace('__', '.')}": values for part, values in parts.items()}


def test_convolutions(world: World) -> None:
    """1×1, 3×3, and with a core (LoCon of LyCORIS, lora_mid)."""
    before = {"a.weight": matrix(6, 5, 3, 3), "b.weight": matrix(6, 5, 1, 1), "c.weight": matrix(6, 5, 3, 3)}
    wide, one, core = matrix(RANK, 5, 3, 3), matrix(RANK, 5, 1, 1), matrix(RANK, RANK, 3, 3)
    up = matrix(6, RANK, 1, 1)
    tensors = {**lora("a", wide, up), **lora("b", one, up), **lora("c", one, up), "lora_unet_c.lora_mid.weight": core}
    rows, scale = up[:, :, 0, 0], ALPHA / RANK
    expected = {
        "a.weight": before["a.weight"] + scale * np.einsum("or,rikl->oikl", rows, wide),
        "b.weight": before["b.weight"] + scale * np.einsum("or,rikl->oikl", rows, one),
        "c.weight": before["c.weight"] + scale * np.einsum("ijkl,jr,pi->prkl", core, one[:, :, 0, 0], rows),
    }
    close(world.merge(before, tensors)[0], expected)


def test_products_of_lycoris(world: World) -> None:
    """LoHa, LoKr whole and of low rank, whole differences, and those of norms and biases."""
    before = {f"{name}.weight": matrix(8, 6) for name in "abcd"} | {"d.bias": matrix(8), "k.weight": matrix(8, 6, 3, 3)}
    a1, b1, a2, b2 = matrix(8, 4), matrix(4, 6), matrix(8, 4), matrix(4, 6)
    w1, w2, wa, wb = matrix(2, 3), matrix(4, 2), matrix(4, 2), matrix(2, 2)
    kernel, whole, bias = matrix(4, 2, 3, 3), matrix(8, 6), matrix(8)
    alpha = np.array(ALPHA, "f")
    tensors = {
        **{f"lycoris_a.hada_w{n}_{k}": v for (n, k), v in {(1, "a"): a1, (1, "b"): b1, (2, "a"): a2, (2, "b"): b2}.items()},
        **dict.fromkeys(("lycoris_a.alpha", "lycoris_b.alpha", "lycoris_c.alpha"), alpha),
        **dict.fromkeys(("lycoris_b.lokr_w1", "lycoris_c.lokr_w1", "lycoris_k.lokr_w1"), w1),
        "lycoris_b.lokr_w2": w2,
        "lycoris_c.lokr_w2_a": wa,
        "lycoris_c.lokr_w2_b": wb,
        "lycoris_d.diff": whole,
        "lycoris_d.diff_b": bias,
        "lycoris_k.lokr_w2": kernel,
    }
    expected = before | {
        "a.weight": before["a.weight"] + ALPHA / 4 * (a1 @ b1) * (a2 @ b2),
        "b.weight": before["b.weight"] + np.kron(w1, w2),
        "c.weight": before["c.weight"] + ALPHA / 2 * np.kron(w1, wa @ wb),
        "d.weight": before["d.weight"] + whole,
        "d.bias": before["d.bias"] + bias,
        "k.weight": before["k.weight"] + np.kron(w1[:, :, None, None], kernel),
    }
    close(world.merge(before, tensors)[0], expected)


def dora(weight: Array, delta: Array, magnitude: Array, axis: int) -> Array:
    changed = weight + delta
    shown: Array = magnitude.reshape((-1, 1) if axis else (1, -1)) * changed / np.linalg.norm(changed, axis=axis, keepdims=True)
    return shown


def test_dora(world: World) -> None:
    """Norms of rows; of columns, where a base keeps inputs first (GPT-2) or embeds; of a user's scale 0 nothing is left but magnitudes."""
    before = {"h.0.c_attn.weight": matrix(8, 24), "h.0.c_attn.bias": matrix(24), "wte.weight": matrix(12, 8), "head.weight": matrix(12, 8)}
    down, up, magnitude = matrix(RANK, 8), matrix(24, RANK), np.abs(matrix(24)) + 1
    token_down, token_up, token_size = matrix(RANK, 12), matrix(8, RANK), np.abs(matrix(8)) + 1
    head_down, head_up, head_size = matrix(RANK, 8), matrix(12, RANK), np.abs(matrix(12)) + 1
    tensors = {
        **peft("h.0.c_attn", lora_A__weight=down, lora_B__weight=up, lora_magnitude_vector=magnitude),
        **peft("wte", lora_embedding_A=token_down, lora_embedding_B=token_up, lora_magnitude_vector__weight=token_size),
        **peft("head", lora_A__weight=head_down, lora_B__weight=head_up, lora_magnitude_vector=head_size),
    }
    for scale in (1.0, 0.5, 0.0):
        by = scale * ALPHA / RANK
        expected = before | {
            "h.0.c_attn.weight": dora(before["h.0.c_attn.weight"], by * (up @ down).T, magnitude, 0),
            "wte.weight": dora(before["wte.weight"], by * (token_up @ token_down).T, token_size, 0),
            "head.weight": dora(before["head.weight"], by * (head_up @ head_down), head_size, 1),
        }
        close(world.merge(before, tensors, f":{scale}", peft={"use_dora": True})[0], expected)


def test_dora_of_lycoris(world: World) -> None:
    """dora_scale by outputs or by inputs; a user's scale goes from the base to the result, as in ComfyUI."""
    before = {"a.weight": matrix(6, 5, 3, 3), "b.weight": matrix(6, 5)}
    down, up = matrix(RANK, 5, 3, 3), matrix(6, RANK, 1, 1)
    flat_down, flat_up = matrix(RANK, 5), matrix(6, RANK)
    by_inputs, by_outputs = np.abs(matrix(1, 5, 1, 1)) + 1, np.abs(matrix(6, 1)) + 1
    tensors = {
        **lora("a", down, up),
        "lora_unet_a.dora_scale": by_inputs,
        **lora("b", flat_down, flat_up),
        "lora_unet_b.dora_scale": by_outputs,
    }
    changed = before["a.weight"] + ALPHA / RANK * np.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
    full = by_inputs * changed / np.sqrt((changed**2).sum(axis=(0, 2, 3), keepdims=True))
    flat = dora(before["b.weight"], ALPHA / RANK * (flat_up @ flat_down), by_outputs, 1)
    for scale in (1.0, 0.25, 0.0):
        expected = {
            "a.weight": before["a.weight"] * (1 - scale) + scale * full,
            "b.weight": before["b.weight"] * (1 - scale) + scale * flat,
        }
        close(world.merge(before, tensors, f":{scale}")[0], expected)


def test_inputs_first_of_square_matrices(world: World) -> None:
    """GPT-2's c_proj is square: that c_attn keeps its inputs first is seen by its bias, and holds for both."""
    before = {"h.0.c_attn.weight": matrix(8, 24), "h.0.c_attn.bias": matrix(24), "h.0.c_proj.weight": matrix(8, 8)}
    down, up = matrix(RANK, 8), matrix(8, RANK)
    found, _ = world.merge(before, peft("h.0.c_proj", lora_A__weight=down, lora_B__weight=up), peft={})
    close(found, before | {"h.0.c_proj.weight": before["h.0.c_proj.weight"] + ALPHA / RANK * (up @ down).T})


def test_what_peft_trains_besides(world: World) -> None:
    """Heads and biases that are saved whole, a head that the base lacks, single tokens, patterns of rank and alpha."""
    before = base() | {"model.embed.weight": matrix(12, 8), "lm_head.weight": matrix(12, 8), "model.layers.0.mlp.down_proj.bias": matrix(8)}
    f, g = FACTORS["layers.0.self_attn.q_proj"], FACTORS["layers.1.self_attn.q_proj"]
    head, bias, tokens, score = matrix(12, 8), matrix(8), matrix(2, 8), matrix(3, 8)
    tensors = {
        **peft("model.layers.0.self_attn.q_proj", lora_A__weight=f.down, lora_B__weight=f.up),
        **peft("model.layers.1.self_attn.q_proj", lora_A__weight=g.down[:2], lora_B__weight=g.up[:, :2].copy()),
        "base_model.model.lm_head.modules_to_save.weight": head,
        "base_model.model.model.layers.0.mlp.down_proj.bias": bias,
        "base_model.model.model.embed.token_adapter.trainable_tokens_delta": tokens,
        "base_model.model.score.weight": score,
    }
    said = {
        "rank_pattern": {r"layers\.1\.self_attn\.q_proj": 2},
        "alpha_pattern": {"1.self_attn.q_proj": 3},
        "trainable_token_indices": [7, 2],
    }
    found, notes = world.merge(before, tensors, peft=said)
    expected = before | {"lm_head.weight": head, "model.layers.0.mlp.down_proj.bias": bias, "score.weight": score}
    expected["model.layers.0.self_attn.q_proj.weight"] = before["model.layers.0.self_attn.q_proj.weight"] + ALPHA / RANK * (f.up @ f.down)
    expected["model.layers.1.self_attn.q_proj.weight"] = before["model.layers.1.self_attn.q_proj.weight"] + 3 / 2 * (
        g.up[:, :2] @ g.down[:2]
    )
    expected["model.embed.weight"] = before["model.embed.weight"].copy()
    expected["model.embed.weight"][[7, 2]] = tokens
    close(found, expected)
    assert "score.weight: added, the base has none" in notes


def test_embeddings_that_were_resized(world: World) -> None:
    """PEFT saves the whole embedding then, and the LoRA of it is for that."""
    before = {"embed.weight": matrix(12, 8), "q.weight": matrix(8, 8)}
    own, down, up = matrix(14, 8), matrix(RANK, 14), matrix(8, RANK)
    tensors = {
        **peft("embed", base_layer__weight=own, lora_embedding_A=down, lora_embedding_B=up),
        **peft("q", lora_A__weight=matrix(RANK, 8), lora_B__weight=np.zeros((8, RANK), "f")),
    }
    found, notes = world.merge(before, tensors, peft={})
    close(found, before | {"embed.weight": own + ALPHA / RANK * (up @ down).T})
    assert "embed.weight: 12x8 becomes 14x8" in notes


def test_parts_of_a_pipeline(world: World) -> None:
    """What is for the text encoder is counted in a note, where the base is the U-Net."""
    f = FACTORS["layers.0.mlp.down_proj"]
    other = {"lora_te1_x_fc1.lora_down.weight": f.down, "lora_te1_x_fc1.lora_up.weight": f.up, "lora_te1_x_fc1.alpha": np.array(1.0, "f")}
    before = base("")
    found, notes = world.merge(before, {**lora("layers.0.mlp.down_proj", f.down, f.up), **other})
    close(found, added(before, ALPHA / RANK, {"layers.0.mlp.down_proj": f}, ""))
    assert "3 tensors are for the text encoder, which is not in this checkpoint" in notes


def test_ties(tmp_path: Path, ckpt: Ckpt) -> None:
    """An embedding that is tied to the head: both follow, as in PEFT, and a note says so."""
    import torch

    tied = torch.from_numpy(matrix(12, 8))
    torch.save({"embed.weight": tied, "head.weight": tied, "epoch": 3}, tmp_path / "base.pt")
    down, up = matrix(RANK, 12), matrix(8, RANK)
    save_file(peft("embed", lora_embedding_A=down, lora_embedding_B=up), tmp_path / "adapter_model.safetensors")
    config(tmp_path)
    lora = tmp_path / "adapter_model.safetensors"
    result = ckpt("merge", tmp_path / "base.pt", "--lora", lora, "-o", tmp_path / "out.pt")
    assert "embed.weight, head.weight: one tensor" in result.err
    found = torch.load(tmp_path / "out.pt")
    assert found["head.weight"].data_ptr() == found["embed.weight"].data_ptr() and found["epoch"] == 3
    np.testing.assert_allclose(found["embed.weight"].numpy(), tied.numpy() + ALPHA / RANK * (up @ down).T, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "float8_e4m3fn"])
def test_rounded_once(dtype: str, tmp_path: Path, ckpt: Ckpt) -> None:
    """The sum is computed in float32 (float64 for float64), and rounded to the dtype of the base; large matrices in slabs."""
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(3)
    weight, down, up = torch.randn(700, 1000).to(getattr(torch, dtype)), torch.randn(4, 1000) * 0.1, torch.randn(700, 4) * 0.1
    save_file({"a.weight": weight}, tmp_path / "base.safetensors")
    save_file(
        {"lora_unet_a.lora_down.weight": down.half(), "lora_unet_a.lora_up.weight": up.half(), "lora_unet_a.alpha": torch.tensor(2.0)},
        tmp_path / "lora.safetensors",
    )
    ckpt("merge", tmp_path / "base.safetensors", "--lora", tmp_path / "lora.safetensors", "-o", tmp_path / "out.safetensors")
    wide = torch.float64 if dtype == "float64" else torch.float32
    expected = (weight.to(wide) + (up.half().to(wide) @ down.half().to(wide)) * 0.5).to(weight.dtype)
    found = load_file(tmp_path / "out.safetensors")["a.weight"]
    assert (found.view(torch.uint8) != expected.view(torch.uint8)).float().mean() < 1e-3  # sums of float32 in another order
    torch.testing.assert_close(found.to(wide), expected.to(wide), rtol=0.13 if "8" in dtype else 0.01, atol=1e-6)


GOOD = FACTORS["layers.0.mlp.down_proj"]
LAYER = "layers.0.mlp.down_proj"
OF_PEFT = peft("model." + LAYER, lora_A__weight=GOOD.down, lora_B__weight=GOOD.up)
NAN = np.full((RANK, 16), np.nan, "f")
BROKEN: dict[str, tuple[Arrays, Mapping[str, Any] | None, str]] = {
    "half": ({"lora_unet_x.lora_down.weight": GOOD.down}, None, "is half of a change: up is missing"),
    "the other half": ({"lora_unet_x.lora_up.weight": GOOD.up}, None, "changes no layer: its other half is missing"),
    "ranks differ": (lora(LAYER, GOOD.down[:2], GOOD.up), None, "their ranks differ"),
    "no matrix": (lora(LAYER, GOOD.down[0], GOOD.up), None, "is 16: no matrix of a layer"),
    "empty": (lora(LAYER, GOOD.down[:0], np.zeros((8, 0), "f")), None, "no matrix of a layer"),
    "NaN": (lora(LAYER, NAN, GOOD.up), None, "lora_down.weight holds NaN or inf"),
    "alpha is NaN": (lora(LAYER, GOOD.down, GOOD.up, float("nan")), None, "alpha is nan, the rank 4"),
    "alpha is absurd": (lora(LAYER, GOOD.down, GOOD.up, 3e38), None, "alpha is 3e+38, the rank 4"),
    "beyond float32": (lora(LAYER, GOOD.down * 1e30, GOOD.up * 1e30), None, "numbers are beyond float32"),
    "alpha is a matrix": (lora(LAYER, GOOD.down, GOOD.up) | {"lora_unet_layers_0_mlp_down_proj.alpha": GOOD.up}, None, "no single number"),
    "integers": (lora(LAYER, GOOD.down.astype("i4"), GOOD.up), None, "is int32: floats are needed"),
    "another kind": ({"lora_unet_x.oft_blocks": GOOD.up}, None, "lora_unet_x.oft_blocks: kohya's scripts has no such tensors"),
    "no adapter": ({"x.weight": GOOD.up}, None, "it is no adapter"),
    "no layer": (lora("y", GOOD.down, GOOD.up), None, "it fits no layer of the base: lora_unet_y.lora_down.weight"),
    "a part": ({**lora(LAYER, GOOD.down, GOOD.up), **lora("y", GOOD.down, GOOD.up)}, None, "lora_unet_y.lora_down.weight fits no layer"),
    "another base": (lora(LAYER, GOOD.down[:, :8].copy(), GOOD.up), None, "lora_down.weight (8x8, here 8x16) changes other shapes than"),
    "no config": (OF_PEFT, None, "there is no adapter_config.json beside it"),
    "rank of the config": (OF_PEFT, {"r": 8}, "has rank 4, its adapter_config.json says 8"),
    "no rank": (OF_PEFT, {"r": 0}, "says 0"),
    "alpha of the config": (OF_PEFT, {"lora_alpha": "x"}, "lora_alpha = 'x'"),
    "a pattern": (OF_PEFT, {"rank_pattern": {"(a+)+$": 1}}, "no regular expression"),
    "choices repeated, in a group in a group": (OF_PEFT, {"rank_pattern": {"(([a-z._0-9]*))*!": 1}}, "no regular expression"),
    "alternatives repeated": (OF_PEFT, {"alpha_pattern": {"(.|.)+!": 1}}, "no regular expression"),
    "optional signs repeated": (OF_PEFT, {"rank_pattern": {"(.?){60}.{60}!": 1}}, "no regular expression"),
    "many repeats": (OF_PEFT, {"rank_pattern": {".*" * 12 + "!": 1}}, "no regular expression"),
    "a comment that hides a repeat": (OF_PEFT, {"rank_pattern": {"(?#[)(.*)*]!": 1}}, "no regular expression"),
    "20,000 patterns": (OF_PEFT, {"rank_pattern": {f".*x{n}.*": 1 for n in range(20_000)}}, "more than 1,000 patterns"),
    "a residual": (OF_PEFT, {"init_lora_weights": "pissa_niter_4"}, "begun by pissa"),
    "prompts": (OF_PEFT, {"peft_type": "PREFIX_TUNING"}, "the kind 'PREFIX_TUNING'"),
    "two names": (
        peft("model." + LAYER, lora_A__weight=GOOD.down, lora_A__x__weight=GOOD.down, lora_B__weight=GOOD.up), {}, "mean the same layer"
    ),
    "magnitudes": (OF_PEFT | peft("model." + LAYER, lora_magnitude_vector=matrix(3)), {}, "8 magnitudes are needed"),
}  # fmt: skip


@pytest.mark.parametrize(("tensors", "peft", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken(tensors: Arrays, peft: Mapping[str, Any] | None, message: str, world: World) -> None:
    """One line, and nothing is written."""
    assert message in world.merge(base(), tensors, status=2, peft=peft)


def test_as_many_names_of_ranks_as_layers(world: World) -> None:
    """A rank for each of 50,000 layers by its name, as EVA and AdaLoRA write them: the first that matches counts, and none is compiled."""
    ranks = {f"layers.{n}.x": 1 for n in range(50_000)} | {LAYER: 4, r".*(mlp|attn)\.down_proj": 2}
    world.merge(base(), OF_PEFT, peft={"r": 1, "rank_pattern": ranks})


def test_two_layers_of_one_name(world: World) -> None:
    """`a.b_c` and `a_b.c` are the same with underscores; two encoders with layers of one name are told apart by nothing."""
    f = FACTORS["layers.0.mlp.down_proj"]
    error = world.merge({"a.b_c.weight": matrix(8, 16), "a_b.c.weight": matrix(8, 16)}, lora("a.b.c", f.down, f.up), status=2)
    assert "lora_unet_a_b_c.lora_down.weight" in error
    error = world.merge({"x.a.weight": matrix(8, 16), "y.a.weight": matrix(8, 16)}, lora("a", f.down, f.up), status=2)
    assert "could mean x.a.weight or y.a.weight" in error


def test_bases_that_hold_no_floats(world: World) -> None:
    f = FACTORS["layers.0.mlp.down_proj"]
    assert "is int8: an adapter changes floats" in world.merge({"a.weight": matrix(8, 16).astype("i1")}, lora("a", f.down, f.up), status=2)

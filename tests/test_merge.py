"""`ckpt merge`: each method against a reference of a few lines in torch, ties, names, dtypes, and what is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from conftest import SAMPLES, Ckpt, examples
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import ckpt_cli
from ckpt_cli.merging import How, methods
from ckpt_cli.merging.magnitudes import kth_largest
from ckpt_cli.merging.merged import Merger
from ckpt_cli.numbers.dtypes import named

State = dict[str, torch.Tensor]


def model(seed: int, dtype: torch.dtype = torch.float32) -> State:
    """A model whose large tensor takes several blocks, and several workers' parts of one."""
    draw = torch.Generator().manual_seed(seed)
    shapes = {"big.weight": (131, 257), "big.bias": (131,), "small": (), "none": (0, 3)}
    return {name: torch.randn(shape, generator=draw).to(dtype) for name, shape in shapes.items()}


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for seed, path in enumerate(paths):
        save_file(model(seed), path)
    return paths


# References, in torch: of a base (None where there is none), the same tensor of each source, weights and a density.
Reference = Callable[[torch.Tensor, list[torch.Tensor], list[float], float], torch.Tensor]


def linear(base: torch.Tensor, every: list[torch.Tensor], weights: list[float], density: float) -> torch.Tensor:
    return sum((w * x for w, x in zip(weights, every, strict=True)), torch.zeros_like(every[0]))


def slerp(base: torch.Tensor, every: list[torch.Tensor], weights: list[float], density: float) -> torch.Tensor:
    a, b, t = every[0].double(), every[1].double(), weights[1]
    cosine = (a * b).sum() / (a.norm() * b.norm())
    if not abs(cosine) <= 0.9995:
        return ((1 - t) * a + t * b).float()
    angle = torch.acos(cosine)
    return ((torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)).float()


def task(base: torch.Tensor, every: list[torch.Tensor], weights: list[float], density: float) -> torch.Tensor:
    return base + sum((w * (x - base) for w, x in zip(weights, every, strict=True)), torch.zeros_like(base))


def ties(base: torch.Tensor, every: list[torch.Tensor], weights: list[float], density: float) -> torch.Tensor:
    """Yadav et al. 2023, section 4; the k-th magnitude of each tensor is that of torch.topk."""
    w = torch.tensor(weights).reshape(-1, *[1] * base.dim())
    deltas = torch.stack(every) - base
    for delta in deltas:
        if delta.numel():
            least = delta.abs().flatten().topk(max(1, int(density * delta.numel()))).values.min()
            delta[delta.abs() < least] = 0
    elected = torch.where((w * deltas).sum(0) >= 0, 1.0, -1.0)
    agrees = (w * deltas).sign() == elected
    divisor = (w * agrees).sum(0)
    return base + (w * deltas * agrees).sum(0) / torch.where(divisor == 0, 1.0, divisor)


def dare(base: torch.Tensor, every: list[torch.Tensor], weights: list[float], density: float, name: str = "") -> torch.Tensor:
    """Yu et al. 2024, with the masks that `merging/random_masks.py` documents."""
    merged = torch.zeros_like(base)
    for index, (w, x) in enumerate(zip(weights, every, strict=True)):
        key = int.from_bytes(hashlib.sha256(f"7:{name}:{index}".encode()).digest()[:16], "little")
        drawn = numpy.random.Philox(key=key).random_raw((base.numel() + 1) // 2).astype("<u8").view("<u4")[: base.numel()]
        kept = torch.from_numpy(drawn < int(density * 2**32)).reshape(base.shape)
        merged += w / density * kept * (x - base)
    return base + merged


@pytest.mark.parametrize(
    ("method", "reference", "weights", "density"),
    [
        ("linear", linear, [0.5, 0.25, 0.25], None),
        ("linear", linear, [2, -1, 0.3], None),
        ("slerp", slerp, [0.7, 0.3], None),
        ("slerp", slerp, [0, 1], None),
        ("task", task, [0.7, -0.4, 1.5], None),
        ("task", task, [-1], None),
        ("ties", ties, [1, 1, 1], 0.2),
        ("ties", ties, [1, 0.5, 0.3], 0.5),
        ("ties", ties, [1, 0.5, -0.3], 1),
        ("dare", dare, [1, 0.5, 0.25], 0.5),
        ("dare", dare, [1], 1),
    ],
)
def test_a_method_is_its_reference(
    ckpt: Ckpt, tmp_path: Path, three: list[Path], method: str, reference: Reference, weights: list[float], density: float | None
) -> None:
    base, out = tmp_path / "base.safetensors", tmp_path / "out.safetensors"
    save_file(model(9), base)
    options = ["--base", base, *(["--density", density] if density else [])] if methods[method].has_base else []
    sources = three[: len(weights)]
    ckpt("merge", *sources, "--method", method, "--weights", ",".join(map(str, weights)), *options, "--seed", 7, "-o", out)
    states, merged = [load_file(path) for path in sources], load_file(out)
    for name, before in model(9).items():
        extra = {"name": name} if method == "dare" else {}
        want = reference(before, [state[name] for state in states], [float(w) for w in weights], density or 1.0, **extra)
        torch.testing.assert_close(merged[name], want, rtol=2e-6, atol=1e-6)


def test_without_weights_it_is_the_mean(ckpt: Ckpt, tmp_path: Path, three: list[Path]) -> None:
    for count in (2, 3):
        ckpt("merge", *three[:count], "-o", tmp_path / f"{count}.safetensors")
        states, merged = [load_file(path) for path in three[:count]], load_file(tmp_path / f"{count}.safetensors")
        for name, tensor in merged.items():
            want = sum((state[name] for state in states[1:]), states[0][name]) / count
            assert torch.equal(tensor, want)  # to the last bit
    ckpt("merge", three[0], three[1], "--method", "task", "--base", three[2], "-o", tmp_path / "task.safetensors")
    a, b, base = (load_file(path)["big.weight"] for path in three)
    torch.testing.assert_close(load_file(tmp_path / "task.safetensors")["big.weight"], a + b - base, rtol=1e-5, atol=1e-6)


def test_the_mean_of_three_training_checkpoints(ckpt: Ckpt, tmp_path: Path, case: Callable[[str], Path]) -> None:
    """fairseq#647: tied names, a float16 weight, a counter."""
    folder, out = case("reports/average"), tmp_path / "out.pt"
    ckpt("merge", *(folder / f"avg{n}.pt" for n in (1, 2, 3)), "-o", out)
    made, right = (torch.load(path, weights_only=True)["model"] for path in (out, folder / "right.pt"))
    assert made["num_batches_tracked"] == 10 and made["fc.weight"].dtype == torch.float16
    for name, tensor in right.items():
        torch.testing.assert_close(made[name], tensor, rtol=1e-6, atol=0)
    one, two = (made[f"{part}.embed_tokens.weight"] for part in ("encoder", "decoder"))
    assert one.data_ptr() == two.data_ptr()


DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
    "complex64": torch.complex64,
}
HALF_A_STEP = {name: 2.0**-bits for name, bits in zip(DTYPES, (23, 8, 11, 24, 4, 3, 23), strict=True)}
LEAST = {"float8_e4m3fn": 2**-10, "float8_e5m2": 2**-17}  # half of the least element


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("other", ["float32", "bfloat16", "float64"])
def test_the_dtype_is_that_of_the_first(ckpt: Ckpt, tmp_path: Path, dtype: str, other: str) -> None:
    a, b, out = (tmp_path / f"{name}.pt" for name in "abo")
    x, y = model(0)["big.weight"].to(DTYPES[dtype]), model(1)["big.weight"].to(DTYPES[other])
    torch.save({"w": x}, a)
    torch.save({"w": y}, b)
    ckpt("merge", a, b, "-o", out)
    wide = torch.complex128 if dtype == "complex64" else torch.float64
    want = (x.to(wide) + y.to(wide)) / 2
    made = torch.load(out)["w"]
    assert made.dtype == DTYPES[dtype]
    torch.testing.assert_close(made.to(wide), want, rtol=HALF_A_STEP[dtype] * 1.0001, atol=LEAST.get(dtype, 1e-7))


def test_the_dtype_is_that_of_the_base_where_there_is_one(ckpt: Ckpt, tmp_path: Path, three: list[Path]) -> None:
    base, out = tmp_path / "base.safetensors", tmp_path / "out.safetensors"
    save_file(model(9, torch.bfloat16), base)
    ckpt("merge", *three[:2], "--method", "task", "--base", base, "-o", out)
    a, b, before = (load_file(path)["big.weight"].float() for path in (*three[:2], base))
    torch.testing.assert_close(load_file(out)["big.weight"], (a + b - before).bfloat16(), rtol=2**-7, atol=1e-3)


def test_formats_views_and_shards_are_merged_by_value(ckpt: Ckpt, tmp_path: Path) -> None:
    state = model(0)
    torch.save({name: tensor.mT if tensor.dim() == 2 else tensor for name, tensor in state.items()}, tmp_path / "turned.pt")
    torch.save({name: tensor.mT.contiguous() if tensor.dim() == 2 else tensor for name, tensor in model(1).items()}, tmp_path / "b.pt")
    save_file({name: t.mT.contiguous() if t.dim() == 2 else t for name, t in model(2).items()}, tmp_path / "c.safetensors")
    ckpt("convert", tmp_path / "c.safetensors", tmp_path / "shards.safetensors.index.json", "--shard-size", "60kB")
    ckpt("convert", tmp_path / "b.pt", tmp_path / "b.npz")
    ckpt("merge", tmp_path / "turned.pt", tmp_path / "b.npz", tmp_path / "shards.safetensors.index.json", "-o", tmp_path / "o.pt")
    made = torch.load(tmp_path / "o.pt")
    for name, tensor in state.items():
        want = (tensor + model(1)[name] + model(2)[name]) / 3
        torch.testing.assert_close(made[name], want.mT if want.dim() == 2 else want)


def test_integers_objects_and_the_optimizer_are_those_of_the_first(ckpt: Ckpt, tmp_path: Path) -> None:
    paths = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for seed, path in enumerate(paths):
        net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
        optimizer = torch.optim.Adam(net.parameters())
        net(torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))).sum().backward()
        optimizer.step()
        torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": seed, "args": {"lr": seed}}, path)
    told = ckpt("merge", *paths, "-o", tmp_path / "o.pt").err
    a, b, made = (torch.load(path) for path in (*paths, tmp_path / "o.pt"))
    assert torch.equal(made["model"]["0.weight"], (a["model"]["0.weight"] + b["model"]["0.weight"]) / 2)
    assert torch.equal(made["model"]["1.running_mean"], (a["model"]["1.running_mean"] + b["model"]["1.running_mean"]) / 2)
    assert made["epoch"] == 0 and made["args"] == {"lr": 0} and made["model"]["1.num_batches_tracked"] == 1
    for key, state in a["optimizer"]["state"].items():
        assert all(torch.equal(made["optimizer"]["state"][key][slot], value) for slot, value in state.items())
    assert "12 tensors of the optimizer" in told and "`ckpt drop OUT 'optimizer.*'`" in told and "1 integer tensor" in told
    ckpt("drop", tmp_path / "o.pt", "optimizer.*", "-i")
    assert "optimizer" not in torch.load(tmp_path / "o.pt") or not torch.load(tmp_path / "o.pt")["optimizer"]


def test_ties_that_all_have_stay_and_others_are_told(ckpt: Ckpt, tmp_path: Path) -> None:
    def save(path: Path, groups: list[str], seed: int) -> Path:
        values = {group: torch.randn(4, 2, generator=torch.Generator().manual_seed(seed + ord(group))) for group in set(groups)}
        torch.save({f"n{index}": values[group] for index, group in enumerate(groups)}, path)
        return path

    a, b = save(tmp_path / "a.pt", ["x", "x", "y", "y", "z", "u"], 0), save(tmp_path / "b.pt", ["x", "x", "y", "v", "z", "z"], 9)
    told = ckpt("merge", a, b, "-o", tmp_path / "o.pt").err
    assert ckpt("tied", tmp_path / "o.pt").rows == [["tied", "n0", "n1"]]
    assert f"n2, n3 are tied in {a}, not in {b}" in told and f"n4, n5 are tied in {b}, not in {a}" in told
    one, two, made = (torch.load(path) for path in (a, b, tmp_path / "o.pt"))
    assert all(torch.equal(made[name], (one[name] + two[name]) / 2) for name in made)


def test_a_tied_name_that_a_file_leaves_out_is_found_by_the_other(ckpt: Ckpt, tmp_path: Path) -> None:
    """Files of tied models often lack `lm_head`: mergekit#350, mergekit#615."""
    shared, other = torch.randn(5, 2), torch.randn(5, 2)
    torch.save({"embed": shared, "lm_head": shared}, tmp_path / "a.pt")
    save_file({"embed": other}, tmp_path / "b.safetensors")
    ckpt("merge", tmp_path / "a.pt", tmp_path / "b.safetensors", "-o", tmp_path / "o.pt")
    ckpt("merge", tmp_path / "b.safetensors", tmp_path / "a.pt", "-o", tmp_path / "p.safetensors")
    made = torch.load(tmp_path / "o.pt")
    assert torch.equal(made["lm_head"], (shared + other) / 2) and made["lm_head"].data_ptr() == made["embed"].data_ptr()
    assert set(load_file(tmp_path / "p.safetensors")) == {"embed"}


def test_weights_by_pattern_the_last_that_matches_wins(ckpt: Ckpt, tmp_path: Path, three: list[Path]) -> None:
    weights = ["--weights", "0.5,0.5", "--weights", "big.*=1,0", "--weights", "*.bias=0.25,0.75"]
    ckpt("merge", *three[:2], *weights, "-o", tmp_path / "o.safetensors")
    a, b, made = (load_file(path) for path in (*three[:2], tmp_path / "o.safetensors"))
    assert torch.equal(made["big.weight"], a["big.weight"]) and torch.equal(made["small"], (a["small"] + b["small"]) / 2)
    torch.testing.assert_close(made["big.bias"], 0.25 * a["big.bias"] + 0.75 * b["big.bias"])
    assert "nothing matches 'no.*'" in ckpt("merge", *three[:2], "--weights", "no.*=1,0", "-n", status=2).err


def test_common_leaves_what_not_all_have(ckpt: Ckpt, tmp_path: Path) -> None:
    a, b, out = (tmp_path / f"{name}.safetensors" for name in "abo")
    save_file({f"h.{n}": torch.full((2,), float(n)) for n in range(15)} | {"head": torch.ones(3)}, a)
    save_file({"h.0": torch.ones(2), "other": torch.ones(4), "head": torch.zeros(3)}, b)
    err = ckpt("merge", a, b, "-o", out, status=2).err
    assert err.count("h.") == 10 and " and 4 more" in err and "lacks other" in err and "--common" in err and not out.exists()
    told = ckpt("merge", a, b, "--common", "-o", out).err
    made = load_file(out)
    assert made["head"].tolist() == [0.5] * 3 and made["h.0"].tolist() == [0.5] * 2 and made["h.9"].tolist() == [9, 9]
    assert "14 tensors that not all have" in told and "1 tensor of" in told and "other" not in made


def test_the_factors_of_adapters_are_no_changes(ckpt: Ckpt, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 4}')
    for name in "ab":
        factors = {f"base_model.model.x.lora_{part}.weight": torch.randn(shape) for part, shape in (("A", (2, 4)), ("B", (8, 2)))}
        save_file(factors, tmp_path / f"{name}.safetensors")
    told = ckpt("merge", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "-o", tmp_path / "c.safetensors").err
    assert f"(ckpt merge BASE --lora {tmp_path / 'a.safetensors'}:W --lora {tmp_path / 'b.safetensors'}:W is)" in told


def test_a_prefix_alone_is_told_with_the_command(ckpt: Ckpt, tmp_path: Path) -> None:
    save_file(model(0), tmp_path / "a.safetensors")
    save_file({f"module.{name}": tensor for name, tensor in model(1).items()}, tmp_path / "b.safetensors")
    for order in ("ab", "ba"):
        err = ckpt("merge", *(tmp_path / f"{name}.safetensors" for name in order), "-n", status=2).err
        assert f"ckpt rename {tmp_path / 'b.safetensors'} 'module.*=*' -o OUT" in err
    ckpt("rename", tmp_path / "b.safetensors", "module.*=*", "-o", tmp_path / "c.safetensors")
    ckpt("merge", tmp_path / "a.safetensors", tmp_path / "c.safetensors", "-o", tmp_path / "o.safetensors")


def hostile(tmp_path: Path) -> dict[str, Path]:
    """Files that do not fit `a`."""
    torch.save({"w": torch.ones(4, 2), "n": torch.tensor(3)}, tmp_path / "a.pt")
    torch.save({"w": torch.ones(4, 3), "n": torch.tensor(3)}, tmp_path / "shape.pt")
    torch.save({"w": torch.ones(4, 2, dtype=torch.int64), "n": torch.tensor(3)}, tmp_path / "int.pt")
    torch.save({"w": torch.ones(4, 2).to_sparse(), "n": torch.tensor(3)}, tmp_path / "sparse.pt")
    torch.save({"w": torch.ones(4, 2), "n": torch.tensor(4)}, tmp_path / "b.pt")
    torch.save({"v": torch.ones(4, 2)}, tmp_path / "names.pt")
    torch.save({"w": torch.full((4, 2), 3e38), "n": torch.tensor(3)}, tmp_path / "huge.pt")
    torch.save({"w": torch.ones(4, 2, dtype=torch.complex64), "n": torch.tensor(3)}, tmp_path / "complex.pt")
    os.link(tmp_path / "b.pt", tmp_path / "same.pt")
    shutil.copy(SAMPLES / "mlp.pt", tmp_path / "mlp.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "b.pt").read_bytes()[:300])
    return {path.stem: path for path in tmp_path.glob("*.pt")}


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        (["a"], [], "only one checkpoint"),
        (["a", "a"], [], "given twice"),
        (["a", "b", "same"], [], "it is the same file as"),
        (["a", "shape"], [], "shapes differ: w (4x2 in"),
        (["a", "int"], [], "w is int64, and no float"),
        (["a", "sparse"], [], "w is sparse_coo"),
        (["a", "names"], [], "no name in common"),
        (["a", "names"], ["--common"], "no name in common"),
        (["a", "mlp"], [], "lacks w, n"),
        (["a", "cut"], [], "cut.pt"),
        (["a", "gone"], [], "no such file"),
        (["a", "complex"], [], "w is complex64"),
        (["complex", "a"], ["--method", "slerp"], "for real values"),
        (["a", "b"], ["--method", "mean"], "no method of merging is called 'mean'"),
        (["a", "b"], ["--method", "task"], "--base BASE"),
        (["a", "b"], ["--base", "huge"], "no use for a base"),
        (["a", "b"], ["--method", "task", "--base", "b"], "given twice"),
        (["a", "b"], ["--method", "ties", "--base", "huge"], "--density 0.2"),
        (["a", "b"], ["--method", "dare", "--base", "huge", "--density", "0"], "is no part of a difference"),
        (["a", "b"], ["--method", "dare", "--base", "huge", "--density", "nan"], "is no part"),
        (["a", "b"], ["--density", "0.5"], "keeps all differences"),
        (["a", "b", "huge"], ["--method", "slerp"], "merges 2 checkpoints, not 3"),
        (["a", "b"], ["--weights", "1"], "1 weight, and 2 to merge"),
        (["a", "b"], ["--weights", "1,x"], "is no list of weights"),
        (["a", "b"], ["--weights", "1,nan"], "infinite or NaN"),
        (["a", "b"], ["--weights", "=1,2"], "has no pattern"),
        (["a", "huge"], ["--weights", "1,2"], "w: float32 cannot hold 6e+38"),
        (["a", "b"], ["-o", "b", "--force"], "which it is made of"),
        (["a", "b"], ["-o", "same", "--force"], "which it is made of"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(
    ckpt: Ckpt, tmp_path: Path, files: list[str], options: list[str], said: str
) -> None:
    paths = hostile(tmp_path)
    before = {path: path.read_bytes() for path in paths.values()}
    words = [paths.get(word, word) if index and options[index - 1] in ("-o", "--base") else word for index, word in enumerate(options)]
    out = [] if "-o" in options else ["-o", tmp_path / "out.pt"]
    assert said in ckpt("merge", *(paths.get(name, tmp_path / name) for name in files), *words, *out, status=2).err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_packed_parameters_are_refused_with_the_remedy(ckpt: Ckpt, tmp_path: Path, case: Callable[[str], Path]) -> None:
    one, two = case("reports/fp8-scale") / "model.safetensors", tmp_path / "model.safetensors"
    shutil.copy(one, two)
    assert f"ckpt cast {one} bfloat16 --dequantise" in ckpt("merge", one, two, "-n", status=2).err
    for path in (one, two):
        plain = tmp_path / f"plain{path == two}.safetensors"
        ckpt("cast", path, "bfloat16", "--dequantise", "-o", plain)
    ckpt("merge", *tmp_path.glob("plain*"), "-o", tmp_path / "o.safetensors")
    assert ckpt("diff", tmp_path / "o.safetensors", plain).out == ""


def test_in_place_dry_run_json_and_the_recipe(ckpt: Ckpt, tmp_path: Path, three: list[Path]) -> None:
    out = tmp_path / "o.safetensors"
    rows = ckpt("merge", *three[:2], "-n").rows
    assert {row[1] for row in rows} == {"big.weight", "big.bias", "small"} and not out.exists()
    assert ckpt("merge", *three[:2], "-o", out, "--json").json == {"path": str(out), "format": "safetensors", "tensors": 4}
    options = ["--method", "dare", "--base", three[2], "--density", "0.5", "--weights", "1,0.5", "--weights", "big.*=1,1", "--seed", "3"]
    (tmp_path / "r.toml").write_text(ckpt("merge", *three[:2], *options, "--print-recipe").out)
    ckpt("apply", three[0], tmp_path / "r.toml", "-o", tmp_path / "applied.safetensors")
    ckpt("merge", *three[:2], *options, "-i")
    assert (tmp_path / "applied.safetensors").read_bytes() == three[0].read_bytes()


def test_a_merge_with_what_was_edited_before_in_the_same_recipe(ckpt: Ckpt, tmp_path: Path, three: list[Path]) -> None:
    """The file itself may be merged with what an earlier step made of it, in place, too."""
    before = load_file(three[0])
    steps = f"[[step]]\nset = ['*.weight *= 3']\n\n[[step]]\nmerge = ['{three[0]}']\n"
    (tmp_path / "r.toml").write_text(steps)
    ckpt("apply", three[0], tmp_path / "r.toml", "-i")
    torch.testing.assert_close(load_file(three[0])["big.weight"], 2 * before["big.weight"])


@pytest.mark.parametrize("method", ["linear", "slerp", "task", "ties", "dare"])
def test_a_part_is_what_the_whole_has_there(tmp_path: Path, three: list[Path], method: str) -> None:
    """Whatever the blocks, and whoever reads them: a worker, or `get` of a slice."""
    opened = [ckpt_cli.open(str(path)) for path in three]
    more = {"base": opened[2]} if methods[method].has_base else {}
    more |= {"density": 0.4} if methods[method].has_density else {}
    storage = ckpt_cli.merge(*opened[:2], method=method, seed=5, **more)["big.weight"].storage
    whole = storage.read()
    fresh = ckpt_cli.merge(*opened[:2], method=method, seed=5, **more)["big.weight"].storage
    for start, stop in [(0, 1), (5, 31), (12288 * 4 - 3, 12288 * 4 + 5), (50_000, 120_001), (len(whole) - 7, len(whole))]:
        assert fresh.read(start, stop) == whole[start:stop]


ODD = st.sampled_from([0.0, -0.0, 1.0, -1.0, 3e38, -3e38, 1e-42, float("inf"), float("-inf"), float("nan")])


@settings(max_examples=examples(60))
@given(st.lists(st.tuples(ODD, ODD, ODD), min_size=1, max_size=20), st.sampled_from(["linear", "task", "ties", "dare"]))
def test_what_is_not_finite_stays_so_and_what_is_never_becomes_so(rows: list[tuple[float, ...]], method: str) -> None:
    base, a, b = (numpy.array(column, "float32") for column in zip(*rows, strict=True))
    values = [base, a, b] if methods[method].has_base else [a, b]
    merger = Merger([named("float32")] * len(values), named("float32"), methods[method], How(density=0.5 if method == "dare" else 1.0))
    blocks = [memoryview(bytearray(each.tobytes())) for each in values]
    finite = numpy.all([numpy.isfinite(each) for each in values], axis=0)
    try:
        made = numpy.frombuffer(bytes(merger(0, len(rows), blocks)), "float32")
    except ckpt_cli.CkptError as error:
        assert "cannot hold" in str(error)
        return
    assert numpy.isfinite(made[finite]).all()
    assert not numpy.isfinite(made[numpy.any([numpy.isnan(each) for each in values], axis=0)]).any()
    assert [memoryview(each.tobytes()) for each in values] == blocks  # sources are never written over


@settings(max_examples=examples(60))
@given(st.integers(0, 2**32), st.integers(1, 3000), st.floats(0.001, 1), st.sampled_from(["float32", "float64"]), st.booleans())
def test_the_least_of_the_largest_magnitudes(seed: int, count: int, part: float, dtype: str, equal: bool) -> None:
    values = numpy.abs(numpy.random.default_rng(seed).standard_normal((2, count)).astype(dtype))
    values = numpy.round(values, 1) if equal else values
    found = kth_largest(lambda: (values[:, start : start + 700] for start in range(0, count, 700)), part)  # type: ignore[arg-type]
    assert found == [numpy.sort(each)[::-1][max(1, int(part * count)) - 1] for each in values]


def test_a_mask_keeps_the_part_that_is_asked_for_and_sources_have_masks_of_their_own(tmp_path: Path) -> None:
    base, one = torch.zeros(100_000), torch.ones(100_000)
    for name, state in {"base": base, "a": one, "b": one * 10}.items():
        save_file({"w": state}, tmp_path / f"{name}.safetensors")
    opened = {name: ckpt_cli.open(str(tmp_path / f"{name}.safetensors")) for name in ("base", "a", "b")}
    made = ckpt_cli.merge(opened["a"], opened["b"], method="dare", base=opened["base"], density=0.25, seed=1)["w"].array()
    assert set(numpy.unique(made)) == {0.0, 4.0, 40.0, 44.0}
    assert abs((made % 40 == 4).mean() - 0.25) < 0.01 and abs((made >= 40).mean() - 0.25) < 0.01


def test_the_library_merges_in_the_same_words(tmp_path: Path, three: list[Path]) -> None:
    opened = [ckpt_cli.open(str(path)) for path in three]
    made = ckpt_cli.merge(*opened, weights={"*": [1, 0, 0], "*.bias": [0, 0, 1]})
    assert numpy.array_equal(made["big.weight"].array(), opened[0]["big.weight"].array())
    assert numpy.array_equal(made["big.bias"].array(), opened[2]["big.bias"].array())
    with pytest.raises(ckpt_cli.CkptError, match="no method of merging"):
        ckpt_cli.merge(*opened, method="soup")


def test_a_full_disk_leaves_nothing(ckpt: Ckpt, tmp_path: Path, three: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    before = sorted(tmp_path.iterdir())
    assert "space" in ckpt("merge", *three, "-o", tmp_path / "o.safetensors", status=2).err
    assert sorted(tmp_path.iterdir()) == before

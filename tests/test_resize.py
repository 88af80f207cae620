"""`ckpt resize` against torch by hand, against what torch.nn.init draws, and against transformers and diffusers, which load the result."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import SAMPLES, Ckpt
from oracles import saved
from torch import nn

import ckpt_cli
from ckpt_cli.schemes.seeds import subseed
from ckpt_cli.storage import boxes
from ckpt_cli.storage.storage import Memory

Sample = Callable[[str], Path]
Case = Callable[[str], Path]
DTYPES = ["float32", "float16", "bfloat16", "float64", "float8_e4m3fn", "int64", "uint8", "bool", "complex64"]


def loaded(path: Path) -> Any:
    return torch.load(path, weights_only=False)


def same_bits(one: torch.Tensor, two: torch.Tensor) -> bool:
    raw = [each.contiguous().reshape(-1).view(torch.uint8) for each in (one, two)]
    return (one.dtype, one.shape) == (two.dtype, two.shape) and torch.equal(*raw)


def random(dtype: str, *shape: int) -> torch.Tensor:
    values = torch.randint(0, 2 if dtype == "bool" else 100, shape).to(getattr(torch, dtype))
    return values * 1.25 if values.is_floating_point() and "float8" not in dtype else values


# Shapes before and after as the command has them, and what of the old tensor is where in the new one.
RESHAPINGS = [
    ((6, 4), "+3x*", (9, 4)), ((6, 4), "-2x*", (4, 4)), ((6, 4), "*x+3", (6, 7)), ((6, 4), "*x-3", (6, 1)), ((6, 4), "+1x-1", (7, 3)),
    ((6, 4), "8x8", (8, 8)), ((6, 4), "*x*", (6, 4)), ((6, 4), "+0x4", (6, 4)), ((5,), "+2", (7,)), ((5,), "1", (1,)),
    ((1, 16), "*x+16", (1, 32)), ((2, 4, 3, 3), "*x9x*x*", (2, 9, 3, 3)), ((2, 4, 3, 3), "+1x-1x+1x-1", (3, 3, 4, 2)),
    ((1, 1, 5), "*x+1x7", (1, 2, 7)), ((3, 1), "*x4", (3, 4)), ((2, 3, 4), "1 x 3 × 5", (1, 3, 5)),
]  # fmt: skip


@pytest.mark.parametrize("at", ["end", "start"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_both_shapes_have_is_kept_to_the_bit_and_the_rest_is_filled(ckpt: Ckpt, tmp_path: Path, dtype: str, at: str) -> None:
    old = {f"w{number}": random(dtype, *shape) for number, (shape, _, _) in enumerate(RESHAPINGS)}
    path = saved(tmp_path / "a.pt", old)
    rules = [f"w{number}={text}" for number, (_, text, _) in enumerate(RESHAPINGS)]
    ckpt("resize", path, *rules, "--fill", "ones", "--at", at, "-o", tmp_path / "b.pt")
    now = loaded(tmp_path / "b.pt")
    for (name, before), (shape, _, new) in zip(old.items(), RESHAPINGS, strict=True):
        want = torch.ones(new).to(before.dtype)
        kept = [min(pair) for pair in zip(shape, new, strict=True)]
        source, target = (
            tuple(slice(0, n) if at == "end" else slice(size - n, size) for n, size in zip(kept, sizes, strict=True))
            for sizes in (shape, new)
        )
        want.view(torch.uint8 if want.element_size() == 1 else want.dtype)[target] = before.view(
            torch.uint8 if want.element_size() == 1 else want.dtype
        )[source]
        assert same_bits(now[name], want), name


@pytest.mark.parametrize("wide", [False, True], ids=["slabs", "runs"])
def test_boxes_are_cut_and_laid_over_in_any_order_of_reading(monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    monkeypatch.setattr(boxes, "_SLAB", 7)
    if wide:
        monkeypatch.setattr(boxes, "_WIDEST", 0)
    rng = np.random.default_rng(0)
    for size, shape in product((1, 2, 8, 16), [(5,), (1, 6), (4, 3), (2, 3, 4), (1, 1, 3, 2)]):
        for _ in range(6):
            box = [(int(start := rng.integers(0, n)), int(rng.integers(1, n - start + 1))) for n in shape]
            where = tuple(slice(start, start + length) for start, length in box)
            whole, part = (rng.integers(0, 256, (*sizes, size), "u1") for sizes in (shape, [n for _, n in box]))
            got = boxes.cut(Memory(whole.tobytes()), size, shape, box)
            want = whole[where].tobytes()
            assert got.read() == want and all(got.read(at, at + 1) == want[at : at + 1] for at in reversed(range(len(want))))
            over = boxes.laid_over(Memory(whole.tobytes()), size, shape, box, Memory(part.tobytes()))
            whole[where] = part
            assert over.read() == whole.tobytes() and over.read(1, whole.size - 1) == whole.tobytes()[1:-1]


def test_new_rows_are_at_the_mean_of_the_old_ones(ckpt: Ckpt, tmp_path: Path) -> None:
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        old = torch.randn(1000, 33).to(getattr(torch, dtype))
        path = saved(tmp_path / "a.pt", {"w": old})
        for at, rest in (("end", "*"), ("start", "-3")):
            ckpt("resize", path, f"w=+5x{rest}", "--fill", "mean_rows", "--at", at, "-o", tmp_path / "b.pt", "--force")
            now, kept = loaded(tmp_path / "b.pt")["w"], old if at == "end" else old[:, 3:]
            mean = kept.double().mean(0).to(old.dtype)
            assert same_bits(now[:1000] if at == "end" else now[5:], kept)
            new = now[1000:] if at == "end" else now[:5]
            torch.testing.assert_close(
                new, mean.expand(5, -1), rtol=2**-7 if dtype == "bfloat16" else 1e-3 if dtype == "float16" else 1e-6, atol=1e-7
            )


@pytest.mark.parametrize("fill", ["mean_rows", "resized_embeddings"])
def test_a_bias_grows_with_its_table(ckpt: Ckpt, tmp_path: Path, fill: str) -> None:
    """As in resize_token_embeddings of transformers, whose output bias gets the mean of the old one."""
    old = {"w": torch.randn(50, 8), "b": torch.randn(50, dtype=torch.float64) + 3}
    path = saved(tmp_path / "a.pt", old)
    for at in ("end", "start"):
        told = ckpt("resize", path, "w=+5x*", "b=+5", "--fill", fill, "--at", at, "-o", tmp_path / "b.pt", "--force").err
        now = loaded(tmp_path / "b.pt")["b"]
        kept, new = (now[:50], now[50:]) if at == "end" else (now[5:], now[:5])
        assert same_bits(kept, old["b"]) and "b: 50 becomes 55: 5 elements" in told
        torch.testing.assert_close(new, old["b"].mean().expand(5), rtol=1e-3, atol=0)


def test_what_is_cut_off_and_what_has_to_follow_is_told(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"0.weight": torch.randn(8, 4), "0.bias": torch.randn(8), "2.weight": torch.randn(1, 8)})
    for at in ("end", "start"):
        told = ckpt("resize", path, "0.weight=-3x*", "--at", at, "-n").err
        assert f"0.weight: 8x4 becomes 5x4: cut at the {at} (the rest keeps its values)" in told
        assert "0.weight becomes 5x4: 0.bias (8), 2.weight (1x8) may have to follow: ckpt resize … 0.bias=5 '2.weight=*x5'" in told


def test_repeated_blocks_are_one_note(ckpt: Ckpt, tmp_path: Path) -> None:
    names = [f"h.{block}.{part}" for block in range(12) for part in ("fc", "norm")]
    layers = {f"{name}.weight": torch.randn(8, 8) if "fc" in name else torch.randn(8) for name in names}
    path = saved(tmp_path / "a.pt", layers | {f"{name}.bias": torch.randn(8) for name in names})
    told = ckpt("resize", path, "*.fc.weight=+1x*", "--fill", "zeros", "-n").err
    (line,) = [line for line in told.splitlines() if "may have to follow" in line]
    assert "and so in 11 more blocks: ckpt resize … " in line and "'h.*.fc.bias=9'" in line
    rules = shlex.split(line.partition("resize … ")[2])
    assert "may have to follow" not in ckpt("resize", path, "*.fc.weight=+1x*", *rules, "--fill", "zeros", "-n").err


def test_mean_rows_are_those_of_reinit_and_resized_embeddings_too(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"w": torch.randn(300, 8)})
    for fill, text in (("mean_rows", "mean_rows(300)"), ("resized_embeddings(scale=1)", "resized_embeddings(300, scale=1)")):
        ckpt("resize", path, "w=+9x*", "--fill", fill, "--seed", "4", "-o", tmp_path / "b.pt", "--force")
        ckpt("resize", path, "w=+9x*", "--fill", "zeros", "-o", tmp_path / "c.pt", "--force")
        ckpt("reinit", tmp_path / "c.pt", f"w={text}", "--seed", "4", "-i")
        torch.testing.assert_close(loaded(tmp_path / "b.pt")["w"], loaded(tmp_path / "c.pt")["w"], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("fresh", [[], ["--fresh"]])
def test_a_scheme_draws_the_whole_new_tensor_under_what_is_kept(ckpt: Ckpt, tmp_path: Path, fresh: list[str]) -> None:
    old = torch.randn(40, 30)
    path = saved(tmp_path / "a.pt", {"w": old})
    ckpt("resize", path, "w=+13x+2", "--fill", "xavier_uniform", "--seed", "5", *fresh, "-o", tmp_path / "b.pt")
    want = nn.init.xavier_uniform_(torch.empty(53, 32), generator=torch.Generator().manual_seed(subseed(5, "w")))
    if not fresh:
        want[:40, :30] = old
    assert same_bits(loaded(tmp_path / "b.pt")["w"], want)
    ckpt("resize", path, "w=*x*", "--fill", "ones", *fresh, "-o", tmp_path / "c.pt")
    assert same_bits(loaded(tmp_path / "c.pt")["w"], torch.ones(40, 30) if fresh else old)


def test_a_seed_is_chosen_and_told_where_something_random_is_drawn(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"w": torch.randn(4, 3)})
    told = ckpt("resize", path, "w=6x*", "--fill", "normal", "-o", tmp_path / "b.pt").err
    seed = told.partition("seed ")[2].split()[0]
    ckpt("resize", path, "w=6x*", "--fill", "normal", "--seed", seed, "-o", tmp_path / "c.pt")
    assert same_bits(loaded(tmp_path / "b.pt")["w"], loaded(tmp_path / "c.pt")["w"])
    assert "seed" not in ckpt("resize", path, "w=6x*", "--fill", "zeros", "-n").err


def test_without_a_fill_the_preset_of_the_framework_draws_and_is_told(ckpt: Ckpt, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2))
    path = saved(tmp_path / "a.pt", {name: tensor.detach() for name, tensor in net.state_dict().items()})
    told = ckpt("resize", path, "2.weight=3x*", "2.bias=3", "--seed", "0", "-o", tmp_path / "b.pt").err
    assert "preset pytorch: linear" in told and "uniform(-0.5, 0.5)" in told
    want = torch.empty(3, 4).uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(subseed(0, "2.weight")))
    now = loaded(tmp_path / "b.pt")
    assert same_bits(now["2.weight"][:2], net[2].weight.detach()) and same_bits(now["2.weight"][2:], want[2:])
    assert now["2.bias"].shape == (3,)


def trained(optimizer: Callable[[Any], torch.optim.Optimizer]) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    net = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(8, 3))
    made = optimizer(net.parameters())
    net(torch.randint(0, 10, (6, 2))).square().sum().backward()
    made.step()
    return net, made


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda parameters: torch.optim.Adam(parameters, amsgrad=True),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adafactor": torch.optim.Adafactor,
}


@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_states_of_the_optimizer_and_averages_follow_and_the_training_goes_on(
    ckpt: Ckpt, tmp_path: Path, kind: str, old_format: bool
) -> None:
    net, optimizer = trained(OPTIMIZERS[kind])
    ema = {"module": {name: tensor + 1 for name, tensor in net.state_dict().items()}}
    whole = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema, "epoch": 3, "args": {"vocab_size": 10}}
    torch.save(whole, tmp_path / "a.pt", _use_new_zipfile_serialization=not old_format)
    told = ckpt("resize", tmp_path / "a.pt", "*.0.weight=+2x*", "--fill", "mean_rows", "-o", tmp_path / "b.pt").err
    assert "the optimizer's states follow, and what is new is 0: optimizer.state.0" in told
    assert "averages and master weights follow" in told and "'args.vocab_size = 12'" in told
    now = loaded(tmp_path / "b.pt")
    assert now["epoch"] == 3 and now["model"]["0.weight"].shape == (12, 4) and same_bits(now["model"]["2.weight"], net[2].weight.detach())
    assert same_bits(now["ema"]["module"]["0.weight"], torch.cat([ema["module"]["0.weight"], now["model"]["0.weight"][10:]]))
    for key, state in now["optimizer"]["state"].items():
        for slot, value in state.items():
            before = optimizer.state_dict()["state"][key][slot]
            if value.shape == before.shape:
                assert same_bits(value, before)
            else:
                assert key == 0 and same_bits(value[:10], before) and not value[10:].any()
    larger = nn.Sequential(nn.Embedding(12, 4), nn.Flatten(), nn.Linear(8, 3))
    goes_on = OPTIMIZERS[kind](larger.parameters())
    larger.load_state_dict(now["model"])
    goes_on.load_state_dict(now["optimizer"])
    larger(torch.randint(0, 12, (6, 2))).square().sum().backward()
    goes_on.step()


def test_a_state_that_follows_in_no_known_way_is_refused(ckpt: Ckpt, tmp_path: Path) -> None:
    state = {"step": torch.tensor(1.0), "state1": torch.zeros(10, 4, dtype=torch.uint8), "absmax1": torch.zeros(3)}
    whole = {"model": {"w": torch.randn(10, 4)}, "optimizer": {"state": {0: state}, "param_groups": [{"params": [0]}]}}
    path = saved(tmp_path / "a.pt", whole)
    assert "ckpt drop … 'optimizer.state.*'" in ckpt("resize", path, "model.w=+1x*", "--fill", "zeros", "-n", status=2).err


def test_tied_and_transposed_names_follow_and_stay_tied(ckpt: Ckpt, tmp_path: Path) -> None:
    table = torch.randn(6, 4)
    path = saved(tmp_path / "a.pt", {"wte": table, "head": table, "turned": table.T, "other": torch.ones(2)})
    ckpt("resize", path, "head=+2x*", "--fill", "zeros", "-o", tmp_path / "b.pt")
    now = loaded(tmp_path / "b.pt")
    assert now["wte"].shape == now["head"].shape == (8, 4) and now["turned"].shape == (4, 8)
    assert len({now[name].untyped_storage().data_ptr() for name in ("wte", "head", "turned")}) == 1
    assert same_bits(now["wte"][:6], table) and same_bits(now["turned"], now["wte"].T)
    for rules in (["*e*=+1x*"], ["wte=+1x*", "head=+1x*"], ["wte=+1x*", "head=7x4"]):
        ckpt(
            "resize", saved(tmp_path / "t.pt", {"wte": table, "head": table}), *rules, "--fill", "zeros", "-o", tmp_path / "c.pt", "--force"
        )
        now = loaded(tmp_path / "c.pt")
        assert now["wte"].shape == (7, 4) and now["wte"].data_ptr() == now["head"].data_ptr()


def test_views_that_share_a_storage_without_being_tied_are_left_or_refused(ckpt: Ckpt, tmp_path: Path) -> None:
    flat = torch.randn(40)
    path = saved(tmp_path / "a.pt", {"a": flat[:12].view(3, 4), "b": flat[12:40].view(7, 4), "part": flat[14:18]})
    ckpt("resize", path, "a=+1x*", "--fill", "zeros", "-o", tmp_path / "b.pt")
    now = loaded(tmp_path / "b.pt")
    assert same_bits(now["a"][:3], flat[:12].view(3, 4)) and same_bits(now["b"], flat[12:].view(7, 4))
    assert "part is another view of the elements of b" in ckpt("resize", path, "b=+1x*", "--fill", "zeros", "-n", status=2).err


def test_neighbours_are_named_with_the_command(ckpt: Ckpt, tmp_path: Path) -> None:
    def told(tensors: dict[str, torch.Tensor], *rules: str) -> str:
        lines = ckpt("resize", saved(tmp_path / "a.pt", tensors), *rules, "--fill", "zeros", "-n").err.splitlines()
        return "\n".join(line for line in lines if "may have to follow" in line)

    net = {
        name: tensor.detach()
        for name, tensor in nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 5, 1)).state_dict().items()
    }
    line = told(net, "0.weight=+2x*x*x*")
    assert "ckpt resize … 0.bias=10 1.weight=10 1.bias=10 1.running_mean=10 1.running_var=10 '2.weight=*x10x*x*'" in line
    assert not told(net, "0.weight=+2x*x*x*", "0.bias=10", "1.[bwr]*=10", "2.weight=*x10x*x*")
    assert not told(net, "0.weight=*x+6x*x*") and not told(net, "2.weight=7x*x*x*", "2.bias=7")
    text = {
        "wte.weight": torch.zeros(50, 8),
        "h.0.mlp.weight": torch.zeros(8, 8),
        "lm_head.weight": torch.zeros(50, 8),
        "lm_head.bias": torch.zeros(50),
    }
    assert told(text, "wte.weight=53x*").endswith("ckpt resize … 'lm_head.weight=53x*' lm_head.bias=53")
    assert told(text, "lm_head.weight=53x*").endswith("ckpt resize … 'wte.weight=53x*' lm_head.bias=53")
    classifier = {"classifier.weight": torch.zeros(3, 8), "net.embedder.weight": torch.zeros(8, 3, 4, 4)}  # as in a file sorted by name
    assert not told(classifier, "classifier.weight=4x*")
    text["lm_head.weight"] = text["wte.weight"]
    assert "lm_head.weight" not in told(text, "wte.weight=53x*").partition("ckpt resize")[2]


BAD = [
    ("0.weight=+3", "has shape 8x4, and '0.weight=+3' speaks of 1 axis"),
    ("0.weight=-8x*", "would leave 0"),
    ("0.weight=-9x*", "would leave -1"),
    ("0.weight=0x*", "would leave 0"),
    ("0.weight=*x*x*", "speaks of 3 axes"),
    ("0.weight=99999999999999999999x*", "no axis is that long"),
    ("0.weight=1000000000000000000x1000000000000000000", "no file is as large"),
    ("0.weight=", "gives no new shape"),
    ("=3x*", "gives no new shape"),
    ("0.weight", "gives no new shape"),
    ("0.weight=ax*", "'a' is no axis"),
    ("0.weight=3x", "'' is no axis"),
    ("0.weight=**", "'**' is no axis"),
    ("0.weight=1.5x*", "'1.5' is no axis"),
    ("0.weight=*,+3", "is no axis"),
    ("none=+3x*", "'none'"),
    ("re:(=3", "is no pattern"),
    ("0.weight=++3x*", "'++3' is no axis"),
    ("0.weight=٣x*", "is no axis"),
    ("0.weight=+10000000000000x*", None),
]


@pytest.mark.parametrize(("rule", "what"), BAD, ids=[rule for rule, _ in BAD])
def test_what_makes_no_sense_is_one_line_and_nothing_is_written(ckpt: Ckpt, sample: Sample, rule: str, what: str | None) -> None:
    path = sample("mlp.pt")
    before = path.read_bytes()
    error = ckpt("resize", path, rule, "--fill", "zeros", "-i", status=2).err
    assert what is None or what in error
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


BAD_FILLS = [
    (["--fill", "nope"], "no scheme"),
    (["--fill", "mean_rows(3)"], "leave start out"),
    (["--fill", "mean_rows(start=3)"], "leave start out"),
    (["--fill", "mean_rows(x=3)"], "not x"),
    (["--fill", "resized_embeddings(scale=a)"], "scale"),
    (["--fill", "keep"], "keep fills nothing"),
    (["--fill", "shrink_perturb"], "old values"),
    (["--fill", "rows(shrink_perturb, 0=zeros)"], "old values"),
    (["--fill", "zeros("], "is no scheme"),
    (["--fill", "mean_rows", "--fresh"], "keeps none"),
    (["--fill", "constant(nan, 3)"], "constant"),
    (["--at", "middle"], "middle"),
    (["--fill", "preset:nope"], "nope"),
    (["--fill", "copy_from(none.pt)"], "none.pt"),
    (["--seed", "-1"], "seed"),
]


@pytest.mark.parametrize(("options", "what"), BAD_FILLS, ids=[" ".join(options) for options, _ in BAD_FILLS])
def test_a_fill_that_makes_no_sense_is_one_line(ckpt: Ckpt, sample: Sample, options: list[str], what: str) -> None:
    path = sample("mlp.pt")
    before = path.read_bytes()
    assert what in ckpt("resize", path, "0.weight=+3x*", *options, "-i", status=2).err
    assert path.read_bytes() == before


def test_rows_that_do_not_grow_and_tables_that_are_none_have_no_mean(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(
        tmp_path / "a.pt", {"w": torch.randn(4, 3), "b": torch.randn(4), "c": torch.ones(2, 2, 2), "n": torch.arange(6).view(3, 2)}
    )
    for rule, what in (
        ("w=-1x*", "from 4x3 to 3x3"),
        ("w=*x+1", "from 4x3 to 4x4"),
        ("w=+1x+1", "from 4x3"),
        ("b=-1", "from 4 to 3"),
        ("c=+1x*x*", "tables of rows and for biases"),
        ("n=+1x*", "int64"),
    ):
        for fill in ("mean_rows", "resized_embeddings"):
            assert what in ckpt("resize", path, rule, "--fill", fill, "-n", status=2).err
    assert "say it: --fill zeros" in ckpt("resize", path, "n=+1x*", "-n", status=2).err
    assert "normal(0, 1) cannot be drawn in int64" in ckpt("resize", path, "n=+1x*", "--fill", "normal", "-n", status=2).err
    assert "two shapes" in ckpt("resize", path, "w=+1x*", "[ws]=+2x*", "--fill", "zeros", "-n", status=2).err
    assert "nothing would change" in ckpt("resize", path, "w=+0x3", "-n").err


def test_packed_parameters_and_parts_are_refused_with_the_remedy(ckpt: Ckpt, case: Case, tmp_path: Path) -> None:
    quantised = case("reports/fp8-scale/model.safetensors")
    assert "--dequantise" in ckpt("resize", quantised, "unet.to_k.weight=+1x*", "--fill", "zeros", "-n", status=2).err
    rank = case("reports/fsdp2/ranks") / "model_world_size_2_rank_0.pt"
    assert "piece of a distributed tensor" in ckpt("resize", rank, "lin.weight=+1x*", "--fill", "zeros", "-n", status=2).err
    blocks = ckpt("resize", SAMPLES / "blocks.gguf", "blk.1.Q8_0.weight=+1x*", "--fill", "zeros", "-n", status=2).err
    assert "ckpt cast … float32" in blocks


def test_the_report_of_grown_vocabularies_and_channels(ckpt: Ckpt, case: Case, tmp_path: Path) -> None:
    folder = case("reports/resize")
    (tmp_path / "r.toml").write_text(
        '[[step]]\nresize = ["*.text_embedding.weight=+3x*"]\nfill = "mean_rows"\n'
        '[[step]]\nfill = "zeros"\n'
        'resize = ["*.text_head.weight=+3x*", "*.text_head.bias=+3", "*.conv_in.weight=*x9x*x*", "*.word_embeddings.weight=13x*"]\n'
    )
    ckpt("apply", folder / "grow.pth", tmp_path / "r.toml", "-o", tmp_path / "o.pth")
    got, want = (loaded(path) for path in (tmp_path / "o.pth", folder / "right.pth"))
    assert got["model"].keys() == want["model"].keys() and got["config"]["vocab"] == 10
    for name, tensor in want["model"].items():
        torch.testing.assert_close(got["model"][name], tensor, rtol=0, atol=1e-7)


def test_shards_keep_their_split_and_every_format_keeps_the_rest(ckpt: Ckpt, tmp_path: Path) -> None:
    tensors = {"wte.weight": torch.randn(64, 16), "h.weight": torch.randn(16, 16), "f.weight": torch.randn(16, 16)}
    safetensors.torch.save_file(tensors, tmp_path / "one.safetensors")
    ckpt("convert", tmp_path / "one.safetensors", tmp_path / "m.safetensors.index.json", "--shard-size", "3KB")
    shards = json.loads((tmp_path / "m.safetensors.index.json").read_text())["weight_map"]
    assert len(set(shards.values())) > 1
    ckpt("resize", tmp_path / "m.safetensors.index.json", "wte.weight=+3x*", "--fill", "mean_rows", "-i")
    index = json.loads((tmp_path / "m.safetensors.index.json").read_text())
    assert index["weight_map"] == shards and index["metadata"]["total_size"] == sum(t.nbytes for t in tensors.values()) + 3 * 64
    for suffix in (".safetensors", ".pt", ".npz", ".gguf", ".params", ".h5", ".msgpack", ".pdparams", ".index"):
        made = ckpt("resize", tmp_path / "one.safetensors", "wte.weight=+3x*", "--fill", "ones", "-o", tmp_path / f"o{suffix}", status=None)
        assert made.status == 0, (suffix, made.err)
        found = {name.replace("/", "."): tensor for name, tensor in ckpt_cli.open(str(tmp_path / f"o{suffix}")).items()}
        assert np.array_equal(found["wte.weight"].array(), np.concatenate([tensors["wte.weight"].numpy(), np.ones((3, 16), "float32")]))
        assert np.array_equal(found["h.weight"].array(), tensors["h.weight"].numpy())


def test_what_says_the_old_sizes_is_told_or_refused(ckpt: Ckpt, sample: Sample) -> None:
    for name, tensor, what in (
        ("mlp.keras", "layers/dense/vars/0", "config.json in a .keras keeps the old sizes"),
        ("mlp.h5", "model_weights/dense/dense/kernel:0", "model_config in the .h5 keeps the old sizes"),
        ("module.pt", "0.weight", "the modules in the file keep attributes of the old sizes"),
    ):
        assert what in ckpt("resize", sample(name), f"{tensor}=+1x*", "--fill", "zeros", "-i").err
    for name, tensor in (("conv.onnx", "fc.weight"), ("shared-mlp.torchscript", "0.weight"), ("shared-mlp.pt2", "0.weight")):
        ckpt("resize", sample(name), f"{tensor}=+1x*", "--fill", "zeros", "-i", status=2)


def test_tokens_of_a_gguf_that_are_fewer_than_rows_are_told(ckpt: Ckpt, tmp_path: Path) -> None:
    def text(value: str) -> bytes:
        return len(value).to_bytes(8, "little") + value.encode()

    tokens = [b"a", b"b", b"c", b"d"]
    array = text("tokenizer.ggml.tokens") + (9).to_bytes(4, "little") + (8).to_bytes(4, "little") + len(tokens).to_bytes(8, "little")
    array += b"".join(text(token.decode()) for token in tokens)
    array += text("general.architecture") + (8).to_bytes(4, "little") + text("llama")
    size = text("llama.vocab_size") + (4).to_bytes(4, "little") + (4).to_bytes(4, "little")
    info = text("token_embd.weight") + (2).to_bytes(4, "little") + b"".join(n.to_bytes(8, "little") for n in (8, 4)) + bytes(4) + bytes(8)
    head = b"GGUF" + (3).to_bytes(4, "little") + (1).to_bytes(8, "little") + (3).to_bytes(8, "little") + array + size + info
    path = tmp_path / "a.gguf"
    path.write_bytes(head + bytes(-len(head) % 32) + np.arange(32, dtype="<f4").tobytes())
    told = ckpt("resize", path, "token_embd.weight=+2x*", "--fill", "mean_rows", "-o", tmp_path / "b.gguf").err
    assert "4 tokens for 6 rows" in told and "metadata:llama.vocab_size = 6" in told
    rows = ckpt_cli.open(str(tmp_path / "b.gguf"))["token_embd.weight"].array()
    assert rows[4:].tolist() == [np.arange(32.0).reshape(4, 8).mean(0).tolist()] * 2


def test_the_function_of_the_library_says_in_notes_what_it_did(tmp_path: Path) -> None:
    checkpoint = ckpt_cli.open(str(saved(tmp_path / "a.pt", {"fc.weight": torch.ones(4, 3), "fc.bias": torch.ones(4)})))
    larger = ckpt_cli.resize(checkpoint, ["fc.weight=+2x*"], fill="mean_rows")
    assert larger["fc.weight"].array().tolist() == [[1.0] * 3] * 6 and checkpoint["fc.weight"].shape == (4, 3)
    assert any("mean_rows" in note for note in larger.notes) and any("fc.bias=6" in note for note in larger.notes)
    with pytest.raises(ckpt_cli.CkptError, match="would leave 0"):
        ckpt_cli.resize(checkpoint, ["fc.bias=-4"])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_a_large_table_grows_in_little_memory(tmp_path: Path) -> None:
    rows, width = 50_000, 4096
    header = json.dumps({"wte.weight": {"dtype": "BF16", "shape": [rows, width], "data_offsets": [0, rows * width * 2]}}).encode()
    with (tmp_path / "a.safetensors").open("wb") as file:  # sparse
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + rows * width * 2)
    program = (
        "import ckpt_cli; c = ckpt_cli.open('a.safetensors'); w = ckpt_cli.resize(c, ['wte.weight=+13x*'], fill='mean_rows')\n"
        "s = w['wte.weight'].storage; assert s.read(s.nbytes - 4096 * 26) == bytes(4096 * 26)\n"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(found.stdout) < 100 << 10  # kB


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2, a BERT that classifies, and a U-Net, as their libraries save them."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    gpt2 = transformers.GPT2Config(vocab_size=99, n_positions=16, n_embd=32, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(gpt2).save_pretrained(folder / "gpt2")
    bert = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=2
    )
    transformers.BertForSequenceClassification(bert).save_pretrained(folder / "bert")
    return folder


def with_entries(folder: Path, **entries: object) -> None:
    config = json.loads((folder / "config.json").read_text()) | entries
    (folder / "config.json").write_text(json.dumps(config))


def test_gpt2_with_13_new_tokens_is_what_transformers_makes_of_it(ckpt: Ckpt, tiny: Path, tmp_path: Path) -> None:
    import transformers

    told = ckpt("resize", tiny / "gpt2", "*.wte.weight=+13x*", "--fill", "mean_rows", "-o", f"{tmp_path}/grown/").err
    assert "13 rows at the mean of the 99 old ones (mean_rows)" in told
    with_entries(tmp_path / "grown", vocab_size=112)
    model = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "grown")
    assert model.lm_head.weight.data_ptr() == model.transformer.wte.weight.data_ptr()
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tiny / "gpt2")
    theirs.resize_token_embeddings(112, mean_resizing=True)
    old = theirs.transformer.wte.weight[:99]
    assert torch.equal(model.transformer.wte.weight[:99], old)
    torch.testing.assert_close(model.transformer.wte.weight[99:], theirs.transformer.wte.weight[99:], rtol=0, atol=1e-4)
    torch.testing.assert_close(model.transformer.wte.weight[99:], old.mean(0).expand(13, -1), rtol=0, atol=1e-7)
    told = ckpt("resize", tiny / "gpt2", "*.wte.weight=+13x*", "--seed", "0", "-n").err
    assert "what is new is normal(0, 0.02) (preset gpt2: embedding" in told


def test_bert_for_three_labels_loads(ckpt: Ckpt, tiny: Path, tmp_path: Path) -> None:
    import transformers

    ckpt("resize", tiny / "bert", "classifier.weight=3x*", "classifier.bias=3", "--seed", "1", "-o", f"{tmp_path}/b/")
    with_entries(tmp_path / "b", num_labels=3, id2label={str(i): str(i) for i in range(3)}, label2id={str(i): i for i in range(3)})
    model, loading = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "b", output_loading_info=True)
    old = transformers.BertForSequenceClassification.from_pretrained(tiny / "bert").classifier
    assert not loading["mismatched_keys"] and not loading["missing_keys"]
    assert torch.equal(model.classifier.weight[:2], old.weight) and not model.classifier.bias[2]
    assert 0 < model.classifier.weight[2].abs().max() < 6 * 0.02 and math.isclose(
        model.classifier.weight[2].std().item(), 0.02, rel_tol=0.5
    )


def test_a_unet_takes_nine_channels(ckpt: Ckpt, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "sample_size": 8,
        "out_channels": 4,
        "block_out_channels": (8, 8),
        "layers_per_block": 1,
        "cross_attention_dim": 8,
    }
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "norm_num_groups": 4, "attention_head_dim": 4}
    four = diffusers.UNet2DConditionModel(in_channels=4, **sizes, **blocks)
    four.save_pretrained(tmp_path / "unet")
    told = ckpt("resize", tmp_path / "unet", "conv_in.weight=*x9x*x*", "--fill", "zeros", "-o", f"{tmp_path}/nine/").err
    assert "may have to follow" not in told
    with_entries(tmp_path / "nine", in_channels=9)
    nine = diffusers.UNet2DConditionModel.from_pretrained(tmp_path / "nine")
    x, text = torch.randn(1, 9, 8, 8), torch.randn(1, 2, 8)
    with torch.no_grad():
        torch.testing.assert_close(nine(x, 5, text).sample, four(x[:, :4], 5, text).sample)

"""The schemes `formula` and `values`, against torch; and texts that formulas must not be."""

from __future__ import annotations

import json
import math

import pytest
import torch
from test_schemes import draw, same, target
from torch.nn import init

from ckpt_cli.errors import CkptError
from ckpt_cli.schemes.packed_values import packed
from ckpt_cli.schemes.rules import parse_call, parse_rule

STATE = "dt = clamp(exp(uniform() * (log(0.1) - log(0.001)) + log(0.001)), 1e-4); dt + log(-expm1(-dt))"
SINUSOID = "t = zeros(shape); a = arange(6)[:, None] / 100 ** (arange(4) / 4.0); t[:, ::2] = sin(a); t[:, 1::2] = cos(a); t"


def _state(g):
    dt = torch.exp(torch.rand(8, generator=g) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(1e-4)
    return dt + torch.log(-torch.expm1(-dt))


def _sinusoid(g):
    angles = torch.arange(6)[:, None] / 100 ** (torch.arange(4) / 4.0)
    return torch.stack([angles.sin(), angles.cos()], 2).reshape(6, 8)


# the formula, and the same in torch by one generator
FORMULAS = [
    ("log(arange(1, 17))", lambda g: torch.log(torch.arange(1, 17))),
    ("0.5", lambda g: torch.full((2, 3), 0.5)),
    ("-arange(4) ** 2 / 3", lambda g: -(torch.arange(4) ** 2) / 3),
    ("(arange(6) % 4 >= 2) * 1.5", lambda g: (torch.arange(6) % 4 >= 2) * 1.5),
    ("tensor((1, 2, 4)) // 2 - 1", lambda g: torch.tensor([1.0, 2, 4]) // 2 - 1),
    ("arange(shape[0])[:, None] + arange(shape[1]) * 10", lambda g: torch.arange(3.0)[:, None] + torch.arange(4) * 10),
    ("where(arange(5) > 2, inf, -1.0)", lambda g: torch.tensor([-1, -1, -1, math.inf, math.inf])),
    ("cat((to(arange(2), float64), ones(3)), 0)", lambda g: torch.tensor([0.0, 1, 1, 1, 1])),
    ("x = arange(5); y = x; y[1:3] = 7; x * 10 + y", lambda g: torch.tensor([0.0, 17, 27, 33, 44])),
    ("as_strided(permute(reshape(arange(6), (2, 3)), (1, 0)), (4,), (1,), 1)", lambda g: torch.tensor([3.0, 1, 4, 2])),
    (STATE, _state),
    (SINUSOID, _sinusoid),
    ("normal(0, 0.1) * 2", lambda g: torch.empty(4, 4).normal_(0, 0.1, generator=g) * 2),
    ("trunc_normal(0, 0.02)", lambda g: init.trunc_normal_(torch.empty(4, 4), 0, 0.02, generator=g)),
    ("orthogonal(2.0, size=(8, 8))[:4, :4]", lambda g: init.orthogonal_(torch.empty(8, 8), 2.0, generator=g)[:4, :4]),
    ("randperm()", lambda g: torch.randperm(12, generator=g).float()),
    ("randint(0, 5) + bernoulli(0.5)", lambda g: torch.empty(9).random_(0, 5, generator=g) + torch.empty(9).bernoulli_(0.5, generator=g)),
]


@pytest.mark.parametrize(("text", "oracle"), FORMULAS, ids=[text[:40] for text, _ in FORMULAS])
def test_formula_equals_torch(text, oracle):
    want = oracle(torch.Generator().manual_seed(7)).float()
    rule = f"formula({text!r})"
    assert same(draw(rule, want.shape), want)
    assert same(draw(rule, want.shape, "bfloat16"), want.bfloat16())
    assert same(draw(str(parse_rule(f"*.w={rule}").call), want.shape), want)


def test_formula_of_whole_numbers():
    assert draw("formula('arange(6)')", (2, 6), "int64").tolist() == [list(range(6))] * 2
    assert draw("formula('tril(ones((3, 3)))')", (3, 3), "bool").sum() == 6


REFUSED = [
    ("values('x')", "values() does not take these arguments: it takes text, dtype, size ("),
    ("tensor()", "tensor() does not take these arguments: it takes numbers, dtype ("),
    ("tensor('x')", "tensor() does not take these arguments"),
    ("randint(1)", "randint() does not take these arguments: it takes low, high, size, dtype ("),
    ("normal(x=1)", "normal() does not take these arguments: it takes mean, std, size, dtype ("),
    ("randperm(4)", "randperm() does not take these arguments"),
    ("zeros(4, device='cpu')", "a formula names no device"),
    ("sin(arange(4), device=None)", "a formula names no device"),
    ("arange('x')", "arange() does not take these arguments ("),
    ("real(3)", "real() does not take these arguments ("),
    ("zeros('x')", "zeros(): argument 'size'"),
    ("bernoulli(3)", "expects p to be in [0, 1]"),
    ("sparse(0.5)", "sparse is for tensors of two axes"),
    ("x = 1", "gives no value"),
    ("", "gives no value"),
    ("arange(", "is no formula"),
    ("().__class__", "has no attributes"),
    ("shape.count(1)", "plain name"),
    ("__import__('os')", "has no function __import__"),
    ("eval('1')", "has no function eval"),
    ("sin", "has no value sin"),
    ("lambda: 1", "has no lambda"),
    ("[x for x in shape]", "has no"),
    ("1 if shape else 2", "has no if"),
    ("f'{shape}'", "has no f-strings"),
    ("import os", "has no import statement"),
    ("for i in shape: 1", "has no for statement"),
    ("sin = 1; sin", "cannot be assigned"),
    ("x, y = shape; x", "cannot be assigned"),
    ("arange(3, **shape)", "not for formulas"),
    ("sine(arange(3))", "did you mean"),
    ("zeros((2, 2))", "gives the shape (2, 2), not (4,)"),
    ("shape", "no number and no tensor"),
    ("sum(arange(4), foo=1)", "does not take these arguments"),
    ("arange(4)[arange(2)]", "a subscript is"),
    ("zeros(10 ** 12)", "too large"),
    ("expand(ones(1), (1000000, 1000000))", "too large"),
    ("arange(0, 10 ** 17)", "too large"),
    ("; ".join(["x = ones(2 ** 22)"] * 40) + "; x[:4]", "too large"),
    ("9 ** 9 ** 9", "64 bits"),
    ("9" * 30, "such number"),
    ("as_strided(arange(4), (4,), (1000,), 0)", "out of bounds"),
    ("values('eJw', float32, (4,))", "the text holds no values"),
    (f"values('{packed(bytes(1 << 20))}', float32, (4,))", "does not hold the 16 bytes"),
    ("(" * 300 + "1" + ")" * 300, "is no formula"),
    ("sin(" * 100 + "1" + ")" * 100, "nested too deeply"),
    ("-" * 5000 + "1", "formula"),
    ("1 + " * 60_000 + "1", "too long"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[f"{at}-{reason}" for at, (_, reason) in enumerate(REFUSED)])
def test_formula_refused(text, reason):
    with pytest.raises(CkptError) as error:
        draw(f"formula({text!r})", (4,))
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("text", ["var(zeros(0))", "std(zeros(1))", "to(arange(4), complex64)"])
def test_torch_warns_of_nothing(capfd, recwarn, text):
    draw(f"formula({text!r})", (4,))
    assert capfd.readouterr().err == "" and not recwarn.list


@pytest.mark.parametrize("text", ["formula('zeros(10 ** 12)')", "formula('().__class__')", "values('x')", "formula(1)", "formula('(')"])
def test_refused_in_one_line(ckpt, tmp_path, text):
    torch.save({"w": torch.ones(4)}, tmp_path / "a.pt")
    result = ckpt("reinit", tmp_path / "a.pt", f"w={text}", "-n", status=2)
    assert len(result.err.strip().splitlines()) == 1


def test_recipe_replays(ckpt, tmp_path):
    torch.save({"w": torch.ones(8), "A": torch.ones(2, 16)}, tmp_path / "a.pt")
    rules = [f"w=formula('{STATE}')", "A=formula('log(arange(1, 17))')"]
    plan = json.loads(ckpt("reinit", tmp_path / "a.pt", *rules, "--seed", 3, "-n", "--json").out)["tensors"]
    assert ckpt("reinit", tmp_path / "a.pt", *rules, "--seed", 3, "-o", tmp_path / "b.pt").status == 0
    again = [f"{each['name']}={each['scheme']}" for each in plan]
    assert ckpt("reinit", tmp_path / "a.pt", *again, "--seed", 3, "-o", tmp_path / "c.pt").status == 0
    first, second = (torch.load(tmp_path / name) for name in ("b.pt", "c.pt"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(first["A"], torch.log(torch.arange(1, 17)).expand(2, 16))


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "float16"])
def test_values(dtype):
    want = torch.tensor([[0, 1, 1], [1, 0, 3]]).to(getattr(torch, dtype))
    text = packed(want.view(torch.uint8).numpy().tobytes())
    assert same(draw(f"values('{text}', {dtype})", (2, 3), dtype), want)
    if dtype != "float16":
        assert same(draw(f"values('{text}', {dtype})", (2, 3), "float16"), want.half())
    with pytest.raises(CkptError, match="does not hold"):
        parse_call(f"values('{text}', {dtype})").distribution(target((2, 4), dtype))

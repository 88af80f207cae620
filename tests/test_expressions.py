"""`ckpt set` with expressions: what torch computes, read from several files side by side, and rounded once."""

from __future__ import annotations

import math
import re
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import CASES, SAMPLES, WHOLE, Ckpt

REPORTS = CASES / "reports"
A = {"w": torch.tensor([[1.5, -2, 0.25], [4, 0, -8]]), "b": torch.tensor([0.5, 1, -3]), "n": torch.tensor([7, -2, 100])}
B = {"w": torch.tensor([[2.0, 3, 0.5], [-1, 10, 0.125]]), "b": torch.tensor([2.0, 4, 8]), "n": torch.tensor([1, 5, 3])}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two checkpoints, one of them in two formats, and an array; the folder of them is the current one."""
    torch.save(A, tmp_path / "a.pt")
    torch.save(B, tmp_path / "b.pt")
    safetensors.torch.save_file(B, tmp_path / "b.safetensors")
    torch.save({"odd name, (1)": B["w"]}, tmp_path / "epoch=3 (best).ckpt")
    torch.save(B, tmp_path / "epoch=3-step=10.ckpt")
    np.save(tmp_path / "row.npy", np.array([1.0, 2, 3]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


w, b = A["w"], A["b"]


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("w = 0.5 * this", 0.5 * w),
        ("w = this", w),
        ("w = 0.5 * this + 0.5 * @b.pt", 0.5 * w + 0.5 * B["w"]),
        ("w = 0.5 * this + 0.5 * @b.safetensors", 0.5 * w + 0.5 * B["w"]),
        ("w = @b.pt", B["w"]),
        ("w = @b.pt#b", B["b"].expand(2, 3)),
        ("w = this * @a.pt#b", w * b),
        ("w = this - @row.npy", w - torch.tensor([1.0, 2, 3])),
        ("w += @b.pt", w + B["w"]),
        ("w -= 2 * @b.pt + 1", w - (2 * B["w"] + 1)),
        ("w *= (1 + this)", w * (1 + w)),
        ("w /= @b.pt", w / B["w"]),
        ("w = [[1], [2]] * this", torch.tensor([[1.0], [2]]) * w),
        ("w = this + [1, 2, 3]", w + torch.tensor([1.0, 2, 3])),
        ("w = abs(this)", w.abs()),
        ("w = sqrt(abs(this))", w.abs().sqrt()),
        ("w = clip(this, -1, 1)", w.clip(-1, 1)),
        ("w = clip(this, @b.pt#b * -1, 2)", torch.minimum(torch.maximum(w, -B["b"]), torch.tensor(2.0))),
        ("w = exp(-abs(this))", torch.exp(-w.abs())),
        ("w = log(1 + this ** 2)", torch.log(1 + w**2)),
        ("w = -this ** 2", -(w**2)),
        ("w = 2 ** -this", 2**-w),
        ("w = 2 ** 3 ** 0.5", torch.full((2, 3), 2**3**0.5)),
        ("w = 7 - 3 - this", 7 - 3 - w),
        ("w = 8 / 4 / (this + 9)", 8 / 4 / (w + 9)),
        ("w = 1/3", torch.full((2, 3), 1 / 3)),
        ("w = -(-3)", torch.full((2, 3), 3.0)),
        ("w=2*this", 2 * w),
        ("w*=2", 2 * w),
        ("w= +this", w),
        ('w = @"epoch=3 (best).ckpt"#"odd name, (1)"', B["w"]),
        ("w = @'epoch=3 (best).ckpt'#'odd name, (1)' - this", B["w"] - w),
        ("w = @epoch=3-step=10.ckpt", B["w"]),
        ("w = 0.5 * this + 0.5 * @epoch=3-step=10.ckpt", 0.5 * w + 0.5 * B["w"]),
        ("w = abs(@b.pt) * 2", B["w"].abs() * 2),
        ("w = @b.pt#w[1, ::-1] + 0", B["w"][1].flip(0).expand(2, 3)),
    ],
)
@pytest.mark.parametrize("destination", ["-i", "-o"])
def test_an_expression_is_what_torch_computes(ckpt: Ckpt, files: Path, assignment: str, expected: torch.Tensor, destination: str) -> None:
    ckpt("set", "a.pt", assignment, *(["-i"] if destination == "-i" else ["-o", "out.pt"]))
    found = torch.load("a.pt" if destination == "-i" else "out.pt")
    torch.testing.assert_close(found["w"], expected, rtol=1e-7 if "exp" in assignment or "log" in assignment else 0, atol=0)
    assert torch.equal(found["b"], A["b"]) and torch.equal(found["n"], A["n"])


FLOATS = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("other", [*FLOATS, "int64", "uint8"])
def test_a_mean_of_two_dtypes_is_rounded_once(ckpt: Ckpt, tmp_path: Path, dtype: str, other: str) -> None:
    one = torch.linspace(-3, 3, 97).to(getattr(torch, dtype))
    two = (torch.linspace(0, 40, 97) if "int" in other else torch.linspace(1, -2, 97)).to(getattr(torch, other))
    torch.save({"t": one}, tmp_path / "a.pt")
    torch.save({"t": two}, tmp_path / "b.pt")
    ckpt("set", tmp_path / "a.pt", f"t = 0.3 * this + 0.7 * @{tmp_path}/b.pt", "-i")
    wide = torch.float64 if {dtype, other} & {"float64", "int64", "uint8"} else torch.float32
    exact = 0.3 * one.to(wide) + 0.7 * two.to(wide)
    found = torch.load(tmp_path / "a.pt")["t"]
    assert found.dtype == one.dtype
    for value, real in zip(found.tolist(), exact.tolist(), strict=True):
        assert value == nearest(real, dtype), (value, real)


def nearest(value: float, dtype: str) -> float:
    """The element nearest to a float64: the neighbours of torch's answer, which rounds twice, are tried."""
    near = torch.tensor(value, dtype=torch.float64).to(getattr(torch, dtype))
    if dtype in ("float32", "float64", "float16"):
        return float(near)
    unsigned = torch.uint8 if "float8" in dtype else torch.int16
    around = [near.view(unsigned) + step for step in (-1, 0, 1)]
    candidates = [(float(each.view(near.dtype)), int(each) & 1) for each in around]
    finite = [each for each in candidates if math.isfinite(each[0])]
    return min(finite, key=lambda each: (abs(Fraction(each[0]) - Fraction(value)), each[1]))[0]


def test_a_sum_in_float64_is_not_rounded_twice(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"t": torch.zeros(1, dtype=torch.bfloat16)}, tmp_path / "a.pt")
    torch.save({"t": torch.tensor([2**-8 + 2**-40], dtype=torch.float64)}, tmp_path / "b.pt")
    ckpt("set", tmp_path / "a.pt", f"t = 1 + @{tmp_path}/b.pt", "-i")
    assert torch.load(tmp_path / "a.pt")["t"].item() == 1 + 2**-7


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint64"])
@pytest.mark.parametrize(
    ("expression", "expected"),
    [("this * 2 + 1", [3, 7, 81]), ("0.5 * this", [0, 2, 20]), ("this / 3", [0, 1, 13]), ("-(-this)", [1, 3, 40]),
     ("clip(this, 2, 5)", [2, 3, 5]),
     ("abs(this)", [1, 3, 40]), ("this ** 1", [1, 3, 40]), ("this - this", [0, 0, 0]), ("sqrt(this * this)", [1, 3, 40])],
)  # fmt: skip
def test_integers_are_rounded_to_the_nearest_even_or_exact(
    ckpt: Ckpt, tmp_path: Path, dtype: str, expression: str, expected: list[int]
) -> None:
    torch.save({"t": torch.tensor([1, 3, 40]).to(getattr(torch, dtype))}, tmp_path / "a.pt")
    if dtype in ("uint8", "uint64") and expression.startswith("-("):
        expression = "this"
    ckpt("set", tmp_path / "a.pt", f"t = {expression}", "-i")
    assert torch.load(tmp_path / "a.pt")["t"].tolist() == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("this ** -1", [1, 0, 0]), ("2 ** this", [2, 4, 8]), ("this ** this", [1, 4, 27]), ("3 ** -this", [0, 0, 0]),
     ("(-this) ** 3", [-1, -8, -27]),
     ("(this + 1) ** 2 ** 1", [4, 9, 16]), ("clip(this, 2, 2.5)", [2, 2, 2])],
)  # fmt: skip
def test_powers_of_integers(ckpt: Ckpt, tmp_path: Path, expression: str, expected: list[int]) -> None:
    for dtype in (torch.int64, torch.int8):
        torch.save({"t": torch.tensor([1, 2, 3], dtype=dtype)}, tmp_path / "a.pt")
        ckpt("set", tmp_path / "a.pt", f"t = {expression}", "-i")
        assert torch.load(tmp_path / "a.pt")["t"].tolist() == expected
    torch.save({"t": torch.tensor([0, 2**40 + 1])}, tmp_path / "a.pt")
    assert (
        "no result for a power of 0 or of a negative number at [0]" in ckpt("set", tmp_path / "a.pt", "t = this ** -1", "-i", status=2).err
    )
    ckpt("set", tmp_path / "a.pt", "t = this ** 2 - this * this + 1", "-i")
    assert torch.load(tmp_path / "a.pt")["t"].tolist() == [1, 1]


def test_integers_of_64_bits_are_exact(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"t": torch.tensor([2**53 + 1, 2**62, -5])}, tmp_path / "a.pt")
    ckpt("set", tmp_path / "a.pt", "t = this * 3 - this - this + [2, 0, 1]", "-i")
    assert torch.load(tmp_path / "a.pt")["t"].tolist() == [2**53 + 3, 2**62, -4]


@pytest.mark.parametrize(
    ("tensor", "assignment", "told"),
    [
        (torch.tensor([1, 200], dtype=torch.uint8), "t = this * 2", "t: uint8 cannot hold 400: it goes from 0 to 255"),
        (torch.tensor([1, 2], dtype=torch.int8), "t = -this - 127", "t: int8 cannot hold -129"),
        (torch.tensor([1, 0]), "t = 5 / this", "t: int64 has no result for a division by zero at [1]"),
        (torch.tensor([1, 0]), "t = this ** 1000 / 0", "t: int64 has no result for a division by zero"),
        (torch.tensor([True]), "t = this + 1", "t: bool has no arithmetic"),
        (torch.tensor([1.0, 1000]), "t = exp(this)", "t: float32 cannot hold exp(1000) at [1] (it would become inf)"),
        (torch.tensor([1.0, 3e38]), "t = (this + this) / 2", "t: float32 cannot hold (3e+38 + 3e+38) / 2 at [1]"),
        (torch.tensor([1.0, 2]), "t = this ** 1e30", "t: float32 cannot hold 2 ** 1e+30 at [1]"),
        (torch.tensor([2.0]), "t = 9 ** 9 ** 9 ** this", "t: float32 cannot hold 9 ** 9 ** 9 ** 2"),
        (torch.tensor([1.0]), "t = this * 1j", "t: float32 cannot hold complex values"),
        (torch.tensor([1j]), "t = clip(this, 0, 1)", "t: complex values have no order"),
        (
            torch.tensor([1.0]).to(torch.float8_e4m3fn),
            "t = this * 500",
            "t: float8_e4m3fn cannot hold 1 * 500 at [0] (it would become NaN)",
        ),
        (torch.tensor([60000.0]).half(), "t = this + this", "t: float16 cannot hold 60000 + 60000 at [0]"),
    ],
)
def test_what_the_dtype_cannot_hold_is_an_error(ckpt: Ckpt, tmp_path: Path, tensor: torch.Tensor, assignment: str, told: str) -> None:
    torch.save({"t": tensor}, tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    for where in (["-i"], ["-n"], ["-o", tmp_path / "b.pt"]):
        assert told in ckpt("set", tmp_path / "a.pt", assignment, *where, status=2).err
    assert (tmp_path / "a.pt").read_bytes() == before and not (tmp_path / "b.pt").exists()


def test_many_tensors_with_divisions_by_zero_are_counted_together(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({f"t{i}": torch.tensor([-1.0, 2, -3]) for i in range(12)}, tmp_path / "a.pt")
    lines = ckpt("set", tmp_path / "a.pt", "* = sqrt(this)", "-n").err.splitlines()
    assert len(lines) == 6 and lines[-1] == "ckpt: 7 more tensors: 14 values are inf or NaN"


@pytest.mark.parametrize(
    ("assignment", "expected", "count"),
    [
        ("t = this / 0", [math.inf, -math.inf, math.nan, math.nan], "3 values are inf or NaN by a division by zero"),
        ("t /= 0", [math.inf, -math.inf, math.nan, math.nan], "3 values are inf or NaN by a division by zero"),
        ("t = 1 / this", [0.5, -1, math.inf, math.nan], "1 value is inf or NaN by a division by zero"),
        (
            "t = log(this)",
            [math.log(2), math.nan, -math.inf, math.nan],
            "2 values are inf or NaN by a logarithm of 0 or of a negative number",
        ),
        ("t = sqrt(this)", [2**0.5, math.nan, 0, math.nan], "1 value is inf or NaN by a root of a negative number"),
        ("t = this ** 0.5", [2**0.5, math.nan, 0, math.nan], "1 value is inf or NaN by a power of 0 or of a negative number"),
        (
            "t = sqrt(this) / 0",
            [math.inf, math.nan, math.nan, math.nan],
            "3 values are inf or NaN by a division by zero or a root of a negative",
        ),
        ("t = 1/0", [math.inf] * 4, "4 values are inf or NaN by a division by zero"),
        ("t[:2] = this / 0", [math.inf, -math.inf, 0, math.nan], "2 values are inf or NaN by a division by zero"),
        ("t = this * 2", [4, -2, 0, math.nan], ""),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_a_division_by_zero_is_what_ieee_754_has_and_counted(
    ckpt: Ckpt, tmp_path: Path, assignment: str, expected: list[float], count: str, dtype: str
) -> None:
    path = tmp_path / "a.pt"
    torch.save({"t": torch.tensor([2, -1, 0, math.nan]).to(getattr(torch, dtype))}, path)
    told = f"ckpt: t: {count}" if count else ""
    assert told in ckpt("set", path, assignment, "-n").err
    said = ckpt("set", path, assignment, "-i").err
    assert told in said and len(said.splitlines()) == bool(told)
    np.testing.assert_allclose(torch.load(path)["t"].float().numpy(), expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("thsi", "no value is called 'thsi' at character 5 of 't = thsi' (did you mean this?)"),
        ("2 * (this + ", "a value is expected, not the end at character 17"),
        ("(this", "')' is expected, not the end at character 10"),
        ("this)", "')' is not expected at character 9"),
        ("clip(this, 0)", "clip takes 3 values, not 2 at character 5"),
        ("sqrt(1, 2)", "sqrt takes 1 values, not 2 at character 5"),
        ("sin(this)", "no function is called 'sin' at character 5 of 't = sin(this)' (there are abs, clip, exp, log, sqrt)"),
        ("__import__('os')", "no function is called '__import__'"),
        ("this.shape", "'.' is not expected at character 9"),
        ("this[0]", "'[' is not expected at character 9"),
        ("1e999 * this", "1e999 is beyond the numbers of every dtype"),
        ("@", "the name of a file is expected"),
        ("@b.pt#", "the name of a tensor is expected"),
        ("@missing.pt", "missing.pt: no such file or directory"),
        ("@b.pt#x", "b.pt: nothing matches 'x'"),
        ("@epoch=3.ckpt", "epoch=3.ckpt: no such file"),
        ("@'epoch=3 (best).ckpt'", "there is no tensor 'w'"),
        ("@b.pt#*", "'*' means 3 tensors"),
        ("@b.pt#w[:, :2]", "w: a value of shape 2x2 does not broadcast to 2x3"),
        ("this + [1, 2]", "w: a value of shape 2 does not broadcast to 2x3"),
        ("this + @b.pt#w[0, :2]", "does not broadcast"),
        ("(" * 5000 + "1" + ")" * 5000, "nested too deep"),
        ("-" * 5000 + "1", "nested too deep"),
        ("2" + "**2" * 5000, "nested too deep"),
        ("1" + "+this" * 5000, "more than 1,000 terms"),
        ("[" * 50_000, "is no JSON list"),
        ("=" * 50_000, "is not expected"),
    ],
)
def test_what_is_no_expression_is_an_error_that_says_where(ckpt: Ckpt, files: Path, value: str, told: str) -> None:
    target = "w" if "@" in value or "[1, 2]" in value else "t"
    if target == "t":
        torch.save({"t": torch.zeros(2)}, "a.pt")
    before = Path("a.pt").read_bytes()
    error = ckpt("set", "a.pt", f"{target} = {value}", "-i", status=2).err
    if value != "=" * 50_000:
        assert told in error
    assert len(error) < 400 and Path("a.pt").read_bytes() == before


MEGABYTES = 10 if WHOLE else 2


@pytest.mark.parametrize("part", ["1+", "((", "==", "[="])
def test_megabytes_of_expression_are_an_error_at_once(ckpt: Ckpt, files: Path, part: str) -> None:
    value = part * (MEGABYTES * 500_000) + ("1" if part == "1+" else "")
    Path("r.toml").write_text(f'[[step]]\nset = ["w = {value}"]\n')
    assert len(ckpt("apply", "a.pt", "r.toml", "-n", status=2).err) < 500


def test_a_folder_is_a_value_where_it_is_a_checkpoint(ckpt: Ckpt, files: Path) -> None:
    Path("model").mkdir()
    safetensors.torch.save_file(B, "model/model.safetensors")
    ckpt("set", "a.pt", "w = @model", "-i")
    assert torch.equal(torch.load("a.pt")["w"], B["w"])
    Path("empty").mkdir()
    assert "empty: " in ckpt("set", "a.pt", "w = @empty", "-i", status=2).err


def test_values_of_the_file_that_is_edited_are_those_before_the_edit(ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    many = 600_000
    tensors = {name: torch.randn(many) for name in "xyz"}
    torch.save(tensors, "a.pt")
    ckpt("set", "a.pt", "x = @a.pt#y", "y = @a.pt#x + this", "z[1:] = @a.pt#z[:-1]", "-i")
    found = torch.load("a.pt")
    assert torch.equal(found["x"], tensors["y"]) and torch.equal(found["y"], tensors["x"] + tensors["y"])
    assert torch.equal(found["z"][1:], tensors["z"][:-1])


SAMPLE_NAMES = sorted(path.name for path in SAMPLES.iterdir() if path.suffix != ".py" and not path.name.startswith((".", "_")))


@pytest.mark.parametrize("name", SAMPLE_NAMES)
def test_a_tensor_of_every_format_is_computed_from_itself_and_the_file(ckpt: Ckpt, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree if (SAMPLES / name).is_dir() else shutil.copy
    path = Path(copy(SAMPLES / name, tmp_path / name))
    floats = [row[0] for row in ckpt("ls", path).rows if row[1] == "float32" and row[2]]
    if not floats:
        pytest.skip("no float32 in it")
    before = ckpt("get", path, floats[-1], "--json").json["values"]
    pattern = f"re:^{re.escape(floats[-1])}$"
    found = ckpt("set", path, f'{pattern} = this + 0.5 * @"{path}"', "-i", status=None)
    if found.status:
        assert found.status == 2 and "a fault in ckpt" not in found.err
        return
    after = ckpt("get", path, floats[-1], "--json").json["values"]
    np.testing.assert_array_equal(np.array(after, "f4"), np.array(before, "f4") + np.float32(0.5) * np.array(before, "f4"))


@pytest.mark.parametrize("many", [1000, 300_000])
def test_values_of_another_shard_are_those_before_the_edit(ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.chdir(tmp_path)
    tensors = {name: torch.randn(many) for name in "abcd"}
    safetensors.torch.save_file(tensors, "all.safetensors")
    ckpt("convert", "all.safetensors", "model.safetensors.index.json", "--shard-size", f"{8 * many + 300}B")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    ckpt(
        "set", ".", "a[1:] = @model.safetensors.index.json#d[1:]", "d[1:] = @model.safetensors.index.json#a[1:] + 0", "b[0] = @.#c[0]", "-i"
    )
    ckpt("convert", ".", "now.pt")
    found = torch.load("now.pt")
    assert torch.equal(found["a"][1:], tensors["d"][1:]) and torch.equal(found["d"][1:], tensors["a"][1:])
    assert found["b"][0] == tensors["c"][0] and torch.equal(found["b"][1:], tensors["b"][1:]) and found["a"][0] == tensors["a"][0]


def test_tensors_of_many_blocks_are_read_side_by_side(ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, two = torch.randn(1030, 1100), torch.randn(1030, 1100)
    torch.save({"t": one, "u": one.t(), "v": one[::2, ::3]}, "a.pt")
    safetensors.torch.save_file({"t": two, "u": two.t().contiguous(), "bias": two[0].clone()}, "b.safetensors")
    ckpt("set", "a.pt", "t = 0.25 * this + 0.75 * @b.safetensors * @b.safetensors#bias", "-o", "c.pt")
    expected = 0.25 * one + 0.75 * two * two[0]
    assert torch.equal(torch.load("c.pt")["t"], expected) and torch.equal(torch.load("c.pt")["u"], expected.t())
    ckpt("set", "a.pt", "u = this - @b.safetensors", "-i")
    assert torch.equal(torch.load("a.pt")["t"], one - two)


def test_elements_that_share_their_memory_are_computed_once(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"t": torch.tensor([[1.0], [2]]).expand(2, 3)}, tmp_path / "a.pt")
    ckpt("set", tmp_path / "a.pt", "t = this + 1", "-i")
    assert torch.load(tmp_path / "a.pt")["t"].tolist() == [[2] * 3, [3] * 3]
    ckpt("set", tmp_path / "a.pt", "t = this + [1, 2, 3]", "-i", status=2)


def test_a_step_of_a_recipe_computes_the_same(ckpt: Ckpt, files: Path) -> None:
    recipe = ckpt("set", "a.pt", "w = 0.5 * this + 0.5 * @b.pt", "b /= 0", "--print-recipe").out
    Path("r.toml").write_text(recipe)
    assert "b: 3 values are inf or NaN" in ckpt("apply", "a.pt", "r.toml", "-o", "c.pt").err
    ckpt("set", "a.pt", "w = 0.5 * this + 0.5 * @b.pt", "b /= 0", "-o", "d.pt")
    assert Path("c.pt").read_bytes() == Path("d.pt").read_bytes()
    Path("r.toml").write_text('[[step]]\nset = ["w = thsi"]\n')
    assert "r.toml: step 1 (set): no value is called 'thsi'" in ckpt("apply", "nowhere.pt", "r.toml", "-n", status=2).err


# An operator that is glued to its reference


@pytest.mark.parametrize(
    ("names", "assignment", "spellings"),
    [
        (["a.bias", "b.bias1"], "*bias*=3", ["*bias *= 3", "*bias* = 3"]),
        (["a", "aa"], "re:a+=3", ["re:a += 3", "re:a+ = 3"]),
        (["x", "x-"], "x-=3", ["x -= 3", "x- = 3"]),
        (["x", "x/"], "x/=3", ["x /= 3", "x/ = 3"]),
        (["x", "x+"], "x+=0.5 * this", ["x += 0.5 * this", "x+ = 0.5 * this"]),
        (["ab", "ac"], "a?*=[1]", ["a? *= [1]", "a?* = [1]"]),
    ],
)
def test_an_operator_that_can_be_read_in_two_ways_is_an_error_that_shows_both(
    ckpt: Ckpt, tmp_path: Path, names: list[str], assignment: str, spellings: list[str]
) -> None:
    path = tmp_path / "a.pt"
    torch.save({name: torch.tensor([2.0]) for name in names}, path)
    before = path.read_bytes()
    error = ckpt("set", path, assignment, "-i", status=2).err
    assert all(f"'{spelling}'" in error for spelling in spellings) and path.read_bytes() == before
    for spelling in spellings:
        ckpt("set", path, spelling, "-o", tmp_path / "b.pt", "--force")


@pytest.mark.parametrize(
    ("names", "assignment", "expected"),
    [
        (["x", "y"], "x*=3", [6, 2]),
        (["x", "xy"], "x*=3", [6, 2]),
        (["x", "y"], "*=3", [3, 3]),
        (["x.a", "y.a"], "*.a*=3", None),
        (["x-", "y"], "x-=3", [3, 2]),
        (["x", "y"], "x-=3", [-1, 2]),
        (["x", "y"], "x/=4", [0.5, 2]),
        (["x/", "y"], "x/=4", [4, 2]),
        (["a+", "b"], "a+=1", [1, 2]),
        (["ab", "cd"], "re:^a+=1", None),
        (["x.1", "x.2"], "x[0]*=3", [6, 2]),
    ],
)
def test_an_operator_that_can_be_read_in_one_way_is_read_so(
    ckpt: Ckpt, tmp_path: Path, names: list[str], assignment: str, expected: list[float] | None
) -> None:
    path = tmp_path / "a.pt"
    torch.save({name: torch.tensor([2.0]) for name in names}, path)
    ckpt("set", path, assignment, "-i", status=0 if expected else 2)
    if expected:
        assert [value.item() for value in torch.load(path).values()] == expected


@pytest.mark.parametrize("assignment", ["t[3:] = 0", "t[:0] += 1", "t[2:1] = this", "u[:, 3:] = 0", "u[..., 5:] = [1]"])
def test_an_empty_slice_is_an_error(ckpt: Ckpt, tmp_path: Path, assignment: str) -> None:
    torch.save({"t": torch.zeros(3), "u": torch.zeros(2, 3)}, tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    error = ckpt("set", tmp_path / "a.pt", assignment, "-i", status=2).err
    assert "is an empty slice" in error and (tmp_path / "a.pt").read_bytes() == before


@pytest.mark.skipif(not REPORTS.exists(), reason="the real files are not here")
def test_the_report_on_assignments(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes((REPORTS / "assignments" / "net.pt").read_bytes())
    before: dict[str, Any] = torch.load(path)
    error = ckpt("set", path, "*bias*=3", "-i", status=2).err
    assert "'*bias *= 3'" in error and "'*bias* = 3'" in error
    assert "empty slice" in ckpt("set", path, "fc.weight[:,3:]=0", "-i", status=2).err
    assert path.read_bytes() == (REPORTS / "assignments" / "net.pt").read_bytes()
    ckpt("set", path, "*.weight = 0.5 * this", "-o", tmp_path / "half.pt")
    halves = torch.load(tmp_path / "half.pt")
    assert all(torch.equal(halves[name], before[name] * (0.5 if name.endswith("weight") else 1)) for name in before)
    assert [row[0] for row in ckpt("ls", path, "!*bias").rows] == [name for name in before if not name.endswith("bias")]

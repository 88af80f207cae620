"""`ckpt diff`: what differs from one checkpoint to another, in numbers that numpy's float64 gives."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import SAMPLES, Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import DTYPES, bits, example, safetensors_file

from ckpt_cli import reading
from ckpt_cli.analysis.diff import diff
from ckpt_cli.analysis.distance import as_wide
from ckpt_cli.numbers.dtypes import named, to_numpy
from ckpt_cli.storage.storage import Memory
from ckpt_cli.tensors.checkpoint import Checkpoint
from ckpt_cli.tensors.tensor import Tensor

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(80))


def pair(folder: Path, a: Any, b: Any) -> tuple[Path, Path]:
    torch.save(a if isinstance(a, dict) else {"t": a}, folder / "a.pt")
    torch.save(b if isinstance(b, dict) else {"t": b}, folder / "b.pt")
    return folder / "a.pt", folder / "b.pt"


def statuses(ckpt: Ckpt, paths: tuple[Path, Path], *options: object, status: int = 1) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in ckpt("diff", *paths, *options, status=status).rows]


one, two = torch.ones(2), torch.zeros(2)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"t": one}, {"t": one}, []),
        ({"t": one}, {"t": one, "u": two}, [("added", "u", "", "float32 2")]),
        ({"t": one, "u": two}, {"t": one}, [("removed", "u", "float32 2", "")]),
        ({"t": one}, {"t": torch.ones(2, 1)}, [("shape", "t", "2", "2x1")]),
        ({"t": one}, {"t": torch.tensor(1.0)}, [("shape", "t", "2", "scalar")]),
        ({"t": one}, {"t": one.double()}, [("dtype", "t", "float32", "float64")]),
        ({"t": one}, {"t": two.double()}, [("dtype", "t", "float32", "float64")]),
        ({"t": one}, {"t": two}, [("changed", "t", "", "")]),
        ({"t": one, "u": one}, {"t": one, "u": one.clone()}, [("untied", "t", "u", ""), ("untied", "u", "t", "")]),
        ({"t": one, "u": one.clone()}, {"t": one, "u": one}, [("tied", "t", "", "u"), ("tied", "u", "", "t")]),
        ({"z": one, "a": two}, {"b": one, "a": one.clone()},
         [("removed", "z", "float32 2", ""), ("changed", "a", "", ""), ("added", "b", "", "float32 2")]),
        ({"t": torch.zeros(0)}, {"t": torch.zeros(0)}, []),
    ],
)  # fmt: skip
def test_each_status_is_told(ckpt: Ckpt, tmp_path: Path, a: Any, b: Any, expected: list[tuple[str, ...]]) -> None:
    found = ckpt("diff", *pair(tmp_path, a, b), status=1 if expected else 0)
    assert [tuple(row[:4]) for row in found.rows] == expected and not found.err
    assert all(len(row) == 9 for row in found.rows)


FIGURES = st.floats(width=32) | st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1.0])


def oracle(x: Any, y: Any) -> dict[str, Any]:
    """What differs from `x` to `y`, float64 or complex128, by plain numpy."""
    x, y = x.reshape(-1), y.reshape(-1)
    parts = ((x.real, y.real), (x.imag, y.imag))
    differs = ~np.logical_and.reduce([(left == right) | (np.isnan(left) & np.isnan(right)) for left, right in parts])
    with np.errstate(all="ignore"):
        norm = np.linalg.norm(x)
        return {
            "elements": x.size,
            "changed": int(differs.sum()),
            "first": int(differs.argmax()),
            "max_abs": np.abs(x - y)[differs].max(initial=0),
            "rel_l2": np.linalg.norm(x - y) / norm if norm else math.inf,
            "cosine": np.vdot(x, y).real / (norm * np.linalg.norm(y)),
        }


def agrees(found: dict[str, Any], want: dict[str, Any]) -> bool:
    """Counts exactly, figures to 1e-6; a cosine of next to nothing to what its terms are rounded to."""
    counts = (found["elements"], found["changed"], found["first"][-1]) == (want["elements"], want["changed"], want["first"])
    slack = {"max_abs": 0.0, "rel_l2": 0.0, "cosine": 1e-12}
    return counts and all(np.allclose(float(found[key]), want[key], rtol=1e-6, atol=slack[key], equal_nan=True) for key in slack)


@relaxed
@given(
    st.lists(st.tuples(FIGURES, FIGURES, st.booleans()), min_size=1, max_size=12),
    st.sampled_from(["float32", "float64", "float16", "bfloat16"]),
)
def test_the_numbers_are_what_float64_gives(ckpt: Ckpt, tmp_path: Path, rows: list[tuple[float, float, bool]], dtype: str) -> None:
    kind = getattr(torch, dtype)
    a = torch.tensor([left for left, _, _ in rows], dtype=torch.float64).to(kind)
    b = torch.tensor([left if equal else right for left, right, equal in rows], dtype=torch.float64).to(kind)
    want = oracle(a.double().numpy(), b.double().numpy())
    document = ckpt("diff", *pair(tmp_path, a, b), "--json", status=int(want["changed"] > 0)).json
    if not want["changed"]:
        paths = {"a": str(tmp_path / "a.pt"), "b": str(tmp_path / "b.pt")}
        assert document == paths | {"same": True, "differences": [], "objects": [], "metadata": []}
        return
    (found,) = document["differences"]
    assert list(found) == ["status", "name", "elements", "changed", "first", "max_abs", "rel_l2", "cosine"]
    assert agrees(found, want), (found, want)


Array = Any
BESIDE: dict[str, Callable[[np.random.Generator, Array], tuple[Array, Array]]] = {
    "a step": lambda rng, x: (x, x * 1.01),
    "a few": lambda rng, x: (x, np.where(rng.uniform(size=x.size) < 1e-5, x + 1, x)),
    "in the last block alone": lambda rng, x: (x, np.where(np.arange(x.size) < 580_000, x, -x)),
    "a mean large against the step": lambda rng, x: (100 + x, 100 + x * 1.01),
    "nothing in common": lambda rng, x: (x, rng.permutation(x)),
    "the opposite": lambda rng, x: (x, -x),
    "at other places": lambda rng, x: (np.where(x > 0, x, 0), np.where(x < 0, x, 0)),
    "far smaller": lambda rng, x: (x * 50, x * 1e-4),
    "one far larger": lambda rng, x: (x, np.where(np.arange(x.size) == 300_000, 448, x)),
    "zeros and their signs": lambda rng, x: (x * 0, np.where(x > 2, x, -x * 0)),
    "NaN and infinities": lambda rng, x: (np.where(x > 2, np.nan, x), np.where(x > 2.5, np.nan, np.where(x < -2, np.inf, x))),
}
FLOATS = [name for name in DTYPES if name.startswith(("float", "bfloat")) and name != "float8_e8m0fnu"]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("beside", BESIDE)
def test_floats_of_every_kind_in_several_blocks(beside: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    kind = to_numpy(named(dtype))
    a, b = (side.astype(kind) for side in BESIDE[beside](rng, rng.standard_normal(600_001)))
    assert_figures(a, b, oracle(a.astype("float64"), b.astype("float64")))


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_bits_of_every_dtype_in_several_blocks(dtype: str) -> None:
    raw = [bytes(example(dtype, 300_001, seed=seed).view(torch.uint8).numpy()) for seed in (0, 1)]
    with np.errstate(all="ignore"):
        wide = [as_wide(data, named(dtype)) for data in raw]
    for side in (0, 1) if dtype in ("float64", "complex128") else ():  # whose squares are beyond float64
        wide[side] = np.where(np.abs(wide[side]) < 1e150, wide[side], 1.5)
        raw[side] = wide[side].tobytes()
    with np.errstate(all="ignore"):
        want = oracle(*wide)
    assert_figures(*(Tensor.whole(named(dtype), (300_001,), Memory(data)) for data in raw), want)


def assert_figures(a: Any, b: Any, want: dict[str, Any]) -> None:
    one, two = (
        side if isinstance(side, Tensor) else Tensor.whole(named(side.dtype.name), side.shape, Memory(side.tobytes())) for side in (a, b)
    )
    found = list(diff(Checkpoint({"t": one}), Checkpoint({"t": two})))
    if not want["changed"]:
        assert found == []
        return
    (difference,) = found
    assert difference.numbers and agrees(difference.numbers._asdict(), want), (difference, want)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "float32"])
def test_two_dtypes_are_compared_by_value(dtype: str) -> None:
    a = np.random.default_rng(0).standard_normal(300_001).astype("float32" if dtype != "float32" else "float64")
    b = a.astype(to_numpy(named(dtype)))
    assert_figures(a, b, oracle(a.astype("float64"), b.astype("float64")))
    assert_figures(b, a, oracle(b.astype("float64"), a.astype("float64")))


@relaxed
@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_the_first_difference_is_an_index_of_the_tensor(ckpt: Ckpt, tmp_path: Path, n: int, m: int, data: st.DataObject) -> None:
    i, j = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, m - 1))
    a = torch.zeros(m, n).t() if data.draw(st.booleans()) else torch.zeros(n, m)
    b = torch.zeros(n, m)
    b[i, j] = 3
    (row,) = ckpt("diff", *pair(tmp_path, a, b), status=1).rows
    assert row == ["changed", "t", "", "", f"1/{n * m}", "3", "inf", "nan", f"[{i},{j}]"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_of_any_dtype_is_the_same_as_itself_and_not_as_another(ckpt: Ckpt, tmp_path: Path, dtype: str) -> None:
    tensor = example(dtype, 4, 3)
    tensor[0, 0] = 0 if dtype != "float8_e8m0fnu" else 1
    other = tensor.clone()
    other[0, 0] = 1 if dtype != "float8_e8m0fnu" else 2
    assert statuses(ckpt, pair(tmp_path, tensor, tensor.t().contiguous().t()), status=0) == []
    (row,) = ckpt("diff", *pair(tmp_path, tensor, other), status=1).rows
    assert row[:6] == ["changed", "t", "", "", "1/12", "1"] and row[8] == "[0,0]"


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint64", "bool"])
def test_integers_are_compared_exactly_however_large(ckpt: Ckpt, tmp_path: Path, dtype: str) -> None:
    kind = getattr(torch, dtype)
    low, high = (0, 1) if dtype == "bool" else (torch.iinfo(kind).min, torch.iinfo(kind).max)
    a, b = torch.tensor([low, high, high], dtype=kind), torch.tensor([high, low, high - (dtype != "bool")], dtype=kind)
    (found,) = ckpt("diff", *pair(tmp_path, a, b), "--json", status=1).json["differences"]
    assert found["changed"] == (2 if dtype == "bool" else 3) and found["max_abs"] == float(high - low)
    near = pair(tmp_path, torch.tensor([2**53, high], dtype=kind), torch.tensor([2**53 + 1, high], dtype=kind)) if "64" in dtype else None
    if near:
        (row,) = ckpt("diff", *near, status=1).rows
        assert row[4:6] == ["1/2", "1"]
        assert statuses(ckpt, near, "--atol", "0.5") and statuses(ckpt, near, "--atol", "1", status=0) == []


def test_integers_of_two_dtypes_are_compared_exactly(ckpt: Ckpt, tmp_path: Path) -> None:
    paths = pair(tmp_path, torch.tensor([2**53 + 1, 5]), torch.tensor([2**53, 5], dtype=torch.uint64))
    (row,) = ckpt("diff", *paths, status=1).rows
    assert row[0] == "dtype" and row[4:6] == ["1/2", "1"]


def test_minus_zero_is_zero_and_nan_is_nan_whatever_its_bits(ckpt: Ckpt, tmp_path: Path) -> None:
    quiet = torch.tensor([0x7FC00000, 0x7FC00001, 0], dtype=torch.int32).view(torch.float32)
    other = torch.tensor([-0x400000, 0x7FC00003, -(2**31)], dtype=torch.int32).view(torch.float32)
    assert statuses(ckpt, pair(tmp_path, quiet, other), status=0) == []
    assert statuses(ckpt, pair(tmp_path, torch.tensor(complex(math.nan, 1)), torch.tensor(complex(math.nan, 2)))) == [("changed", "t")]


BITS = {"float16": 16, "bfloat16": 16, "float32": 32, "float64": 64}


@pytest.mark.parametrize("dtype", BITS)
def test_exact_compares_bytes(ckpt: Ckpt, tmp_path: Path, dtype: str) -> None:
    """Zeros of both signs, NaNs of two payloads, and a number that does change."""
    kind, whole = getattr(torch, dtype), getattr(torch, f"int{BITS[dtype]}")
    zero, minus = torch.tensor([0.0, 1.0], dtype=kind), torch.tensor([-0.0, 1.0], dtype=kind)
    assert statuses(ckpt, pair(tmp_path, zero, minus), status=0) == []
    (row,) = ckpt("diff", *pair(tmp_path, zero, minus), "--exact", status=1).rows
    assert row == ["changed", "t", "", "", "1/2", "0", "0", "1", "[0]"]
    quiet = torch.tensor([math.nan, math.nan, 2.0], dtype=kind)
    other = (quiet.view(whole) + torch.tensor([0, 1, 0], dtype=whole)).view(kind)
    assert statuses(ckpt, pair(tmp_path, quiet, other), status=0) == [] == statuses(ckpt, pair(tmp_path, quiet, quiet), "--exact", status=0)
    (row,) = ckpt("diff", *pair(tmp_path, quiet, other), "--exact", status=1).rows
    assert row[4:6] == ["1/3", "nan"] and row[8] == "[1]"
    (row,) = ckpt("diff", *pair(tmp_path, zero, minus.double() if dtype != "float64" else minus.float()), "--exact", status=1).rows
    assert row[0] == "dtype" and len(row) == 9 and not row[4]  # of two dtypes, values are compared


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_finds_every_element_whose_bytes_differ(dtype: str) -> None:
    a, b = example(dtype, 30_001), example(dtype, 30_001, seed=1)
    raw = [bits(tensor)[2] for tensor in (a, b)]
    one, two = (Checkpoint({"t": Tensor.whole(named(dtype), (30_001,), Memory(data))}) for data in raw)
    rows = np.frombuffer(raw[0], "u1").reshape(30_001, -1) != np.frombuffer(raw[1], "u1").reshape(30_001, -1)
    (found,) = diff(one, two, exact=True)
    assert found.numbers and (found.numbers.changed, found.numbers.first[0]) == (rows.any(1).sum(), rows.any(1).argmax())


@pytest.mark.parametrize("option", [("--rtol", "1"), ("--atol", "1e-9")])
def test_exact_allows_no_tolerance(ckpt: Ckpt, option: tuple[str, ...]) -> None:
    found = ckpt("diff", SAMPLES / "mlp.pt", SAMPLES / "mlp.pt", "--exact", *option, status=2)
    assert found.err == "ckpt: error: --exact allows no tolerance (leave out --exact, or --rtol and --atol)\n"


def test_a_tensor_of_more_than_two_to_the_31_elements(ckpt: Ckpt, tmp_path: Path) -> None:
    """Sparse on disk; the last element alone differs."""
    count = 2**31 + 1
    head = safetensors_file({"t": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}})
    for name, last in (("a", b"\x03"), ("b", b"\x04")):
        with (tmp_path / name).open("wb") as file:
            file.write(head)
            file.seek(count - 1, 1)
            file.write(last)
    (row,) = ckpt("diff", tmp_path / "a", tmp_path / "b", status=1).rows
    assert row == ["changed", "t", "", "", f"1/{count}", "1", "0.333333", "1", f"[{count - 1}]"]


def test_two_names_of_one_storage_are_compared_once(tmp_path: Path) -> None:
    sides = []
    for seed in (0, 1):
        base = example("int32", 300, 300, seed=seed)
        torch.save({"a": base, "b": base, "turned": base.t(), "part": base[::2, 1:]}, tmp_path / f"{seed}.pt")
        sides.append((reading.open(str(tmp_path / f"{seed}.pt")), base))
    (one, a), (two, b) = sides
    heard: list[tuple[int, int]] = []
    found = {difference.name: difference.numbers for difference in diff(one, two, progress=lambda *done: heard.append(done))}
    whole = 2 * 360_000
    assert heard[-1] == (2 * whole + 2 * 150 * 299 * 4,) * 2  # once for both names, once turned, once the part
    assert found["a"] is found["b"]
    for name, (x, y) in {"a": (a, b), "turned": (a.t(), b.t()), "part": (a[::2, 1:], b[::2, 1:])}.items():
        want, numbers = oracle(x.double().numpy(), y.double().numpy()), found[name]
        assert numbers and numbers.first == np.unravel_index(want["first"], x.shape)
        assert agrees(numbers._asdict() | {"first": [want["first"]]}, want)


def test_no_cosine_is_beyond_one(ckpt: Ckpt, tmp_path: Path) -> None:
    """Scripts take its acos."""
    a = {f"t{number}": torch.randn(number) for number in range(1, 60)}
    for factor in (-3.0, 1.1):
        paths = pair(tmp_path, a, {name: factor * tensor for name, tensor in a.items()})
        cosines = [each["cosine"] for each in json.loads(ckpt("diff", *paths, "--json", status=1).out)["differences"]]
        assert len(cosines) == 59 and all(0 <= 1 - abs(cosine) < 1e-6 for cosine in cosines)


@pytest.mark.parametrize("suffixes", [("safetensors", "safetensors"), ("safetensors", "pt"), ("pt", "pt")])
def test_many_small_tensors_are_told_as_each_alone(ckpt: Ckpt, tmp_path: Path, suffixes: tuple[str, str]) -> None:
    """They are read and summed together: sizes, dtypes, and what is equal, infinite or NaN, are mixed within a read."""
    sides: list[dict[str, torch.Tensor]] = [{}, {}]
    random = np.random.default_rng(4)
    for number in range(300):
        name, count = f"t{number:03}", int(random.integers(1, 50)) if number % 50 else 20_000
        dtype = getattr(torch, random.choice(["float32", "float32", "bfloat16", "float16", "float64", "int32", "uint8"]))
        a = torch.tensor(random.integers(-3, 4, count)).abs() if not dtype.is_floating_point else torch.tensor(random.normal(size=count))
        b = a + torch.tensor(random.integers(0, 2, count) * random.integers(0, 2))
        if dtype.is_floating_point and number % 7 == 0:
            a[random.integers(count)], b[random.integers(count)] = math.nan, random.choice([math.inf, math.nan, -0.0])
        sides[0][name], sides[1][name] = a.to(dtype), b.to(torch.float32 if number % 11 == 0 else dtype)
    paths = [tmp_path / f"{side}.{suffix}" for side, suffix in zip("ab", suffixes, strict=True)]
    for path, tensors in zip(paths, sides, strict=True):
        torch.save(tensors, path) if path.suffix == ".pt" else safetensors.torch.save_file(tensors, path)
    found = {each["name"]: each for each in json.loads(ckpt("diff", *paths, "--json", status=1).out)["differences"]}
    wants = {name: oracle(sides[0][name].double().numpy(), sides[1][name].double().numpy()) for name in sides[0]}
    different = {name for name, want in wants.items() if want["changed"]}
    assert {name for name, each in found.items() if "changed" in each} == different and 50 < len(different) < 250
    assert [name for name in different if not agrees(found[name], wants[name])] == []


TOLERANCES = st.sampled_from([0.0, 1e-3, 0.5, 1.0, 2.0])


@relaxed
@given(st.lists(st.tuples(FIGURES, FIGURES), min_size=1, max_size=8), TOLERANCES, TOLERANCES)
def test_tolerances_are_numpys(ckpt: Ckpt, tmp_path: Path, rows: list[tuple[float, float]], rtol: float, atol: float) -> None:
    a, b = (torch.tensor(side, dtype=torch.float64) for side in zip(*rows, strict=True))
    with np.errstate(all="ignore"):
        expected = int((~np.isclose(a.numpy(), b.numpy(), rtol=rtol, atol=atol, equal_nan=True)).sum())
    found = ckpt("diff", *pair(tmp_path, a, b), "--rtol", rtol, "--atol", atol, status=int(expected > 0))
    assert [row[4] for row in found.rows] == ([f"{expected}/{len(rows)}"] if expected else [])


@pytest.mark.parametrize("option", [("--rtol", "-1"), ("--atol", "-1e-9"), ("--rtol", "x"), ("--stat", "--name-only")])
def test_tolerances_below_zero_and_two_forms_at_once_are_errors(ckpt: Ckpt, option: tuple[str, ...]) -> None:
    ckpt("diff", SAMPLES / "mlp.pt", SAMPLES / "mlp.pt", *option, status=2)


@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_figures_of_very_small_and_very_large_numbers_are_no_nan(ckpt: Ckpt, tmp_path: Path, scale: float) -> None:
    a = torch.tensor([3.0, 4.0], dtype=torch.float64) * scale
    (found,) = ckpt("diff", *pair(tmp_path, a, a * 2), "--json", status=1).json["differences"]
    assert found["cosine"] == pytest.approx(1) and found["rel_l2"] == pytest.approx(1)


def test_blocks_far_apart_add_up_to_the_figures_of_the_whole(ckpt: Ckpt, tmp_path: Path) -> None:
    a = torch.randn(700_000, generator=torch.Generator().manual_seed(0))
    b = a.clone()
    b[300_000] += 0.25
    b[699_999] -= 1
    b[5] += 1e-6
    x, y = a.double().numpy(), b.double().numpy()
    for options, changed, first in (((), 3, 5), (("--atol", "0.01"), 2, 300_000)):
        (found,) = ckpt("diff", *pair(tmp_path, a, b), "--json", *options, status=1).json["differences"]
        assert (found["changed"], found["first"], found["max_abs"]) == (changed, [first], np.abs(x - y).max())
        assert found["rel_l2"] == pytest.approx(np.linalg.norm(x - y) / np.linalg.norm(x), rel=1e-12)
        assert found["cosine"] == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), rel=1e-12)
    (row,) = ckpt("diff", *pair(tmp_path, a, b.double()), status=1).rows
    assert row[0] == "dtype" and row[4] == "3/700000" and row[8] == "[5]"


@pytest.mark.parametrize("model", ["mlp", "nested", "shared-mlp", "fancy-mlp"])
@pytest.mark.parametrize(("a", "b"), [(".pt", ".safetensors"), (".legacy.pt", ".pt"), (".safetensors", ".legacy.pt"), (".pt", ".pt")])
def test_the_same_weights_in_two_formats_are_the_same(ckpt: Ckpt, model: str, a: str, b: str) -> None:
    found = ckpt("diff", SAMPLES / f"{model}{a}", SAMPLES / f"{model}{b}")
    assert found.out == "" and found.err == ""


def test_ties_count_between_formats(ckpt: Ckpt, sample: Any) -> None:
    path = sample("shared-mlp.pt")
    loose = path.parent / "loose.safetensors"
    safetensors.torch.save_file({name: tensor.clone() for name, tensor in torch.load(path).items()}, loose)
    assert statuses(ckpt, (path, loose)) == [("untied", f"{layer}.{leaf}") for layer in (2, 4) for leaf in ("weight", "bias")]
    assert {status for status, _ in statuses(ckpt, (loose, path))} == {"tied"}
    ckpt("set", path, "2.weight[0,0] += 1", "-o", path.parent / "b.pt")
    assert statuses(ckpt, (path, path.parent / "b.pt")) == [("changed", "2.weight"), ("changed", "4.weight")]


def test_a_map_renames_before_comparing(ckpt: Ckpt, tmp_path: Path) -> None:
    state = torch.load(SAMPLES / "mlp.pt")
    torch.save({f"net.{name}": tensor for name, tensor in state.items()}, tmp_path / "b.pt")
    paths = (SAMPLES / "mlp.pt", tmp_path / "b.pt")
    assert len(statuses(ckpt, paths)) == 8
    assert statuses(ckpt, paths, "--map", "*=net.*", status=0) == []
    rest = statuses(ckpt, paths, "--map", "0.*=net.0.*")
    assert rest == [("removed", "2.weight"), ("removed", "2.bias"), ("added", "net.2.weight"), ("added", "net.2.bias")]


def test_patterns_choose_what_is_compared(ckpt: Ckpt, sample: Any) -> None:
    path = sample("module.pt")
    ckpt("set", path, "0.bias = 7", "-i")
    paths = (SAMPLES / "module.pt", path)
    assert statuses(ckpt, paths, "*.weight", status=0) == [] == statuses(ckpt, paths, "@Linear.weight", status=0)
    assert statuses(ckpt, paths, "*.bias") == [("changed", "0.bias")] == statuses(ckpt, paths, "@Linear.bias")
    assert "did you mean" in ckpt("diff", *paths, "0.bais", status=2).err


def test_stat_counts_and_name_only_names(ckpt: Ckpt, tmp_path: Path) -> None:
    paths = pair(
        tmp_path, {"a": one, "b": one, "c": one.clone(), "d": one.clone()}, {"a": two, "b": two.clone(), "c": two.clone(), "e": one}
    )
    assert ckpt("diff", *paths, "--stat", status=1).out == "removed\t1\nchanged\t3\nuntied\t2\nadded\t1\nunchanged\t0\n"
    assert ckpt("diff", *paths, "--name-only", status=1).out == "d\na\nb\nc\ne\n"
    assert ckpt("diff", paths[0], paths[0], "--stat").out == "unchanged\t4\n"
    assert ckpt("diff", paths[0], paths[0], "--name-only").out == ""


@pytest.mark.filterwarnings("ignore")
def test_quantised_and_sparse_tensors_are_compared_by_all_that_they_hold(ckpt: Ckpt, tmp_path: Path) -> None:
    def tensors(**changed: Any) -> dict[str, torch.Tensor]:
        eye = torch.eye(3)
        return {
            "q": torch.quantize_per_tensor(torch.tensor([1.0, 2.0]), 0.1, 3, torch.qint8),
            "c": torch.quantize_per_channel(torch.ones(2, 3), torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), 0, torch.qint8),
            "coo": eye.to_sparse(),
            "csr": eye.to_sparse_csr(),
        } | changed

    def changed(**which: Any) -> list[tuple[str, str]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            paths = pair(tmp_path, tensors(), tensors(**which))
        return statuses(ckpt, paths, status=1 if which else 0)

    assert changed() == []
    moved = torch.zeros(3, 3)
    moved[[0, 1, 2], [1, 2, 0]] = 1  # the same values at other places
    fourth = torch.eye(3)
    fourth[0, 1] = 1
    for new in (moved, fourth, torch.eye(3) * 2):
        assert changed(coo=new.to_sparse()) == [("changed", "coo")]
        assert changed(csr=new.to_sparse_csr()) == [("changed", "csr")]
    assert changed(coo=torch.eye(3)) == [("dtype", "coo")] and changed(q=torch.ones(2)) == [("dtype", "q")]
    assert changed(coo=torch.eye(4).to_sparse()) == [("shape", "coo")]
    assert changed(q=torch.quantize_per_tensor(torch.tensor([1.0, 3.0]), 0.1, 3, torch.qint8)) == [("changed", "q")]
    assert changed(q=torch._make_per_tensor_quantized_tensor(tensors()["q"].int_repr(), 0.2, 3)) == [("changed", "q")]
    scaled = torch._make_per_channel_quantized_tensor(tensors()["c"].int_repr(), torch.tensor([0.1, 0.3]), torch.tensor([0, 1]), 0)
    assert changed(c=scaled) == [("changed", "c")]


def test_a_file_that_is_not_there_is_an_error_and_no_difference(ckpt: Ckpt, tmp_path: Path) -> None:
    assert ckpt("diff", SAMPLES / "mlp.pt", tmp_path / "no.pt", status=2).err == (
        f"ckpt: error: {tmp_path / 'no.pt'}: no such file or directory (check the path)\n"
    )


@pytest.mark.parametrize(
    ("one", "two", "paths"),
    [
        ({}, {"epoch": 1}, ["epoch"]),
        ({"epoch": 1}, {}, ["epoch"]),
        ({"epoch": 1, "args": {"lr": 0.1, "seed": 0}}, {"epoch": 2, "args": {"lr": 0.2, "seed": 0}}, ["epoch", "args.lr"]),
        ({"epoch": 1, "loss": math.nan}, {"epoch": 1, "loss": math.nan}, []),
        ({"run": dict.fromkeys("abcdef", 1)}, {"run": dict.fromkeys("abcdef", 2)}, [f"run.{name}" for name in "abcdef"]),
    ],
)
def test_objects_that_differ_are_named_and_are_no_difference(
    one: dict[str, Any], two: dict[str, Any], paths: list[str], ckpt: Ckpt, tmp_path: Path
) -> None:
    files = pair(tmp_path, {"w": torch.ones(2), **one}, {"w": torch.ones(2), **two})
    told = ckpt("diff", *files, status=0)
    shown = ", ".join(paths[:5]) + ", …" * (len(paths) > 5)
    assert told.out == "" and told.err == (f"ckpt: objects that are no tensors differ: {shown}\n" if paths else "")
    document = ckpt("diff", *files, "--json", status=0).json
    assert document["same"] and document["objects"] == paths and document["metadata"] == []


def test_no_object_is_missed_where_a_format_has_no_place_for_any(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "epoch": 3}, tmp_path / "a.pt")
    for suffix in ("safetensors", "gguf", "npz", "h5"):
        ckpt("convert", tmp_path / "a.pt", tmp_path / f"a.{suffix}")
        for files in (("a.pt", f"a.{suffix}"), (f"a.{suffix}", "a.pt")):
            told = ckpt("diff", *(tmp_path / file for file in files), status=0)
            assert "objects" not in told.err, suffix

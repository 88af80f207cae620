"""`ckpt stats`: figures against float64 oracles, for every dtype; through the command line where a user would."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from conftest import CASES, SAMPLES, WHOLE, Ckpt, examples
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import DTYPES, example
from safetensors.torch import save_file

from ckpt_cli import reading
from ckpt_cli.analysis.figures import FIGURES
from ckpt_cli.analysis.histogram import BINS
from ckpt_cli.analysis.kernels import figures_of
from ckpt_cli.analysis.stats import Figures, histograms, stats, total
from ckpt_cli.numbers.dtypes import named, to_numpy
from ckpt_cli.storage.storage import Fill, Memory
from ckpt_cli.tensors.tensor import Tensor

Case = Callable[[str], Path]
FLOATS = ("float16", "bfloat16", "float32", "float64")


def oracle(values: np.ndarray) -> dict[str, Any]:
    """The figures of real values by plain numpy."""
    if values.dtype.kind in "iub":
        exact = [int(value) for value in values.reshape(-1)]
        wide = values.astype("float64")
        mean = sum(exact) / len(exact)
        return {"min": min(exact), "max": max(exact), "mean": mean, "std": float(np.sqrt(np.square(wide - mean).mean())),
                "l2": math.hypot(*wide), "zeros": exact.count(0), "nan": 0, "inf": 0}  # fmt: skip
    wide = values.astype("float64").reshape(-1)
    some = wide[np.isfinite(wide)]
    moments = (some.min(), some.max(), math.fsum(some) / some.size, some.std()) if some.size else (None,) * 4
    found = dict(zip(("min", "max", "mean", "std"), moments, strict=True)) | {"l2": math.sqrt(math.fsum(some * some))}
    return found | {"zeros": int((some == 0).sum()), "nan": int(np.isnan(wide).sum()), "inf": int(np.isinf(wide).sum())}


def close(found: Figures | dict[str, Any], want: dict[str, Any], size: float = 0.0) -> bool:
    """The rest exactly; moments to 1e-6, the mean also to 1e-9 of the values' `size` where they cancel out."""
    if isinstance(found, Figures):
        found = {key: FIGURES[key].of(found) for key in want}
    slack = {"mean": 1e-9 * size, "std": 1e-12 * size, "l2": 0.0}
    exact = all(found[key] == want[key] for key in want if key not in slack)
    near = (
        found[key] == want[key]
        or (None not in (found[key], want[key]) and math.isclose(found[key], want[key], rel_tol=1e-6, abs_tol=slack[key]))
        for key in slack
        if key in want
    )
    return exact and all(near)


def size_of(want: dict[str, Any]) -> float:
    return max(abs(want["min"]), abs(want["max"])) if want["min"] is not None else 0.0


def array(dtype: str, raw: bytes) -> np.ndarray:
    return np.frombuffer(raw, to_numpy(named(dtype)))


REAL = [name for name in DTYPES if not name.startswith("complex")]


@pytest.mark.parametrize("dtype", REAL)
@settings(max_examples=examples(30), deadline=None)
@given(st.integers(1, 400), st.integers(0, 2**31))
def test_random_bits_of_every_real_dtype(dtype: str, count: int, seed: int) -> None:
    values = array(dtype, bytes(example(dtype, count, seed=seed).view(torch.uint8).numpy()))
    if dtype == "float64":  # whose squares would be beyond float64
        values = np.where(np.isfinite(values) & (np.abs(values) > 1e150), 1.5, values)
    want = oracle(values)
    assert close(figures_of(named(dtype), bytearray(values.tobytes())), want, size_of(want))


SHAPES_OF_VALUES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.standard_normal(n) * 0.02,
    "a mean large against the spread": lambda rng, n: 1000 + rng.standard_normal(n) * 0.5,
    "a mean hopelessly large": lambda rng, n: 1e6 + rng.integers(0, 2, n) / 16,
    "two values": lambda rng, n: rng.choice([0.1, -0.3], n),
    "positive": lambda rng, n: rng.uniform(0, 1, n),
    "negative": lambda rng, n: -rng.uniform(1, 2, n),
    "one value": lambda rng, n: np.full(n, 0.1),
    "zeros of both signs": lambda rng, n: rng.choice([0.0, -0.0], n),
    "only minus zero": lambda rng, n: np.full(n, -0.0),
    "sparse": lambda rng, n: rng.standard_normal(n) * (rng.uniform(0, 1, n) < 0.1),
    "wide": lambda rng, n: np.exp(rng.standard_normal(n) * 3) * rng.choice([-1, 1], n),
    "tiny": lambda rng, n: rng.standard_normal(n) * 1e-39,
    "huge": lambda rng, n: np.clip(rng.standard_normal(n) * 1e37, -3e38, 3e38),
    "with NaN and infinities": lambda rng, n: rng.choice([1.5, np.nan, np.inf, -np.inf, -2.0, 0.0], n),
    "NaN with the sign set": lambda rng, n: -np.full(n, np.nan),
    "only infinities": lambda rng, n: np.full(n, -np.inf),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", SHAPES_OF_VALUES)
def test_floats_of_every_shape_of_values(kind: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    with np.errstate(over="ignore"):
        values = SHAPES_OF_VALUES[kind](rng, 300_001).astype(to_numpy(named(dtype)))
    want = oracle(values)
    tensor = Tensor.whole(named(dtype), values.shape, Memory(values.tobytes()))
    [(_, found)] = stats({"x": tensor})
    assert close(found, want, size_of(want)), (found, want)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32", "uint32", "int16", "uint16", "int8", "uint8"])
def test_integers_are_exact_to_their_full_range(dtype: str) -> None:
    info = np.iinfo(dtype)
    values = np.array([info.min, info.max, info.max - 1, 0, 1], dtype)
    found = figures_of(named(dtype), bytearray(values.tobytes()))
    assert (found.min, found.max) == (int(info.min), int(info.max)) and type(found.min) is int
    assert close(found, oracle(values))


@pytest.mark.parametrize("dtype", ["complex32", "complex64", "complex128"])
def test_complex(dtype: str) -> None:
    parts = np.array([3, 4, 0, 0, -1, 2, np.nan, 1, np.inf, 0, np.inf, np.nan], {32: "f2", 64: "f4", 128: "f8"}[int(dtype[7:])])
    found = figures_of(named(dtype), bytearray(parts.tobytes()))
    some = np.array([3 + 4j, 0, -1 + 2j])
    assert (found.min, found.zeros, found.nan, found.inf) == (0, 1, 2, 1)
    assert found.max == 5 and found.mean == pytest.approx(some.mean())
    assert found.std == pytest.approx(some.std()) and found.l2 == pytest.approx(np.linalg.norm(some))


@pytest.mark.parametrize("dtype", DTYPES)
def test_forked_is_the_same(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckpt_cli.tensors.blocks.ITEM", 1 << 16)
    tensors = {}
    for at, count in enumerate((0, 3, 70_001, 200_000)):
        tensor = example(dtype, count, seed=at)
        tensors[str(at)] = Tensor.whole(named(dtype), (count,), Memory(bytes(tensor.view(torch.uint8).numpy())))
    alone, side_by_side = dict(stats(tensors, workers=1)), dict(stats(tensors, workers=3))
    assert [repr(one) for one in alone.values()] == [repr(one) for one in side_by_side.values()]
    assert alone["0"] == Figures()


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.lists(st.floats(-1e9, 1e9, width=32), min_size=1, max_size=20), min_size=1, max_size=6))
def test_merged_figures_are_those_of_all(parts: list[list[float]]) -> None:
    found = total(figures_of(named("float32"), bytearray(np.array(part, "f4").tobytes())) for part in parts)
    want = oracle(np.concatenate([np.array(part, "f4") for part in parts]))
    assert close(found, want, size_of(want) * 1e3)


@pytest.mark.skipif(not WHOLE, reason="reads 2 GB; test_diff.py does so every day: make test-all")
def test_more_than_two_to_the_31_elements() -> None:
    """1, 3, 1, 3, … 1: made, not stored."""
    count = 2**31 + 1
    tensor = Tensor.whole(named("uint8"), (count,), Fill(bytes([1, 3]), count))
    [(_, found)] = stats({"x": tensor})
    assert (found.count, found.min, found.max) == (count, 1, 3)
    assert found.mean == pytest.approx(2 - 1 / count, rel=1e-15) and found.std == pytest.approx(math.sqrt(1 - count**-2), rel=1e-12)
    assert found.l2 == pytest.approx(math.sqrt(2**30 * 10 + 1), rel=1e-12)


def test_a_spread_that_only_shows_between_blocks() -> None:
    values = np.concatenate([np.full(70_000, 1000.0, "f4"), np.full(70_000, 1001.0, "f4")])
    [(_, found)] = stats({"x": Tensor.whole(named("float32"), values.shape, Memory(values.tobytes()))})
    assert (found.mean, found.std) == (1000.5, 0.5)


VALUES = {
    "w": torch.tensor([[1.0, -2.0], [0.0, 4.0]]),
    "half": torch.tensor([0.5, float("nan")], dtype=torch.float16),
    "none": torch.empty(0),
}
SQUARES = repr(math.sqrt(21))


def test_pipe_and_json(ckpt: Ckpt, tmp_path: Path) -> None:
    save_file(VALUES, tmp_path / "w.safetensors")
    rows = {row[0]: row[1:] for row in ckpt("stats", tmp_path / "w.safetensors").rows}
    assert rows == {
        "w": ["float32", "2x2", "-2.0", "4.0", "0.75", repr(math.sqrt(4.6875)), SQUARES, "1", "0", "0"],
        "half": ["float16", "2", "0.5", "0.5", "0.5", "0.0", "0.5", "0", "1", "0"],
        "none": ["float32", "0", "", "", "", "", "0.0", "0", "0", "0"],
    }
    document = ckpt("stats", tmp_path / "w.safetensors", "w", "--json").json
    assert document == {
        "path": str(tmp_path / "w.safetensors"),
        "format": "safetensors",
        "tensors": [
            {"name": "w", "dtype": "float32", "shape": [2, 2], "min": -2.0, "max": 4.0, "mean": 0.75, "std": math.sqrt(4.6875),
             "l2": math.sqrt(21), "zeros": 1, "nan": 0, "inf": 0},
        ],
    }  # fmt: skip


def test_figures_beyond_float64_are_strings(ckpt: Ckpt, tmp_path: Path) -> None:
    save_file({"w": torch.tensor([1e200, -1e200], dtype=torch.float64)}, tmp_path / "w.safetensors")
    [record] = ckpt("stats", tmp_path / "w.safetensors", "--json").json["tensors"]
    assert (record["min"], record["max"], record["mean"], record["std"]) == (-1e200, 1e200, 0.0, "Infinity")


def test_patterns(ckpt: Ckpt) -> None:
    assert [row[0] for row in ckpt("stats", SAMPLES / "mlp.pt", "*.bias").rows] == ["0.bias", "2.bias"]
    ckpt("stats", SAMPLES / "mlp.pt", "nothing", status=2)


def test_what_cannot_be_computed_is_listed_with_a_note(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"sparse": torch.eye(2).to_sparse(), "w": torch.ones(2)}, tmp_path / "w.pt")
    result = ckpt("stats", tmp_path / "w.pt")
    assert result.rows[0] == ["sparse", "float32", "2x2", *[""] * 8] and result.rows[1][3] == "1.0"
    assert "sparse: sparse_coo has no plain elements" in result.err
    assert ckpt("stats", tmp_path / "w.pt", "--json", "sparse").json["tensors"][0]["min"] is None


def test_strided_and_tied_tensors(ckpt: Ckpt, tmp_path: Path) -> None:
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    torch.save({"base": base, "column": base[:, 1], "turned": base.t(), "tied": base}, tmp_path / "w.pt")
    rows = {row[0]: row for row in ckpt("stats", tmp_path / "w.pt").rows}
    assert rows["column"][3:6] == ["1.0", "9.0", "5.0"]
    assert rows["turned"][3:] == rows["base"][3:] == rows["tied"][3:]


def test_the_total_counts_what_is_tied_once(ckpt: Ckpt, tmp_path: Path) -> None:
    one = torch.tensor([1.0, 2.0])
    torch.save({"a": one, "b": one, "c": torch.tensor([6.0]), "z": torch.tensor([1j])}, tmp_path / "w.pt")
    result = ckpt("stats", tmp_path / "w.pt", "--total")
    assert result.rows == [["*", "float32", "", "1.0", "6.0", "3.0", repr(math.sqrt(14 / 3)), repr(math.sqrt(41)), "0", "0", "0"]]
    assert "z: complex, left out of the total" in result.err
    document = ckpt("stats", tmp_path / "w.pt", "--total", "--hist", "--json").json["total"]
    assert (document["params"], document["dtype"], sum(document["histogram"]["counts"])) == (3, "float32", 3)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float8_e4m3fn", "int64", "uint8", "float64"])
def test_histogram(dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 100, 200_000).astype("float32").astype(to_numpy(named(dtype)))
    tensor = Tensor.whole(named(dtype), values.shape, Memory(values.tobytes()))
    wide = values.astype("float64")
    [(_, found)] = histograms({"x": tensor}, {"x": (wide.min(), wide.max())}, workers=2)
    counts, edges = np.histogram(wide + 1e-9, BINS, (wide.min(), wide.max() + 1e-9))  # no value on an edge but the first and last
    assert np.abs(np.array(found.edges) - edges).max() < 1e-6
    assert sum(found.counts) == values.size and np.abs(np.array(found.counts) - counts).max() <= 0.02 * values.size
    exact = np.clip(np.floor((wide - wide.min()) / (wide.max() - wide.min()) * BINS), 0, BINS - 1)
    assert found.counts == np.bincount(exact.astype(int), minlength=BINS).tolist()


def test_histogram_on_the_command_line(ckpt: Ckpt, tmp_path: Path) -> None:
    tensors = {"w": torch.arange(40.0), "one": torch.full((3,), 7.0), "inf": torch.tensor([0.0, 1.0, float("inf"), float("nan")])}
    save_file(tensors | {"none": torch.empty(0), "far": torch.tensor([-1.7e308, 1.7e308], dtype=torch.float64)}, tmp_path / "w.safetensors")
    counts = {row[0]: row[11] for row in ckpt("stats", tmp_path / "w.safetensors", "--hist").rows}
    assert counts["w"] == ",".join(["2"] * 20)
    assert counts["one"] == ",".join(["0"] * 10 + ["3"] + ["0"] * 9)
    assert counts["inf"] == counts["far"] == ",".join(["1"] + ["0"] * 18 + ["1"])
    assert counts["none"] == ""
    records = {one["name"]: one for one in ckpt("stats", tmp_path / "w.safetensors", "--hist", "--json").json["tensors"]}
    assert records["one"]["histogram"]["edges"][::20] == [6.5, 7.5] and "histogram" not in records["none"]


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    import subprocess
    import sys

    save_file({f"layer.{at}.weight": torch.zeros(2) for at in range(5000)}, tmp_path / "w.safetensors")
    command = f"{sys.executable} -m ckpt_cli stats {tmp_path}/w.safetensors | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("layer.0.weight\t") and done.stderr == ""


def test_a_file_cut_off_while_it_is_read_is_one_line(ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a worker: its error is said as if there were none."""
    path = tmp_path / "w.safetensors"
    save_file({"w": torch.zeros(100_000), "v": torch.zeros(100_000)}, path)
    opened = reading.open

    def cutting(*how: Any) -> Any:
        checkpoint = opened(*how)
        path.write_bytes(path.read_bytes()[:1000])
        return checkpoint

    monkeypatch.setattr(reading, "open", cutting)
    monkeypatch.setattr("ckpt_cli.tensors.blocks.SMALL", 0)
    monkeypatch.setattr("ckpt_cli.tensors.blocks.ITEM", 1 << 16)
    for command in ("stats", "hash"):
        result = ckpt(command, path, status=2)
        assert str(path) in result.err and "shorter" in result.err and result.out == ""
        save_file({"w": torch.zeros(100_000), "v": torch.zeros(100_000)}, path)


def readable() -> list[str]:
    if not CASES.is_dir():
        return []
    index = json.loads((CASES / "expect" / "INDEX.json").read_text())
    return [one["file"] for one in index if one["kind"] == "file" and one["file"].split("/")[0] in ("torch", "safetensors", "lightning")]


@pytest.mark.parametrize("name", readable() or ["none"])
def test_real_checkpoints(ckpt: Ckpt, case: Case, name: str) -> None:
    result = ckpt("stats", case(name), "--json", status=None)
    if result.status:
        pytest.skip(result.err)
    found = {one["name"]: one for one in result.json["tensors"]}
    record = json.loads((CASES / "expect" / (name.replace("/", "__") + ".json")).read_text())
    for tensor in record["tensors"]:
        want = tensor.get("stats")
        if not want or tensor["name"] not in found:
            continue
        one = found[tensor["name"]]
        if "absmax" in want:
            assert (one["max"], one["nan"], one["zeros"]) == (pytest.approx(want["absmax"]), want["nan"], want["zeros"])
            continue
        inf = {"inf": want["posinf"] + want["neginf"]} if "posinf" in want else {}
        if want.get("std") is None and want.get("mean") is not None and one["std"] == "Infinity":
            want["std"] = "Infinity"  # JSON has no number for it
        want = {key: want[key] for key in ("min", "max", "mean", "std", "zeros", "nan") if key in want} | inf
        assert close(one, want, size_of(want)), (tensor["name"], one, want)


def test_memory_and_imports_stay_small(tmp_path: Path) -> None:
    """256 MB of zeros, sparse on disk: neither torch nor the file comes into memory."""
    import subprocess
    import sys

    path = tmp_path / "big.safetensors"
    size = 256 << 20
    header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    program = (
        "import sys, resource, numpy, numkong; from ckpt_cli.cli import main; before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "status = main(['stats', sys.argv[1]]); peak = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF,"
        "resource.RUSAGE_CHILDREN)]; print(status, 'torch' in sys.modules, max(peak) - before < 40_000)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    row, facts = done.stdout.splitlines()
    assert row.split("\t")[3:] == ["0.0", "0.0", "0.0", "0.0", "0.0", str(size // 4), "0", "0"]
    assert facts == "0 False True"
    assert reading.open(str(path))["w"].numel == size // 4


def test_nothing_is_said_about_odd_values(tmp_path: Path) -> None:
    """NaNs of any bits, infinities, the largest numbers: numpy's warnings do not reach the terminal."""
    import subprocess
    import sys

    tensors = {
        name: example(name, 1000) for name in ("float16", "bfloat16", "float32", "float64", "complex64", "float8_e4m3fn", "float8_e5m2")
    }
    save_file(tensors, tmp_path / "w.safetensors")
    command = [sys.executable, "-m", "ckpt_cli", "stats", "--hist", str(tmp_path / "w.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "" and len(done.stdout.splitlines()) == len(tensors)


def test_ml_dtypes_and_we_agree_on_the_bits_of_infinity() -> None:
    from ckpt_cli.analysis.kernels import _INFINITY

    for name, found in _INFINITY.items():
        kind = getattr(ml_dtypes, name, None) or np.dtype(name).type
        assert int.from_bytes(np.array(np.inf, kind).tobytes(), "little") == found

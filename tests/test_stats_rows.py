"""`ckpt stats --sort, --by-layer, --total`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES, Ckpt
from oracles import saved

COLUMNS = ("name", "dtype", "shape", "min", "max", "mean", "std", "l2", "zeros", "nan", "inf")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    shared = torch.randn(6)
    return saved(tmp_path / "odd.pt", {
        "b.weight": torch.randn(30, 4), "b.bias": torch.tensor([math.nan, 0, math.inf, 2.0]), "b.num_batches_tracked": torch.tensor(10**6),
        "a.u": shared, "a.v": shared, "a.w": torch.randn(3).double(), "c.ids": torch.arange(5), "c.mask": torch.tensor([True]),
        "d.z": torch.tensor([3 + 4j]), "e.none": torch.tensor([math.nan]), "f.sparse": torch.eye(2).to_sparse(),
        "top": torch.full((2,), -7.0),
    })  # fmt: skip


def test_a_layer_has_the_figures_of_its_elements(ckpt: Ckpt, odd: Path) -> None:
    tensors = torch.load(odd)
    rows = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in ckpt("stats", odd, "--by-layer").rows}
    assert list(rows) == ["b", "a", "c", "d", "e", "f", ""]
    for path, names in {"b": ["b.weight", "b.bias"], "a": ["a.u", "a.w"], "c": ["c.ids", "c.mask"], "": ["top"]}.items():
        values = np.concatenate([tensors[name].double().reshape(-1).numpy() for name in names])
        some = values[np.isfinite(values)]
        want = {"min": some.min(), "max": some.max(), "mean": some.mean(), "std": some.std(), "l2": np.linalg.norm(some)}
        assert {key: float(rows[path][key]) for key in want} == pytest.approx(want, rel=1e-6)
        assert [int(rows[path][key]) for key in ("zeros", "nan", "inf")] == [
            (some == 0).sum(),
            np.isnan(values).sum(),
            np.isinf(values).sum(),
        ]
    assert (rows["b"]["dtype"], rows["a"]["dtype"]) == ("float32", "") and not any(row["shape"] for row in rows.values())
    assert float(rows["d"]["max"]) == 5 and rows["f"]["max"] == "" and rows["e"]["nan"] == "1"


def test_integers_beside_floats_are_named_and_left_out(ckpt: Ckpt, odd: Path) -> None:
    assert "b.num_batches_tracked: other numbers than the rest" in ckpt("stats", odd, "--by-layer").err
    assert "c.ids" not in ckpt("stats", odd, "--by-layer").err
    layers = {each["name"]: each["params"] for each in ckpt("stats", odd, "--by-layer", "1", "--json").json["layers"]}
    assert layers == {"b": 124, "a": 9, "c": 6, "d": 1, "e": 1, "f": 0, "": 2}


def test_a_layer_has_a_histogram_of_its_own(ckpt: Ckpt, odd: Path) -> None:
    layers = {each["name"]: each for each in ckpt("stats", odd, "--by-layer", "--hist", "--json").json["layers"]}
    values = torch.cat([torch.load(odd)[name].double().reshape(-1) for name in ("a.u", "a.w")]).numpy()
    assert layers["a"]["histogram"]["counts"] == np.histogram(values, 20)[0].tolist() and "histogram" not in layers["e"]


@pytest.mark.parametrize("column", ["min", "max", "mean", "std", "l2", "zeros", "nan", "inf"])
def test_numbers_are_sorted_from_the_largest_and_what_has_none_is_last(ckpt: Ckpt, odd: Path, column: str) -> None:
    rows = ckpt("stats", odd, "--sort", column).rows
    cells = [row[COLUMNS.index(column)] for row in rows]
    numbers = [abs(complex(cell)) if "j" in cell else float(cell) for cell in cells if cell]
    assert numbers == sorted(numbers, reverse=True) and cells == [*filter(None, cells), *[""] * cells.count("")]
    assert sorted(rows) == sorted(ckpt("stats", odd).rows)


def test_names_are_sorted_from_a(ckpt: Ckpt, odd: Path) -> None:
    names = [row[0] for row in ckpt("stats", odd, "--sort", "name").rows]
    assert names == sorted(names) == [row[0] for row in ckpt("ls", odd, "--sort", "name").rows]
    assert [row[0] for row in ckpt("stats", odd, "--by-layer", "--sort", "name").rows] == ["", "a", "b", "c", "d", "e", "f"]
    assert "'l2'" in ckpt("stats", odd, "--sort", "norm", status=2).err


def test_the_total_is_of_the_model_alone(ckpt: Ckpt) -> None:
    path = SAMPLES / "training.ckpt"
    found = ckpt("stats", path, "--total")
    assert found.rows == ckpt("stats", path, "model.*", "--total").rows
    assert "optimizer.state.0" in found.err and "(12 tensors)" in found.err
    everything = ckpt("stats", path, "*", "--total")
    assert everything.rows != found.rows and not everything.err


def test_an_optimizer_alone_has_a_total(ckpt: Ckpt, tmp_path: Path) -> None:
    path = saved(tmp_path / "optimizer.pt", {"optimizer": {"state": {0: {"momentum_buffer": torch.full((3,), 2.0)}}}})
    found = ckpt("stats", path, "--total")
    assert float(found.rows[0][COLUMNS.index("max")]) == 2 and not found.err


def test_an_average_is_no_part_of_the_total(ckpt: Ckpt, tmp_path: Path) -> None:
    net = {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(2)}
    path = saved(tmp_path / "ema.pt", {"model": net, "ema": {name: 5 * tensor for name, tensor in net.items()}})
    assert float(ckpt("stats", path, "--total").rows[0][COLUMNS.index("max")]) == 1


def test_two_forms_exclude_each_other(ckpt: Ckpt) -> None:
    assert "choose one" in ckpt("stats", SAMPLES / "mlp.pt", "--total", "--by-layer", status=2).err

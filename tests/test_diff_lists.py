"""`ckpt diff --sort, --by-layer, --unchanged, --stat`, and the prefix that keeps two checkpoints apart."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES, Ckpt
from oracles import saved

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def training(tmp_path: Path) -> tuple[Path, Path]:
    """A network before and after a training that left some of it as it was."""
    torch.manual_seed(0)
    before = {
        "enc.0.weight": torch.randn(300, 40), "enc.0.bias": torch.randn(40),
        "enc.1.weight": torch.randn(7), "enc.1.running_mean": torch.randn(7), "enc.1.num_batches_tracked": torch.tensor(3),
        "enc.2.weight": torch.randn(5), "enc.2.mask": torch.tensor([True, False]),
        "head.weight": torch.randn(4, 4), "head.half": torch.randn(9).half(), "ids": torch.arange(6), "gone.w": torch.ones(2),
    }  # fmt: skip
    after = {name: tensor.clone() for name, tensor in before.items() if name != "gone.w"}
    after["enc.0.bias"] *= 1.5
    after["enc.1.weight"] += 0.001
    after["enc.1.num_batches_tracked"] += 50_000
    after["head.weight"][0, 0] = 30
    after["head.half"] = before["head.half"].float()
    after["head.new"] = torch.ones(1)
    after["ids"] += 1
    return saved(tmp_path / "before.pt", before), saved(tmp_path / "after.pt", after)


def together(before: Tensors, after: Tensors, names: list[str]) -> dict[str, float]:
    """The numbers of several tensors as if they were one, in numpy's float64."""
    a, b = (np.concatenate([side[name].double().reshape(-1).numpy() for name in names]) for side in (before, after))
    norms = np.linalg.norm(a), np.linalg.norm(b)
    return {"max_abs": np.abs(a - b).max(), "rel_l2": np.linalg.norm(a - b) / norms[0], "cosine": a @ b / (norms[0] * norms[1])}


LAYERS = {  # status, tensors whose elements count, tensors that the numbers are of
    "enc.0": ("changed", ["weight", "bias"], ["weight", "bias"]),
    "enc.1": ("changed", ["weight", "running_mean", "num_batches_tracked"], ["weight", "running_mean"]),
    "head": ("changed,dtype,added", ["weight", "half"], ["weight", "half"]),
    "": ("changed", ["ids"], ["ids"]),
}


def test_a_layer_has_the_numbers_of_all_its_elements(ckpt: Ckpt, training: tuple[Path, Path]) -> None:
    before, after = map(torch.load, training)
    document = ckpt("diff", *training, "--by-layer", "--json", status=1).json
    layers = {each["name"]: each for each in document["layers"]}
    assert layers.pop("gone") == {"status": "removed", "name": "gone", "before": "1 tensor"} and set(layers) == set(LAYERS)
    for path, (status, leaves, measured) in LAYERS.items():
        full = [[f"{path}.{leaf}" if path else leaf for leaf in some] for some in (leaves, measured)]
        found = layers[path]
        assert found["status"] == status and found["elements"] == sum(before[name].numel() for name in full[0])
        assert found["changed"] == sum(int((before[name] != after[name]).sum()) for name in full[0])
        assert all(math.isclose(found[key], value, rel_tol=1e-6) for key, value in together(before, after, full[1]).items()), path
    assert (layers["head"]["before"], layers["head"]["after"]) == ("2 tensors", "3 tensors") and "before" not in layers["enc.0"]


def test_layers_come_with_the_largest_change_first(ckpt: Ckpt, training: tuple[Path, Path]) -> None:
    rows = ckpt("diff", *training, "--by-layer", status=1).rows
    sizes = [float(row[6]) for row in rows if row[6]]
    assert sizes == sorted(sizes, reverse=True) and rows[-1][:2] == ["removed", "gone"] and all(row[8] == "" for row in rows)
    assert [row[1] for row in ckpt("diff", *training, "--by-layer", "--sort", "name", status=1).rows] == [
        "",
        "enc.0",
        "enc.1",
        "gone",
        "head",
    ]


@pytest.mark.parametrize(
    ("depth", "layers"),
    [("1", ["", "enc", "gone", "head"]), ("2", ["", "enc.0", "enc.1", "gone", "head"]), ("9", ["", "enc.0", "enc.1", "gone", "head"])],
)
def test_a_depth_cuts_the_paths(ckpt: Ckpt, training: tuple[Path, Path], depth: str, layers: list[str]) -> None:
    for words in ([*training, "--by-layer", depth], ["--by-layer", depth, *training], [f"--by-layer={depth}", *training]):
        assert sorted(row[1] for row in ckpt("diff", *words, status=1).rows) == layers
    merged = {row[1]: row for row in ckpt("diff", *training, "--by-layer", depth, status=1).rows}
    if depth == "1":
        before, after = map(torch.load, training)
        names = ["enc.0.weight", "enc.0.bias", "enc.1.weight", "enc.1.running_mean", "enc.2.weight"]
        assert float(merged["enc"][6]) == pytest.approx(together(before, after, names)["rel_l2"], rel=1e-5)


def test_a_file_may_follow_an_option_without_its_value(ckpt: Ckpt, training: tuple[Path, Path]) -> None:
    want = ckpt("diff", *training, "--by-layer", status=1).out
    assert ckpt("diff", "--by-layer", *training, status=1).out == want == ckpt("diff", "--by-layer", "--", *training, status=1).out
    for value in ("--by-layer=0", "--by-layer=x", "--by-layer=-1"):
        ckpt("diff", *training, value, status=2)


def test_what_is_tied_in_a_layer_counts_once(ckpt: Ckpt, tmp_path: Path) -> None:
    shared, moved = torch.ones(8), torch.full((8,), 2.0)
    a = saved(tmp_path / "a.pt", {"l.u": shared, "l.v": shared, "l.w": torch.ones(8)})
    b = saved(tmp_path / "b.pt", {"l.u": moved, "l.v": moved, "l.w": torch.ones(8)})
    (row,) = ckpt("diff", a, b, "--by-layer", status=1).rows
    assert row[:2] == ["changed", "l"] and row[4] == "8/16" and float(row[6]) == pytest.approx(math.sqrt(8 / 16), rel=1e-5)


UNCHANGED = ["enc.0.weight", "enc.1.running_mean", "enc.2.weight", "enc.2.mask"]


def test_what_stayed_equal_is_listed_and_counted(ckpt: Ckpt, training: tuple[Path, Path]) -> None:
    assert ckpt("diff", *training, "--unchanged", status=1).rows == [["unchanged", name, *[""] * 7] for name in UNCHANGED]
    assert ckpt("diff", *training, "--unchanged", "--name-only", status=1).out.splitlines() == UNCHANGED
    assert ckpt("diff", *training, "--unchanged", "--by-layer", "--name-only", status=1).out == "enc.2\n"
    counts = dict(ckpt("diff", *training, "--stat", status=1).rows)
    assert counts == {"removed": "1", "changed": "5", "dtype": "1", "added": "1", "unchanged": "4"}
    document = ckpt("diff", *training, "--unchanged", "--stat", "--json", status=1).json
    assert document["unchanged"] == UNCHANGED and document["counts"] == {key: int(count) for key, count in counts.items()}


def test_a_freeze_check_has_the_exit_status_of_what_it_picks(ckpt: Ckpt, training: tuple[Path, Path]) -> None:
    assert ckpt("diff", *training, "enc.2.*", status=0).out == ""
    assert [row[1] for row in ckpt("diff", *training, "enc.2.*", "--unchanged", status=0).rows] == UNCHANGED[2:]
    assert [row[1] for row in ckpt("diff", *training, "enc.[12].*", "--unchanged", status=1).rows] == UNCHANGED[1:]
    assert ckpt("diff", *training, "head.*", "--stat", status=1).rows[-1] == ["unchanged", "0"]


def test_a_report_of_layers_that_a_training_left_alone(ckpt: Ckpt, case: Callable[[str], Path]) -> None:
    folder = case("reports/frozen-layers")
    pair = (folder / "base", folder / "trained.safetensors")
    assert ckpt("diff", *pair, "--unchanged", "--name-only", status=1).out == (folder / "right.txt").read_text()
    assert dict(ckpt("diff", *pair, "--stat", status=1).rows) == {"changed": "4", "added": "1", "unchanged": "9"}
    assert ckpt("diff", *pair, "*.mlp.*", "*.self_attn.*", status=0).out == ""


def test_what_is_not_decoded_is_counted_too(ckpt: Ckpt, tmp_path: Path) -> None:
    kept = torch.arange(4, dtype=torch.uint8)
    a = saved(tmp_path / "a.pt", {"w": torch.ones(2), "raw": kept.untyped_storage(), "other": torch.UntypedStorage(3)})
    b = saved(tmp_path / "b.pt", {"w": torch.ones(2), "raw": kept.clone().untyped_storage(), "other": torch.UntypedStorage(4)})
    assert [row[1] for row in ckpt("diff", a, b, "--unchanged", status=1).rows] == ["w", "raw"]
    assert ckpt("diff", a, b, "--stat", status=1).rows == [["changed", "1"], ["unchanged", "2"]]
    assert ckpt("diff", a, a, "--stat").rows == [["unchanged", "3"]]
    assert [row[:2] for row in ckpt("diff", a, b, "--by-layer", status=1).rows] == [["changed", "other"]]


ORDERS = {
    "changed": ["many", "nan", "far", "turned", "fresh", "added"],
    "max_abs": ["nan", "far", "turned", "fresh", "many", "added"],
    "rel_l2": ["nan", "fresh", "turned", "far", "many", "added"],
    "cosine": ["nan", "fresh", "turned", "far", "many", "added"],
    "name": ["added", "far", "fresh", "many", "nan", "turned"],
}


@pytest.mark.parametrize("by", ORDERS)
def test_differences_are_sorted_with_the_largest_change_first(ckpt: Ckpt, tmp_path: Path, by: str) -> None:
    base = torch.linspace(1, 2, 100)
    fresh = torch.zeros(100)
    fresh[0] = 1.5
    a = {"many": base, "nan": base.clone(), "far": base * 100, "turned": base.clone(), "fresh": torch.zeros(100)}
    b = {"many": base * 1.01, "far": base * 100, "turned": base.clone(), "fresh": fresh, "nan": base.clone(), "added": base}
    b["nan"][:50] = math.nan
    b["far"][:10] += 50
    b["turned"][:3] *= -1
    paths = saved(tmp_path / "a.pt", a), saved(tmp_path / "b.pt", b)
    rows = ckpt("diff", *paths, "--sort", by, status=1).rows
    assert [row[1] for row in rows] == ORDERS[by]
    assert [each["name"] for each in ckpt("diff", *paths, "--sort", by, "--json", status=1).json["differences"]] == ORDERS[by]


def named(prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


NET = {f"encoder.{i}.{leaf}": torch.full((i + 1,), float(i)) for i in range(3) for leaf in ("weight", "bias")}
HEAD = {"head.weight": torch.ones(7)}
DENSE = {"dense.weight": torch.ones(3), "dense.bias": torch.ones(3)}
OTHER = DENSE | HEAD | {"b": torch.ones(3), "c": torch.ones(3)}


@pytest.mark.parametrize(
    ("a", "b", "left"),
    [
        (named("module.", NET), NET, 0), (NET, named("module.", NET), 0),
        (named("_orig_mod.module.", NET), NET, 0), (named("model.", NET), named("module.net.", NET), 0),
        (named("model.", NET) | HEAD, NET | HEAD, 0), (NET | HEAD, named("model.", NET) | HEAD, 0),
        (named("bert.", NET) | HEAD, NET, 1), (NET | HEAD, named("bert.", NET), 1),
        (named("G.module.", NET) | named("D.module.", NET), named("G.", NET) | named("D.", NET), 0),
        ({"w": torch.ones(2)}, {"model.w": torch.ones(2)}, 0),
        (NET | named("pooler.", DENSE), named("bert.", NET) | named("bert.cls.", OTHER), 7),
    ],
)  # fmt: skip
def test_a_prefix_is_told_with_the_option_that_compares_the_two(ckpt: Ckpt, tmp_path: Path, a: Any, b: Any, left: int) -> None:
    paths = saved(tmp_path / "a.pt", a), saved(tmp_path / "b.pt", b)
    (note,) = ckpt("diff", *paths, status=1).err.splitlines()
    *options, _, _ = shlex.split(note[note.index("--map") :])
    again = ckpt("diff", *paths, *options, status=int(left > 0))
    assert len(again.rows) == left and not again.err


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (NET, named("module.", {name: torch.ones(9) for name in NET})),  # other shapes
        ({"4.weight": torch.ones(2), "x": torch.ones(1)}, {"5.weight": torch.ones(2), "x": torch.ones(1)}),
        (NET | named("pooler.", DENSE), NET | named("cls.transform.", OTHER)),
        (NET, NET | HEAD), (NET, {"other": torch.ones(3)}), (named("a*[", NET), NET), ({"y": torch.ones(1)}, NET),
    ],
)  # fmt: skip
def test_no_prefix_is_told_where_it_does_not_make_the_difference(ckpt: Ckpt, tmp_path: Path, a: Any, b: Any) -> None:
    assert ckpt("diff", saved(tmp_path / "a.pt", a), saved(tmp_path / "b.pt", b), status=1).err == ""


def test_patterns_pick_what_is_listed_by_either_name(ckpt: Ckpt, tmp_path: Path) -> None:
    paths = saved(tmp_path / "a.pt", named("module.", NET)), saved(tmp_path / "b.pt", NET)
    for pattern in ("module.encoder.0.*", "encoder.0.*"):
        rows = ckpt("diff", *paths, "--map", "module.*=*", pattern, "--unchanged").rows
        assert [row[1] for row in rows] == ["encoder.0.weight", "encoder.0.bias"]


def test_a_prefix_is_told_also_where_patterns_pick_names_of_one_side(ckpt: Ckpt, tmp_path: Path) -> None:
    paths = saved(tmp_path / "a.pt", named("module.", NET)), saved(tmp_path / "b.pt", NET)
    for pattern in ("module.encoder.0.*", "encoder.0.*"):
        assert "--map 'module.*=*' compares them" in ckpt("diff", *paths, pattern, status=1).err
    assert ckpt("diff", paths[1], saved(tmp_path / "c.pt", NET | HEAD), *HEAD, status=1).err == ""


def test_layers_are_those_that_summary_has(ckpt: Ckpt) -> None:
    for name in ("mlp.keras", "mlp.weights.h5", "shared-mlp.pt", "blocks.gguf", "nested.pt"):
        summary = [row[1] for row in ckpt("summary", SAMPLES / name).rows if row[0] == "layer"]
        layers = [
            row[0]
            for row in ckpt("stats", SAMPLES / name, "!*optimizer*" if "mlp." in name and "shared" not in name else "*", "--by-layer").rows
        ]
        assert layers and [path for path in summary if path in layers] == layers, name
    across = ckpt("diff", SAMPLES / "mlp.pt", SAMPLES / "mlp.keras", "--map", "torch-to-keras", "--by-layer", "--sort", "name", status=1)
    assert [row[1] for row in across.rows] == ["dense", "dense_1"]


def test_the_dots_within_a_key_divide_no_layers(ckpt: Ckpt, tmp_path: Path) -> None:
    a = saved(tmp_path / "a.pt", {"net": {"a.b": {"w": torch.ones(2)}}, "net.a": {"b": {"w": torch.ones(2)}}})
    assert [row[0] for row in ckpt("stats", a, "--by-layer").rows] == ["net.a\\.b", "net\\.a.b"]
    assert [row[0] for row in ckpt("stats", a, "--by-layer", "1").rows] == ["net", "net\\.a"]

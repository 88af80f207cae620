"""`tie`, `untie`, `rename`, `drop`, `cast`, `tied`: other names, ties and dtypes, held against torch on every kind of file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import all_bits, bits, example, loaded, read_bits
from torch import nn

KINDS = ["zip", "legacy", "nested", "module", "safetensors"]
PREFIX = {"nested": "model."}
Make = Callable[[str, dict[str, torch.Tensor]], Path]


class Module(nn.Module):
    """Parameters of any name, as a pickled module."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                self.register_parameter(name, nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A file of one of KINDS with these tensors; in a nested one they are below `model.`."""

    def write(kind: str, tensors: dict[str, torch.Tensor]) -> Path:
        path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
        if kind == "safetensors":
            safetensors.torch.save_file(tensors, path)
            return path
        thing: Any = {"epoch": 3, "model": tensors} if kind == "nested" else Module(tensors) if kind == "module" else tensors
        torch.save(thing, path, _use_new_zipfile_serialization=kind != "legacy")
        return path

    return write


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    """What torch or safetensors finds in the file, without the prefix of nested ones."""
    found = loaded(path, weights_only=False)
    if isinstance(found, nn.Module):
        return dict(found.state_dict(keep_vars=True))
    if "epoch" in found:
        assert found["epoch"] == 3
        return found["model"]
    return found


def some() -> dict[str, torch.Tensor]:
    return {"a": torch.arange(4.0), "b": torch.arange(4.0) + 10, "c": torch.ones(2, 2), "n": torch.tensor([1, 2])}


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKindOfFile:
    """The same edits on each kind of file."""

    def test_tied_names_share_one_storage_that_is_written_once(self, kind: str, make: Make, ckpt: Ckpt) -> None:
        path, p = make(kind, some()), PREFIX.get(kind, "")
        assert ckpt("tied", path).out == ""
        ckpt("tie", path, f"{p}a", f"{p}b", "-i")
        assert ckpt("tied", path).rows == [["tied", f"{p}a", f"{p}b"]]
        assert {row[0]: row[5] for row in ckpt("ls", path).rows}[f"{p}b"] == f"{p}a"
        found = tensors_of(path)
        assert bits(found["a"]) == bits(some()["a"])
        if kind == "safetensors":
            assert "b" not in found
        else:
            assert bits(found["b"]) == bits(some()["a"])
            assert found["a"].untyped_storage().data_ptr() == found["b"].untyped_storage().data_ptr()
        ckpt("set", path, f"{p}b[0] = 77", "-i")
        assert tensors_of(path)["a"][0] == 77

    def test_untied_names_have_the_same_values_and_a_storage_each(self, kind: str, make: Make, ckpt: Ckpt) -> None:
        path, p = make(kind, some()), PREFIX.get(kind, "")
        ckpt("tie", path, f"{p}a", f"{p}b", "-i")
        ckpt("untie", path, f"{p}b", "-i")
        assert ckpt("tied", path).out == ""
        assert ckpt("tied", "--equal", path).rows == [["equal", f"{p}a", f"{p}b"]]
        ckpt("set", path, f"{p}b = 0", "-i")
        found = tensors_of(path)
        assert bits(found["a"]) == bits(some()["a"]) and found["b"].tolist() == [0, 0, 0, 0]

    def test_renamed_tensors_keep_their_place_and_bits(self, kind: str, make: Make, ckpt: Ckpt) -> None:
        path, p = make(kind, some()), PREFIX.get(kind, "")
        ckpt("rename", path, f"{p}a=tmp" if not p else f"{p}a={p}tmp", f"{p}b={p}a", f"{p}tmp={p}b", "-i")
        expected = {"b" if name == "a" else "a" if name == "b" else name: t for name, t in some().items()}
        assert all_bits(tensors_of(path)) == all_bits(expected)
        if kind != "safetensors":
            assert [n for n in tensors_of(path) if n != "n"] == [n for n in expected if n != "n"]

    def test_dropped_tensors_are_gone_and_the_rest_is_as_it_was(self, kind: str, make: Make, ckpt: Ckpt) -> None:
        path, p = make(kind, some()), PREFIX.get(kind, "")
        size = path.stat().st_size
        ckpt("drop", path, f"{p}[ab]", "-i")
        assert all_bits(tensors_of(path)) == all_bits({"c": some()["c"], "n": some()["n"]})
        assert path.stat().st_size < size or kind == "legacy"

    def test_a_cast_takes_floats_alone_unless_it_is_told(self, kind: str, make: Make, ckpt: Ckpt) -> None:
        path, p = make(kind, some()), PREFIX.get(kind, "")
        ckpt("cast", path, "bf16", "-i")
        expected = {name: t.to(torch.bfloat16) if t.is_floating_point() else t for name, t in some().items()}
        assert all_bits(tensors_of(path)) == all_bits(expected)
        ckpt("cast", path, "float16", f"{p}n", "-i")
        assert bits(tensors_of(path)["n"]) == bits(some()["n"].to(torch.float16))

    def test_what_is_tied_stays_tied_in_a_cast_and_a_rename(self, kind: str, make: Make, ckpt: Ckpt) -> None:
        path, p = make(kind, some()), PREFIX.get(kind, "")
        ckpt("tie", path, f"{p}a", f"{p}b", "-i")
        ckpt("cast", path, "float64", "-i")
        ckpt("rename", path, f"{p}b={p}z", "-i")
        assert ckpt("tied", path).rows == [["tied", f"{p}a", f"{p}z"]]
        assert bits(tensors_of(path)["a"]) == bits(some()["a"].double())

    def test_dropping_the_kept_name_of_a_tie_leaves_the_other(self, kind: str, make: Make, ckpt: Ckpt) -> None:
        path, p = make(kind, some()), PREFIX.get(kind, "")
        ckpt("tie", path, f"{p}a", f"{p}b", "-i")
        ckpt("drop", path, f"{p}a", "-i")
        assert bits(tensors_of(path)["b"]) == bits(some()["a"])

    def test_a_dry_run_tells_the_plan_and_writes_nothing(self, kind: str, make: Make, ckpt: Ckpt) -> None:
        path, p = make(kind, some()), PREFIX.get(kind, "")
        before = path.read_bytes()
        plans = {
            ("drop", f"{p}a"): {("removed", f"{p}a")},
            ("rename", f"{p}a={p}z"): {("renamed", f"{p}a")},
            ("cast", "float16", f"{p}a"): {("dtype", f"{p}a")},
        }
        for (command, *args), expected in plans.items():
            assert {tuple(row[:2]) for row in ckpt(command, path, *args, "-n").rows} == expected
        assert "tied" in {row[0] for row in ckpt("tie", path, f"{p}a", f"{p}b", "-n").rows}
        assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1

    def test_an_edit_that_is_not_told_where_to_go_writes_nothing(self, kind: str, make: Make, ckpt: Ckpt) -> None:
        path, p = make(kind, some()), PREFIX.get(kind, "")
        before = path.read_bytes()
        for command, *args in (["drop", f"{p}a"], ["rename", f"{p}a={p}z"], ["cast", "float16"], ["tie", f"{p}a", f"{p}b"]):
            assert "where should the result go?" in ckpt(command, path, *args, status=2).err
        assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1

    def test_an_edit_into_a_new_file_leaves_the_old_one(self, kind: str, make: Make, ckpt: Ckpt) -> None:
        path, p = make(kind, some()), PREFIX.get(kind, "")
        before, out = path.read_bytes(), path.with_name("out" + path.suffix)
        ckpt("drop", path, f"{p}a", "-o", out)
        assert path.read_bytes() == before and "a" not in tensors_of(out)


# tie, untie


ERRORS: list[tuple[str, tuple[str, ...], str]] = [
    ("shapes differ", ("tie", "a", "c"), "a (4 of float32) and c (2x2 of float32) cannot be tied"),
    ("dtypes differ", ("tie", "n", "m"), "cannot be tied"),
    ("one name", ("tie", "a"), "tie takes two names or more"),
    ("one name twice", ("tie", "a", "a"), "tie takes two names or more"),
    ("no such name", ("tie", "a", "bb"), "nothing matches 'bb'"),
    ("tied to nothing", ("untie", "a"), "a is tied to nothing"),
    ("drop of nothing", ("drop", "x.*"), "nothing matches 'x.*'"),
    ("drop of everything", ("drop", "*"), "no tensor would be left"),
    ("rename of nothing", ("rename", "x=y"), "nothing matches 'x'"),
    ("rename onto another", ("rename", "a=b"), "would both be called 'b'"),
    ("two onto one", ("rename", "[ab]=z"), "would both be called 'z'"),
    ("no =", ("rename", "a"), "is no renaming"),
    ("nothing on the left", ("rename", "=a"), "leaves a name empty"),
    ("nothing on the right", ("rename", "a="), "leaves a name empty"),
    ("more stars", ("rename", "a*=*.*"), "has more * than"),
    ("broken expression", ("rename", "re:(=b"), "is no renaming"),
    ("no such group", ("rename", r"re:a=\2"), "is no renaming"),
    ("no expression", ("rename", "re:=y"), "leaves a name empty"),
    ("a lookahead that does not end", ("rename", "re:(?=x"), "is no renaming"),
    ("nothing left of a name", ("rename", "re:a="), "would have no name left"),
    ("no such dtype", ("cast", "float33"), "no dtype is called 'float33'"),
    ("cast of nothing", ("cast", "float16", "x"), "nothing matches 'x'"),
]


@pytest.mark.parametrize(("args", "says"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_an_edit_that_cannot_be_made_is_one_line_and_changes_nothing(args: tuple[str, ...], says: str, make: Make, ckpt: Ckpt) -> None:
    path = make("zip", some() | {"m": torch.tensor([1, 2], dtype=torch.int32)})
    before = path.read_bytes()
    command, *rest = args
    assert says in ckpt(command, path, *rest, "-i", status=2).err
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_three_names_are_tied_at_once_and_patterns_name_them_too(make: Make, ckpt: Ckpt) -> None:
    path = make("zip", {f"h.{i}.w": torch.full((2,), float(i)) for i in range(4)})
    ckpt("tie", path, "h.2.w", "h.[01].w", "-i")
    assert {name: t.tolist()[0] for name, t in loaded(path).items()} == {"h.0.w": 2, "h.1.w": 2, "h.2.w": 2, "h.3.w": 3}
    assert ckpt("tied", path).rows == [["tied", "h.0.w", "h.1.w", "h.2.w"]]


def test_views_of_one_storage_are_told_from_ties_and_untied(make: Make, ckpt: Ckpt) -> None:
    base = torch.arange(6.0)
    path = make("zip", {"base": base, "head": base[:2], "again": base, "other": torch.ones(1)})
    assert ckpt("tied", path).rows == [["views", "base", "head", "again"]]
    assert ckpt("tied", path, "--json").json == {"path": str(path), "groups": [{"kind": "views", "names": ["base", "head", "again"]}]}
    ckpt("untie", path, "head", "-i")
    assert ckpt("tied", path).rows == [["tied", "base", "again"]]
    found = loaded(path)
    assert found["head"].untyped_storage().nbytes() == 8 and found["head"].tolist() == [0, 1]


def test_tying_a_tensor_to_a_transposed_one_keeps_the_values_of_the_first(make: Make, ckpt: Ckpt) -> None:
    path = make("zip", {"a": torch.arange(4.0).view(2, 2).t(), "b": torch.ones(2, 2)})
    ckpt("tie", path, "a", "b", "-i")
    assert loaded(path)["b"].tolist() == [[0, 2], [1, 3]] and loaded(path)["b"].stride() == (1, 2)


def test_equal_tensors_are_found_among_separate_ones_of_one_dtype_and_shape(make: Make, ckpt: Ckpt) -> None:
    zeros = torch.zeros(4)
    tensors = {
        "a": zeros,
        "b": torch.zeros(4),
        "c": torch.zeros(2, 2),
        "d": zeros.half(),
        "e": -zeros,
        "f": torch.zeros(4),
        "g": torch.zeros(0),
    }
    assert ckpt("tied", "--equal", make("zip", tensors)).rows == [["equal", "a", "b", "f"]]


# rename


RENAMES: list[tuple[str, list[str], dict[str, str]]] = [
    ("a star carries over", ["h.*.w=l.*.k"], {"h.0.w": "l.0.k", "h.1.w": "l.1.k"}),
    ("stars cross dots", ["*.w=*.k"], {"h.0.w": "h.0.k", "h.1.w": "h.1.k", "x.w": "x.k"}),
    ("a prefix is put before all", ["*=net.*"], {n: f"net.{n}" for n in ("h.0.w", "h.1.w", "h.10.b", "x.w", "a=b")}),
    ("groups", [r"re:^h\.(\d+)\.=layers[\1]."], {"h.0.w": "layers[0].w", "h.1.w": "layers[1].w", "h.10.b": "layers[10].b"}),
    ("named groups", [r"re:(?P<i>\d+)=<\g<i>>"], {"h.0.w": "h.<0>.w", "h.1.w": "h.<1>.w", "h.10.b": "h.<10>.b"}),
    ("all matches in a name", ["re:[.]=/"], {"h.0.w": "h/0/w", "h.1.w": "h/1/w", "h.10.b": "h/10/b", "x.w": "x/w"}),
    ("= in a lookahead", [r"re:^h\.(?=\d)=g."], {"h.0.w": "g.0.w", "h.1.w": "g.1.w", "h.10.b": "g.10.b"}),
    ("= in a lookbehind", [r"re:(?<=h\.)(\d+)=<\1>"], {"h.0.w": "h.<0>.w", "h.1.w": "h.<1>.w", "h.10.b": "h.<10>.b"}),
    ("= in a set, and in NEW", ["re:[=x]=y=z"], {"x.w": "y=z.w", "a=b": "ay=zb"}),
    ("rules in turn", ["h.0.w=t", "h.1.w=h.0.w", "t=h.1.w"], {"h.0.w": "h.1.w", "h.1.w": "h.0.w"}),
    ("a name that holds =", ["a=b=c"], {"a=b": "c"}),
    ("a new name that holds =", ["x.w=x=y"], {"x.w": "x=y"}),
    ("to itself", ["x.w=x.w"], {}),
]


@pytest.mark.parametrize(("rules", "expected"), [row[1:] for row in RENAMES], ids=[row[0] for row in RENAMES])
@pytest.mark.parametrize("kind", ["zip", "safetensors"])
def test_a_rename_moves_these_names_and_no_others(kind: str, rules: list[str], expected: dict[str, str], make: Make, ckpt: Ckpt) -> None:
    tensors = {name: torch.full((1,), float(i)) for i, name in enumerate(["h.0.w", "h.1.w", "h.10.b", "x.w", "a=b"])}
    path = make(kind, tensors)
    ckpt("rename", path, *rules, "-i")
    assert all_bits(loaded(path)) == all_bits({expected.get(name, name): t for name, t in tensors.items()})


def test_an_exact_name_wins_over_the_pattern_that_it_could_be(make: Make, ckpt: Ckpt) -> None:
    path = make("zip", {"[7]": torch.zeros(1), "7": torch.ones(1), "a*": torch.zeros(1), "ab": torch.ones(1)})
    ckpt("rename", path, "[7]=x", "a*=y", "-i")
    assert {name: t.item() for name, t in loaded(path).items()} == {"x": 0, "7": 1, "y": 0, "ab": 1}


def test_a_rename_into_another_dict_moves_the_entry_there(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.pt"
    torch.save({"model": {"w": torch.ones(1), "b": torch.zeros(1)}, "ema": {"x": torch.ones(2)}, "s": {0: {"m": torch.ones(3)}}}, path)
    ckpt("rename", path, "model.w=ema.w", "s.0.m=s.0.v", "-i")
    assert {key: list(value) for key, value in loaded(path).items()} == {"model": ["b"], "ema": ["x", "w"], "s": [0]}
    assert list(loaded(path)["s"][0]) == ["v"]
    ckpt("rename", path, "ema.*=*", "-i")
    assert list(loaded(path)) == ["model", "s", "x", "w"]


@pytest.mark.parametrize("new", ["epoch", "model", "inner.note"])
def test_a_rename_onto_something_else_in_the_file_is_refused(new: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.pt"
    torch.save({"epoch": 3, "model": {"a": torch.ones(2)}, "inner": {"note": 1, "t": torch.ones(1)}, "w": torch.ones(2)}, path)
    before = path.read_bytes()
    assert "has something else that is called" in ckpt("rename", path, f"w={new}", "-i", status=2).err
    assert path.read_bytes() == before


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text("ab.0", min_size=1, max_size=6), min_size=1, max_size=8, unique=True), data=st.data())
def test_a_rename_there_and_back_changes_nothing(make: Make, ckpt: Ckpt, names: list[str], data: st.DataObject) -> None:
    tensors = {name: example("float32", 2, seed=i) for i, name in enumerate(names)}
    path = make(data.draw(st.sampled_from(["zip", "legacy", "safetensors"])), tensors)
    ckpt("rename", path, "*=pre.fix.*", "-i")
    assert all_bits(loaded(path)) == all_bits({f"pre.fix.{name}": t for name, t in tensors.items()})
    ckpt("rename", path, "pre.fix.*=*", "-i")
    assert all_bits(loaded(path)) == all_bits(tensors)


# cast


FLOATS = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"]


@pytest.mark.parametrize("to", FLOATS)
@pytest.mark.parametrize("source", FLOATS)
def test_floats_are_rounded_to_nearest_even_as_ml_dtypes_rounds_them(source: str, to: str, make: Make, ckpt: Ckpt) -> None:
    values = [0.0, -0.0, 1.0, 1.0625, 1.1875, -2.5, 3.14159, 448.0, 1e-3, 2.0**-9, float("nan"), float("inf")]
    tensor = torch.tensor(values, dtype=torch.float64).to(getattr(torch, source))
    path = make("safetensors", {"w": tensor, "n": torch.tensor([3])})
    ckpt("cast", path, to, "-i")
    numpy_dtype = getattr(ml_dtypes, to, None) or getattr(np, to)
    expected = tensor.double().numpy().astype(numpy_dtype)
    found = np.frombuffer(bits(loaded(path)["w"])[2], numpy_dtype)
    assert np.array_equal(np.isnan(found.astype("f8")), np.isnan(expected.astype("f8")))
    sure = ~np.isnan(expected.astype("f8"))
    assert np.array_equal(found[sure].astype("f8"), expected[sure].astype("f8"))
    assert loaded(path)["n"].dtype == torch.int64


OVERFLOWS = [
    ("int64", 300, "uint8"),
    ("int64", -1, "uint8"),
    ("int64", 2**40, "int32"),
    ("float32", 1e10, "int32"),
    ("float32", float("nan"), "int8"),
]


@pytest.mark.parametrize(("source", "value", "to"), OVERFLOWS)
def test_a_value_that_an_integer_cannot_hold_is_an_error_with_nothing_left_behind(
    source: str, value: float, to: str, make: Make, ckpt: Ckpt
) -> None:
    tensor = torch.zeros(1000, dtype=getattr(torch, source))
    tensor[777] = value
    path = make("zip", {"w": tensor})
    before = path.read_bytes()
    ckpt("cast", path, to, "w", "-i", status=2)
    ckpt("cast", path, to, "w", "-o", path.with_name("out.pt"), status=2)
    ckpt("convert", path, path.with_name("out.safetensors"), "--dtype", to, status=2 if source == "float32" else None)
    assert path.read_bytes() == before
    path.with_name("out.safetensors").unlink(missing_ok=True)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_integers_that_fit_are_cast_exactly(make: Make, ckpt: Ckpt) -> None:
    path = make("zip", {"w": torch.tensor([0, 255, 7]), "m": torch.tensor([True, False])})
    ckpt("cast", path, "uint8", "-i")
    found = loaded(path)
    assert found["w"].dtype == found["m"].dtype == torch.uint8 and found["w"].tolist() == [0, 255, 7]


def test_a_cast_view_of_a_large_storage_takes_its_elements_alone(make: Make, ckpt: Ckpt) -> None:
    path = make("zip", {"v": torch.arange(1000.0)[10:13], "t": torch.arange(6.0).view(2, 3).t()})
    ckpt("cast", path, "float64", "-i")
    found = loaded(path)
    assert found["v"].untyped_storage().nbytes() == 24 and found["v"].tolist() == [10, 11, 12]
    assert found["t"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_drop_takes_objects_by_their_path_too(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.pt"
    torch.save({"epoch": 3, "losses": [1.0, 2.0], "w": torch.ones(1)}, path)
    result = ckpt("drop", path, "losses.*", "-n")
    assert [row[:3] for row in result.rows] == [["removed", "losses.0", "object"], ["removed", "losses.1", "object"]]
    ckpt("drop", path, "losses.*", "epoch", "-i")
    assert list(loaded(path)) == ["w"]


def test_ckpt_reads_what_it_wrote_after_any_row_of_edits(make: Make, ckpt: Ckpt) -> None:
    for kind in KINDS[:3]:
        path, p = make(kind, some()), PREFIX.get(kind, "")
        for command, *args in (
            ["tie", f"{p}a", f"{p}b"],
            ["rename", f"{p}c={p}d"],
            ["cast", "float16"],
            ["untie", f"{p}b"],
            ["drop", f"{p}n"],
        ):
            ckpt(command, path, *args, "-i")
            assert read_bits(path) == {p + name: value for name, value in all_bits(tensors_of(path)).items()}


def test_a_cast_of_one_of_several_tied_names_is_a_cast_of_all(sample: Callable[[str], Path], ckpt: Ckpt) -> None:
    path = sample("shared-mlp.pt")
    ckpt("cast", path, "bfloat16", "4.weight", "-i")
    found = loaded(path)
    assert found["2.weight"].dtype == torch.bfloat16 and found["2.weight"].data_ptr() == found["4.weight"].data_ptr()


def test_a_pattern_unties_what_is_tied_and_passes_over_the_rest(sample: Callable[[str], Path], ckpt: Ckpt) -> None:
    path = sample("shared-mlp.pt")
    ckpt("untie", path, "*", "-i")
    assert ckpt("tied", path).out == ""
    assert "nothing of that is tied" in ckpt("untie", path, "*", "-i", status=2).err


def test_a_dry_run_finds_what_writing_would_refuse(tmp_path: Path, ckpt: Ckpt) -> None:
    path, target = tmp_path / "a.pt", tmp_path / "b.safetensors"
    torch.save({"w": torch.ones(2, dtype=torch.complex128), "epoch": 3}, path)
    said = ckpt("convert", path, target, status=2).err
    assert "complex128" in said and ckpt("convert", path, target, "-n", status=2).err == said.replace(f"{target}: ", "", 1)


@pytest.mark.parametrize("command", [["set", "0.bias = 1"], ["drop", "0.bias"], ["cast", "bfloat16"], ["rename", "0.*=a.*"]], ids=" ".join)
def test_json_of_an_edit_says_what_was_written(command: list[str], sample: Callable[[str], Path], ckpt: Ckpt) -> None:
    path = sample("mlp.pt")
    name, *args = command
    found = ckpt(name, path, *args, "-i", "--json").json
    assert found == {"path": str(path), "format": "torch", "tensors": 4 - (name == "drop")}


@pytest.mark.parametrize("name", ["y", "y.xyz", "y.pt.old"])
def test_an_unknown_suffix_is_an_error_in_every_command_that_writes(
    name: str, sample: Callable[[str], Path], tmp_path: Path, ckpt: Ckpt
) -> None:
    for command in (["set", "0.bias = 1", "-o"], ["convert"]):
        assert "no format is written to" in ckpt(command[0], sample("mlp.pt"), *command[1:], tmp_path / name, status=2).err


@pytest.mark.parametrize("args", [["ls", "-"], ["set", "{}", "0.bias = 1", "-o", "-"], ["convert", "{}", "-"]], ids=" ".join)
def test_standard_streams_are_no_places_for_checkpoints(args: list[str], sample: Callable[[str], Path], ckpt: Ckpt) -> None:
    assert "give its path" in ckpt(*[arg.format(sample("mlp.pt")) for arg in args], status=2).err
    assert not Path("-").exists()


def test_a_tie_takes_along_what_is_tied_to_the_later_names(sample: Callable[[str], Path], ckpt: Ckpt) -> None:
    path = sample("shared-mlp.pt")
    ckpt("tie", path, "0.bias", "2.bias", "-i")
    assert ["tied", "0.bias", "2.bias", "4.bias"] in ckpt("tied", path).rows


def test_an_optimizer_s_count_of_steps_is_not_rounded_unless_it_is_named(tmp_path: Path, ckpt: Ckpt) -> None:
    state = {"state": {0: {"step": torch.tensor(12001.0), "exp_avg": torch.ones(3)}}}
    torch.save({"model": {"step": torch.ones(2)}, "optimizer": state}, tmp_path / "m.pt")
    ckpt("cast", tmp_path / "m.pt", "bfloat16", "-o", tmp_path / "out.pt")
    found = torch.load(tmp_path / "out.pt")
    assert found["optimizer"]["state"][0]["step"].equal(torch.tensor(12001.0)) and found["model"]["step"].dtype == torch.bfloat16
    assert found["optimizer"]["state"][0]["exp_avg"].dtype == torch.bfloat16
    ckpt("cast", tmp_path / "m.pt", "bfloat16", "*.step", "-o", tmp_path / "named.pt")
    assert torch.load(tmp_path / "named.pt")["optimizer"]["state"][0]["step"].dtype == torch.bfloat16


@pytest.mark.parametrize("rule", ["a=b", "*=x.*", "re:^(.)=y.\\1", "=x"])
def test_a_name_that_is_empty_already_hinders_no_other(ckpt: Ckpt, tmp_path: Path, rule: str) -> None:
    torch.save({"": torch.zeros(2), "a": torch.ones(2)}, tmp_path / "a.pt")
    ckpt("rename", tmp_path / "a.pt", rule, "-i")
    assert list(torch.load(tmp_path / "a.pt")) == {"a=b": ["", "b"], "*=x.*": ["x.", "x.a"], "=x": ["x", "a"]}.get(rule, ["", "y.a"])
    assert "would have no name left" in ckpt("rename", tmp_path / "a.pt", "re:^.*=", "-n", status=2).err or rule != "=x"


@pytest.mark.parametrize(
    "args",
    [["set", "epoch *= 3"], ["reinit", "epoch=zeros"], ["cast", "bf16", "epoch"], ["tie", "model.0.bias", "epoch"],
     ["untie", "epoch"], ["rename", "epoch=era"], ["get", "epo*"]],
    ids=" ".join,
)  # fmt: skip
def test_what_is_no_tensor_is_said_to_be_none(ckpt: Ckpt, sample: Callable[[str], Path], args: list[str]) -> None:
    where = [] if args[0] == "get" else ["-n"]
    error = ckpt(args[0], sample("training.ckpt"), *args[1:], *where, status=2).err
    assert "training.ckpt: epoch is no tensor (`ckpt get` prints it, `ckpt set` replaces it: 'epoch = …')" in error


def test_a_group_of_what_is_no_tensor_is_told_so_too(ckpt: Ckpt, sample: Callable[[str], Path]) -> None:
    path = sample("training.ckpt")
    assert "optimizer.param_groups holds 17 entries" in ckpt("set", path, "optimizer.param_groups = 1", "-n", status=2).err
    assert "optimizer.param_groups.0.lr is no tensor" in ckpt("set", path, "*.lr = 1", "-n", status=2).err
    assert "nothing matches 'epohc'" in ckpt("set", path, "epohc = 1", "-n", status=2).err


@pytest.mark.parametrize("index", ["[::-1]", "[3:1:-1]", "[0, ::-1]", "[9-0]"])
@pytest.mark.parametrize("command", ["get", "set"])
def test_an_index_of_a_tensor_that_there_is_not_is_no_bad_pattern(
    ckpt: Ckpt, sample: Callable[[str], Path], index: str, command: str
) -> None:
    given = [f"9.bias{index} = 1", "-n"] if command == "set" else [f"9.bias{index}"]
    error = ckpt(command, sample("mlp.pt"), *given, status=2).err
    if index == "[9-0]":
        assert "is no pattern: bad character range" in error
    else:
        assert "nothing matches '9.bias' (did you mean 0.bias" in error or "nothing matches '9.bias' (did you mean 2.bias" in error


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (r"re:^h\.(?=\d)=layers.", ["layers.0.attn.c_attn.weight", "layers.0.mlp.c_fc.weight", "layers.10.ln_1.ln_1.bias"]),
        ("re:ln_1=norm", ["h.0.attn.c_attn.weight", "h.0.mlp.c_fc.weight", "h.10.norm.norm.bias"]),
    ],
)
def test_expressions_as_people_type_them(rule: str, names: list[str], case: Callable[[str], Path], tmp_path: Path, ckpt: Ckpt) -> None:
    """In every place that takes OLD=NEW: `rename`, `convert --rename`, a recipe; and `diff --map` finds nothing that differs."""
    path, recipe = case("reports/assignments/names.safetensors"), tmp_path / "r.toml"
    recipe.write_text(f"[[step]]\nrename = ['{rule}']\n")
    commands = (("rename", path, rule, "-o"), ("convert", path, "--rename", rule), ("apply", path, recipe, "-o"))
    for number, command in enumerate(commands):
        out = tmp_path / f"{number}.safetensors"
        ckpt(*command, out)
        assert [row[0] for row in ckpt("ls", out).rows] == names
        assert ckpt("diff", path, out, "--map", rule).out == ""

"""`ckpt convert`: any format to any other, without a difference where both can hold it, and told where they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import SAMPLES, Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import SAFE_DTYPES, all_bits, example, loaded, read_bits, safetensors_header

SOURCES = ["zip", "legacy", "safetensors"]


def written(kind: str, tensors: dict[str, torch.Tensor], folder: Path) -> Path:
    path = folder / ("source.safetensors" if kind == "safetensors" else "source.pt")
    if kind == "safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
    return path


def some() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(3), "b.weight": torch.zeros(2), "steps": torch.tensor(5)}


@pytest.mark.parametrize("target", ["x.pt", "x.pth", "x.bin", "x.ckpt", "x.safetensors"])
@pytest.mark.parametrize("source", SOURCES)
def test_every_pair_of_formats_is_there_and_back_without_a_difference(source: str, target: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path, there, back = written(source, some(), tmp_path), tmp_path / target, tmp_path / "back.pt"
    assert ckpt("convert", path, there).out == ""
    expected = "safetensors" if target.endswith(".safetensors") else "torch"
    assert ckpt("ls", there, "--json").json["format"] == expected
    assert all_bits(loaded(there)) == all_bits(some())
    ckpt("convert", there, back)
    for a, b in ((path, there), (there, back), (path, back)):
        assert ckpt("diff", a, b).out == ""


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_tensors_are_the_same_in_the_other_format_and_back(tmp_path: Path, ckpt: Ckpt, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5, unique=True))
    shapes = st.lists(st.integers(0, 3), max_size=3)
    tensors = {n: example(data.draw(st.sampled_from(SAFE_DTYPES)), *data.draw(shapes), seed=i) for i, n in enumerate(names)}
    path = written(data.draw(st.sampled_from(SOURCES)), tensors, tmp_path)
    there, back = tmp_path / "x.safetensors", tmp_path / "x.pt"
    ckpt("convert", path, there, "--force")
    ckpt("convert", there, back, "--force")
    assert all_bits(loaded(there)) == all_bits(loaded(back)) == all_bits(tensors) == read_bits(back)
    assert list(read_bits(back)) == list(read_bits(there))


def test_ties_survive_both_ways(tmp_path: Path, ckpt: Ckpt) -> None:
    shared, matrix = torch.arange(3.0), torch.arange(4.0).view(2, 2).t()
    path, there, back = tmp_path / "a.pt", tmp_path / "a.safetensors", tmp_path / "b.pt"
    torch.save({"a": shared, "m": matrix, "b": shared, "n": matrix, "c": torch.arange(3.0)}, path)
    ckpt("convert", path, there)
    ckpt("convert", there, back)
    ties = [["tied", "a", "b"], ["tied", "m", "n"]]
    assert [ckpt("tied", file).rows for file in (path, there, back)] == [ties] * 3
    assert set(loaded(there)) == {"a", "m", "c"}
    found = loaded(back)
    assert found["a"].data_ptr() == found["b"].data_ptr() != found["c"].data_ptr()
    assert ckpt("diff", path, back).out == "" and ckpt("diff", path, there).out == ""


def test_select_drop_rename_and_dtype_are_applied_in_this_order(tmp_path: Path, ckpt: Ckpt) -> None:
    path, out = written("zip", some(), tmp_path), tmp_path / "x.safetensors"
    ckpt("convert", path, out, "--select", "a.*", "--select", "steps", "--drop", "a.bias", "--rename", "a.*=net.*", "--dtype", "bf16")
    assert all_bits(loaded(out)) == all_bits({"net.weight": some()["a.weight"].bfloat16(), "steps": some()["steps"]})


def test_what_has_no_place_is_said_and_left_behind(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.pt"
    torch.save({"epoch": 3, "model": {"w": torch.ones(2)}, "opt": {"lr": 0.1}}, path)
    result = ckpt("convert", path, tmp_path / "a.safetensors")
    assert result.out == "" and result.err.count("\n") == 1
    assert "safetensors has no place for 2 objects besides tensors (epoch, opt.lr): left behind" in result.err
    safetensors.torch.save_file({"w": torch.ones(2)}, tmp_path / "b.safetensors", metadata={"author": "me", "format": "pt"})
    result = ckpt("convert", tmp_path / "b.safetensors", tmp_path / "b.pt")
    assert "torch has no place for metadata (author): left behind" in result.err


def test_nothing_is_said_where_nothing_is_left_behind(tmp_path: Path, ckpt: Ckpt) -> None:
    safetensors.torch.save_file({"w": torch.ones(2)}, tmp_path / "b.safetensors", metadata={"format": "pt"})
    assert ckpt("convert", tmp_path / "b.safetensors", tmp_path / "b.pt").err == ""
    assert ckpt("convert", tmp_path / "b.pt", tmp_path / "c.safetensors").err == ""
    assert safetensors_header(tmp_path / "c.safetensors")["__metadata__"] == {"format": "pt"}  # transformers opens no file without it


def test_a_conversion_within_a_format_keeps_what_is_besides(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.pt"
    torch.save({"epoch": 3, "model": {"w": torch.ones(2)}}, path)
    assert ckpt("convert", path, tmp_path / "b.pth").err == ""
    assert loaded(tmp_path / "b.pth")["epoch"] == 3
    safetensors.torch.save_file({"w": torch.ones(2)}, tmp_path / "b.safetensors", metadata={"author": "me"})
    ckpt("convert", tmp_path / "b.safetensors", tmp_path / "c.safetensors")
    assert safetensors_header(tmp_path / "c.safetensors")["__metadata__"] == {"author": "me"}


def test_format_overrides_the_suffix(tmp_path: Path, ckpt: Ckpt) -> None:
    path = written("zip", some(), tmp_path)
    for target, name in (("x.pt", "safetensors"), ("x.safetensors", "torch"), ("plain", "torch"), ("x.gguf", "safetensors")):
        ckpt("convert", path, tmp_path / target, "--format", name)
        assert ckpt("ls", tmp_path / target, "--json").json["format"] == name


REFUSED: list[tuple[str, list[str], str]] = [
    ("unknown suffix", ["x.foo"], "give a suffix such as .safetensors or .pt, or --format"),
    ("no suffix", ["plain"], "give a suffix such as .safetensors or .pt, or --format"),
    ("unknown format", ["x.pt", "--format", "safetensor"], "did you mean safetensors"),
    ("existing target", ["there.pt"], "the file is there already (--force replaces it"),
    ("itself", ["source.pt"], "the file is there already"),
    ("a folder", ["folder.pt"], "this is no regular file"),
    ("no such folder", ["nowhere/x.pt"], "there is no folder"),
    ("nothing selected", ["x.pt", "--select", "zzz"], "nothing matches 'zzz'"),
    ("nothing dropped", ["x.pt", "--drop", "zzz"], "nothing matches 'zzz'"),
    ("unknown dtype", ["x.pt", "--dtype", "float33"], "no dtype is called 'float33'"),
]


@pytest.mark.parametrize(("args", "says"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_done_is_one_line_and_leaves_the_folder_as_it_was(args: list[str], says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = written("zip", some(), tmp_path)
    (tmp_path / "there.pt").write_bytes(b"mine")
    (tmp_path / "folder.pt").mkdir()
    before = {p.name: p.read_bytes() if p.is_file() else None for p in tmp_path.iterdir()}
    assert says in ckpt("convert", path, tmp_path / args[0], *args[1:], status=2).err
    assert {p.name: p.read_bytes() if p.is_file() else None for p in tmp_path.iterdir()} == before


def test_force_replaces_the_target_even_the_source_itself(tmp_path: Path, ckpt: Ckpt) -> None:
    path = written("legacy", some(), tmp_path)
    (tmp_path / "x.safetensors").write_bytes(b"old")
    ckpt("convert", path, tmp_path / "x.safetensors", "--force")
    assert all_bits(loaded(tmp_path / "x.safetensors")) == all_bits(some())
    ckpt("convert", path, path, "--force", "--drop", "steps")
    assert set(loaded(path)) == set(some()) - {"steps"} and ckpt("ls", path, "--json").json["format"] == "torch"


def test_a_dry_run_writes_nothing(tmp_path: Path, ckpt: Ckpt) -> None:
    path = written("zip", some(), tmp_path)
    assert ckpt("convert", path, tmp_path / "x.safetensors", "--drop", "steps", "-n").rows[0][:2] == ["removed", "steps"]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_dry_run_says_what_would_become_of_it(tmp_path: Path, ckpt: Ckpt) -> None:
    path = written("zip", {"a": torch.ones(2), "epoch": 3}, tmp_path)
    told = ckpt("convert", path, tmp_path / "x.safetensors", "-n")
    assert told.out == "" and f"{tmp_path}/x.safetensors would be written as safetensors: 1 tensor, none of them changed\n" in told.err
    assert "nothing would change" not in told.err and "safetensors has no place for 1 object besides tensors (epoch): would" in told.err
    told = ckpt("convert", path, tmp_path / "x.safetensors.index.json", "-n", "--shard-size", "1MB", "--dtype", "bf16")
    assert "a model in shards has no place for 1 object besides" in told.err and told.err.endswith("written as sharded: 1 tensor\n")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["there.pt"], "the file is there already (--force replaces it"),
        (["folder.pt"], "this is no regular file"),
        (["x.index.json", "--shard-size", "1MB"], "name the index MODEL.safetensors.index.json"),
    ],
)
def test_a_dry_run_fails_where_the_run_would(args: list[str], says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = written("zip", some(), tmp_path)
    (tmp_path / "there.pt").write_bytes(b"mine")
    (tmp_path / "folder.pt").mkdir()
    target = tmp_path / args[0]
    for command in (["convert", path, target, *args[1:]], ["cast", path, "bf16", "-o", target])[: 3 - len(args)]:
        assert says in ckpt(*command, "-n", status=2).err and says in ckpt(*command, status=2).err
    ckpt("convert", path, tmp_path / "there.pt", "-n", "--force")


def test_the_table_of_formats_says_what_each_can_do(ckpt: Ckpt) -> None:
    table = {form["name"]: form for form in ckpt("formats", "--json").json["formats"]}
    assert table["safetensors"]["metadata"] and table["torch"]["objects"] and table["safetensors"]["patch"] and table["torch"]["patch"]
    assert [row[0] for row in ckpt("formats").rows] == list(table)
    for form in table.values():
        assert form["read"]


def test_objects_of_other_formats_are_said_to_be_left_behind(tmp_path: Path, ckpt: Ckpt) -> None:
    told = ckpt("convert", SAMPLES / "train-state.msgpack", tmp_path / "a.pt").err
    assert "torch has no place for 7 objects besides tensors (list.1.x, list.1.y, note, opt_state.1, raw, …): left behind" in told
    assert all(isinstance(value, torch.Tensor) for value in torch.load(tmp_path / "a.pt", weights_only=True).values())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_float32_is_rounded_to_16_bits_as_torch_rounds_it(ckpt: Ckpt, tmp_path: Path, dtype: str) -> None:
    near_infinity = [torch.arange(start - 65536, start + 65536) for start in (0x7F800000, 0xFF800000)]  # infinities, and NaN of all kinds
    bits = torch.cat([torch.arange(0, 1 << 32, 9973), *near_infinity])
    values = (bits - (bits >> 31 << 32)).to(torch.int32).view(torch.float32)
    safetensors.torch.save_file({"w": values}, tmp_path / "a.safetensors")
    ckpt("cast", tmp_path / "a.safetensors", dtype, "-o", tmp_path / "b.safetensors")
    found, right = loaded(tmp_path / "b.safetensors")["w"], values.to(getattr(torch, dtype))
    torch.testing.assert_close(found, right, rtol=0, atol=0, equal_nan=True)

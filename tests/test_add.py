"""`ckpt add`: new tensors, from other files or drawn."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from conftest import CASES, SAMPLES, Ckpt
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import ckpt_cli

MLP = SAMPLES / "mlp.pt"


def mlp() -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(MLP)
    return found


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other.pt"
    shared = torch.arange(6.0).reshape(2, 3)
    torch.save({"head.weight": shared, "head.out": shared, "head.bias": torch.tensor([1.5, -2.0]), "n": torch.tensor(300)}, path)
    return path


def test_what_is_drawn_is_what_reinit_draws_by_the_new_names_and_shapes(ckpt: Ckpt, tmp_path: Path) -> None:
    new = {"head.weight": torch.zeros(3, 8), "head.bias": torch.zeros(3)}
    torch.save(mlp() | new, tmp_path / "with.pt")
    rules = ["kaiming_uniform(a=2.23)", "torch.Linear.bias"]
    known = ckpt("schemes", status=None).out
    rules[1] = "pytorch.linear_bias" if "pytorch.linear_bias" in known else "uniform(-0.1, 0.1)"
    ckpt("reinit", tmp_path / "with.pt", *(f"{n}={r}" for n, r in zip(new, rules, strict=True)), "--seed", 7, "-o", tmp_path / "a.pt")
    told = ckpt(
        "add", MLP, f"head.weight:f32[3,8]={rules[0]}", f"head.bias:float32[3]={rules[1]}", "--seed", 7, "-o", tmp_path / "b.pt"
    ).err
    wanted, found = torch.load(tmp_path / "a.pt"), torch.load(tmp_path / "b.pt")
    assert list(found) == list(wanted) and all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert "ckpt: seed 7\n" in told and "head.weight: kaiming_uniform" in told


@pytest.mark.parametrize(
    ("what", "dtype", "values"),
    [
        ("x:bf16[2]=ones", torch.bfloat16, [1, 1]),
        ("x:int64[]=constant(7)", torch.int64, 7),
        ("x:u8[0,3]=zeros", torch.uint8, []),
        ("x:f64[2x1]=constant(0.1)", torch.float64, [[0.1], [0.1]]),
        ("x=@other.pt#head.bias", torch.float32, [1.5, -2]),
        ("x:f16=@other.pt#head.bias", torch.float16, [1.5, -2]),
        ("x:f16[2]=@other.pt#head.bias", torch.float16, [1.5, -2]),
        ("n=@other.pt", torch.int64, 300),
        ("head.bias=@other.pt", torch.float32, [1.5, -2]),
        ("x=@other.pt#head.weight[1, ::2]", torch.float32, [3, 5]),
        ("x=@array.npy", torch.int16, [[1, 2]]),
        ('x = @"the #1.npy"', torch.int16, [[1, 2]]),
        ("x = @'arrays.npz'#'a b'", torch.int16, [[1, 2]]),
        ("x:f32[2]=copy_from(other.pt, name=head.bias)", torch.float32, [1.5, -2]),
        ("0.copy=@mlp.pt#0.bias[:2]", torch.float32, None),
    ],
)
def test_one_tensor(ckpt: Ckpt, tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch, what: str, dtype: Any, values: Any) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(mlp(), "mlp.pt")
    array = numpy.array([[1, 2]], "<i2")
    numpy.save("array.npy", array)
    numpy.save("the #1.npy", array)
    numpy.savez("arrays.npz", **{"a b": array})
    ckpt("add", "mlp.pt", what, "-o", "out.pt")
    found = torch.load("out.pt")
    name = list(found)[-1]
    assert list(found)[:-1] == list(mlp()) and found[name].dtype == dtype
    assert found[name].tolist() == (mlp()["0.bias"][:2].tolist() if values is None else values)
    ckpt("add", "mlp.pt", what, "-i")
    assert torch.equal(torch.load("mlp.pt")[name], found[name])
    recipe = ckpt(
        "add", "out.pt", f"again=@other.pt#{name}" if what == f"{name}=@other.pt" else what.replace(name, "again", 1), "--print-recipe"
    ).out
    Path("r.toml").write_text(recipe)
    ckpt("apply", "out.pt", "r.toml", "-o", "twice.pt")
    assert torch.equal(torch.load("twice.pt")["again"], found[name]) and "seed" not in recipe


def test_tensors_are_taken_over_with_their_ties_and_under_new_names(ckpt: Ckpt, tmp_path: Path, other: Path) -> None:
    ckpt("add", MLP, "--from", other, "head.*", "!head.bias", "--rename", "head.*=model.head.*", "-o", tmp_path / "a.pt")
    found = torch.load(tmp_path / "a.pt")
    assert list(found) == [*mlp(), "model.head.weight", "model.head.out"]
    assert found["model.head.weight"].data_ptr() == found["model.head.out"].data_ptr()
    assert found["model.head.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    ckpt("add", SAMPLES / "mlp.safetensors", "--from", other, "-o", tmp_path / "b.safetensors")
    assert ["head.out", "head.weight"] in [sorted([row[0], row[5]]) for row in ckpt("ls", tmp_path / "b.safetensors").rows if row[5]]


def test_a_recipe_replays_to_the_same_bytes(ckpt: Ckpt, tmp_path: Path, other: Path) -> None:
    forms: list[list[object]] = [
        ["a:f32[70000]=normal(0, 0.02)", "b:f32[3]=ones", f"c=@{other}#n"],
        ["--from", other, "head.*", "n", "--rename", "head.*=h.*", "--rename", "n=count"],
        ["--from", other],
    ]
    for form in forms:
        recipe = ckpt("add", MLP, *form, "--print-recipe").out
        (tmp_path / "r.toml").write_text(recipe)
        seed = ["--seed", recipe.split("seed = ")[1].strip()] if "seed" in recipe else []
        ckpt("add", MLP, *form, *seed, "-o", tmp_path / "a.pt", "--force")
        ckpt("apply", MLP, tmp_path / "r.toml", "-o", tmp_path / "b.pt", "--force")
        assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
        assert bool(seed) == ("normal" in str(form[0]))


def test_a_layer_is_doubled_from_the_file_itself(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(mlp(), path)
    ckpt("add", path, "--from", path, "2.*", "--rename", "2.*=4.*", "-i")
    found = torch.load(path)
    assert torch.equal(found["4.weight"], mlp()["2.weight"]) and found["4.weight"].data_ptr() != found["2.weight"].data_ptr()
    ckpt("set", path, "4.weight = 0", "-i")
    assert torch.equal(torch.load(path)["2.weight"], mlp()["2.weight"])


def test_a_part_of_a_large_storage_takes_no_more_than_its_own_bytes(ckpt: Ckpt, tmp_path: Path) -> None:
    large = torch.arange(100_000.0)
    torch.save({"flat": large, "part": large[10:20]}, tmp_path / "o.pt")
    ckpt("add", MLP, "--from", tmp_path / "o.pt", "part", "-o", tmp_path / "a.pt")
    assert (tmp_path / "a.pt").stat().st_size < 20_000 and torch.load(tmp_path / "a.pt")["part"].tolist() == list(range(10, 20))
    ckpt("add", MLP, "--from", tmp_path / "o.pt", "-o", tmp_path / "b.pt")
    both = torch.load(tmp_path / "b.pt")
    assert both["part"].untyped_storage().data_ptr() == both["flat"].untyped_storage().data_ptr()


class Own:
    """A class of which nothing is known."""


def nested() -> dict[str, Any]:
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "model": layer.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "args": argparse.Namespace(lr=0.1),
        "parts": [{"w": torch.ones(2)}], "pair": ({"w": torch.ones(2)}, 1), "own": Own(), "empty": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("model.head.weight", ["model", "head.weight"]),
        ("optimizer.state.2.exp_avg", ["optimizer", "state", 2, "exp_avg"]),
        ("parts.0.v", ["parts", 0, "v"]),
        ("parts.1", ["parts", 1]),
        ("pair.0.v", ["pair", 0, "v"]),
        ("empty.w", ["empty", "w"]),
        ("ema.0.weight", ["ema", "0.weight"]),
        ("args.w", ["args", "w"]),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_a_name_leads_into_the_containers_of_a_training(ckpt: Ckpt, tmp_path: Path, name: str, keys: list[Any], legacy: bool) -> None:
    torch.save(nested(), tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    ckpt("add", tmp_path / "a.pt", f"{name}:float32[2]=ones", "-i")
    found = torch.load(tmp_path / "a.pt", weights_only=False)
    for key in keys:
        found = vars(found)[key] if isinstance(found, argparse.Namespace) else found[key]
    assert found.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("parts.7", "parts is a list of 1, and a new entry goes to its end (call it parts.1)"),
        ("pair.2", "pair is a tuple, into which nothing is put"),
        ("own.w", "own is an object of test_add.Own, into which nothing is put"),
        ("model", "model holds model.weight in the file, and can be nothing else"),
        ("epoch", "epoch: an object of the file is called so"),
        ("epoch.w", "epoch is no container in the file"),
    ],
)
def test_what_takes_no_entry_refuses(ckpt: Ckpt, tmp_path: Path, name: str, told: str) -> None:
    torch.save(nested(), tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    assert told in ckpt("add", tmp_path / "a.pt", f"{name}:float32[2]=ones", "-i", status=2).err
    assert told in ckpt("add", tmp_path / "a.pt", f"{name}:float32[2]=ones", "-n", status=2).err
    assert (tmp_path / "a.pt").read_bytes() == before


def test_a_distributed_checkpoint_gets_them_where_its_dicts_are(ckpt: Ckpt, tmp_path: Path) -> None:
    from torch.distributed.checkpoint import save
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save({"model": {"a.weight": torch.ones(2)}, "optimizer": {"lr": 0.1}}, checkpoint_id=str(tmp_path / "dcp"))
        ckpt("add", tmp_path / "dcp", "model.b.weight:f32[3]=zeros", "ema:f32[1]=ones", "-i")
        dcp_to_torch_save(str(tmp_path / "dcp"), str(tmp_path / "flat.pt"))
    found = torch.load(tmp_path / "flat.pt")
    assert {key: list(each) for key, each in found.items()} == {"model": ["a.weight", "b.weight"], "optimizer": ["lr"], "ema": [1.0]}


@pytest.mark.parametrize(
    ("name", "told"),
    [("mlp.keras", "the model in the file does not know of new.w"), ("mlp.h5", "the model in the file does not know of new.w"),
     ("tensorflow", "the object graph in the checkpoint does not know of new.w"), ("mlp.params", ""), ("mlp.pt", ""),
     ("blocks.gguf", "llama.cpp refuses a file with tensors that its architecture llama has no place for: see that it has one for new.w")],
)  # fmt: skip
def test_a_graph_or_config_that_does_not_know_of_it_is_told(ckpt: Ckpt, tmp_path: Path, name: str, told: str) -> None:
    for where in (["-n"], ["-o", tmp_path / name]):
        said = ckpt("add", SAMPLES / name, "new.w:f32[2]=ones", *where).err
        assert told in said and bool(told) == ("new.w" in said.replace("new.w: ones", ""))
    assert told not in ckpt("set", tmp_path / name, "new.w = 0", "-n").err or not told
    elsewhere = ckpt("add", SAMPLES / name, "new.w:f32[2]=ones", "-o", tmp_path / "other.safetensors", status=None).err
    assert "know of" not in elsewhere and "llama.cpp" not in elsewhere


def test_parameters_nested_by_jax_stay_nested(ckpt: Ckpt, tmp_path: Path) -> None:
    with (tmp_path / "a.pkl").open("wb") as file:
        pickle.dump({"params": {"Block_0": {"Dense_0": {"kernel": numpy.ones((2, 3), "f4")}}}}, file)
    names = ["params.Block_1.Dense_0.kernel", "params.Block_1.Dense_0.bias", "params.Block_0.Dense_1.kernel"]
    ckpt("add", tmp_path / "a.pkl", *(f"{name}:f32[2]=zeros" for name in names), "-i")
    with (tmp_path / "a.pkl").open("rb") as file:
        found = pickle.load(file)
    assert set(found["params"]["Block_1"]["Dense_0"]) == {"kernel", "bias"} and set(found["params"]["Block_0"]) == {"Dense_0", "Dense_1"}


WRITABLE = [
    "mlp.pt", "mlp.legacy.pt", "mlp.safetensors", "mlp.npz", "mlp.pkl", "mlp.params", "mlp.h5", "mlp.weights.h5", "mlp.keras",
    "train-state.msgpack", "checkpoint.pdz", "blocks.gguf", "mlp.dcp", "tensorflow", "training.ckpt", "compressed.npz", "bert",
]  # fmt: skip


@pytest.mark.parametrize("name", WRITABLE)
def test_every_format_that_is_written_takes_a_tensor(ckpt: Ckpt, tmp_path: Path, name: str, other: Path) -> None:
    import shutil

    source, path = SAMPLES / name, tmp_path / name
    shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)
    before = {row[0]: row[1:] for row in ckpt("ls", path).rows}
    ckpt("add", path, "new/w:float32[2,3]=@" + str(other) + "#head.weight", "-i")
    after = {row[0]: row[1:] for row in ckpt("ls", path).rows}
    assert after.items() >= before.items() and after.keys() - before.keys() == {"new/w"}
    assert json.loads(ckpt("get", path, "new/w", "--json").out)["values"] == [[0, 1, 2], [3, 4, 5]]
    assert ckpt("diff", source, path, *before, status=None).status == 0
    ckpt("check", path)


@pytest.mark.parametrize(
    "name", ["conv.onnx", "fortran.npy", "shared-mlp.torchscript", "module.pt", "linear.package", "orbax", "shared-mlp.pt2"]
)
def test_a_format_that_takes_none_says_so_before_a_byte_is_read(ckpt: Ckpt, name: str) -> None:
    for where in (["-n"], ["-i"]):
        assert ckpt("add", SAMPLES / name, "new.w:float32[2]=ones", *where, status=2).err.startswith(f"ckpt: error: {SAMPLES / name}")


@pytest.mark.parametrize("case_name", ["hf5/bert_sharded", "hf4/t5_bin_sharded", "reports/gguf-split/parts", "reports/keras-shards"])
def test_the_index_of_shards_follows(ckpt: Ckpt, tmp_path: Path, case_name: str) -> None:
    import shutil

    source = CASES / case_name
    source = source if source.is_dir() else source.parent
    if not source.is_dir():
        pytest.skip("no real checkpoints")
    shutil.copytree(source, tmp_path / "model", copy_function=shutil.copyfile)
    names = [row[0] for row in ckpt("ls", tmp_path / "model").rows]
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "model").iterdir()}
    ckpt("add", tmp_path / "model", "new.w:float32[2]=ones", "-i")
    assert [row[0] for row in ckpt("ls", tmp_path / "model").rows if row[0] not in names] == ["new.w"]
    ckpt("check", tmp_path / "model")
    ckpt("diff", source, tmp_path / "model", *names)
    if "bert" in case_name:
        changed = [file.name for file, time in times.items() if file.stat().st_mtime_ns != time]
        assert len(changed) == 2 and "model.safetensors.index.json" in changed
        index = json.loads((tmp_path / "model" / "model.safetensors.index.json").read_text())
        with safe_open(tmp_path / "model" / index["weight_map"]["new.w"], "pt") as shard:
            assert shard.get_tensor("new.w").tolist() == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["0.weight:f32[2]=zeros"], "0.weight is there already (`ckpt set` gives it values"),
        (["a:f32[2]=zeros", "a=@other.pt#n"], "a is added twice"),
        (["--from", "other.pt", "hed.*"], "other.pt: nothing matches 'hed.*' (did you mean head."),
        (["--from", "other.pt", "--rename", "had.*=x.*"], "other.pt: nothing matches 'had.*'"),
        (["--from", "mlp.pt"], "0.weight, 0.bias, 2.weight, 2.bias are there already (choose others by a pattern, or rename"),
        (["--from", "other.pt", "head.*", "--rename", "head.*=0.weight"], "would both be called '0.weight'"),
        (["--from", "other.pt", "x=@other.pt"], "nothing matches 'x=@other.pt'"),
        (["--rename", "a=b", "a:f32[2]=zeros"], "--rename goes with --from"),
        (["--from", "other.pt", "--seed", "3"], "--seed is for what is drawn"),
        ([], "nothing says what to add"),
        (["x=zeros"], "'x=zeros' says no dtype and shape of the new tensor (as in 'x:float32[10]=zeros')"),
        (["x[3]=zeros"], "(as in 'x:float32[3]=zeros')"),
        (["x:flot32[3]=zeros"], "no dtype is called 'flot32' (did you mean float32"),
        (["x:f32[3]=zeross"], "no scheme is called 'zeross' (did you mean zeros"),
        (["x:f32[-3]=zeros"], "[-3] is no shape"),
        (["x:f32[3]=[1, 2, 3]"], "is no scheme (write constant(0.5), or NAME=@FILE.npy for a list"),
        (["x:f32[3]=0"], "'0' is no scheme (write constant"),
        (["a += 3"], "'a += 3' adds nothing (`ckpt set` changes what is there)"),
        (["a+=@other.pt#n"], "'a+' ends with an operator"),
        (["a[0]=@other.pt#n"], "without a dtype (write NAME:DTYPE[SHAPE]; in quotes it is a name: '\"a[0]\"=…')"),
        (["*.b:f32[3]=zeros"], "'*.b' is a pattern"),
        (["a:b=@other.pt#n"], "no dtype is called 'b'"),
        (["x=@other.pt"], "other.pt: nothing matches 'x'"),
        (["x=@other.pt#haed.bias"], "other.pt: nothing matches 'haed.bias' (did you mean head.bias"),
        (["x=@other.pt#head.*"], "means 3 tensors"),
        (["x=@missing.pt"], "missing.pt: no such file"),
        (["x=@"], "'@' names no file"),
        (["x:f32[3]=@other.pt#head.bias"], "other.pt: head.bias has the shape 2, not 3"),
        (["x:u8=@other.pt#n"], "300"),
        (["x:Q4_0[32]=zeros"], "Q4_0 has no plain elements"),
        (["x:Q4_0=@other.pt#head.bias"], "nothing is cast to Q4_0"),
        (["x:f32[4,4]=mean_rows(2)"], "mean_rows(start=2) starts from old values, and x is new"),
        (["x:f32[4,4]=rows(shrink_perturb, 0=zeros)"], "starts from old values"),
        (["x:f32[3]=keep"], "x is new: there is nothing to keep"),
        (["x:f32[3]=preset:pytorch"], "the preset pytorch does not know what x is"),
        (["x:f32[3]=kaiming_normal"], "x: a vector has no fan-in"),
        (["x:i64[3]=normal(0, 1)"], "x: normal(0, 1) cannot be drawn in int64"),
        (["x:f32[2,2]=copy_from(other.pt, name=head.bias)"], "the shapes must agree"),
        (["x:f32[9999999999,9999999999]=zeros"], "no file is as large as x would be"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_an_error_in_one_line(
    ckpt: Ckpt, tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(mlp(), "mlp.pt")
    before = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())
    assert told in ckpt("add", "mlp.pt", *arguments, "-i", status=2).err
    assert told in ckpt("add", "mlp.pt", *arguments, "-o", "out.pt", status=2).err
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == before


def test_many_names_that_collide_are_told_by_the_first_ten(ckpt: Ckpt, tmp_path: Path) -> None:
    save_file({f"t{k:02}": torch.ones(1) for k in range(14)}, tmp_path / "a.safetensors")
    told = ckpt("add", tmp_path / "a.safetensors", "--from", tmp_path / "a.safetensors", "-n", status=2).err
    assert "t09 and 4 more are there already" in told and "t10" not in told


@pytest.mark.parametrize(
    ("name", "how"), [("0.Weight", "0.weight by case"), ("Å.ﬁ", None), ("café", "café by Unicode normal form"), ("0.weights", None)]
)
def test_names_that_look_alike_are_noted(ckpt: Ckpt, tmp_path: Path, name: str, how: str | None) -> None:
    save_file({"0.weight": torch.ones(1), "cafe\u0301": torch.ones(1)}, tmp_path / "a.safetensors")
    told = ckpt("add", tmp_path / "a.safetensors", f"{name}:f32[1]=zeros", "-o", tmp_path / "b.safetensors").err
    assert ("differs from" in told) == (how is not None)
    if how is not None:
        by = how.partition(" by ")[2]
        assert f"{name} differs from " in told and f" by {by} alone" in told


@pytest.mark.parametrize(
    ("text", "name"),
    [("a=b:f32[1]=zeros", "a=b"), ("d/k:0:f32[1]=zeros", "d/k:0"), ('"x[0]":f32[1]=zeros', "x[0]"), ('"a+"=@o.pt#n', "a+"),
     ('"b:c" = @o.pt#n', "b:c"), ("v:0=@o.pt#n", "v:0"), ("states[7].w:f32[1]=zeros", "states[7].w"), (r'"q\"":f32[1]=zeros', 'q"')],
)  # fmt: skip
def test_odd_names_have_the_reading_that_makes_sense(
    ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"n": torch.ones(1)}, "o.pt")
    ckpt("add", SAMPLES / "mlp.safetensors", text, "-o", "a.safetensors")
    assert set(load_file("a.safetensors")) - set(mlp()) == {name}


def test_the_result_replaces_none_of_its_sources(ckpt: Ckpt, tmp_path: Path, other: Path) -> None:
    before = other.read_bytes()
    os.link(other, tmp_path / "link.pt")
    for arguments in (["--from", other], [f"x=@{other}#n"]):
        recipe = tmp_path / "r.toml"
        recipe.write_text(ckpt("add", MLP, *arguments, "--print-recipe").out)
        for target in (other, tmp_path / "link.pt"):
            assert "which it is made of" in ckpt("apply", MLP, recipe, "-o", target, "--force", status=2).err
            assert "which it is made of" in ckpt("add", MLP, *arguments, "-o", target, "--force", status=2).err
            assert "which it is made of" in ckpt("add", MLP, *arguments, "-o", target, "--force", "-n", status=2).err
        assert "which it is made of" in ckpt("apply", MLP, recipe, "-o", recipe, "--format", "torch", "--force", status=2).err
    config = tmp_path / "config.json"
    config.write_text("{}")
    assert "which it is made of" in ckpt("add", MLP, "--from", other, "-o", config, "--format", "torch", "--force", status=2).err
    torch.save(mlp(), tmp_path / "b.pt")
    assert "which it is made of" in ckpt("set", MLP, f"*.weight = @{tmp_path}/b.pt", "-o", tmp_path / "b.pt", "--force", status=2).err
    assert other.read_bytes() == before


def test_a_packed_parameter_that_is_taken_in_part_is_noted(ckpt: Ckpt, tmp_path: Path) -> None:
    save_file({"q.weight": torch.ones(4, 4).to(torch.float8_e4m3fn), "q.weight_scale": torch.ones(1)}, tmp_path / "o.safetensors")
    told = ckpt("add", SAMPLES / "mlp.safetensors", "--from", tmp_path / "o.safetensors", "q.weight", "-o", tmp_path / "a.safetensors").err
    assert "q.weight is a packed parameter" in told and "not taken of it: q.weight_scale" in told
    assert "packed" not in ckpt("add", SAMPLES / "mlp.safetensors", "--from", tmp_path / "o.safetensors", "-n").err
    error = ckpt("add", SAMPLES / "mlp.safetensors", f"x:f32=@{tmp_path}/o.safetensors#q.weight", "-n", status=2).err
    assert "is a packed parameter" in error and error.count("\n") == 1


def test_a_dtype_without_a_place_refuses_as_convert_does(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"x": torch.ones(2, dtype=torch.complex128)}, tmp_path / "o.pt")
    error = ckpt("add", SAMPLES / "mlp.safetensors", "--from", tmp_path / "o.pt", "-o", tmp_path / "a.safetensors", status=2).err
    assert "safetensors cannot hold x, which is complex128" in error and not (tmp_path / "a.safetensors").exists()
    assert "Q4_0" in ckpt("ls", SAMPLES / "blocks.gguf").out
    name = next(row[0] for row in ckpt("ls", SAMPLES / "blocks.gguf").rows if row[1] == "Q4_0")
    ckpt("add", SAMPLES / "blocks.gguf", f"copy=@{SAMPLES / 'blocks.gguf'}#{name}", "-o", tmp_path / "b.gguf")
    assert next(row[1] for row in ckpt("ls", tmp_path / "b.gguf").rows if row[0] == "copy") == "Q4_0"


def test_axes_of_another_framework_are_told(ckpt: Ckpt) -> None:
    told = ckpt("add", MLP, "--from", SAMPLES / "mlp.weights.h5", "-n").err
    assert "hdf5 keeps weights in × out and torch out × in; their axes stay as they are" in told


def test_a_full_disk_leaves_nothing(ckpt: Ckpt, tmp_path: Path, other: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))
    try:
        error = ckpt("add", other, "x:f32[1000000]=ones", "-i", status=2).err
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "too large" in error and list(torch.load(other)) == ["head.weight", "head.out", "head.bias", "n"]
    assert [path.name for path in tmp_path.iterdir()] == ["other.pt"]


def test_the_library_has_the_same_edit(tmp_path: Path, other: Path) -> None:
    base = ckpt_cli.open(str(MLP))
    drawn = ckpt_cli.add(base, ["x:f32[3]=normal(0, 1)", f"y=@{other}#n"], seed=3)
    taken = ckpt_cli.add(drawn, ["head.*"], from_=ckpt_cli.open(str(other)), rename=["head.*=h.*"])
    assert list(taken) == [*base, "x", "y", "h.weight", "h.out", "h.bias"]
    ckpt_cli.save(taken, str(tmp_path / "a.pt"))
    found = torch.load(tmp_path / "a.pt")
    assert found["y"] == 300 and found["h.weight"].data_ptr() == found["h.out"].data_ptr()
    assert torch.equal(found["x"], torch.from_numpy(drawn["x"].array().copy()))


def test_transformers_loads_a_head_that_was_taken_from_another_file(ckpt: Ckpt, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 30}
    config = transformers.BertConfig(**sizes, max_position_embeddings=16, num_labels=3)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "base")
    trained = transformers.BertForSequenceClassification(config)
    trained.save_pretrained(tmp_path / "trained")
    steps = [["drop", "cls.*"], ["add", "--from", tmp_path / "trained", "classifier.*", "bert.pooler.*"]]
    recipe = "".join(ckpt(verb, tmp_path / "base", *rest, "--print-recipe").out for verb, *rest in steps)
    (tmp_path / "graft.toml").write_text(recipe)
    told = ckpt("apply", tmp_path / "base", tmp_path / "graft.toml", "-o", f"{tmp_path}/grafted/").err
    assert f"a BertForSequenceClassification: for a folder that loads as one, copy {tmp_path}/trained/config.json into it" in told
    ckpt("add", tmp_path / "base", *steps[1][1:], "-o", f"{tmp_path}/one/")
    for folder in ("grafted", "one"):
        found, told = transformers.BertForSequenceClassification.from_pretrained(tmp_path / folder, output_loading_info=True)
        assert not told["missing_keys"] and torch.equal(found.classifier.weight, trained.classifier.weight)
        assert bool(told["unexpected_keys"]) == (folder == "one")

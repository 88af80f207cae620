"""The library: the same words as the shell, and the same answers; tensors as arrays, a state dict for torch, files that are closed."""

from __future__ import annotations

import ast
import copy
import doctest
import gc
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy
import pytest
import torch
from conftest import SAMPLES, Ckpt
from oracles import DTYPES, bits, example, safetensors_file

import ckpt_cli
from ckpt_cli import Checkpoint, CkptError
from ckpt_cli.numbers.dtypes import named

ROOT = SAMPLES.parent
MLP, TRAINING, SHARED = SAMPLES / "mlp.pt", SAMPLES / "training.ckpt", SAMPLES / "shared-mlp.pt"


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# Importing


def test_import_loads_nothing_and_help_lists_the_names() -> None:
    code = (
        "import sys; before = set(sys.modules); import ckpt_cli; print(*sorted(set(sys.modules) - before)); print(*dir(ckpt_cli))\n"
        "ckpt_cli.open(sys.argv[1])['0.weight']; print(*(set(sys.modules) & {'numpy', 'torch', 'typer', 'rich', 'h5py', 'ml_dtypes'}))"
    )
    done = subprocess.run([sys.executable, "-c", code, MLP], capture_output=True, text=True, check=True)
    loaded, names, heavy = done.stdout.split("\n")[:3]
    assert {name for name in loaded.split() if not name.startswith("importlib")} <= {"ckpt_cli", "__future__", "warnings"}
    assert names.split() == sorted(ckpt_cli.__all__) and not heavy


def test_each_name_is_there_and_is_the_one_that_type_checkers_see() -> None:
    tree = ast.parse(Path(ckpt_cli.__file__).read_text())
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for node in branch.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            module = __import__(f"ckpt_cli.{node.module}", fromlist=["_"])
            seen |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}
    assert seen == {name: getattr(ckpt_cli, name) for name in ckpt_cli.__all__}
    with pytest.raises(AttributeError, match="ckpt_cli has no 'resise'"):
        _ = ckpt_cli.resise


def test_every_edit_is_a_function() -> None:
    from ckpt_cli.edits.steps import verbs

    assert {"set_values" if verb == "set" else verb for verb in verbs()} - {"assert"} <= set(ckpt_cli.__all__)


@pytest.mark.parametrize(
    "name", sorted(set(ckpt_cli.__all__) - {"Checkpoint", "CkptError", "Difference", "Digests", "Figures", "Summary", "Tensor"})
)
def test_every_function_says_what_it_does_and_is_on_the_page(name: str) -> None:
    function = getattr(ckpt_cli, name)
    assert function.__doc__ and function.__module__.startswith("ckpt_cli.interface.")
    assert re.search(rf"\b{name}\(", (ROOT / "docs/python.md").read_text())


def test_table_of_functions_has_all_options() -> None:
    import inspect

    listed = re.findall(r"`(\w+)\(([^`]*)\)`", (ROOT / "docs/python.md").read_text().split("## All functions")[1])
    for name, arguments in listed:
        signature = inspect.signature(getattr(ckpt_cli, name)).parameters.values()
        options = {each.name for each in signature if each.kind is each.KEYWORD_ONLY or each.default is False} - {"arch"}
        assert {each.partition("=")[0] for each in arguments.split(", ") if "=" in each} == options, name
    assert {name for name, _ in listed} == {name for name in ckpt_cli.__all__ if inspect.isfunction(getattr(ckpt_cli, name))}


RIGHT = """
from pathlib import Path

import ckpt_cli as ckpt

with ckpt.open(Path("mlp.pt")) as checkpoint:
    names: list[str] = list(checkpoint)
    shape: tuple[int, ...] = checkpoint["0.weight"].slice[0, :2].shape
    edited: ckpt.Checkpoint = ckpt.set_values(ckpt.reinit(checkpoint, "*.bias=zeros", seed=1), ["0.weight += 1"])
    merged: ckpt.Checkpoint = ckpt.merge(checkpoint, "b.pt", weights=[0.7, 0.3])
    worst: float = max(each.numbers.max_abs for each in ckpt.diff(checkpoint, edited) if each.numbers)
    mean: complex = ckpt.stats(edited)["0.weight"].mean
    digest: str = ckpt.hash(edited).sha256
    parameters: int = ckpt.summary(edited).params
    notes: list[str] = ckpt.save(ckpt.cast(edited, "bfloat16"), "out.safetensors")
"""
WRONG = """
import ckpt_cli as ckpt

checkpoint = ckpt.open("mlp.pt")
ckpt.reinit(checkpoint, "*.bias=zeros", seed="one")
ckpt.cast(checkpoint)
ckpt.resise(checkpoint, "0.weight=8x8")
checkpoint["0.weight"].tensor()
"""
MYPY = "[mypy]\nstrict = True\n[mypy-torch.*,numpy.*,h5py.*,ml_dtypes.*,typer.*,transformers.*]\nfollow_imports = skip\n"


def test_type_checker_accepts_right_calls_and_refuses_wrong_ones() -> None:
    Path("right.py").write_text(RIGHT)
    Path("wrong.py").write_text(WRONG)
    Path("mypy.ini").write_text(MYPY)
    done = subprocess.run([sys.executable, "-m", "mypy", "right.py", "wrong.py"], capture_output=True, text=True)
    assert re.findall(r"^(\w+\.py:\d+): error", done.stdout, re.MULTILINE) == [f"wrong.py:{line}" for line in (5, 6, 7, 8)], done.stdout
    assert "in 1 file (checked 2 source files)" in done.stdout


# Looking


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: ckpt_cli.open(MLP), f"Checkpoint('{MLP}', 4 tensors, 49 parameters)"),
        (lambda: ckpt_cli.open(SHARED), f"Checkpoint('{SHARED}', 8 tensors, 121 parameters)"),
        (lambda: Checkpoint({}), "Checkpoint(0 tensors, 0 parameters)"),
        (lambda: ckpt_cli.open(MLP)["0.weight"], "Tensor(float32 8x4)"),
        (lambda: ckpt_cli.open(MLP)["2.bias"].slice[0], "Tensor(float32 scalar)"),
        (lambda: ckpt_cli.open(MLP)["0.weight"].slice, "Tensor(float32 8x4).slice"),
        (lambda: ckpt_cli.open(MLP).state_dict(), "StateDict(4 tensors)"),
        (lambda: ckpt_cli.summary(MLP), f"Summary('{MLP}', mlp, 49 parameters, 4 tensors)"),
        (lambda: ckpt_cli.hash(MLP), "Digests(6ac3f78eba14adceb57fc8cc4c917bcae2775ea7ea3def4c2c2a47ad192f22ab, 4 tensors)"),
        (
            lambda: next(ckpt_cli.diff(MLP, ckpt_cli.set_values(MLP, "0.bias[1] = 1"))),
            "<changed 0.bias: 1 of 8 elements, max abs 1.23017, rel l2 1.31305, cosine 0.469826, the first at [1]>",
        ),
        (lambda: next(ckpt_cli.diff(MLP, ckpt_cli.drop(MLP, "0.bias"))), "<removed 0.bias: float32 8>"),
        (lambda: next(ckpt_cli.diff(MLP, ckpt_cli.resize(MLP, "0.bias=9", fill="zeros"))), "<shape 0.bias: 8 -> 9>"),
        (
            lambda: ckpt_cli.stats(ckpt_cli.set_values(MLP, "0.bias = [0, 1, 2, 3, 4, 5, 6, 7]"))["0.bias"],
            "Figures(min=0, max=7, mean=3.5, std=2.29129, l2=11.8322, zeros=1, nan=0, inf=0)",
        ),
    ],
)
def test_repr_is_one_readable_line(make: Callable[[], Any], text: str) -> None:
    assert repr(make()) == text


def test_hostile_path_does_not_reach_the_terminal() -> None:
    shutil.copy(MLP, "a\x1b[31m.pt")
    assert "\x1b" not in repr(ckpt_cli.open("a\x1b[31m.pt"))


def test_names_that_are_not_there() -> None:
    checkpoint = ckpt_cli.open(MLP)
    assert checkpoint.get("0.wieght") is None and "0.wieght" not in checkpoint
    with pytest.raises(KeyError) as caught:
        checkpoint["0.wieght"]
    assert isinstance(caught.value, CkptError) and "(did you mean 0.weight" in str(caught.value)


def test_answers_are_those_of_the_commands(ckpt: Ckpt) -> None:
    checkpoint = ckpt_cli.open(TRAINING)
    listed = ckpt("hash", TRAINING, "--json").json
    digests = ckpt_cli.hash(checkpoint)
    assert digests.sha256 == listed["sha256"] and digests.tensors == {each["name"]: each["sha256"] for each in listed["tensors"]}
    for row in ckpt("stats", TRAINING, "model.*", "--json").json["tensors"]:
        figures = ckpt_cli.stats(checkpoint, ["model.*"])[row["name"]]
        assert (figures.min, figures.max, figures.mean, figures.std) == (row["min"], row["max"], row["mean"], row["std"])
    edited = ckpt_cli.set_values(checkpoint, ["*.bias += 1"])
    ckpt_cli.save(edited, "edited.ckpt")
    shown = ckpt("diff", TRAINING, "edited.ckpt", "--json", status=1).json["differences"]
    found = list(ckpt_cli.diff(TRAINING, Path("edited.ckpt")))
    assert [(each.status, each.name, each.numbers.changed) for each in found if each.numbers] == [
        (each["status"], each["name"], each["changed"]) for each in shown
    ]
    assert [each.name for each in ckpt_cli.diff(checkpoint, edited, "model.*")] == [
        each.name for each in found if each.name.startswith("model.")
    ]
    assert not list(ckpt_cli.diff(checkpoint, edited, atol=1.5)) and not list(ckpt_cli.diff(SAMPLES / "mlp.safetensors", MLP))
    for options, words in (
        (["--by-layer"], {"by_layer": True}),
        (["--unchanged"], {"unchanged": True}),
        (["--sort", "max_abs"], {"sort": "max_abs"}),
    ):
        shown = ckpt("diff", TRAINING, "edited.ckpt", *options, status=None).rows
        assert [[each.status, each.name] for each in ckpt_cli.diff(checkpoint, edited, **words)] == [row[:2] for row in shown]
    layers = {row[0]: row[3] for row in ckpt("stats", TRAINING, "--by-layer", "2").rows}
    assert {name: repr(each.min) for name, each in ckpt_cli.stats(checkpoint, by_layer=2).items()} == layers
    for patterns in ([], ["*"]):
        assert repr(ckpt_cli.stats(checkpoint, patterns, total=True)["*"].l2) == ckpt("stats", TRAINING, *patterns, "--total").rows[0][7]
    shown = [row[1] for row in ckpt("summary", SAMPLES / "bert", "--depth", "2").rows if row[0] == "layer"]
    assert [row.path for row in ckpt_cli.summary(SAMPLES / "bert", depth=2).layers] == shown
    summary, document = ckpt_cli.summary(checkpoint), ckpt("summary", TRAINING, "--json").json
    assert (summary.params, summary.tensors, summary.dtypes) == (document["params"], document["tensors"], document["dtypes"])
    lines = str(ckpt_cli.summary(MLP)).split("\n")
    assert lines[0] == f"{MLP}: torch, 2.5 kB on disk" and "├── 0  Linear          40" in lines and lines[-1] == "4 tensors: 49 float32"


def test_figures_are_rows_of_a_table() -> None:
    rows = [{"name": name, **figures} for name, figures in ckpt_cli.stats(MLP).items()]
    assert [*rows[0]] == ["name", "min", "max", "mean", "std", "l2", "zeros", "nan", "inf"]
    assert rows[1]["min"] == torch.load(MLP)["0.bias"].min().item() and dict(ckpt_cli.stats(MLP)["0.bias"])["std"] == rows[1]["std"]


def test_version_is_that_of_the_command(ckpt: Ckpt) -> None:
    assert ckpt("--version").out.split() == ["ckpt", ckpt_cli.__version__]


def test_figures_of_what_has_none() -> None:
    name = "coo"
    torch.save({name: torch.eye(3).to_sparse(), "w": torch.ones(2)}, "sparse.pt")
    assert list(ckpt_cli.stats("sparse.pt")) == ["w"]
    with pytest.raises(CkptError, match="coo is sparse_coo"):
        ckpt_cli.stats("sparse.pt", name)


# Values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 4)])
def test_values_are_those_of_torch(dtype: str, shape: tuple[int, ...]) -> None:
    whole = example(dtype, *shape)
    torch.save({"a": whole, "b": whole.t() if len(shape) == 2 else whole}, "a.pt")
    checkpoint = ckpt_cli.open("a.pt")
    for name, want in (("a", whole), ("b", whole.t() if len(shape) == 2 else whole)):
        assert bits(checkpoint[name].torch()) == bits(want) == bits(checkpoint.state_dict()[name])
        if dtype == "complex32":
            assert numpy.array_equal(checkpoint[name], want.to(torch.complex64).numpy(), equal_nan=True)
        elif dtype == "bfloat16":
            array = numpy.asarray(checkpoint[name])
            assert array.dtype == ml_dtypes.bfloat16 and array.tobytes() == bits(want)[2]
        else:
            assert numpy.asarray(checkpoint[name]).tobytes() == bits(want)[2]


def test_array_is_what_numpy_asks_for() -> None:
    tensor = ckpt_cli.open(MLP)["0.weight"]
    want = torch.load(MLP)["0.weight"].numpy()
    assert numpy.array_equal(tensor, want) and numpy.asarray(tensor, dtype="float64").dtype == "float64"
    assert numpy.mean(tensor) == want.mean() and numpy.array_equal(numpy.array(tensor, copy=True), want)
    array = numpy.asarray(tensor)
    array += 1
    assert numpy.array_equal(tensor, want) and torch.equal(torch.as_tensor(numpy.asarray(tensor)), torch.from_numpy(want))
    with pytest.raises(ValueError, match="always a copy"):
        numpy.asarray(tensor, copy=False)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int64", "uint8", "bool", "complex64", "float8_e4m3fn"])
def test_torch_takes_a_tensor_as_one_of_its_own(dtype: str) -> None:
    want = example(dtype, 3, 4)
    torch.save({"a": want.t(), "scalar": want[0, 0]}, "a.pt")
    checkpoint = ckpt_cli.open("a.pt")
    for take in (torch.as_tensor, torch.asarray, torch.from_dlpack):
        assert bits(take(checkpoint["a"])) == bits(want.t()) and bits(take(checkpoint["scalar"])) == bits(want[0, 0])
    assert str(checkpoint["a"].dtype) == f"{checkpoint['a'].dtype}" == dtype


def test_tensor_of_torch_is_its_own() -> None:
    checkpoint = ckpt_cli.open(SHARED)
    one, two = checkpoint["2.weight"].torch(), checkpoint["4.weight"].torch()
    one.zero_()
    assert two.any() and checkpoint["2.weight"].torch().any() and not one.requires_grad


def test_length_and_rows() -> None:
    tensor, want = ckpt_cli.open(MLP)["0.weight"], torch.load(MLP)["0.weight"].numpy()
    assert len(tensor) == 8 and all(numpy.array_equal(row, each) for row, each in zip(tensor, want, strict=True))
    with pytest.raises(TypeError, match="no length"):
        len(tensor.slice[0, 0])


@pytest.mark.parametrize(
    "index", ["0", "-1", "...", ":", "0, :2", "..., -1", "::-2", "1:1", "2:, ::3", "(0, 1)", "numpy.int64(2)", "slice(1, 3), 0"]
)
def test_slice_is_that_of_numpy(index: str) -> None:
    names = {"tensor": ckpt_cli.open(MLP)["0.weight"], "want": torch.load(MLP)["0.weight"].numpy(), "numpy": numpy}
    part, wanted = eval(f"tensor.slice[{index}]", names), eval(f"want[{index}]", names)
    assert part.shape == wanted.shape and numpy.array_equal(part, wanted) and numpy.array_equal(part.torch(), wanted)


@pytest.mark.parametrize("index", [8, (0, 0, 0), None, [0, 1], 1.5, slice(None, None, 0), (..., ...), "0"])
def test_index_that_makes_no_sense(index: Any) -> None:
    with pytest.raises(CkptError) as caught:
        ckpt_cli.open(MLP)["0.weight"].slice[index]
    assert "\n" not in str(caught.value)


def test_blocks_are_decoded() -> None:
    checkpoint = ckpt_cli.open(SAMPLES / "blocks.gguf")
    name = next(name for name, tensor in checkpoint.items() if tensor.dtype.kind == "q")
    want = checkpoint[name].decoded().array()
    assert numpy.array_equal(checkpoint[name], want, equal_nan=True) and checkpoint[name].torch().dtype == torch.float32
    assert numpy.array_equal(checkpoint[name].slice[..., :3], want[..., :3], equal_nan=True)


def sparse_file(path: str, size: int = 1 << 40) -> None:
    """A terabyte on paper: the elements 1, 2, 3 at the beginning, and 4 at the end."""
    header = {"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    header["v"] = {"dtype": "F32", "shape": [3], "data_offsets": [size, size + 12]}
    Path(path).write_bytes(safetensors_file(header))
    begin = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(begin)
        file.write(numpy.float32([1, 2, 3]).tobytes())
        file.seek(begin + size - 4)
        file.write(numpy.float32([4, 5, 6, 7]).tobytes())


def test_what_is_not_asked_for_is_not_read() -> None:
    sparse_file("huge.safetensors")
    checkpoint = ckpt_cli.open("huge.safetensors")
    assert numpy.asarray(checkpoint["w"].slice[:4]).tolist() == [1, 2, 3, 0] and float(checkpoint["w"].slice[-1].array()) == 4
    assert checkpoint.state_dict()["v"].tolist() == [5, 6, 7]
    assert numpy.asarray(ckpt_cli.set_values(checkpoint, "w *= 2")["w"].slice[1:3]).tolist() == [4, 6]


@pytest.mark.parametrize(
    "ask",
    [
        lambda: ckpt_cli.open("none.pt"),
        lambda: ckpt_cli.open("."),
        lambda: ckpt_cli.reinit(MLP, "0.bias zeros"),
        lambda: ckpt_cli.reinit(MLP, "*.bias=zeross"),
        lambda: ckpt_cli.reinit(MLP, "*.bias=zeros", seed=-1),
        lambda: ckpt_cli.reinit(MLP, []),
        lambda: ckpt_cli.set_values(MLP, "0.wieght = 1"),
        lambda: ckpt_cli.set_values(MLP, "0.weight = @none.pt"),
        lambda: ckpt_cli.cast(MLP, "float33"),
        lambda: ckpt_cli.drop(MLP, "*"),
        lambda: ckpt_cli.tie(MLP, ["0.weight", "2.weight"]),
        lambda: ckpt_cli.select(MLP, "none.*"),
        lambda: ckpt_cli.resize(MLP, "0.weight=3"),
        lambda: ckpt_cli.add(MLP, "0.bias:float32[3]=zeros"),
        lambda: ckpt_cli.add(MLP, from_=MLP),
        lambda: ckpt_cli.merge(),
        lambda: ckpt_cli.merge(MLP),
        lambda: ckpt_cli.merge(MLP, MLP),
        lambda: ckpt_cli.merge(MLP, SHARED),
        lambda: ckpt_cli.merge(MLP, SAMPLES / "mlp.safetensors", weights=[1.0]),
        lambda: ckpt_cli.apply(MLP, "none.toml"),
        lambda: ckpt_cli.map(MLP, "keras-to-torhc"),
        lambda: list(ckpt_cli.diff(MLP, SHARED, "none.*")),
        lambda: list(ckpt_cli.diff(MLP, SHARED, sort="size")),
        lambda: ckpt_cli.hash(MLP, "none.*"),
        lambda: ckpt_cli.save(ckpt_cli.open(MLP), "out.unknown"),
        lambda: ckpt_cli.save(ckpt_cli.open(MLP), "folder/out.pt"),
        lambda: ckpt_cli.save(ckpt_cli.open(MLP), MLP),
        lambda: ckpt_cli.save(ckpt_cli.open(MLP)),
        lambda: ckpt_cli.save(ckpt_cli.open(MLP), "out.pt", in_place=True),
        lambda: ckpt_cli.save(Checkpoint({}), in_place=True),
        lambda: ckpt_cli.open(MLP).state_dict("none."),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(ask: Callable[[], Any]) -> None:
    with pytest.raises(CkptError) as caught:
        ask()
    line = str(caught.value)
    assert "\n" not in line and len(line) > 20 and os.listdir() == []


# Files


def descriptors(path: Path) -> int:
    held = [os.path.join("/proc/self/fd", each) for each in os.listdir("/proc/self/fd")]
    return sum(os.path.islink(each) and os.readlink(each).startswith(str(path)) for each in held)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the system does not list open files")
@pytest.mark.parametrize("name", ["mlp.pt", "mlp.safetensors", "mlp.weights.h5", "mlp.keras", "mlp.npz", "blocks.gguf", "mlp.dcp"])
def test_with_closes_the_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    shutil.copytree(SAMPLES / name, path) if (SAMPLES / name).is_dir() else shutil.copy(SAMPLES / name, path)
    with ckpt_cli.open(path) as checkpoint:
        first = next(iter(checkpoint))
        value = checkpoint[first].array() if checkpoint[first].dtype.addressable else checkpoint[first].tobytes()
        edited = ckpt_cli.rename(checkpoint, f"{first}=renamed")
        assert descriptors(path) > 0
    assert descriptors(path) == 0
    for each in (checkpoint[first], edited["renamed"]):
        with pytest.raises(CkptError, match=r"the checkpoint is closed \(read it within its `with`, or open it again\)"):
            each.tobytes()
    with pytest.raises(CkptError, match="closed"):
        ckpt_cli.save(edited, tmp_path / "out.safetensors")
    checkpoint.close()
    assert first in checkpoint and value is not None and not (tmp_path / "out.safetensors").exists()


def test_with_closes_every_shard_and_leaves_others_open(ckpt: Ckpt, tmp_path: Path) -> None:
    index = tmp_path / "m.safetensors.index.json"
    ckpt("convert", SAMPLES / "mlp.safetensors", index, "--shard-size", "100B")
    other = ckpt_cli.open(index)
    with ckpt_cli.open(index) as checkpoint:
        names = list(checkpoint)
    assert all(other[name].tobytes() for name in names)
    for name in names:
        with pytest.raises(CkptError, match="closed"):
            checkpoint[name].tobytes()


def test_saving_in_place_writes_values_alone(sample: Callable[[str], Path]) -> None:
    path = sample("mlp.pt")
    before, want = path.stat().st_ino, torch.load(path)["0.bias"] + 1
    with ckpt_cli.open(path, lock=True) as checkpoint:
        assert ckpt_cli.save(ckpt_cli.set_values(checkpoint, "0.bias += 1"), in_place=True) == []
    assert path.stat().st_ino == before and torch.equal(torch.load(path)["0.bias"], want)
    ckpt_cli.save(ckpt_cli.set_values(path, "0.bias += 1"), in_place=True, backup=".bak")
    assert torch.equal(torch.load(f"{path}.bak")["0.bias"], want) and torch.equal(torch.load(path)["0.bias"], want + 1)


def test_saving_says_what_has_no_place() -> None:
    notes = ckpt_cli.save(ckpt_cli.open(TRAINING), "model.safetensors")
    assert len(notes) == 1 and "model.safetensors: safetensors has no place for" in notes[0] and "left behind" in notes[0]
    ckpt_cli.save(ckpt_cli.open(MLP), Path("model.safetensors"), force=True)
    ckpt_cli.save(ckpt_cli.open(MLP), "anything", format="safetensors")
    assert Path("model.safetensors").read_bytes() == Path("anything").read_bytes()


def test_model_folder() -> None:
    notes = ckpt_cli.save(ckpt_cli.cast(SAMPLES / "bert", "float16"), "half/")
    assert {path.name for path in Path("half").iterdir()} == {path.name for path in (SAMPLES / "bert").iterdir()}
    assert json.loads(Path("half/config.json").read_text())["dtype"] == "float16" and any("config.json" in note for note in notes)


# Edits

Edit = Callable[[Any], Checkpoint]
EDITS: list[tuple[Path, str, Edit]] = [
    (MLP, "set mlp.pt '0.weight += 1' '0.bias[0] = 3'", lambda c: ckpt_cli.set_values(c, ["0.weight += 1", "0.bias[0] = 3"])),
    (MLP, "set mlp.pt '*.bias = 0.5 * @mlp.pt'", lambda c: ckpt_cli.set_values(c, "*.bias = 0.5 * @mlp.pt")),
    (MLP, "set mlp.pt '@Linear.bias = 1'", lambda c: ckpt_cli.set_values(c, "@Linear.bias = 1")),
    (MLP, "set mlp.pt '@Linear.bias = 1' --arch mlp", lambda c: ckpt_cli.set_values(c, "@Linear.bias = 1", arch="mlp")),
    (TRAINING, "set training.ckpt 'epoch = 10'", lambda c: ckpt_cli.set_values(c, "epoch = 10")),
    (MLP, "reinit mlp.pt '*=normal(0, 1)' --seed 0", lambda c: ckpt_cli.reinit(c, "*=normal(0, 1)")),
    (MLP, "reinit mlp.pt --preset pytorch --seed 7 --rng torch", lambda c: ckpt_cli.reinit(c, preset="pytorch", seed=7, rng="torch")),
    (MLP, "reinit mlp.pt --preset keras --select '2.*' --seed 0", lambda c: ckpt_cli.reinit(c, preset="keras", select="2.*")),
    (MLP, "cast mlp.pt bf16", lambda c: ckpt_cli.cast(c, "bf16")),
    (MLP, "cast mlp.pt float16 '*.bias'", lambda c: ckpt_cli.cast(c, "float16", "*.bias")),
    (TRAINING, "drop training.ckpt 'optimizer.*' epoch", lambda c: ckpt_cli.drop(c, ["optimizer.*", "epoch"])),
    (TRAINING, "convert training.ckpt out.pt --select 'model.*'", lambda c: ckpt_cli.select(c, "model.*")),
    (MLP, r"rename mlp.pt 're:^(\d)=layers.\1'", lambda c: ckpt_cli.rename(c, r"re:^(\d)=layers.\1")),
    (SHARED, "untie shared-mlp.pt 4.weight", lambda c: ckpt_cli.untie(c, "4.weight")),
    (SHARED, "untie shared-mlp.pt 4.weight", lambda c: ckpt_cli.untie(c, ["4.weight"])),
    (SHARED, "tie shared-mlp.pt 0.bias 2.bias", lambda c: ckpt_cli.tie(c, ["0.bias", "2.bias"])),
    (MLP, "convert mlp.pt out.pt --map torch-to-keras", lambda c: ckpt_cli.map(c, "torch-to-keras")),
    (MLP, "resize mlp.pt '0.bias=+4' --seed 3", lambda c: ckpt_cli.resize(c, "0.bias=+4", seed=3)),
    (MLP, "resize mlp.pt 0.bias=+2 --fill ones --at start", lambda c: ckpt_cli.resize(c, "0.bias=+2", fill="ones", at="start")),
    (MLP, "add mlp.pt 'x:float32[3]=normal(0, 1)' --seed 0", lambda c: ckpt_cli.add(c, "x:float32[3]=normal(0, 1)")),
    (MLP, "add mlp.pt --from mlp.pt '0.*' --rename '*=b.*'", lambda c: ckpt_cli.add(c, "0.*", from_="mlp.pt", rename="*=b.*")),
    (MLP, "merge mlp.pt other.pt", lambda c: ckpt_cli.merge(c, "other.pt")),
    (MLP, "merge mlp.pt other.pt --weights 0.7,0.4", lambda c: ckpt_cli.merge(c, ckpt_cli.open("other.pt"), weights=[0.7, 0.4])),
    (
        MLP,
        "merge mlp.pt other.pt --weights 1,0 --weights '*.bias=0.5,0.5'",
        lambda c: ckpt_cli.merge(c, Path("other.pt"), weights={"*": [1, 0], "*.bias": [0.5, 0.5]}),
    ),
    (
        MLP,
        "merge mlp.pt other.pt --method dare --base base.pt --density 0.5 --weights 1,1 --seed 0",
        lambda c: ckpt_cli.merge(c, "other.pt", method="dare", base=ckpt_cli.open("base.pt"), density=0.5, weights="1,1"),
    ),
    (MLP, "apply mlp.pt recipe.toml", lambda c: ckpt_cli.apply(c, "recipe.toml")),
]  # fmt: skip


@pytest.mark.parametrize("path, line, edit", EDITS, ids=[line for _, line, _ in EDITS])
def test_edit_writes_the_bytes_of_its_command(ckpt: Ckpt, path: Path, line: str, edit: Edit) -> None:
    import shlex

    shutil.copy(path, path.name)
    torch.save(ckpt_cli.reinit(MLP, "*=normal(0, 1)", seed=1).state_dict(), "other.pt")
    torch.save(ckpt_cli.reinit(MLP, "*=normal(0, 1)", seed=2).state_dict(), "base.pt")
    Path("recipe.toml").write_text('[[step]]\nreinit = ["*.bias=normal(0, 1)"]\nseed = 0\n\n[[step]]\ncast = "float16"\n')
    command = shlex.split(line)
    ckpt(*command, *([] if command[0] == "convert" else ["-o", "out.pt"]))
    wanted = Path("out.pt").read_bytes()
    for given in (path.name, Path(path.name), ckpt_cli.open(path.name)):
        ckpt_cli.save(edit(given), "out.pt", force=True)
        assert Path("out.pt").read_bytes() == wanted


def test_edits_compose_and_leave_what_they_are_given() -> None:
    before = ckpt_cli.open(MLP)
    edited = ckpt_cli.reinit(ckpt_cli.set_values(before, "0.weight = 1"), "0.bias=constant(2)")
    assert numpy.asarray(edited["0.weight"]).min() == 1 and numpy.asarray(edited["0.bias"]).min() == 2
    assert not list(ckpt_cli.diff(before, MLP)) and isinstance(edited, Checkpoint)
    both = ckpt_cli.merge(edited, ckpt_cli.set_values(edited, "*.weight = 3"))
    assert numpy.asarray(both["0.weight"]).tolist() == [[2.0] * 4] * 8
    taken = ckpt_cli.add(before, from_=ckpt_cli.set_values(before, "0.bias = 9"), wanted="0.bias", rename="0.bias=head.bias")
    assert numpy.asarray(taken["head.bias"]).tolist() == [9.0] * 8


@pytest.mark.parametrize(
    "dtype", ["bf16", "bfloat16", torch.bfloat16, numpy.dtype(ml_dtypes.bfloat16), ml_dtypes.bfloat16, named("bfloat16")], ids=repr
)
def test_dtype_is_a_text_or_that_of_a_library(dtype: Any) -> None:
    assert ckpt_cli.cast(MLP, dtype)["0.weight"].dtype.name == "bfloat16"


def test_numbers_of_numpy_are_numbers() -> None:
    one, two = (numpy.asarray(ckpt_cli.reinit(MLP, "0.weight=normal", seed=seed)["0.weight"]) for seed in (numpy.int64(7), 7))
    assert numpy.array_equal(one, two)
    merged = ckpt_cli.merge(MLP, ckpt_cli.set_values(MLP, "*=0"), weights=numpy.array([0.25, 0.75]))
    assert numpy.array_equal(merged["0.bias"], numpy.float32(0.25) * numpy.asarray(ckpt_cli.open(MLP)["0.bias"]))


def adapter(path: str, seed: int) -> None:
    Path("adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 2}')
    torch.manual_seed(seed)
    name = "base_model.model.0.lora_{}.weight"
    torch.save({name.format("A"): torch.randn(2, 4), name.format("B"): torch.randn(8, 2)}, path)


def test_adapters_are_texts_paths_checkpoints_or_pairs() -> None:
    adapter("one.pt", 1)
    adapter("two:3.pt", 2)
    one, two = "one.pt", Path("two:3.pt")
    ways = (
        ["one.pt:0.5", "two:3.pt:0.25"],
        [(one, 0.5), (two, 0.25)],
        ((ckpt_cli.open(one), 0.5), (ckpt_cli.open(two), 0.25)),
        [(one, numpy.float32(0.5)), ckpt_cli.set_values(two, "*lora_B.weight *= 0.25")],
    )
    merged = [numpy.asarray(ckpt_cli.merge(MLP, lora=way)["0.weight"]) for way in ways]
    assert all(numpy.allclose(merged[0], each, rtol=1e-6) for each in merged)
    first, second = torch.load(one), torch.load(two)
    want = torch.load(MLP)["0.weight"]
    for each, scale in ((first, 0.5), (second, 0.25)):
        a, b = each.values()
        want = want + scale * (b @ a)
    assert numpy.allclose(merged[0], want, atol=1e-6)
    for single in ((one, 0.5), "one.pt:0.5"):
        assert numpy.allclose(
            ckpt_cli.merge(MLP, lora=single)["0.weight"], numpy.asarray(ckpt_cli.merge(MLP, lora=[(one, 0.5)])["0.weight"])
        )


@pytest.mark.parametrize(
    "ask, words",
    [
        (lambda: ckpt_cli.save(MLP, SHARED), "(force=True replaces it, or choose another name)"),
        (lambda: ckpt_cli.save(MLP, "model"), "or format=)"),
        (lambda: ckpt_cli.save(MLP, "out.pt", backup=".bak"), "out.pt: backup= goes with in_place=True"),
        (lambda: ckpt_cli.merge(MLP, SHARED, method="task"), "(name it: base=BASE)"),
        (lambda: ckpt_cli.merge(MLP), "lora=ADAPTER)"),
        (lambda: ckpt_cli.merge([MLP, SHARED]), "(merge(*checkpoints))"),
        (lambda: ckpt_cli.add(MLP, []), "or from_="),
        (lambda: ckpt_cli.add(MLP, from_=MLP), "rename='OLD=NEW'; `ckpt set` changes what is there)"),
        (lambda: ckpt_cli.reinit(MLP, "*=zeros", seed=None), "seed takes a whole number"),  # type: ignore[arg-type]
        (lambda: ckpt_cli.select(TRAINING, "@Linear", arch="none"), "arch="),
        (lambda: ckpt_cli.open(bytes(MLP) + b".none"), "no such file"),
    ],
)
def test_errors_name_arguments_as_python_has_them(ask: Callable[[], object], words: str) -> None:
    with pytest.raises(CkptError) as caught:
        ask()
    assert words in str(caught.value) and " --" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("second", ["0.bias += 1", "0.weight += 1"])  # written over the file, and as a new file
@pytest.mark.parametrize(
    "first", [lambda c: ckpt_cli.drop(c, "2.bias"), lambda c: ckpt_cli.set_values(c, "2.bias = 5")], ids=["new", "over"]
)
def test_edit_in_place_does_not_undo_another(first: Callable[[Checkpoint], Checkpoint], second: str) -> None:
    shutil.copy(MLP, "a.pt")
    early, late = ckpt_cli.open("a.pt"), ckpt_cli.open("a.pt")
    ckpt_cli.save(first(early), in_place=True)
    written = Path("a.pt").read_bytes()
    for stale in (early, late):
        with pytest.raises(CkptError, match=r"^a.pt: the file has changed since it was opened \(open it again"):
            ckpt_cli.save(ckpt_cli.set_values(stale, second), in_place=True)
    assert Path("a.pt").read_bytes() == written
    ckpt_cli.save(ckpt_cli.set_values("a.pt", second), in_place=True)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: ckpt_cli.stats(MLP, by_layer=-1),
        lambda: list(ckpt_cli.diff(MLP, SHARED, rtol=-1)),
        lambda: list(ckpt_cli.diff(MLP, SHARED, atol=float("nan"))),
    ],
)
def test_numbers_that_make_no_sense(ask: Callable[[], object]) -> None:
    with pytest.raises(CkptError):
        ask()


def test_path_is_taken_where_a_checkpoint_is() -> None:
    assert ckpt_cli.save(MLP, "out.safetensors") == [] and not list(ckpt_cli.diff(MLP, "out.safetensors"))
    assert len(ckpt_cli.open(bytes(MLP))) == 4


def test_notes_say_what_is_drawn() -> None:
    assert ckpt_cli.reinit(MLP, ["*.bias=zeros"]).notes == (
        "0.bias: zeros: constant(0) (*.bias)",
        "2.bias: zeros: constant(0) (*.bias)",
    )


def test_assertion_of_a_recipe_that_does_not_hold() -> None:
    Path("recipe.toml").write_text('[[step]]\nassert = {exists = ["0.weight", "9.weight"]}\n')
    with pytest.raises(CkptError, match=r"recipe.toml: step 1 \(assert\): .*9.weight"):
        ckpt_cli.apply(MLP, "recipe.toml")


@pytest.mark.parametrize("step", ['reinit = ["0.bias=own.py:two"]', 'drop = ["@Linear.bias"]\narch = "own.py:Net"'])
def test_code_that_a_recipe_names_runs_where_it_is_allowed(step: str) -> None:
    Path("own.py").write_text(
        "open('ran', 'w')\nimport torch\ndef two(tensor): tensor.fill_(2)\n"
        "def Net(): return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))\n"
    )
    Path("recipe.toml").write_text(f"[[step]]\n{step}\n")
    with pytest.raises(CkptError, match="code, which a recipe may not run by itself"):
        ckpt_cli.apply(MLP, "recipe.toml")
    assert not Path("ran").exists()
    edited = ckpt_cli.apply(MLP, "recipe.toml", allow_code=True)
    assert Path("ran").exists() and ("0.bias" not in edited or numpy.asarray(edited["0.bias"]).tolist() == [2.0] * 8)


# Into a model


def network() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))


@pytest.mark.parametrize("assign", [False, True])
def test_state_dict_is_loaded(assign: bool) -> None:
    net = network()
    assert str(net.load_state_dict(ckpt_cli.open(MLP).state_dict(), assign=assign)) == "<All keys matched successfully>"
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in torch.load(MLP).items())
    net(torch.ones(2, 4)).sum().backward()
    net.load_state_dict(ckpt_cli.open(TRAINING).state_dict("model."), assign=assign)
    assert torch.equal(net[0].weight, torch.load(TRAINING, weights_only=False)["model"]["0.weight"])


def test_state_dict_has_the_buffers_of_a_norm() -> None:
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    net(torch.randn(5, 3))
    torch.save(net.state_dict(), "norm.pt")
    fresh = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    fresh.load_state_dict(ckpt_cli.open("norm.pt").state_dict())
    assert int(fresh[0].num_batches_tracked) == 1 and torch.equal(fresh[0].running_mean, net[0].running_mean)


def test_what_is_tied_shares_its_memory() -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    torch.save({"a": whole, "tied": whole, "row": whole[1], "turned": whole.t(), "own": whole.clone()}, "a.pt")
    state = ckpt_cli.open("a.pt").state_dict()
    state["tied"].add_(100)
    wanted = torch.arange(12.0).reshape(3, 4) + 100
    assert torch.equal(state["a"], wanted) and torch.equal(state["row"], wanted[1]) and torch.equal(state["turned"], wanted.t())
    assert torch.equal(state["own"], wanted - 100) and state["own"] is state["own"]
    assert state["turned"].data_ptr() == state["a"].data_ptr()


def test_state_dict_is_saved_and_copied_as_torch_has_it() -> None:
    state = ckpt_cli.open(SHARED).state_dict()
    torch.save(state, "saved.pt")
    loaded = torch.load("saved.pt", weights_only=True)
    assert type(loaded) is OrderedDict and list(loaded) == list(state) and all(torch.equal(loaded[name], state[name]) for name in state)
    assert loaded["2.weight"].data_ptr() == loaded["4.weight"].data_ptr()
    assert "0.weight" in state and "none" not in state and state.get("none") is None and dict(state).keys() == state.keys()


def test_quantised_tensors_say_what_to_do() -> None:
    torch.save({"q": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)}, "q.pt")
    for ask in (lambda: ckpt_cli.open("q.pt").state_dict()["q"], lambda: numpy.asarray(ckpt_cli.open("q.pt")["q"])):
        with pytest.raises(CkptError, match="decode it first"):
            ask()
    assert ckpt_cli.open("q.pt", dequantise=True)["q"].torch().tolist() == pytest.approx([1.0] * 4)


# In a program with threads, copies and other processes


def test_copies_share_the_open_file() -> None:
    """A copy that closes the descriptor of the original would let the next file that is opened be read in its place."""
    checkpoint = ckpt_cli.open(MLP)
    want = numpy.asarray(checkpoint["0.weight"])
    for made in (checkpoint, checkpoint["0.weight"], checkpoint["0.weight"].slice[:2], dict(checkpoint), checkpoint["0.bias"].storage):
        for copied in (copy.copy, copy.deepcopy):
            copied(made)
    gc.collect()
    others = [ckpt_cli.open(SHARED) for _ in range(5)]
    assert numpy.array_equal(copy.deepcopy(checkpoint)["0.weight"], want) and numpy.array_equal(checkpoint["0.weight"], want)
    assert others and not list(ckpt_cli.diff(copy.deepcopy(checkpoint), MLP))


@pytest.mark.parametrize(
    "what",
    [
        lambda checkpoint: checkpoint,
        lambda checkpoint: checkpoint["0.weight"],
        lambda checkpoint: ckpt_cli.set_values(checkpoint, "0.weight += 1"),
        lambda checkpoint: ckpt_cli.cast(checkpoint, "bfloat16")["0.weight"],
        dict,
    ],
)
def test_what_is_open_is_not_pickled(what: Callable[[Checkpoint], Any]) -> None:
    made = what(ckpt_cli.open(MLP))
    for dump in (pickle.dumps, lambda each: torch.save(each, "saved.pt")):
        with pytest.raises(CkptError, match=r"cannot be pickled \(give the other process the path"):
            dump(made)
    assert pickle.loads(pickle.dumps(ckpt_cli.open(MLP).state_dict()))["0.bias"].shape == (8,)


FORKS = """
import os, threading, ckpt_cli
forks = []
os.register_at_fork(before=lambda: forks.append(1))
over = threading.Event()
thread = threading.Thread(target=over.wait)
alone = repr((ckpt_cli.stats("large.pt"), ckpt_cli.hash("large.pt")))
began = len(forks)
thread.start()
try:
    beside = repr((ckpt_cli.stats("large.pt"), ckpt_cli.hash("large.pt")))
    ckpt_cli.save(ckpt_cli.set_values("large.pt", "w += 1"), "out.pt")
finally:
    over.set()
assert alone == beside and len(forks) == began, forks
"""


def test_no_process_is_forked_while_a_thread_runs() -> None:
    torch.save({"w": torch.ones(10_000_000), "v": torch.zeros(2_000_000)}, "large.pt")
    subprocess.run([sys.executable, "-c", FORKS], check=True)
    assert torch.load("out.pt")["w"].min() == 2


# The documentation


@pytest.mark.parametrize("page", ["docs/python.md", "README.md"])
def test_examples_of_the_page_are_right(page: str, tmp_path: Path) -> None:
    for sample in SAMPLES.iterdir():
        if sample.is_file() and sample.suffix != ".py":
            shutil.copy(sample, tmp_path)
    shutil.copytree(SAMPLES / "bert", tmp_path / "bert")
    blocks = re.findall(r"^```pycon\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page, page, 0)
    report: list[str] = []
    assert blocks and doctest.DocTestRunner(optionflags=flags).run(test, out=report.append).failed == 0, "".join(report)

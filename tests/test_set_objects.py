"""`ckpt set` of what is no tensor: plain objects of torch's files, and metadata."""

from __future__ import annotations

import argparse
import pathlib
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CASES, SAMPLES, Ckpt
from safetensors import safe_open
from safetensors.torch import save_file

FOREIGN = CASES / "reports" / "foreign-objects"


def training(path: Path, legacy: bool = False) -> dict[str, Any]:
    document = {
        "model": {"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3)},
        "epoch": 3,
        "done": False,
        "args": argparse.Namespace(lr=0.1, name="run", folder=pathlib.PurePosixPath("/data")),
        "history": [1.5, "text", (2, None)],
        "a=b": 1,
        "config": {"path": pathlib.PurePosixPath("/data"), "layers": {"0": 5}},
        "paths": [pathlib.PurePosixPath("/a"), pathlib.PurePosixPath("/b")],
    }
    torch.save(document, path, _use_new_zipfile_serialization=not legacy)
    return document


@pytest.mark.parametrize(
    ("assignment", "where", "value"),
    [
        ("epoch = 10", ["epoch"], 10),
        ("epoch=10", ["epoch"], 10),
        ("epoch = 2.5", ["epoch"], 2.5),
        ("epoch = null", ["epoch"], None),
        ("epoch = inf", ["epoch"], float("inf")),
        ('epoch = "ten = 10"', ["epoch"], "ten = 10"),
        ("epoch = [1, {\"a\": [true]}]", ["epoch"], [1, {"a": [True]}]),
        ("done = true", ["done"], True),
        ("done = True", ["done"], True),
        ("done = 1", ["done"], 1),
        ("a=b = 7", ["a=b"], 7),
        ('history.1 = "other"', ["history", 1], "other"),
        ("history.0 = 1e-3", ["history", 0], 1e-3),
        ('config.path = "elsewhere"', ["config", "path"], "elsewhere"),
        ("config.layers.0 = 6", ["config", "layers", "0"], 6),
        ('paths.1 = "/c"', ["paths", 1], "/c"),
        ('epoch = "\\u00e9\\n\\ud83d\\ude00"', ["epoch"], "é\n😀"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_an_object_is_replaced_by_a_plain_one_and_all_else_stays(
    ckpt: Ckpt, tmp_path: Path, assignment: str, where: list[Any], value: Any, legacy: bool
) -> None:
    path = tmp_path / "a.pt"
    expected = training(path, legacy)
    ckpt("set", path, assignment, "-o", tmp_path / "b.pt")
    found = torch.load(tmp_path / "b.pt", weights_only=False)
    holder, was = found, expected
    for key in where[:-1]:
        holder, was = holder[key], was[key]
    assert holder[where[-1]] == value and type(holder[where[-1]]) is type(value)
    was[where[-1]] = value
    for each in (found, expected):
        each["model"] = {name: tensor.tolist() for name, tensor in each["model"].items()}
    assert found == expected


def test_attributes_of_a_namespace_are_set_with_tensors_in_one_edit(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    training(path)
    plan = ckpt("set", path, 'args.name = "x"', "args.folder = null", "model.b += 1", "-n").err
    assert "ckpt: args.name: 'run' becomes 'x'\n" in plan and "ckpt: args.folder: pathlib.PurePosixPath" in plan
    ckpt("set", path, 'args.name = "x"', "args.folder = null", "model.b += 1", "epoch = 3", "-i")
    found = torch.load(path, weights_only=False)
    assert vars(found["args"]) == {"lr": 0.1, "name": "x", "folder": None} and found["model"]["b"].tolist() == [2, 2, 2]
    assert ckpt("get", path, "args.name").out == "x\n"


def test_a_step_of_a_recipe_sets_objects_too(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    training(path)
    assignments = ["epoch = 10", 'args.name = "a = b"', 'config.path = {"x": [1, 2]}', "done = null", "model.w *= 2"]
    (tmp_path / "r.toml").write_text(ckpt("set", path, *assignments, "--print-recipe").out)
    ckpt("apply", path, tmp_path / "r.toml", "-o", tmp_path / "b.pt")
    ckpt("set", path, *assignments, "-o", tmp_path / "c.pt")
    assert (tmp_path / "b.pt").read_bytes() == (tmp_path / "c.pt").read_bytes()


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("epoch = ten", "epoch is no tensor, and 'ten' is no JSON"),
        ("epoch = ", "epoch is no tensor, and '' is no JSON"),
        ("epoch = [1, 2", "is no JSON"),
        ("epoch = " + "[" * 100_000, "is no JSON"),
        ("epoch = " + "9" * 5000, "is no JSON"),
        ("epoch += 1", "epoch is no tensor"),
        ("epoch[0] = 3", "epoch is no tensor, and has no [index] (write 'epoch = …')"),
        ("history[0] = 3", "history is no tensor, and has no [index] (write 'history.0 = …')"),
        ("history[2, 1] = 3", "history is no tensor, and has no [index] (write 'history.2.1 = …')"),
        ("history[9] = 3", "history holds 4 entries (assign to one of them: 'history.0 = …')"),
        ("model = 3", "model"),
        ("epohc = 3", "nothing matches 'epohc' (did you mean epoch"),
        ("metadata:author = me", "torch has no metadata that can be edited"),
        ("epoch. = 3", "nothing matches 'epoch.'"),
    ],
)
def test_what_cannot_be_set_is_an_error_in_one_line(ckpt: Ckpt, tmp_path: Path, assignment: str, told: str) -> None:
    path = tmp_path / "a.pt"
    training(path)
    before = path.read_bytes()
    error = ckpt("set", path, assignment, "-i", status=2).err
    assert told in error and len(error) < 400 and path.read_bytes() == before


def test_an_object_of_one_of_several_streams_is_not_edited(ckpt: Ckpt, tmp_path: Path) -> None:
    with (tmp_path / "two.pt").open("wb") as file:
        for epoch in range(2):
            torch.save({"w": torch.ones(2), "epoch": epoch}, file, _use_new_zipfile_serialization=False)
    assert "0.epoch is no tensor" in ckpt("set", tmp_path / "two.pt", "0.epoch = 7", "-o", tmp_path / "b.pt", status=2).err


def test_a_tensor_of_that_name_is_meant_first(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"epoch": torch.ones(2), "x": {"epoch": 4}}, tmp_path / "a.pt")
    ckpt("set", tmp_path / "a.pt", "epoch = 7", "x.epoch = 8", "-i")
    found = torch.load(tmp_path / "a.pt")
    assert found["epoch"].tolist() == [7, 7] and found["x"]["epoch"] == 8


@pytest.mark.parametrize(
    ("assignment", "entry"),
    [
        ('metadata:author = "me"', ("author", "me")),
        ("metadata:author = me = you", ("author", "me = you")),
        ("metadata:step=3", ("step", "3")),
        ('metadata:step = "4"', ("step", "4")),
        ("step = 5", ("step", "5")),
        ('metadata:w = "a key that a tensor has as its name"', ("w", "a key that a tensor has as its name")),
    ],
)
def test_metadata_of_safetensors_take_new_keys_and_values(ckpt: Ckpt, tmp_path: Path, assignment: str, entry: tuple[str, str]) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.ones(2)}, path, {"format": "pt", "step": "1"})
    assert f"metadata {entry[0]}: " in ckpt("set", path, assignment, "-n").err
    ckpt("set", path, assignment, "-i")
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt", "step": "1"} | dict([entry])
        assert file.get_tensor("w").tolist() == [1, 1]


def test_metadata_of_gguf_take_new_keys(ckpt: Ckpt, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    ckpt("set", SAMPLES / "blocks.gguf", "metadata:general.author = me", "-o", tmp_path / "b.gguf")
    fields = gguf.GGUFReader(tmp_path / "b.gguf").fields
    assert fields["general.author"].contents() == "me"
    assert ckpt("diff", SAMPLES / "blocks.gguf", tmp_path / "b.gguf").out == ""


@pytest.mark.parametrize("assignment", ["metadata: = 3", "metadata:  =", "metadata:"])
def test_metadata_need_a_key(ckpt: Ckpt, tmp_path: Path, assignment: str) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors")
    ckpt("set", tmp_path / "a.safetensors", assignment, "-n", status=2)


@pytest.mark.skipif(not FOREIGN.exists(), reason="the real files are not here")
def test_the_report_on_foreign_objects(ckpt: Ckpt, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="pathlib"):
        torch.load(FOREIGN / "lit.ckpt", weights_only=True)
    ckpt("set", FOREIGN / "lit.ckpt", 'hyper_parameters.data = "elsewhere"', "-o", tmp_path / "out.ckpt")
    found, right = (torch.load(path, weights_only=True) for path in (tmp_path / "out.ckpt", FOREIGN / "right.pt"))
    assert torch.equal(found["state_dict"].pop("net.w"), right["state_dict"].pop("net.w")) and found == right

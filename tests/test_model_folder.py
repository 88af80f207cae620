"""`-o DIR/`: a model folder, with the weights under their usual name and the small files beside them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.numpy
from conftest import CASES, SAMPLES, Ckpt

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no real checkpoints at {CASES}: set CKPT_CASES")


def tensors_in(folder: Path) -> dict[str, object]:
    return {name: array for file in folder.glob("*.safetensors") for name, array in safetensors.numpy.load_file(file).items()}


@pytest.mark.parametrize(
    "source", ["hf5/bert", "hf5/bert_sharded", "hf4/gpt2_variant", "hf4/llama_tied_bin_sharded", "hf5/diffusers_unet_sharded"]
)
def test_folder_has_the_files_of_its_source(ckpt: Ckpt, tmp_path: Path, source: str) -> None:
    folder = CASES / source
    name = ckpt("ls", folder).out.split("\t")[0]
    ckpt("set", folder, f"{name} *= 1", "-o", "out/")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in folder.iterdir())
    assert ckpt("diff", folder, "out").out == ""
    for path in folder.glob("*config.json"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_edit_is_made(ckpt: Ckpt, tmp_path: Path) -> None:
    before, name = tensors_in(CASES / "hf5/bert_sharded"), "bert.encoder.layer.0.output.dense.bias"
    ckpt("set", CASES / "hf5/bert_sharded", f"{name} = 3", "-o", "out/")
    after = tensors_in(tmp_path / "out")
    assert after.keys() == before.keys() and (after[name] == 3).all()
    assert all((after[other] == before[other]).all() for other in before if other != name)


def test_what_is_no_part_of_the_model_is_left_behind_and_named(ckpt: Ckpt, tmp_path: Path) -> None:
    source = shutil.copytree(CASES / "hf5/bert", tmp_path / "source", copy_function=shutil.copy)
    small = {
        "tokenizer.json": "{}",
        "vocab.txt": "a",
        "README.md": "#",
        "LICENSE": "",
        "merges.txt": "",
        "spiece.model": "",
        "chat_template.jinja": "",
    }
    for name, text in small.items():
        (source / name).write_text(text)
    for name in (
        "optimizer.pt",
        "training_args.bin",
        "trainer_state.json",
        "events.out.tfevents.1",
        ".gitattributes",
        "flax_model.msgpack",
    ):
        (source / name).write_bytes(b"x")
    (source / "runs").mkdir()
    err = ckpt("set", source, "bert.encoder.layer.0.output.dense.bias = 0", "-o", "out/").err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"config.json", "model.safetensors", *small}
    left = "events.out.tfevents.1, flax_model.msgpack, optimizer.pt, runs/, trainer_state.json, training_args.bin"
    assert err.splitlines()[0] == f"ckpt: out/: left behind: {left}"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("mlp.pt", "pytorch_model.bin"),
        ("mlp.safetensors", "model.safetensors"),
        ("mlp.npz", "mlp.npz"),
        ("mlp.keras", "mlp.keras"),
        ("mlp.params", "mlp.params"),
        ("mlp.h5", "mlp.h5"),
    ],
)
def test_file_by_itself_gets_the_usual_name_and_nothing_beside(
    ckpt: Ckpt, sample: Callable[[str], Path], tmp_path: Path, source: str, name: str
) -> None:
    path = sample(source)
    (path.parent / "config.json").write_text("{}")
    first = ckpt("ls", path).out.split("\t")[0]
    ckpt("set", path, f"{first} += 1", "-o", "out/")
    assert [each.name for each in (tmp_path / "out").iterdir()] == [name]
    assert ckpt("diff", path, f"out/{name}", "--name-only", status=1).out.split() == [first]


def test_dry_run_and_errors_write_nothing(ckpt: Ckpt, tmp_path: Path) -> None:
    source = CASES / "hf5/bert"
    ckpt("cast", source, "float16", "-o", "out/", "-n")
    assert "there is no folder 'no'" in ckpt("cast", source, "float16", "-o", "no/out/", status=2).err
    assert "cannot hold" in ckpt("set", source, "bert.encoder.layer.0.output.dense.bias = 1e99", "-o", "out/", status=2).err
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_there_needs_force(ckpt: Ckpt, tmp_path: Path) -> None:
    ckpt("cast", CASES / "hf5/bert", "float16", "-o", "out/")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert "the folder is there already (--force" in ckpt("cast", CASES / "hf5/bert", "bfloat16", "-o", "out/", status=2).err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    ckpt("cast", CASES / "hf5/bert", "bfloat16", "-o", "out/", "--force")
    assert {line.split("\t")[1] for line in ckpt("ls", "out").out.splitlines()} == {"bfloat16"}


def test_another_model_in_the_folder_is_refused(ckpt: Ckpt, tmp_path: Path) -> None:
    ckpt("cast", CASES / "hf5/bert", "float16", "-o", "out/")
    found = ckpt("cast", CASES / "hf5/bert_sharded", "float16", "-o", "out/", "--force", status=2)
    assert "out: the folder holds another model: model.safetensors (remove it" in found.err
    assert sorted(os.listdir(tmp_path / "out")) == ["config.json", "model.safetensors"]


def test_stale_shards_go(ckpt: Ckpt, tmp_path: Path) -> None:
    ckpt("cast", CASES / "hf5/bert_sharded", "float16", "-o", "out/")
    index = tmp_path / "out/model.safetensors.index.json"
    document = json.loads(index.read_text())
    stale = tmp_path / "out/model-00006-of-00006.safetensors"
    safetensors.numpy.save_file({"stale": next(iter(tensors_in(tmp_path / "out").values()))}, stale)
    document["weight_map"]["stale"] = stale.name
    index.write_text(json.dumps(document))
    ckpt("cast", CASES / "hf5/bert_sharded", "float32", "-o", "out/", "--force")
    assert not stale.exists() and ckpt("diff", CASES / "hf5/bert_sharded", "out").out == ""


def test_source_itself_with_force_is_edited_in_place(ckpt: Ckpt, tmp_path: Path) -> None:
    source = shutil.copytree(CASES / "hf5/bert_sharded", tmp_path / "source", copy_function=shutil.copy)
    names = sorted(os.listdir(source))
    ckpt("set", source, "bert.encoder.layer.0.output.dense.bias = 0", "-o", "source/", "--force")
    assert sorted(os.listdir(source)) == names
    assert ckpt("get", source, "bert.encoder.layer.0.output.dense.bias[0]").out == "0.0\n"


def test_a_family_and_what_is_no_model_folder_say_where_they_are_written(tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "there").mkdir()
    for output in (f"{tmp_path}/q2/", f"{tmp_path}/there"):
        said = ckpt("new", "gpt2", "-o", output, status=2).err
        assert f"gpt2 is written to a file, not to a folder (as in -o {output.rstrip('/')}/model.safetensors)" in said
    assert not (tmp_path / "q2").exists()
    said = ckpt("reinit", SAMPLES / "mlp.pt", "*=zeros", "-o", tmp_path / "there", status=2).err
    assert f"it is a folder (-o {tmp_path}/there/ writes a model folder" in said
    ckpt("reinit", SAMPLES / "mlp.pt", "*=zeros", "-o", f"{tmp_path}/there/", "--force")


def test_a_config_that_is_broken_has_no_header(tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "config.json").write_text("{")
    said = ckpt("new", tmp_path / "config.json", "-o", tmp_path / "m.safetensors", status=2).err
    assert "config.json: the JSON is broken" in said and "header" not in said

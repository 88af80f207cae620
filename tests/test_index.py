"""Indices of shards as people have them: variants, stale and wrong ones, shards in folders below, more shards than files may be open."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest
from conftest import Ckpt
from safetensors.numpy import load_file, save_file

A, B = np.arange(2, dtype=np.float32), np.arange(2, dtype=np.float32) + 5
LISTED = [["a", "float32", "2", "2", "8", ""], ["b", "float32", "2", "2", "8", ""]]


def model(folder: Path, index: str = "model.safetensors.index.json", shards: tuple[str, ...] = (), **said: Any) -> Path:
    """A model of two shards, and an index that says what is given, or what is so."""
    one, two = shards or ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    for name, tensors in ((one, {"a": A}), (two, {"b": B})):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / name, metadata={"format": "pt"})
    said = {"weight_map": {"a": one, "b": two}, "metadata": {"total_size": 16}} | said
    (folder / index).write_text(json.dumps(said))
    return folder


# Variants, as `save_pretrained(variant=…)` of transformers and of diffusers names them.
VARIANTS = [
    ("model.safetensors.index.fp16.json", "model.fp16-{}.safetensors"),
    ("model.fp16.safetensors.index.json", "model.fp16-{}.safetensors"),
    ("diffusion_pytorch_model.safetensors.index.bf16.json", "diffusion_pytorch_model.bf16-{}.safetensors"),
    ("diffusion_pytorch_model.fp16.safetensors.index.json", "diffusion_pytorch_model-{}.fp16.safetensors"),
]


def variant(folder: Path, index: str, pattern: str) -> Path:
    return model(folder, index, tuple(pattern.format(f"0000{i}-of-00002") for i in (1, 2)))


@pytest.mark.parametrize(("index", "pattern"), VARIANTS)
def test_the_folder_of_a_variant_and_its_index_are_the_model(index: str, pattern: str, tmp_path: Path, ckpt: Ckpt) -> None:
    variant(tmp_path / "m", index, pattern)
    assert ckpt("ls", tmp_path / "m").rows == ckpt("ls", tmp_path / "m" / index).rows == LISTED
    ckpt("set", tmp_path / "m", "b[0] = 9", "-i")
    assert load_file(tmp_path / "m" / pattern.format("00002-of-00002"))["b"].tolist() == [9, 6]


@pytest.mark.parametrize(("index", "pattern"), VARIANTS)
def test_the_plain_model_is_it_and_a_note_names_the_variant(index: str, pattern: str, tmp_path: Path, ckpt: Ckpt) -> None:
    variant(model(tmp_path), index, pattern)
    plain = ckpt("ls", tmp_path, "--json")
    assert plain.json["format"] == "sharded" and f"beside it lie {index}" in plain.err


@pytest.mark.parametrize("name", ["model.fp16.safetensors", "diffusion_pytorch_model.bf16.safetensors", "pytorch_model.fp16.bin"])
def test_a_variant_alone_is_the_model_whatever_else_lies_beside_it(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    import torch

    torch.save({"w": torch.ones(1)}, tmp_path / "training_args.bin")
    if name.endswith(".bin"):
        torch.save({"a": torch.from_numpy(A), "b": torch.from_numpy(B)}, tmp_path / name)
    else:
        save_file({"a": A, "b": B}, tmp_path / name)
    assert ckpt("ls", tmp_path).rows == LISTED
    save_file({"c": A}, tmp_path / "model.safetensors")
    found = ckpt("ls", tmp_path)
    assert [row[0] for row in found.rows] == ["c"] and f"beside it lie {name}" in found.err


def test_two_variants_are_listed(tmp_path: Path, ckpt: Ckpt) -> None:
    for name in ("fp16", "bf16"):
        variant(tmp_path, f"model.safetensors.index.{name}.json", f"model.{name}-{{}}.safetensors")
    listed = "model.safetensors.index.bf16.json, model.safetensors.index.fp16.json"
    assert f"several models: {listed}" in ckpt("ls", tmp_path, status=2).err


@pytest.mark.parametrize("index", ["model.safetensors.index.fp16.json", "model.fp16.safetensors.index.json"])
@pytest.mark.parametrize("size", [(), ("--shard-size", "8B")])
def test_convert_writes_the_index_of_a_variant(index: str, size: tuple[str, ...], tmp_path: Path, ckpt: Ckpt) -> None:
    save_file({"a": A, "b": B}, tmp_path / "whole.safetensors")
    (tmp_path / "new").mkdir()
    ckpt("convert", tmp_path / "whole.safetensors", tmp_path / "new" / index, *size)
    total = 2 if size else 1
    shards = [f"model.fp16-{i + 1:05d}-of-{total:05d}.safetensors" for i in range(total)]
    assert sorted(os.listdir(tmp_path / "new")) == sorted([index, *shards])
    assert ckpt("diff", tmp_path / "new", tmp_path / "whole.safetensors").out == ""


def test_the_variant_of_a_report(case: Callable[[str], Path], ckpt: Ckpt) -> None:
    folder = case("reports/variant-index")
    assert ckpt("diff", folder / "model", folder / "right.safetensors", "--exact").out == ""


# What is wrong with an index, and what `check` says of it.
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
STALE = {
    "a shard that is missing": ({"a": ONE, "b": "x.safetensors"}, 16, [["index", "x.safetensors"], ["index", "b"]]),
    "a tensor that it leaves out": ({"a": ONE}, 16, [["index", "b"]]),
    "a tensor that no shard has": ({"a": ONE, "b": TWO, "c": TWO}, 16, [["index", "c"]]),
    "a tensor in a shard that is missing": ({"a": ONE, "b": TWO, "c": "x.safetensors"}, 16, [["index", "x.safetensors"], ["index", "c"]]),
    "tensors the wrong way round": ({"a": TWO, "b": ONE}, 16, [["index", "a"], ["index", "b"], ["index", "a"], ["index", "b"]]),
    "nothing": ({}, 16, [["index", "a"], ["index", "b"]]),
    "a wrong size": ({"a": ONE, "b": TWO}, 17, [["index", ""]]),
}  # fmt: skip


@pytest.mark.parametrize("what", STALE)
def test_a_wrong_index_is_reported_and_what_is_there_is_read_without_it(what: str, tmp_path: Path, ckpt: Ckpt) -> None:
    weight_map, size, said = STALE[what]
    folder = model(tmp_path / "m", weight_map=weight_map, metadata={"total_size": size})
    assert [row[:2] for row in ckpt("check", folder, status=1).rows] == said
    assert ckpt("check", folder, "--ignore-index").out == ""
    assert ckpt("ls", folder, "--ignore-index").rows == LISTED
    if what in ("nothing", "a tensor that it leaves out"):  # all that the index says is so
        assert "beside it lie model-0000" in ckpt("ls", folder).err
    elif size == 16:
        for args in (["ls"], ["stats"], ["hash"], ["convert", tmp_path / "x.pt"]):
            refused = ckpt(args[0], folder, *args[1:], status=2).err
            assert "`ckpt convert SRC DST --ignore-index`" in refused
            assert refused.startswith(f"ckpt: error: {folder}/model.safetensors.index.json: ")


READING = [["summary", "--json"], ["stats"], ["get", "b"], ["tied"], ["hash"], ["spec"], ["check", "--finite"]]


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_every_reading_command_can_ignore_the_index(words: list[str], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = model(tmp_path / "m", weight_map={"a": "gone.safetensors"})
    right = model(tmp_path / "right")
    command, *more = words
    texts = [ckpt(command, path, *more, "--ignore-index").out.replace(str(path), "") for path in (folder, right)]
    ones, others = [re.sub(r'"bytes": \d+,', "", text, count=1) for text in texts]  # the sizes of the two indices
    assert ones == others
    assert ckpt("diff", folder, right, "--ignore-index").out == ""


def test_convert_makes_a_stale_index_right(tmp_path: Path, ckpt: Ckpt) -> None:
    folder = model(tmp_path / "m", weight_map={"a": "gone.safetensors"})
    ckpt("convert", folder, tmp_path / "one.safetensors", "--ignore-index")
    assert {name: data.tolist() for name, data in load_file(tmp_path / "one.safetensors").items()} == {"a": [0, 1], "b": [5, 6]}
    ckpt("convert", folder, folder, "--shard-size", "8B", "--ignore-index", "--force")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index == {"metadata": {"total_size": 16}, "weight_map": {"a": ONE, "b": TWO}}
    assert ckpt("check", folder).out == "" and ckpt("ls", folder).rows == LISTED


def test_the_stale_index_of_a_report(case: Callable[[str], Path], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = case("reports/stale-index")
    assert {row[0] for row in ckpt("check", folder / "model", status=1).rows} == {"index"}
    assert [row[0] for row in ckpt("ls", folder / "model", "--ignore-index").rows] == ["a", "b"]
    ckpt("convert", folder / "model", tmp_path / "one.safetensors", "--ignore-index")
    assert ckpt("diff", tmp_path / "one.safetensors", folder / "right.safetensors", "--exact").out == ""


@pytest.mark.parametrize("text", [None, "version https://git-lfs.github.com/spec/v1\n", '{"weight_map": 1}', ""])
def test_shards_without_a_readable_index_are_read_when_it_is_ignored(text: str | None, tmp_path: Path, ckpt: Ckpt) -> None:
    index = model(tmp_path) / "model.safetensors.index.json"
    index.unlink()
    if text is not None:
        index.write_text(text)
    ckpt("ls", tmp_path, status=2)
    assert ckpt("ls", tmp_path, "--ignore-index").rows == LISTED


def test_two_shards_with_one_name_are_never_chosen_between_in_silence(tmp_path: Path, ckpt: Ckpt) -> None:
    shutil.copy(model(tmp_path) / ONE, tmp_path / "model-00001-of-00009.safetensors")
    save_file({"a": A, "c": B}, tmp_path / ONE)
    assert "both hold 'a'" in ckpt("ls", tmp_path, "--ignore-index", status=2).err
    assert ["index", "a"] in [row[:2] for row in ckpt("check", tmp_path, status=1).rows]


def test_a_link_out_of_the_folder_is_no_shard_that_is_there(tmp_path: Path, ckpt: Ckpt) -> None:
    folder = model(tmp_path / "m", weight_map={"a": ONE})
    (folder / TWO).rename(tmp_path / "outside.safetensors")
    (folder / TWO).symlink_to("../outside.safetensors")
    assert ckpt("ls", folder, "--ignore-index").rows == LISTED[:1]


def test_a_shard_that_cannot_be_read_is_named_and_the_others_are_checked(tmp_path: Path, ckpt: Ckpt) -> None:
    save_file({"b": np.array([np.nan, 1], np.float32)}, model(tmp_path) / TWO)
    (tmp_path / ONE).write_bytes((tmp_path / ONE).read_bytes()[:-1])
    assert [row[:2] for row in ckpt("check", tmp_path, "--finite", status=1).rows] == [["unreadable", ONE], ["finite", "b"]]
    assert "truncated" in ckpt("ls", tmp_path, "--ignore-index", status=2).err


# Shards in folders below the index.


def below(folder: Path) -> Path:
    return model(folder, shards=("one/model-00001-of-00002.safetensors", "two/deep/model-00002-of-00002.safetensors"))


def test_shards_in_folders_below_are_read_edited_and_converted(tmp_path: Path, ckpt: Ckpt) -> None:
    folder = below(tmp_path / "m")
    assert ckpt("ls", folder).rows == LISTED
    ckpt("set", folder, "a[0] = 3", "-i")
    ckpt("rename", folder, "b=c", "-i")
    assert load_file(folder / "one" / ONE)["a"].tolist() == [3, 1] and load_file(folder / "two" / "deep" / TWO).keys() == {"c"}
    assert json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]["c"] == f"two/deep/{TWO}"
    (tmp_path / "new").mkdir()
    ckpt("convert", folder, tmp_path / "new" / "model.safetensors.index.json")
    assert ckpt("diff", folder, tmp_path / "new").out == ""
    ckpt("drop", folder, "c", "-i")
    assert not (folder / "two" / "deep" / TWO).exists() and ckpt("check", folder).out == ""


@pytest.mark.parametrize("blobs", ["hub/blobs", "elsewhere"])
def test_in_the_cache_of_the_hub_links_lead_to_its_blobs(blobs: str, tmp_path: Path, ckpt: Ckpt) -> None:
    """A pipeline's model lies in a folder of the snapshot, and its files are links."""
    real, snapshot = model(tmp_path / blobs), tmp_path / "hub" / "snapshots" / "abc" / "transformer"
    snapshot.mkdir(parents=True)
    for path in real.iterdir():
        (snapshot / path.name).symlink_to(path)
    if blobs == "hub/blobs":
        assert ckpt("ls", snapshot).rows == LISTED
    else:
        assert "leads out of the folder" in ckpt("ls", snapshot, status=2).err


# More shards than files may be open.
COUNT = 70


def limited(line: str, *args: object) -> str:
    """The output of a command line under a limit of 64 open files."""
    words = [sys.executable, "-m", "ckpt_cli", *map(str, args)]
    run = subprocess.run(["bash", "-c", f'ulimit -n 64; {line} "$@"', "bash", *words], capture_output=True, text=True)
    assert run.returncode in (0, 1) and not run.stderr, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of more shards than 64; two of them are large enough that workers read them."""
    folder, weight_map = tmp_path_factory.mktemp("many"), {}
    for i in range(COUNT):
        name = f"model-{i + 1:05}-of-{COUNT:05}.safetensors"
        data = np.full((18 << 20) // 4 if i in (3, 60) else 4, i, np.float32)
        save_file({f"t{i}": data}, folder / name)
        weight_map[f"t{i}"] = name
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def test_more_shards_than_open_files_are_read_as_without_a_limit(many: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    for command in ("ls", "hash"):
        assert limited("exec", command, many) == ckpt(command, many).out
    limited("exec", "convert", many, tmp_path / "one.safetensors")
    assert limited("exec", "diff", many, tmp_path / "one.safetensors") == ""
    assert {name: data[0] for name, data in load_file(tmp_path / "one.safetensors").items()} == {f"t{i}": i for i in range(COUNT)}


def test_more_shards_than_open_files_are_edited_in_place(many: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    copy = shutil.copytree(many, tmp_path / "copy")
    before = sorted(os.listdir(copy))
    for edit in (["set", "t3[1] = 7"], ["set", "* += 1"], ["rename", "t*=u*"]):
        limited("exec", edit[0], copy, *edit[1:], "-i")
    assert sorted(os.listdir(copy)) == before
    found = {row[0]: row[2:4] for row in ckpt("stats", copy).rows if row[0] not in ("u3", "u60")}
    assert ckpt("get", copy, "u3[:3]").out == "[4. 8. 4.]\n" and ckpt("check", copy).out == "" and len(found) == COUNT - 2
    assert limited("exec", "diff", copy, many, "--name-only").count("\n") == 2 * COUNT


LOCKING = """
import os, sys
from ckpt_cli.disk import locks
from ckpt_cli.disk.lock_keepers import LockKeepers
keepers, paths = LockKeepers(), sys.argv[1:]
for path in paths:
    fd = os.open(path, os.O_RDONLY)
    locks.take(fd, path)
    keepers.hold(fd)
print("held", flush=True)
sys.stdin.readline()
keepers.end()
print("given back", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("end", ["given back", "killed"])
def test_locks_beyond_the_limit_are_held_until_they_are_given_back_or_their_program_dies(end: str, tmp_path: Path) -> None:
    import fcntl

    paths = [tmp_path / f"{i}" for i in range(150)]
    for path in paths:
        path.touch()

    def locked() -> int:
        count = 0
        for path in paths:
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    count += 1
        return count

    words = ["bash", "-c", 'ulimit -n 64; exec "$@"', "bash", sys.executable, "-c", LOCKING, *map(str, paths)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin and program.stdout
        assert program.stdout.readline() == "held\n" and locked() == len(paths)
        if end == "killed":
            program.kill()
            program.wait()
        else:
            program.stdin.write("\n")
            program.stdin.flush()
            assert program.stdout.readline() == "given back\n"
        for _ in range(200):
            if not locked():
                break
            sleep(0.01)
        assert not locked()
        program.kill()


CHANGED = """
import os, sys
from ckpt_cli import reading
checkpoint = reading.open(sys.argv[1])
os.replace(sys.argv[2], sys.argv[3])
try:
    print(checkpoint["t0"].tobytes()[:4])
except Exception as error:
    print(error)
"""


def test_a_shard_that_was_replaced_while_it_was_closed_is_an_error(many: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(many, tmp_path / "copy")
    first = copy / f"model-00001-of-{COUNT:05}.safetensors"
    save_file({"t0": np.full(4, 99, np.float32)}, tmp_path / "other")
    words = ["bash", "-c", 'ulimit -n 64; exec "$@"', "bash", sys.executable, "-c", CHANGED, copy, tmp_path / "other", first]
    said = subprocess.run([*map(str, words)], capture_output=True, text=True).stdout
    assert said == f"{first}: another program has changed the file since it was opened (run the command again)\n"


# The shortcut of `diff`.


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_one_index_of_two_models_does_not_make_them_one(link: Callable[[Path, Path], None], tmp_path: Path, ckpt: Ckpt) -> None:
    one, two = model(tmp_path / "one"), model(tmp_path / "two")
    index = "model.safetensors.index.json"
    (two / index).unlink()
    if link is os.symlink:
        shutil.copy(one / index, two / "real.json")
        (two / index).symlink_to("real.json")
    else:
        link(one / index, two / index)
    save_file({"b": B + 1}, two / TWO)
    for pair in ((one, two), (one / index, two / index)):
        assert [row[:2] for row in ckpt("diff", *pair, status=1).rows] == [["changed", "b"]]
    for path in (one, one / index, f"{one}/"):
        assert ckpt("diff", path, path).out == ""


def test_a_linked_shard_is_one_with_its_other_name(tmp_path: Path, ckpt: Ckpt) -> None:
    one, two = model(tmp_path / "one"), model(tmp_path / "two")
    for name in (ONE, TWO):
        (two / name).unlink()
        os.link(one / name, two / name)
    assert ckpt("diff", one, two).out == ""


@pytest.mark.parametrize(("form", "main", "data"), [("dcp", ".metadata", "*.distcp"), ("tensorflow", "m.index", "m.data*")])
def test_one_main_file_of_two_checkpoints_does_not_make_them_one(form: str, main: str, data: str, tmp_path: Path, ckpt: Ckpt) -> None:
    save_file({"a": A, "b": B}, tmp_path / "whole.safetensors")
    paths = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        if form == "tensorflow":
            folder.mkdir()
        paths.append(folder / "m" if form == "tensorflow" else folder)
        ckpt("convert", tmp_path / "whole.safetensors", paths[-1], "--format", form)
    (tmp_path / "two" / main).unlink()
    os.link(tmp_path / "one" / main, tmp_path / "two" / main)
    assert ckpt("diff", *paths).out == ""
    (changed,) = (tmp_path / "two").glob(data)
    raw = changed.read_bytes()
    changed.write_bytes(raw.replace(B.tobytes(), (B + 1).tobytes()))
    assert [row[:2] for row in ckpt("diff", *paths, status=1).rows] == [["changed", "b"]]

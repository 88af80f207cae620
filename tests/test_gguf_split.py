"""GGUF in parts, as llama.cpp's gguf-split and gguf-py write them: one checkpoint, read, edited, written."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ckpt
from gguf import GGUFReader, GGUFWriter

TENSORS = {f"blk.{i}.w": np.arange(64, dtype=np.float32).reshape(2, 32) + i for i in range(5)}


def split(folder: Path, most: int = 2, first_without: bool = False) -> Path:
    """A set by the package's own writer, at most so many tensors in a part."""
    folder.mkdir()
    writer = GGUFWriter(folder / "m.gguf", "llama", split_max_tensors=most, small_first_shard=first_without)
    writer.add_string("general.name", "tiny")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "c"])
    for name, data in TENSORS.items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """The key/values and tensors of one file, as the package reads them."""
    reader = GGUFReader(path)
    return {key: field.contents() for key, field in reader.fields.items()}, {
        tensor.name: np.array(tensor.data) for tensor in reader.tensors
    }


def whole(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """All tensors of a set, which says of itself what it should."""
    paths = sorted(folder.glob("*.gguf"))
    parts = [read(path) for path in paths]
    tensors = {name: data for _, part in parts for name, data in part.items()}
    for number, (values, _) in enumerate(parts):
        assert [values[f"split.{key}"] for key in ("no", "count", "tensors.count")] == [number, len(parts), len(tensors)]
    return tensors


def same(found: dict[str, np.ndarray[Any, Any]], wanted: dict[str, np.ndarray[Any, Any]]) -> bool:
    return found.keys() == wanted.keys() and all(np.array_equal(found[name], data) for name, data in wanted.items())


@pytest.mark.parametrize("first_without", [False, True])
@pytest.mark.parametrize("most", [1, 2, 4])
def test_a_folder_of_parts_is_one_checkpoint(most: int, first_without: bool, tmp_path: Path, ckpt: Ckpt) -> None:
    folder = split(tmp_path / "parts", most, first_without)
    assert [row[0] for row in ckpt("ls", folder).rows] == list(TENSORS)
    ckpt("convert", folder, tmp_path / "one.gguf")
    values, tensors = read(tmp_path / "one.gguf")
    assert same(tensors, TENSORS) and values["general.name"] == "tiny" and values["tokenizer.ggml.tokens"] == ["a", "b", "c"]
    assert not [key for key in values if key.startswith("split.")]
    assert ckpt("diff", folder, tmp_path / "one.gguf").out == "" and ckpt("check", folder).out == ""


def test_a_part_by_its_own_path_is_that_part(tmp_path: Path, ckpt: Ckpt) -> None:
    folder = split(tmp_path / "parts")
    for number, names in ((1, ["blk.0.w", "blk.1.w"]), (3, ["blk.4.w"])):
        found = ckpt("ls", folder / f"m-0000{number}-of-00003.gguf")
        assert [row[0] for row in found.rows] == names and f"part {number} of 3" in found.err


@pytest.mark.parametrize("size", [1, 600, 10_000])
def test_convert_divides_as_gguf_split_does(size: int, tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("convert", split(tmp_path / "parts"), tmp_path / "one.gguf")
    (tmp_path / "new").mkdir()
    ckpt("convert", tmp_path / "one.gguf", tmp_path / "new" / "x.gguf", "--shard-size", f"{size}B")
    count = {1: 5, 600: 3, 10_000: 1}[size]
    assert sorted(os.listdir(tmp_path / "new")) == [f"x-{i + 1:05d}-of-{count:05d}.gguf" for i in range(count)]
    assert same(whole(tmp_path / "new"), TENSORS)
    values, _ = read(tmp_path / "new" / f"x-00001-of-{count:05d}.gguf")
    assert values["general.name"] == "tiny" and values["tokenizer.ggml.tokens"] == ["a", "b", "c"]
    assert ckpt("diff", tmp_path / "new", tmp_path / "one.gguf").out == ""
    assert "there already" in ckpt("convert", tmp_path / "one.gguf", tmp_path / "new" / "x.gguf", "--shard-size", f"{size}B", status=2).err


def test_other_formats_are_divided_and_alignment_is_kept(tmp_path: Path, ckpt: Ckpt) -> None:
    from safetensors.numpy import save_file

    save_file(TENSORS, tmp_path / "m.safetensors", metadata={"general.alignment": "64"})
    (tmp_path / "new").mkdir()
    ckpt("convert", tmp_path / "m.safetensors", tmp_path / "new", "--format", "gguf", "--shard-size", "300B")
    assert sorted(os.listdir(tmp_path / "new"))[0] == "model-00001-of-00005.gguf" and same(whole(tmp_path / "new"), TENSORS)
    assert [row[0] for row in ckpt("ls", tmp_path / "new").rows] == list(TENSORS)


def test_an_edit_in_place_goes_to_the_parts_that_it_falls_on(tmp_path: Path, ckpt: Ckpt) -> None:
    folder = split(tmp_path / "parts")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    ckpt("set", folder, "blk.1.w[0, 0] = 9", "blk.4.w[1, 3] = 9", "-i")
    changed = [name for name, data in before.items() if (folder / name).read_bytes() != data]
    assert sorted(changed) == ["m-00001-of-00003.gguf", "m-00003-of-00003.gguf"]
    wanted = {name: data.copy() for name, data in TENSORS.items()}
    wanted["blk.1.w"][0, 0] = wanted["blk.4.w"][1, 3] = 9
    assert same(whole(folder), wanted) and sorted(before) == sorted(os.listdir(folder))


def test_names_and_counts_are_brought_up_to_date_in_every_part(tmp_path: Path, ckpt: Ckpt) -> None:
    folder = split(tmp_path / "parts")
    ckpt("rename", folder, "blk.*=b.*", "-i")
    ckpt("drop", folder, "b.{1,4}.w", "-i")
    assert same(whole(folder), {f"b.{i}.w": TENSORS[f"blk.{i}.w"] for i in (0, 2, 3)}) and len(list(folder.iterdir())) == 3
    ckpt("cast", folder, "float16", "-i")
    assert whole(folder)["b.2.w"].dtype == np.float16
    (tmp_path / "new").mkdir()
    ckpt("set", folder, "b.0.w[0] = 1", "-o", tmp_path / "new" / "n-00001-of-00003.gguf")
    assert whole(tmp_path / "new").keys() == {"b.0.w", "b.2.w", "b.3.w"}
    refused = ckpt("convert", folder, tmp_path / "new" / "n-00001-of-00009.gguf", status=2).err
    assert "the name says 9 parts, and there would be 3 (give PREFIX.gguf and --shard-size)" in refused


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_part_is_named(missing: int, tmp_path: Path, ckpt: Ckpt) -> None:
    folder = split(tmp_path / "parts")
    (folder / f"m-0000{missing}-of-00003.gguf").unlink()
    assert f"part {missing} of 3 is missing: m-0000{missing}-of-00003.gguf" in ckpt("ls", folder, status=2).err


def part(said: dict[str, tuple[int, str, int]], *names: str) -> bytes:
    """A file by docs/gguf.md of ggml: key/values (type, `struct` letter, value) and tensors of eight float32 zeros each."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    head = b"GGUF" + struct.pack("<IQQ", 3, len(names), len(said))
    head += b"".join(text(key) + struct.pack("<I" + letter, kind, value) for key, (kind, letter, value) in said.items())
    head += b"".join(text(name) + struct.pack("<IQIQ", 1, 8, 0, 32 * i) for i, name in enumerate(names))
    return head + bytes(-len(head) % 32) + bytes(32 * len(names))


def numbers(number: int, count: int, tensors: int) -> dict[str, tuple[int, str, int]]:
    return {"split.no": (2, "H", number), "split.count": (2, "H", count), "split.tensors.count": (5, "i", tensors)}


BROKEN = {
    "the number of another part": (part(numbers(0, 2, 2), "a"), part(numbers(0, 2, 2), "b"), "split.no and split.count are 0 and 2"),
    "another count": (part(numbers(0, 2, 2), "a"), part(numbers(1, 3, 2), "b"), "split.no and split.count are 1 and 3"),
    "no numbers": (part(numbers(0, 2, 2), "a"), part({}, "b"), "are None and None"),
    "one name twice": (part(numbers(0, 2, 2), "a"), part(numbers(1, 2, 2), "a"), "'a' of m-00002-of-00002.gguf is in a part before it"),
    "fewer tensors": (part(numbers(0, 2, 9), "a"), part(numbers(1, 2, 9), "b"), "the parts have 2 tensors, and split.tensors.count"),
    "text": (part(numbers(0, 2, 2), "a"), b"hello", "this part is no GGUF"),
    "a cut part": (part(numbers(0, 2, 2), "a"), part(numbers(1, 2, 2), "b")[:-30], "truncated"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_parts_that_do_not_fit_are_an_error(what: str, tmp_path: Path, ckpt: Ckpt) -> None:
    one, two, says = BROKEN[what]
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(one)
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(two)
    for command in ("ls", "check", "hash"):
        assert says in ckpt(command, tmp_path, status=2).err


def test_another_gguf_beside_the_parts_makes_it_several(tmp_path: Path, ckpt: Ckpt) -> None:
    folder = split(tmp_path / "parts")
    shutil.copy(folder / "m-00001-of-00003.gguf", folder / "mmproj.gguf")
    assert "several models" in ckpt("ls", folder, status=2).err


def test_a_linked_first_part_does_not_make_two_sets_one(tmp_path: Path, ckpt: Ckpt) -> None:
    one, two = split(tmp_path / "one"), split(tmp_path / "two")
    first = "m-00001-of-00003.gguf"
    (two / first).unlink()
    os.link(one / first, two / first)
    assert ckpt("diff", one, two).out == ""
    ckpt("set", two, "blk.4.w[0, 0] = 100", "-i")
    assert [row[:2] for row in ckpt("diff", one, two, status=1).rows] == [["changed", "blk.4.w"]]


def test_the_parts_of_a_report(case: Callable[[str], Path], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = case("reports/gguf-split")
    assert len(ckpt("ls", folder / "parts").rows) == 4 and ckpt("diff", folder / "parts", folder / "right.gguf", "--exact").out == ""
    ckpt("convert", folder / "parts", tmp_path / "one.gguf")
    assert (tmp_path / "one.gguf").read_bytes() == (folder / "right.gguf").read_bytes()
    assert "part 1 of 3" in ckpt("ls", folder / "parts" / "m-00001-of-00003.gguf").err

"""Real checkpoints that other programs wrote: names, dtypes, shapes, bytes, strides and ties are what those programs had in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CASES, Ckpt

from ckpt_cli import reading
from ckpt_cli.tensors.checkpoint import Checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")
INDEX = CASES / "expect" / "INDEX.json"
KNOWN = ("torch-zip", "torch-legacy", "safetensors")


def claimed() -> list[dict[str, Any]]:
    """The records of files that the formats read: their own, and folders with a model in one file or in shards."""
    records = json.loads(INDEX.read_text()) if INDEX.is_file() else []
    return [record for record in records if record["format"] in (*KNOWN, "hf-dir")]


CLAIMED = {record["file"]: record["expect"] for record in claimed()}
every_case = pytest.mark.parametrize("name", CLAIMED or [pytest.param("none", marks=pytest.mark.skip(reason="set CKPT_CASES"))])


def expected(name: str) -> dict[str, Any]:
    document = json.loads((CASES / "expect" / CLAIMED[name]).read_text())
    for tensor in document["tensors"]:
        if tensor["dtype"] in ("F4", "float4_e2m1fn_x2"):
            tensor["dtype"] = "float4_e2m1fn"
            del tensor["strides"]
    return document


def read(name: str) -> Checkpoint:
    return reading.open(str(CASES / name))


def groups(found: list[list[str]]) -> list[list[str]]:
    return sorted(map(sorted, found))


def saved_model(name: str) -> bool:
    """A file whose tied names are in its metadata: the expectation has the kept ones alone."""
    return name.endswith("save_model.safetensors")


@every_case
def test_names_dtypes_and_shapes_are_those_of_the_program_that_wrote_it(name: str, ckpt: Ckpt) -> None:
    want = {t["name"]: (t["dtype"], "x".join(map(str, t["shape"]))) for t in expected(name)["tensors"]}
    found = {row[0]: (row[1].split(" (")[0], row[2]) for row in ckpt("ls", CASES / name).rows}
    if saved_model(name):
        assert len(found) == 8
        found = {key: value for key, value in found.items() if key in want}
    assert found == want


@every_case
def test_bytes_and_strides_are_those_of_the_program_that_wrote_it(name: str) -> None:
    checkpoint = read(name)
    for want in expected(name)["tensors"]:
        tensor = checkpoint[want["name"]]
        if "sha256" in want and tensor.layout not in ("object",):
            assert hashlib.sha256(tensor.tobytes()).hexdigest() == want["sha256"], want["name"]
        if "strides" in want:
            assert list(tensor.strides) == want["strides"], want["name"]


@every_case
def test_what_shares_a_storage_and_what_is_tied_is_found(name: str) -> None:
    document, checkpoint = expected(name), read(name)
    if saved_model(name):
        assert groups(checkpoint.ties()) == [["2.bias", "4.bias"], ["2.weight", "4.weight"]]
        return
    assert groups(checkpoint.sharing()) == groups(document.get("sharing", []))
    assert groups(checkpoint.ties()) == groups(document.get("same_view", []))


@every_case
def test_the_other_objects_are_those_of_the_program_that_wrote_it(name: str) -> None:
    leaves = expected(name).get("leaves")
    if not isinstance(leaves, list):
        pytest.skip("none are told")
    checkpoint = read(name)
    for leaf in leaves:
        path = leaf.get("name", ".".join(map(str, leaf.get("path", []))))
        if isinstance(leaf.get("value"), (str, int, bool)) and path in checkpoint.objects:
            assert str(checkpoint.objects[path]) == str(leaf["value"]), path


def plain(checkpoint: Checkpoint) -> list[str]:
    """What both formats can hold."""
    odd = ("complex32", "complex128", "float4_e2m1fn")
    return [name for name, t in checkpoint.items() if not t.layout and t.dtype.addressable and t.dtype.name not in odd]


@every_case
def test_it_is_there_and_back_in_the_other_format_without_a_difference(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    checkpoint = read(name)
    kept = plain(checkpoint)
    if not kept:
        pytest.skip("nothing that both formats hold")
    drops = [arg for other in checkpoint if other not in kept for arg in ("--drop", other)]
    first, second = tmp_path / "a.safetensors", tmp_path / "b.pt"
    ckpt("convert", CASES / name, first, *drops)
    ckpt("convert", first, second)
    assert ckpt("diff", first, second).out == ""
    after = reading.open(str(second))
    assert set(after) == set(kept)
    for key in kept:
        assert (after[key].dtype, after[key].shape, after[key].tobytes()) == (
            checkpoint[key].dtype, checkpoint[key].shape, checkpoint[key].tobytes(),
        ), key  # fmt: skip
    ties = [group for group in ([n for n in names if n in kept] for names in checkpoint.ties()) if len(group) > 1]
    assert groups(after.ties()) == groups(ties)
    torch.load(second, weights_only=True)


def importable(path: Path) -> Callable[[Path], Any] | None:
    """How torch loads the file, or None where its classes are those of another program."""
    for weights_only in (True, False):
        try:
            torch.load(path, weights_only=weights_only)
        except Exception:
            continue
        return lambda other: torch.load(other, weights_only=weights_only)
    return None


@every_case
def test_it_is_the_same_but_for_one_tensor_after_that_was_dropped(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    before = read(name)
    if len(before) < 2:
        pytest.skip("one tensor alone")
    victim = list(before)[-1]
    origin = Path(before.origin.path if before.origin else "")
    out = tmp_path / ("out.safetensors" if before.origin and before.origin.format == "safetensors" else "out.pt")
    ckpt("drop", CASES / name, victim, "-o", out)
    after = reading.open(str(out))
    assert set(after) == set(before) - {victim} and set(after.objects) >= set(before.objects)
    for key, tensor in after.items():
        if not (tensor.layout == "object" or tensor.layout.startswith("sparse")):
            assert (tensor.dtype, tensor.shape, tensor.tobytes()) == (before[key].dtype, before[key].shape, before[key].tobytes()), key
    ties = [group for group in ([n for n in names if n != victim] for names in before.ties()) if len(group) > 1]
    assert groups(after.ties()) == groups(ties)
    load = importable(origin) if out.suffix == ".pt" else None
    if load:
        load(out)

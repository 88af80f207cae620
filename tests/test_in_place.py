"""`-i`: only what changes is written, under an undo journal; a process that dies anywhere leaves the old file or the new one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy
import pytest
import torch
from conftest import WHOLE, Ckpt, heeds_ctrl_c
from hypothesis import given
from hypothesis import strategies as st
from oracles import loaded, members
from safetensors.torch import load_file, save_file

from ckpt_cli.cli import main
from ckpt_cli.disk import locks
from ckpt_cli.storage.checksums import CRC32
from ckpt_cli.storage.crc32c import CRC32C
from ckpt_cli.storage.storage import Memory, Storage
from ckpt_cli.storage.strides import Scattered, Strided

WEIGHTS = {"a.weight": torch.arange(60_000.0).reshape(200, 300), "a.bias": torch.arange(4096.0), "b.weight": torch.ones(50, 300)}


@pytest.fixture(params=["pt", "safetensors"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkpoint of 300 kB, alone in its folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return written(folder / f"m.{request.param}")


def written(path: Path, weights: dict[str, torch.Tensor] = WEIGHTS) -> Path:
    if path.suffix == ".pt":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    return path


@pytest.fixture
def shards(tmp_path: Path, ckpt: Ckpt) -> Path:
    """The index of the same in three shards, alone in its folder."""
    ckpt("convert", written(tmp_path / "m.safetensors"), tmp_path / "folder" / "m.safetensors", "--shard-size", "60kB", status=None)
    (tmp_path / "folder").mkdir(exist_ok=True)
    ckpt("convert", tmp_path / "m.safetensors", tmp_path / "folder" / "m.safetensors", "--shard-size", "60kB", "--force")
    return next((tmp_path / "folder").glob("*.index.json"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def differing(before: bytes, after: bytes) -> int:
    """The bytes between the first and the last that differ, gaps of equal ones left out."""
    return int((numpy.frombuffer(before, "u1") != numpy.frombuffer(after, "u1")).sum())


# What is written


@pytest.mark.parametrize(
    "edit",
    [["set", "a.bias = 1"], ["set", "a.bias += 1"], ["set", "a.weight[7, 8] = 5"], ["set", "a.weight[3] = 5"],
     ["set", "a.weight[5:9, ::7] *= 2"],
     ["set", "a.weight[7, 8] = 5", "a.weight[100, 2] = 5", "b.weight[0, 0] = 3"], ["reinit", "a.bias=zeros"],
     ["reinit", "a.bias=normal", "--seed", "0"], ["reinit", "a.bias=normal", "--seed", "0", "--rng", "torch"]],
    ids=lambda edit: " ".join(edit),
)  # fmt: skip
def test_what_changes_is_overwritten_and_the_file_stays_the_same_one(edit: list[str], path: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt(edit[0], path, *edit[1:], "-o", tmp_path / ("anew" + path.suffix))
    before, inode = path.read_bytes(), path.stat().st_ino
    ckpt(edit[0], path, *edit[1:], "-i")
    assert path.stat().st_ino == inode and contents(path.parent) == {path.name: (tmp_path / ("anew" + path.suffix)).read_bytes()}
    assert 0 < differing(before, path.read_bytes()) < 20_000


def test_bytes_written_are_twice_the_patch_and_a_little(path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    count, write, pwrite = 0, os.write, os.pwrite

    def counted(real: Callable[..., int]) -> Callable[..., int]:
        def call(*args: Any) -> int:
            nonlocal count
            done = real(*args)
            count += done
            return done

        return call

    monkeypatch.setattr(os, "write", counted(write))
    monkeypatch.setattr(os, "pwrite", counted(pwrite))
    ckpt("set", path, "a.bias = 1", "-i")
    assert 2 * 16384 < count < 2 * 16384 + 1024


@pytest.mark.parametrize(
    "edit", ["a.bias = 1", "a.weight[0, 0] = 1", "a.weight[199, 299] = 1", "a.weight[:, 3] = 1", "* += 1", "a.weight[::2] = 0"]
)
def test_the_checksums_of_a_zip_are_mended(edit: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = written(tmp_path / "m.pt")
    for target in (["-i"], ["-o", tmp_path / "new.pt"]):
        ckpt("set", path, edit, *target)
    assert members(path) and members(tmp_path / "new.pt")  # zipfile checks each one's CRC-32
    header = path.read_bytes()
    assert header.count(b"PK\7\x08") == len(members(path))


def test_a_checksum_that_was_wrong_is_not_made_right_by_an_edit_elsewhere_in_its_record(tmp_path: Path, ckpt: Ckpt) -> None:
    path = written(tmp_path / "m.pt")
    data = bytearray(path.read_bytes())
    at = data.find(numpy.float32(299).tobytes() + numpy.float32(300).tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    ckpt("set", path, "a.weight[0, 0] = 1", "-i")
    with pytest.raises(Exception, match="CRC"):
        members(path)


def test_a_patch_of_more_than_half_of_the_file_is_a_new_file_unless_the_file_has_another_name(
    path: Path, tmp_path: Path, ckpt: Ckpt
) -> None:
    inode = path.stat().st_ino
    ckpt("set", path, "* = 1", "-i")
    assert path.stat().st_ino != inode and loaded(path)["a.weight"].eq(1).all()
    os.link(path, tmp_path / "other")
    ckpt("set", path, "* = 2", "-i")
    assert loaded(path)["a.weight"].eq(2).all() and (tmp_path / "other").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("edit", [["set", "a.bias = 1"], ["set", "* = 1"]], ids=["little", "all"])
def test_a_backup_is_the_old_file(edit: list[str], path: Path, ckpt: Ckpt) -> None:
    before = path.read_bytes()
    ckpt(edit[0], path, edit[1], "-i", "--backup", ".bak")
    assert path.with_name(path.name + ".bak").read_bytes() == before != path.read_bytes()


def test_tensors_that_change_places_in_one_file_are_read_before_they_are_overwritten(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "m.safetensors"
    weights = {"a": torch.rand(100), "b": torch.rand(100), "c": torch.rand(10_000)}
    save_file(weights, path)
    ckpt("reinit", path, f"a=copy_from({path}, b)", f"b=copy_from({path}, a)", "-i")
    found = load_file(path)
    assert found["a"].equal(weights["b"]) and found["b"].equal(weights["a"])


# Death


CALLS = ["write", "pwrite", "fsync", "fdatasync", "replace", "unlink", "link", "copy_file_range", "posix_fallocate"]
CALLS += ["setxattr", "removexattr"]


def dying(number: int, half: bool, args: list[str], changes: Path | None = None) -> bool:
    """`ckpt ARGS…` in a child that dies before (or `half` way through) its `number`-th call that changes the disk; whether it did.

    With `changes` it dies before the first call that comes after this file has changed, whatever the number.
    """
    before = changes.read_bytes() if changes else b""
    pid = os.fork()
    if pid == 0:
        left = number

        def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*given: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0 or (changes and changes.read_bytes() != before):
                    if half and name in ("write", "pwrite"):
                        count = max(1, len(given[1]) // 2)  # wherever that is: sectors may be torn
                        real(given[0], bytes(given[1])[:count], *given[2:])
                    os._exit(77)
                return real(*given, **named)

            return call

        try:
            for name in CALLS:
                setattr(os, name, watched(name, getattr(os, name)))
            os._exit(main(args))
        finally:
            os._exit(99)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 77)
    return status == 77


def every_death(folder: Path, args: list[str], step: int = 1) -> Iterator[tuple[str, dict[str, bytes], dict[str, bytes]]]:
    """The state of `folder` after each death of an edit and the next use, which is a listing; with the old and the new state."""
    before = contents(folder)
    assert not dying(10**6, False, args)
    after = contents(folder)
    for half in (False, True) if WHOLE else (False,):
        for number in range(1, 1000, step):
            shutil.rmtree(folder)
            folder.mkdir()
            for name, data in before.items():
                (folder / name).write_bytes(data)
            if not dying(number, half, args):
                break
            yield f"{number}{' and a half' if half else ''}", before, after


def litter(name: str) -> bool:
    """A temporary file of an edit that died: beside the file, and in nobody's way."""
    return name.startswith(".") and name.endswith(".tmp")


@pytest.mark.parametrize(
    "edit", [["set", "a.bias = 1", "b.weight[3, 4] = 7"], ["drop", "a.bias"], ["set", "* = 1"]], ids=["patch", "rebuild", "all"]
)
def test_who_opens_a_file_whose_edit_died_finds_the_old_one_or_the_new_one(edit: list[str], path: Path, ckpt: Ckpt) -> None:
    seen = set()
    for death, before, after in every_death(path.parent, [edit[0], str(path), *edit[1:], "-i"]):
        ckpt("ls", path)
        found = {name: data for name, data in contents(path.parent).items() if not litter(name)}
        assert found in (before, after), death
        seen.add(found == before)
    assert seen == {True, False}


@pytest.mark.parametrize("first", ["index", "shard"])
@pytest.mark.parametrize(
    "edit",
    [["set", "a.weight[0] = 9", "b.weight[0] = 9"], ["set", "a.weight[0] = 9", "* = 1"], ["cast", "float16"], ["drop", "b.*"]],
    ids=" ".join,
)
def test_an_edit_of_several_shards_that_died_is_undone_in_all_of_them(first: str, edit: list[str], shards: Path, ckpt: Ckpt) -> None:
    seen = set()
    for death, before, after in every_death(shards.parent, [edit[0], str(shards), *edit[1:], "-i"], 1 if WHOLE else 7):
        if first == "shard":
            for shard in sorted(shards.parent.glob("m-*.safetensors"), reverse=True):
                ckpt("ls", shard)
        ckpt("ls", shards)
        found = {name: data for name, data in contents(shards.parent).items() if not litter(name)}
        assert found in (before, after), death
        seen.add(found == before)
    assert True in seen


def test_a_reader_that_may_not_write_says_so_and_reads_nothing_half_changed(
    path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = half_done(path, ["set", "a.bias = 1"])
    half, real = path.read_bytes(), os.open

    def refusing(name: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise PermissionError(13, "Permission denied", name)
        return real(name, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refusing)
    error = ckpt("ls", path, status=2).err
    assert "an edit of this file was interrupted" in error and "takes the right to write" in error and path.read_bytes() == half
    monkeypatch.undo()
    ckpt("ls", path)
    assert contents(path.parent) == {path.name: before}


MARK = "user.ckpt.journal"


def half_done(path: Path, args: list[str], changed: Path | None = None) -> bytes:
    """Let an edit die when it has changed the file (of several: `changed`) in part; the old content."""
    watched = changed or path
    before = watched.read_bytes()
    assert dying(10**6, False, [args[0], str(path), *args[1:], "-i"], changes=watched)
    assert watched.read_bytes() != before
    return before


def test_that_an_edit_was_undone_is_said_once(path: Path, ckpt: Ckpt) -> None:
    before = half_done(path, ["set", "a.bias = 1"])
    assert f"{path}: an edit that was interrupted has been undone" in ckpt("ls", path).err
    assert ckpt("ls", path).err == "" and path.read_bytes() == before


@pytest.fixture
def marks(tmp_path: Path) -> None:
    """Skips where files take no extended attributes."""
    (tmp_path / "x").touch()
    try:
        os.setxattr(tmp_path / "x", MARK, b"x")
    except (AttributeError, OSError):
        pytest.skip("this file system has no extended attributes")


def marked(path: Path) -> bool:
    return MARK in os.listxattr(path)


EDIT = ["set", "a.bias = 1", "b.weight[3, 4] = 7"]
ELSEWHERE = ["renamed", "another name", "the folder renamed as well", "on another disk"]


def elsewhere(way: str, path: Path) -> Path:
    """Move a file, or give it another name; where it is then."""
    other = path.parent.parent / ("other" + path.suffix)
    if way == "another name":
        os.link(path, other)
    elif way == "on another disk":  # mv copies it then, with its attributes
        shutil.copy2(path, other)
        path.unlink()
    elif way == "renamed":
        path.rename(other)
    else:
        path.rename(path.with_name(other.name))
        other = path.parent.rename(path.parent.with_name("renamed")) / other.name
    return other


@pytest.mark.usefixtures("marks")
@pytest.mark.parametrize("way", ELSEWHERE)
def test_a_file_whose_edit_died_is_undone_under_any_other_name(way: str, path: Path, ckpt: Ckpt, tmp_path: Path) -> None:
    seen = set()
    for death, before, after in every_death(path.parent, [EDIT[0], str(path), *EDIT[1:], "-i"]):
        other = elsewhere(way, path)
        ckpt("ls", other)
        found = other.read_bytes()
        assert found in (before[path.name], after[path.name]) and not marked(other), death
        seen.add(found == before[path.name])
        if path.exists():
            ckpt("ls", path)
            assert contents(path.parent) in (before, after), death
        other.unlink()
        shutil.rmtree(tmp_path / "renamed", ignore_errors=True)
        path.parent.mkdir(exist_ok=True)
    assert seen == {True, False}


@pytest.mark.usefixtures("marks")
def test_no_mark_is_left_on_a_file_by_an_edit_or_its_undoing(path: Path, shards: Path, ckpt: Ckpt) -> None:
    ckpt(EDIT[0], path, *EDIT[1:], "-i")
    ckpt("set", shards, "a.weight[0] = 9", "b.weight[0] = 9", "-i")
    assert not any(marked(file) for file in (path, *shards.parent.iterdir()))
    half_done(path, ["set", "a.bias = 5"])
    assert marked(path)
    ckpt("ls", path)
    assert not marked(path)


@pytest.mark.usefixtures("marks")
def test_a_copy_of_a_half_done_file_is_undone_and_leaves_the_file_its_own_undoing(path: Path, ckpt: Ckpt, tmp_path: Path) -> None:
    before = half_done(path, EDIT)
    copy = Path(shutil.copy2(path, tmp_path / ("copy" + path.suffix)))  # with its attributes, as cp --preserve=xattr
    assert marked(copy)
    ckpt("ls", copy)
    assert copy.read_bytes() == before != path.read_bytes() and not marked(copy)
    ckpt("ls", path)
    assert contents(path.parent) == {path.name: before}


@pytest.mark.usefixtures("marks")
def test_a_disk_that_was_mounted_read_only_after_a_crash(ckpt: Ckpt, tmp_path: Path) -> None:
    disk, image = tmp_path / "disk", tmp_path / "image"
    disk.mkdir()
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    made = [["mkfs.ext4", "-q", image], ["mount", "-o", "loop", image, disk]]
    if not all(shutil.which(words[0]) and subprocess.run(words, capture_output=True).returncode == 0 for words in made):
        pytest.skip("no file system can be made and mounted here")
    try:
        path = written(disk / "m.pt")
        before = half_done(path, EDIT)
        os.link(path, disk / "other.pt")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for name in ("m.pt", "other.pt"):
            error = ckpt("ls", disk / name, status=2).err
            assert "an edit of this file was interrupted, and undoing it takes the right to write (run ckpt as its owner)" in error
        (moved := tmp_path / "copy.pt").write_bytes(path.read_bytes())
        os.setxattr(moved, MARK, os.getxattr(path, MARK))
        ckpt("ls", moved)
        assert moved.read_bytes() == before != path.read_bytes()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.usefixtures("marks")
def test_a_mark_whose_journal_is_gone_is_one_line_with_a_mend(path: Path, ckpt: Ckpt) -> None:
    half_done(path, EDIT)
    journal = path.parent / f".{path.name}.ckpt-journal"
    journal.unlink()
    half = path.read_bytes()
    error = ckpt("ls", path, status=2).err
    assert f"its undo journal {journal} is gone" in error and f"setfattr -x {MARK}" in error and path.read_bytes() == half
    os.removexattr(path, MARK)
    ckpt("ls", path)


@pytest.mark.usefixtures("marks")
def test_a_mark_that_another_program_left_on_what_it_wrote_means_nothing(path: Path, ckpt: Ckpt) -> None:
    half_done(path, EDIT)
    other = path.rename(path.with_stem("other"))
    weights = {name: tensor + 1 for name, tensor in WEIGHTS.items()}
    other.write_bytes(written(path, weights).read_bytes())
    path.with_name(f".{path.name}.ckpt-journal").unlink()
    assert marked(other)
    ckpt("ls", other)
    assert loaded(other)["b.weight"].equal(weights["b.weight"]) and not marked(other)


@pytest.mark.usefixtures("marks")
def test_a_new_file_does_not_take_the_mark_over(path: Path, ckpt: Ckpt, tmp_path: Path) -> None:
    other = Path(shutil.copy(path, tmp_path / ("whole" + path.suffix)))
    half_done(path, EDIT)
    mark = os.getxattr(path, MARK)
    ckpt("ls", path)
    os.setxattr(path, MARK, mark)
    os.setxattr(path, "user.mine", b"kept")
    path.with_name(f".{path.name}.ckpt-journal").unlink(missing_ok=True)
    from ckpt_cli.disk.temporary import TemporaryFile

    with TemporaryFile(str(path), lambda fd: os.write(fd, other.read_bytes())) as temporary:
        temporary.move()
    assert not marked(path) and os.getxattr(path, "user.mine") == b"kept"


@pytest.mark.usefixtures("marks")
@pytest.mark.parametrize("way", ["renamed", "another name"])
def test_a_shard_whose_edit_died_is_undone_under_another_name(way: str, shards: Path, ckpt: Ckpt) -> None:
    last = shards.parent / "m-00003-of-00003.safetensors"
    before = half_done(shards, ["set", "a.weight[0] = 9", "b.weight[0] = 9"], changed=last)
    other = elsewhere(way, last)
    ckpt("ls", other)
    assert other.read_bytes() == before and not marked(other)
    if way == "renamed":
        assert "it is not there any more" in ckpt("ls", shards, status=2).err
        other.rename(last)
    ckpt("ls", shards)
    assert last.read_bytes() == before and not any(name.startswith(".") for name in contents(shards.parent))


def test_where_files_take_no_attributes_an_edit_does_without(path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object) -> None:
        raise OSError(95, "Operation not supported")

    for name in ("setxattr", "getxattr", "listxattr", "removexattr"):
        monkeypatch.setattr(os, name, refused, raising=False)
    before = half_done(path, EDIT)
    ckpt("ls", path)
    assert contents(path.parent) == {path.name: before}


HOSTILE = [
    {"temporary": "../precious"},
    {"old": "../precious"},
    {"temporary": "precious"},
    {"old": ".."},
    {"piece": 0},
    {"size": "x"},
    {"extents": [[0, 1 << 60]], "size": 1 << 62},
    {"extents": [[-5, 3]]},
    {"extents": [7]},
    {"members": [1]},
    {"leader": "a\0b"},
    {"unknown": 1},
]


@pytest.mark.parametrize("entry", HOSTILE, ids=str)
@pytest.mark.parametrize("over", [b"\0", b"\1"], ids=["hot", "over"])
def test_a_journal_that_came_with_a_download_touches_nothing(entry: dict[str, Any], over: bytes, path: Path, ckpt: Ckpt) -> None:
    precious = [path.parent.parent / "precious", path.parent / "precious"]
    for file in precious:
        file.write_text("mine")
    head = json.dumps(entry).encode()
    body = len(head).to_bytes(8, "little") + head
    raw = b"ckpt journal 1\n" + over + body + crc32(body).to_bytes(4, "little")
    (path.parent / f".{path.name}.ckpt-journal").write_bytes(raw)
    before = path.read_bytes()
    assert "its undo journal is of another program" in ckpt("ls", path, status=2).err
    assert path.read_bytes() == before and all(file.read_text() == "mine" for file in precious)


def test_what_has_the_name_of_a_journal_and_is_no_file_is_not_waited_for(path: Path, ckpt: Ckpt) -> None:
    os.mkfifo(path.parent / f".{path.name}.ckpt-journal")
    assert "what has the name of its undo journal is no file (remove " in ckpt("ls", path, status=2).err


@pytest.mark.parametrize("way", ["written over", "renamed over"])
@pytest.mark.parametrize("changed", ["a.bias", "b.weight", "all"])
def test_a_file_that_was_written_since_is_not_touched_by_an_old_journal(changed: str, way: str, path: Path, ckpt: Ckpt) -> None:
    """A training goes on after the crash of an edit, and saves the same names and shapes; most of it may be frozen."""
    half_done(path, ["set", "a.bias = 1"])
    weights = {name: tensor * 2 + 5 if changed in (name, "all") else tensor for name, tensor in WEIGHTS.items()}
    other = path.with_name("new" + path.suffix)
    if path.suffix == ".pt":
        torch.save(weights, other)
    else:
        save_file(weights, other)
    new = other.read_bytes()
    if way == "renamed over":
        other.replace(path)
    else:
        path.write_bytes(new)
    error = ckpt("ls", path, status=2).err
    assert "another program has written it since" in error and f"remove {path.parent}/.{path.name}.ckpt-journal" in error
    assert path.read_bytes() == new
    (path.parent / f".{path.name}.ckpt-journal").unlink()
    ckpt("ls", path)
    assert path.read_bytes() == new


# A sector that is part old and part new, after a power cut


def half_and_whole(path: Path, ckpt: Ckpt, *assignments: str) -> tuple[bytes, bytes]:
    """Let an edit die when it has changed the file; the file before it, and as the whole edit would have left it."""
    before = path.read_bytes()
    ckpt("set", path, *assignments, "-o", path.parent.parent / f"new{path.suffix}", "--force")
    half_done(path, ["set", *assignments])
    return before, (path.parent.parent / f"new{path.suffix}").read_bytes()


def torn(before: bytes, after: bytes, start: int, size: int, cut: int, first: bool) -> bytes:
    """The old file with the sector of `start` torn at `cut`."""
    low = start // size * size
    parts = (after, before) if first else (before, after)
    data = bytearray(before)
    data[low : low + cut], data[low + cut : low + size] = parts[0][low : low + cut], parts[1][low + cut : low + size]
    return bytes(data)


@pytest.mark.parametrize("first", [True, False], ids=["new, old", "old, new"])
def test_a_torn_sector_is_rolled_back(first: bool, path: Path, ckpt: Ckpt) -> None:
    before, after = half_and_whole(path, ckpt, "a.bias[100:2000] = -1.7")
    left, changed = contents(path.parent), [at for at, (one, two) in enumerate(zip(before, after, strict=True)) if one != two]
    for start, size, cut in product((changed[0], changed[len(changed) // 2], changed[-1]), (512, 4096), (1, 130, 255, 510)):
        for name, data in left.items():  # the journal as it was
            (path.parent / name).write_bytes(data)
        path.write_bytes(torn(before, after, start, size, cut, first))
        ckpt("ls", path)
        assert path.read_bytes() == before, (start, size, cut)


LARGE = 2_000_000  # elements: the journal keeps checksums of the new bytes alone


@pytest.mark.parametrize(
    ("spans", "undone"),
    [
        ([(5_000_000, 5_000_700)], True),  # within a page
        ([(5_000_000 // 4096 * 4096, 5_000_000 // 4096 * 4096 + 4096)], True),  # all of it
        ([(5_000_000, 5_000_700), (6_000_000, 6_000_004)], False),
        ([(5_000_000 // 4096 * 4096 - 1, 5_000_000 // 4096 * 4096 + 1)], False),  # two pages
        ([(4096, 7_900_000)], False),
    ],
)
def test_a_large_edit_is_rolled_back_if_no_more_than_a_sector_is_of_unknown_origin(
    spans: list[tuple[int, int]], undone: bool, tmp_path: Path, ckpt: Ckpt
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = written(folder / "m.safetensors", {"w": torch.randn(LARGE), "z": torch.zeros(LARGE + 50_000)})
    before = half_done(path, ["set", "w = 2"])
    data = bytearray(path.read_bytes())
    for start, stop in spans:
        data[start:stop] = bytes([0x5A]) * (stop - start)
    with path.open("r+b") as file:
        file.write(data)
    ckpt("ls", path, status=0 if undone else 2)
    assert path.read_bytes() == (before if undone else bytes(data))


@pytest.mark.parametrize("value", [7.5, -2.0])
def test_one_value_that_another_program_wrote_is_left_alone(value: float, path: Path, ckpt: Ckpt) -> None:
    half_and_whole(path, ckpt, "a.bias[100] = 1")
    number, raw = path.read_bytes(), torch.tensor([100.0]).numpy().tobytes()
    new = torch.tensor([1.0]).numpy().tobytes()
    at = number.index(torch.tensor([99.0]).numpy().tobytes() + (new if raw not in number else raw)) + 4
    with path.open("r+b") as file:
        file.seek(at)
        file.write(torch.tensor([value]).numpy().tobytes())
    written_since = path.read_bytes()
    assert "another program has written it since" in ckpt("ls", path, status=2).err and path.read_bytes() == written_since


@pytest.mark.parametrize("edit", [["set", "a.weight[0] = 9", "b.weight[0] = 9"], ["cast", "float16"]], ids=["patch", "rebuild"])
def test_a_shard_that_was_written_since_is_not_touched_either(edit: list[str], shards: Path, ckpt: Ckpt) -> None:
    last = shards.parent / "m-00003-of-00003.safetensors"
    half_done(shards, edit, changed=last)
    save_file({"b.weight": torch.full((50, 300), 7.0)}, last.with_suffix(".new"), metadata={"format": "pt"})
    last.with_suffix(".new").replace(last)
    half = contents(shards.parent)
    assert "another program has written it since" in ckpt("ls", shards, status=2).err and contents(shards.parent) == half


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
def test_an_edit_that_fails_is_undone_at_once(
    number: int, error: BaseException, path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, left = path.read_bytes(), number

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise error
            return real(*args)

        return call

    for name in ("write", "pwrite", "fsync", "fdatasync"):
        monkeypatch.setattr(os, name, failing(getattr(os, name)))
    status = ckpt("set", path, "a.bias = 1", "-i", status=None).status
    if left <= 0:
        assert status == (130 if isinstance(error, KeyboardInterrupt) else 2)
        assert list(contents(path.parent)) == [path.name] and (path.read_bytes() == before or number > 7)


def test_an_interrupt_of_the_very_call_that_makes_a_journal_leaves_none(path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real = path.read_bytes(), os.open

    def interrupted(name: Any, flags: int, *rest: Any, **named: Any) -> int:
        fd = real(name, flags, *rest, **named)
        if flags & os.O_CREAT:
            raise KeyboardInterrupt
        return fd

    monkeypatch.setattr(os, "open", interrupted)
    ckpt("set", path, "a.bias = 1", "-i", status=130)
    assert contents(path.parent) == {path.name: before}


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")], ids=["mode", "disk"])
def test_a_folder_that_takes_no_journal_is_one_clear_line(error: OSError, path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real = path.read_bytes(), os.open

    def refusing(name: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(error.errno, error.strerror, name)
        return real(name, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refusing)
    said = ckpt("set", path, "a.bias = 1", "-i", status=2).err
    assert f"{path}: its folder takes no undo journal, which an edit in place needs: {str(error.strerror).lower()} (-o OUT" in said
    assert contents(path.parent) == {path.name: before}


def test_several_shards_where_there_are_no_hard_links(shards: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(old: str, new: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    names = sorted(contents(shards.parent))
    for death, before, after in every_death(shards.parent, ["cast", str(shards), "float16", "-i"], 1 if WHOLE else 8):
        ckpt("ls", shards)
        found = {name: data for name, data in contents(shards.parent).items() if not litter(name)}
        assert found in (before, after), death
    assert sorted(contents(shards.parent)) == names


def test_undoing_writes_even_what_reads_the_same(path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error of fsync the pages may read right and the disk be wrong."""
    from ckpt_cli.disk.fingerprint import fingerprint
    from ckpt_cli.disk.journal import JournalEntry
    from ckpt_cli.disk.journal_writing import NewJournal

    record = NewJournal(str(path))
    with open(path, "r+b") as file:
        extents = [(4096, 100)]
        entry = JournalEntry(path.stat().st_size, fingerprint(file.fileno(), extents), extents)
        record.write(entry, file.fileno())
    record.close()
    written, real = [], os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: written.append((at, len(data))) or real(fd, data, at))
    ckpt("ls", path)
    assert written == [(4096, 100)]


# Two at once


SLOW = "import time\ndef slow(tensor):\n    open('ready', 'w').close()\n    time.sleep(60)\n"


def test_who_waits_too_long_for_another_edit_is_told_whose(path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.3)
    (path.parent / "slow.py").write_text(SLOW)
    args = [sys.executable, "-m", "ckpt_cli", "reinit", path.name, "a.bias=slow.py:slow", "-i"]
    other = subprocess.Popen(args, cwd=path.parent, preexec_fn=heeds_ctrl_c)
    try:
        while not (path.parent / "ready").exists():
            time.sleep(0.02)
        before = path.read_bytes()
        assert (
            f"process {other.pid} is changing this file (try again when it is done)" in ckpt("set", path, "a.bias = 1", "-i", status=2).err
        )
        ckpt("ls", path)  # nothing is changed yet, so whoever reads may
        assert path.read_bytes() == before
    finally:
        other.kill()
        other.wait()
    ckpt("set", path, "a.bias = 1", "-i")
    assert loaded(path)["a.bias"].eq(1).all()


def test_who_reads_a_model_while_its_shards_are_rebuilt_does_not_wait(shards: Path, ckpt: Ckpt) -> None:
    """Only when all of them are ready do readers wait, and that is short."""
    (shards.parent / "slow.py").write_text(SLOW)
    args = [sys.executable, "-m", "ckpt_cli", "reinit", shards.name, "a.bias=slow.py:slow", "*.weight=zeros", "-i"]
    other = subprocess.Popen(args, cwd=shards.parent, preexec_fn=heeds_ctrl_c)
    try:
        while not (shards.parent / "ready").exists():
            time.sleep(0.02)
        before = time.monotonic()
        assert len(ckpt("ls", shards).rows) == 3 and time.monotonic() - before < 4
    finally:
        other.kill()
        other.wait()
    ckpt("set", shards, "a.bias[0] = 1", "-i")
    assert not any(litter(name) for name in contents(shards.parent) if "00001" in name)


def test_edits_of_one_file_wait_for_each_other_and_none_is_lost(path: Path) -> None:
    run = [sys.executable, "-m", "ckpt_cli", "set", str(path), "a.bias += 1", "-i"]
    for edit in [subprocess.Popen(run) for _ in range(4)]:
        assert edit.wait() == 0
    assert loaded(path)["a.bias"].equal(WEIGHTS["a.bias"] + 4)


def test_a_file_that_another_program_changed_meanwhile_is_not_overwritten(path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    from ckpt_cli import reading

    opened = reading.open

    def late(*how: Any) -> Any:
        checkpoint = opened(*how)
        with open(path, "r+b") as file:
            file.write(path.read_bytes())
        os.utime(path, (1, 1))
        return checkpoint

    monkeypatch.setattr(reading, "open", late)
    assert "another program has changed the file since it was read" in ckpt("set", path, "a.bias = 1", "-i", status=2).err


# The arithmetic below


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300), st.randoms())
def test_checksums_are_joined_and_exchanged_without_reading_again(a: bytes, b: bytes, c: bytes, random: Any) -> None:
    other = random.randbytes(len(b))
    for sums in (CRC32, CRC32C):
        assert sums.joined(sums.of(a), sums.of(b), len(b)) == sums.of(a + b)
        assert sums.exchanged(sums.of(a + b + c), sums.of(b), sums.of(other), len(c)) == sums.of(a + other + c)


@st.composite
def views(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """A view of a vector of 60 elements, by slices of a reshaped one, so that no two of its elements are one."""
    base = numpy.arange(60).reshape(draw(st.sampled_from([(60,), (6, 10), (3, 4, 5), (5, 1, 12)])))
    for axis, n in enumerate(base.shape):
        low, high, step = draw(st.integers(0, n - 1)), draw(st.integers(1, n)), draw(st.sampled_from([1, 2, 3, -1, -2]))
        base = base[(slice(None),) * axis + (slice(low, high, step) if step > 0 else slice(high, low, step),)]
    view = base.transpose(draw(st.permutations(range(base.ndim))))
    start = int(view.flat[0]) if view.size else 0
    return view.shape, tuple(s // 8 for s in view.strides), start


@given(views(), st.sampled_from([1, 2, 4, 8]), st.integers(0, 480), st.integers(0, 480))
def test_elements_scattered_into_a_storage_are_where_numpy_puts_them(view: Any, size: int, one: int, two: int) -> None:
    shape, strides, offset = view
    before = numpy.arange(60, dtype=f"u{size}")
    new = (100 + numpy.arange(numpy.prod(shape, dtype=int))).astype(f"u{size}")
    want = before.copy()
    if new.size:
        numpy.lib.stride_tricks.as_strided(want[offset:], shape, [s * size for s in strides])[...] = new.reshape(shape)
    of: Storage = Memory(before.tobytes())
    scattered = Scattered(of, Strided(of, size, shape, strides, offset), Memory(new.tobytes()))
    start, stop = sorted((one * size // 8, two * size // 8))
    assert scattered.read() == want.tobytes() and scattered.read(start, stop) == want.tobytes()[start:stop]

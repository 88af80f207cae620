"""In a real repository: what git shows of checkpoints."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES, Ckpt

from ckpt_cli.formats.git_lfs import Pointer, pointer

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="no git")
CKPT = Path(sys.executable).with_name("ckpt")
Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """`git ARGS…` in a new repository that knows of the driver, with mlp.pt committed in it."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1"}
    env |= {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    repository = tmp_path / "repository"
    repository.mkdir()

    def run(*args: object, status: int = 0) -> str:
        done = subprocess.run(["git", *map(str, args)], cwd=repository, capture_output=True, text=True, timeout=60, env=env)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout

    run("init", "-q", "-b", "main")
    run("config", "diff.ckpt.command", f"{CKPT} git-diff")
    run("config", "diff.ckpt.textconv", f"{CKPT} git-diff")
    (repository / ".gitattributes").write_text("*.pt diff=ckpt\n*.safetensors diff=ckpt\n")
    shutil.copy(SAMPLES / "mlp.pt", repository)
    run("add", "-A")
    run("commit", "-qm", "first")
    monkeypatch.chdir(repository)
    return run


def records(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_git_diff_says_what_changed_in_which_tensors_and_by_how_much(git: Git, ckpt: Ckpt) -> None:
    ckpt("set", "mlp.pt", "0.weight[0,0] = 42", "-i")
    header, row = records(git("diff"))
    assert header == ["diff --ckpt a/mlp.pt b/mlp.pt"]
    assert row[:2] == ["changed", "0.weight"] and row[4:6] == ["1/32", "42.0037"] and row[-1] == "[0,0]"
    git("add", "-A")
    assert records(git("diff")) == [] and records(git("diff", "--cached"))[1] == row
    git("commit", "-qm", "second")
    assert records(git("diff", "HEAD~1", "HEAD"))[1] == row and records(git("log", "-p", "--ext-diff", "-1", "--format="))[-1] == row


def test_git_log_p_shows_lines_that_differ_by_their_digests(git: Git, ckpt: Ckpt) -> None:
    ckpt("set", "mlp.pt", "0.weight[0,0] = 42", "-i")
    git("commit", "-qam", "second")
    changed = [
        line.split("\t") for line in git("log", "-p", "-1", "--format=").splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert [row[:4] for row in changed] == [["-tensor", "0.weight", "float32", "8x4"], ["+tensor", "0.weight", "float32", "8x4"]]
    digest = {row[1]: row[0] for row in ckpt("hash", "mlp.pt").rows}["0.weight"]
    assert changed[1][4] == digest[:16] != changed[0][4]
    assert "+tensor\t2.bias" in git("log", "-p", "--format=", "--diff-filter=A")


def test_the_text_of_a_file_is_stable_and_does_not_depend_on_the_container(git: Git, ckpt: Ckpt) -> None:
    text = ckpt("git-diff", "mlp.pt").rows
    assert text[0][0] == "format" and [row[1] for row in text if row[0] == "tensor"] == ["0.bias", "0.weight", "2.bias", "2.weight"]
    ckpt("convert", "mlp.pt", "b.safetensors")
    assert [row for row in ckpt("git-diff", "b.safetensors").rows if row[0] == "tensor"] == [row for row in text if row[0] == "tensor"]
    shutil.copy(SAMPLES / "shared-mlp.pt", "b.pt")
    assert [row[5] for row in ckpt("git-diff", "b.pt").rows if row[1] == "4.weight"] == ["tied to 2.weight"]
    row = next(row for row in ckpt("git-diff", "--stats", "mlp.pt").rows if row[1] == "0.weight")
    assert [cell.partition("=")[0] for cell in row[5:]] == ["min", "max", "mean", "std", "nan", "inf"] and row[5].startswith("min=-0.477")


def test_added_removed_and_renamed_files(git: Git, ckpt: Ckpt) -> None:
    shutil.copy(SAMPLES / "mlp.safetensors", "new.safetensors")
    git("add", "-A")
    found = records(git("diff", "--cached"))
    assert found[:2] == [["diff --ckpt a/new.safetensors b/new.safetensors"], ["new file mode 100644"]]
    assert ["added", "0.weight", "", "float32 8x4"] in [row[:4] for row in found]
    git("commit", "-qm", "second")
    git("mv", "new.safetensors", "moved.safetensors")
    assert "rename to moved.safetensors" in git("diff", "--cached", "-M")
    git("rm", "-qf", "mlp.pt")
    found = records(git("diff", "--cached", "--", "mlp.pt"))
    assert found[1] == ["deleted file mode 100644"] and found[2][:3] == ["removed", "0.weight", "float32 8x4"]


def test_where_the_mode_alone_changes_nothing_is_said_of_the_values(git: Git) -> None:
    Path("mlp.pt").chmod(0o755)
    assert git("diff").splitlines() == ["diff --ckpt a/mlp.pt b/mlp.pt", "mode 100644 → 100755"]


def test_a_stash_is_shown_with_the_options_that_the_page_names(git: Git, ckpt: Ckpt) -> None:
    ckpt("set", "mlp.pt", "0.bias = 0", "-i")
    git("stash")
    assert "Binary files" in git("stash", "show", "-p")
    assert "changed\t0.bias" in git("stash", "show", "-p", "--ext-diff")
    assert "+tensor\t0.bias" in git("stash", "show", "-p", "--textconv")


def test_colours_are_those_that_git_would_use(git: Git, ckpt: Ckpt) -> None:
    ckpt("set", "mlp.pt", "0.bias = 0", "-i")
    plain = git("diff")
    assert "\x1b" not in plain
    coloured = git("-c", "color.ui=always", "diff")
    assert coloured.startswith("\x1b[1mdiff --ckpt a/mlp.pt b/mlp.pt\x1b[0m\n\x1b[36mchanged\x1b[0m\t0.bias\t")
    assert re.sub("\x1b\\[[0-9]*m", "", coloured) == plain
    assert git("-c", "color.ui=always", "-c", "color.diff=never", "diff") == plain


def test_a_model_in_shards_is_told_shard_by_shard(git: Git, ckpt: Ckpt) -> None:
    """git hands over one file at a time: the shards are checkpoints, the index is text that git compares itself."""
    Path("m").mkdir()
    ckpt("convert", "mlp.pt", "m/model.safetensors.index.json", "--shard-size", "0.2kB", "--force")
    git("add", "-A")
    git("commit", "-qm", "shards")
    ckpt("set", "m", "*.bias = 0", "-i")
    told = records(git("diff"))
    assert [row[1] for row in told if row[0] == "changed"] == ["0.bias", "2.bias"]
    assert {row[0].split("/")[-1] for row in told if row[0].startswith("diff")} <= {path.name for path in Path("m").glob("*.safetensors")}
    ckpt("drop", "m", "2.bias", "-i")
    assert '-    "2.bias": ' in git("diff", "--", "*.json")
    Path(".gitattributes").write_text("*.json diff=ckpt\n")
    assert "give the attribute to the shards" in git("diff", "--", "*.json")


def test_objects_and_metadata_are_told_too(git: Git) -> None:
    torch.save({"epoch": 3, "model": {"w": torch.zeros(1)}}, "a.pt")
    git("add", "-A")
    torch.save({"epoch": 4, "model": {"w": torch.zeros(1)}}, "a.pt")
    assert records(git("diff"))[1][:4] == ["object", "epoch", "3", "4"]
    git("add", "-A")
    assert "object\tepoch\t4" in git("show", ":a.pt", "--textconv")


def test_objects_of_classes_are_told_as_summary_tells_them(git: Git, ckpt: Ckpt) -> None:
    torch.save({"rate": Fraction(1, 3), "w": torch.zeros(1)}, "a.pt")
    git("add", "-A")
    torch.save({"rate": Fraction(2, 3), "w": torch.zeros(1)}, "a.pt")
    (before, after) = records(git("diff"))[1][2:4]
    assert before.startswith("fractions.Fraction(") and before != after
    assert ["object", "rate", after] in ckpt("summary", "a.pt").rows and ["object", "rate", after] in ckpt("git-diff", "a.pt").rows


def test_the_same_values_in_other_bytes_are_said_to_be_the_same(git: Git) -> None:
    torch.save(torch.load("mlp.pt"), "mlp.pt", _use_new_zipfile_serialization=False)
    assert "no value differs" in git("diff")


def test_what_is_no_checkpoint_is_said_and_the_other_files_are_shown(git: Git, ckpt: Ckpt) -> None:
    Path("bad.pt").write_bytes(b"not a model")
    git("add", "-A")
    git("commit", "-qm", "second")
    Path("bad.pt").write_bytes(b"\x1b[2Jnothing")
    ckpt("set", "mlp.pt", "0.bias = 0", "-i")
    found = git("diff")
    assert 'a/bad.pt: this is plain text, not a checkpoint: "not a model" (' in found and "changed\t0.bias" in found and "\x1b" not in found
    assert "not a checkpoint" in git("log", "-p")
    Path("mlp.pt").write_bytes(Path("mlp.pt").read_bytes()[:300])
    assert "b/mlp.pt: " in git("diff", "mlp.pt")


def test_a_conflict_is_no_difference(git: Git, ckpt: Ckpt) -> None:
    git("checkout", "-qb", "other")
    ckpt("set", "mlp.pt", "0.bias = 0", "-i")
    git("commit", "-qam", "zeros")
    git("checkout", "-q", "main")
    ckpt("set", "mlp.pt", "0.bias = 1", "-i")
    git("commit", "-qam", "ones")
    git("merge", "-q", "other", status=1)
    assert "diff --cc mlp.pt" in git("diff")  # git's own way with two sides
    assert "* Unmerged path mlp.pt" in git("diff", "--cached")
    assert "changed\t0.bias" in git("diff", "--theirs")


def test_a_name_in_a_folder_with_spaces(git: Git, ckpt: Ckpt) -> None:
    Path("a folder").mkdir()
    shutil.copy("mlp.pt", "a folder/ü 1.pt")
    git("add", "-A")
    ckpt("set", "a folder/ü 1.pt", "0.bias = 0", "-i")
    assert records(git("diff"))[0] == ["diff --ckpt a/a folder/ü 1.pt b/a folder/ü 1.pt"]


# Git LFS


def pointed(path: Path) -> bytes:
    content = path.read_bytes()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(content).hexdigest()}\nsize {len(content)}\n".encode()


def keep(path: Path) -> None:
    oid = hashlib.sha256(path.read_bytes()).hexdigest()
    store = Path(".git/lfs/objects", oid[:2], oid[2:4])
    store.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, store / oid)


def test_a_pointer_stands_for_its_object_where_that_was_fetched(git: Git, ckpt: Ckpt, tmp_path: Path) -> None:
    model = Path(shutil.copy("mlp.pt", tmp_path / "model.pt"))
    Path("big.pt").write_bytes(pointed(model))
    keep(model)
    git("add", "-A")
    git("commit", "-qm", "second")
    ckpt("set", model, "0.bias[3] = 9", "-i")
    Path("big.pt").write_bytes(pointed(model))
    lines = git("diff").splitlines()
    assert lines[1].startswith("b/big.pt: Git LFS object ") and lines[1].endswith("bytes, is not in the local store (git lfs fetch)")
    keep(model)
    assert records(git("diff"))[1][:2] == ["changed", "0.bias"]
    git("commit", "-qam", "third")
    assert "+tensor\t0.bias\tfloat32\t8" in git("log", "-p", "-1")
    Path("below").mkdir()
    assert "changed\t0.bias" in git("-C", "below", "diff", "HEAD~1")
    git("worktree", "add", "-q", tmp_path / "tree")
    assert "changed\t0.bias" in git("-C", tmp_path / "tree", "diff", "HEAD~1")


def test_what_is_a_pointer(tmp_path: Path) -> None:
    path = tmp_path / "p"
    good = pointed(SAMPLES / "mlp.pt")
    path.write_bytes(good)
    found = pointer(str(path))
    assert found is not None and found.size == (SAMPLES / "mlp.pt").stat().st_size
    for bad in (b"", good[:-1], good + b"x", good.replace(b"oid sha256:", b"oid sha256:../"), good * 20, b"x" * 2000):
        path.write_bytes(bad)
        assert pointer(str(path)) is None
    assert Pointer("0" * 64, 1).kept() is None


def test_a_wrong_number_of_arguments_is_an_error(ckpt: Ckpt) -> None:
    assert "git gives one argument, or seven, or nine, not 2" in ckpt("git-diff", "a", "b", status=2).err

"""The edits that are cut short, failed and traced; each with the folder before it, after it, and what the next use opens."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file

from ckpt_cli.cli import main
from ckpt_cli.storage.unfinished import JOURNAL_MARK

FULL = os.environ.get("CKPT_TESTS") == "crash"  # `make crash`: every call and many states; otherwise a sample of both
State = dict[str, bytes]  # the files of a folder by name


class Content(bytes):
    """The bytes of a file, and the mark on it."""

    mark: bytes

    def __new__(cls, data: bytes | bytearray, mark: bytes = b"") -> Content:
        made = super().__new__(cls, data)
        made.mark = mark
        return made


WEIGHTS = {"a.weight": torch.arange(600.0).reshape(20, 30), "a.bias": torch.arange(4096.0), "b.weight": torch.ones(5, 300)}


class Scenario(NamedTuple):
    """`ckpt ARGS…` in a folder that holds `source`; {} in the arguments is the folder."""

    name: str
    source: str
    args: Sequence[str]

    def words(self, folder: Path) -> list[str]:
        return [word.format(folder) for word in self.args]


def _scenarios() -> Iterator[Scenario]:
    for kind, shard in (("safetensors", "safetensors"), ("pt", "bin")):
        one, many = f"m.{kind}", f"m.{shard}.index.json"
        file, index = f"{{}}/{one}", f"{{}}/{many}"
        yield Scenario(f"patch-{kind}", one, ["set", file, "a.bias[:2500] = 1", "b.weight[3, 4] = 7", "-i"])
        yield Scenario(f"rebuild-{kind}", one, ["drop", file, "a.weight", "-i"])
        yield Scenario(f"backup-{kind}", one, ["cast", file, "float16", "-i", "--backup", ".bak"])
        yield Scenario(f"out-{kind}", one, ["set", file, "a.bias[:9] = 1", "-o", f"{{}}/out.{kind}", "--force"])
        yield Scenario(f"new-{kind}", one, ["convert", file, "{}/new.pt", "--dtype", "float64", "--force"])
        yield Scenario(f"shards-patch-{shard}", many, ["set", index, "a.weight[0] = 9", "b.weight[0] = 9", "-i"])
        yield Scenario(f"shards-cast-{shard}", many, ["cast", index, "float16", "-i"])
        yield Scenario(f"shards-mixed-{shard}", many, ["set", index, "a.weight[0] = 9", "a.bias = 1", "-i"])
        yield Scenario(f"shards-drop-{shard}", many, ["drop", index, "b.*", "-i"])
        yield Scenario(f"shards-new-{shard}", one, ["convert", file, f"{{}}/n.{shard}.index.json", "--shard-size", "7kB", "--force"])
    yield Scenario("tensorflow-patch", "m.index", ["set", "{}/m", "a.bias[:500] = 1", "b.weight[3, 4] = 7", "-i"])
    yield Scenario("tensorflow-mixed", "m.index", ["set", "{}/m.index", "a.bias = 1", "a.weight = 1", "-i"])
    yield Scenario("tensorflow-drop", "m.index", ["drop", "{}/m", "a.weight", "-i"])
    yield Scenario("tensorflow-out", "m.index", ["set", "{}/m", "b.weight = 1", "-o", "{}/n", "--force"])


SCENARIOS = {scenario.name: scenario for scenario in _scenarios()}
_FEW = ["patch-safetensors", "backup-pt", "shards-cast-safetensors", "shards-drop-bin", "tensorflow-patch"]
NAMES = list(SCENARIOS) if FULL else _FEW


@cache
def before(source: str) -> State:
    """The folder that holds `source` and nothing else."""
    with folder() as home:
        if source.endswith(".index"):
            with folder() as other:
                save_file(WEIGHTS, other / "m.safetensors")
                run("convert", str(other / "m.safetensors"), str(home / source))
        elif not source.endswith(".index.json"):
            path = home / source
            torch.save(WEIGHTS, path) if path.suffix == ".pt" else save_file(WEIGHTS, path)
        else:
            with folder() as other:
                save_file(WEIGHTS, other / "m.safetensors")
                run("convert", str(other / "m.safetensors"), str(home / source), "--shard-size", "7kB")
        return contents(home)


@cache
def after(name: str) -> State:
    """The folder after the whole edit."""
    with folder(before(SCENARIOS[name].source)) as home:
        run(*SCENARIOS[name].words(home))
        return contents(home)


def run(*args: str) -> None:
    status = main(list(args))
    assert status == 0, f"ckpt {' '.join(args)}: exit {status}"


@contextmanager
def folder(state: State | None = None) -> Iterator[Path]:
    """A folder of its own, in memory where there is such a place: nothing here depends on a real disk."""
    home = Path(tempfile.mkdtemp(prefix="ckpt-crash-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        fill(home, state or {})
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def fill(home: Path, state: State) -> None:
    for name, data in state.items():
        (home / name).write_bytes(data)
        if mark := getattr(data, "mark", b""):
            os.setxattr(home / name, JOURNAL_MARK, mark)


def contents(home: Path) -> State:
    return {path.name: path.read_bytes() for path in sorted(home.iterdir())}


def seen(state: State) -> State:
    """Without what the next edit sweeps away."""
    return {name: data for name, data in state.items() if not (name.startswith(".") and name.endswith((".tmp", ".old")))}


def use(scenario: Scenario, home: Path, shards_first: bool = False) -> None:
    """The next use: `ckpt ls` of each file, the index first or last, and of those that are not there."""
    names = {name for name in {*before(scenario.source), *after(scenario.name)} if not name.endswith(".bak")}
    for name in sorted(names, key=lambda name: name.endswith((".index.json", ".index")) == shards_first):
        status = main(["ls", str(home / name)])
        assert (status == 0) == ((home / name).exists() and ".data-" not in name), f"ckpt ls {name}: exit {status}"


def renamed(scenario: Scenario, home: Path) -> str:
    """The first file that is neither old nor new once it has another name and was opened by that."""
    old, new = before(scenario.source), after(scenario.name)
    for name in sorted(old.keys() & contents(home).keys()):
        other = (home / name).rename(home / f"other-{name}")
        status = main(["ls", str(other)])
        alone = not name.endswith(".index.json") and ".data-" not in name
        if status != (0 if alone else 2) or other.read_bytes() not in (old[name], new[name]):
            return name
    return ""


def swept(scenario: Scenario, home: Path, what: str) -> None:
    """Fails unless another edit of the same files leaves no litter."""
    if verdict(scenario, home) == "new" and "-i" in scenario.args:
        fill(home, before(scenario.source))  # else there might be nothing to edit
    run(*scenario.words(home))
    assert tidy(contents(home)), f"litter is left by the next edit, {what}: {list(contents(home))}"


def tidy(state: State) -> bool:
    return all(not name.startswith(".") for name in state)


def verdict(scenario: Scenario, home: Path) -> str:
    """Whether the files of `home` are the `old` ones or the `new`, byte for byte; else what they are."""
    found, old, new = seen(contents(home)), before(scenario.source), after(scenario.name)
    if found == new:
        return "new"
    if without_backup(found, old) == old:
        return "old"
    return "neither: " + ", ".join(
        f"{name} {_likeness(found.get(name), old.get(name), new.get(name))}" for name in sorted({*found, *old, *new})
    )


def without_backup(found: State, old: State) -> State:
    """A backup is made before the change, so it may be there without it; it holds the old bytes."""
    return {name: data for name, data in found.items() if not (name.endswith(".bak") and data == old.get(name.removesuffix(".bak")))}


def _likeness(found: bytes | None, old: bytes | None, new: bytes | None) -> str:
    same = [word for word, data in (("old", old), ("new", new)) if data == found]
    return "and ".join(same) or "is missing" if found is None else "/".join(same) or f"half ({len(found)} bytes)"


def command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "ckpt_cli", *words]

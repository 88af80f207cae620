"""A case, and the rules that every answer is held to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
Build = Callable[[Path], object]


class Case(NamedTuple):
    """A file (or what `content` builds at its path), and what comes of `ckpt ls FILE`.

    gives    "error": rule R, with `says` in the message; "ok": an answer with `says` in it; "warning": an answer, `says` on standard error
    values   what reading the values says, where the list is fine and the values are not
    """

    name: str
    gives: str
    says: str
    content: bytes | Build
    file: str = "a.pt"
    values: str = ""

    def build(self, folder: Path) -> Path:
        path = folder / self.file
        if isinstance(self.content, bytes):
            path.write_bytes(self.content)
        else:
            self.content(path)
        return path


class Answer(NamedTuple):
    status: int
    out: str
    err: str
    late: bool
    seconds: float
    kilobytes: int


class Warm:
    """The process of `warm.py`; `modules` are imported before it forks."""

    def __init__(self, *modules: str) -> None:
        env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, HERE / "warm.py", *modules]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def __call__(self, folder: Path, *args: object, writes: bool = False) -> Answer:
        """`ckpt ARGS…` in `folder`, in a child of its own."""
        assert self.process.stdin and self.process.stdout
        request = {"folder": str(folder), "args": [str(arg) for arg in args], "writes": writes}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return Answer(**json.loads(self.process.stdout.readline()))

    def together(self, lines: list[tuple[Path, list[str]]]) -> list[Answer | None]:
        """Command lines, each in its folder, one after the other in one child; None for those that it did not live to end."""
        assert self.process.stdin and self.process.stdout
        requests = [{"folder": str(folder), "args": args, "writes": False} for folder, args in lines]
        print(json.dumps(requests), file=self.process.stdin, flush=True)
        return [Answer(**each) if each else None for each in json.loads(self.process.stdout.readline())]

    def close(self) -> None:
        self.process.communicate()


# What would tell that something of the folder was imported or run.
LURE = "open('canary', 'w').write(__name__)\n"
LURES = ("json.py", "torch.py", "evil.py")


def lay_lures(folder: Path) -> None:
    for name in LURES:
        (folder / name).write_text(LURE)


def facts(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that lies in a folder, and what would show that it was changed or touched."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        if path.is_dir() and not path.is_symlink():
            found[str(path.relative_to(folder))] = (info.st_mode, info.st_ino)
            continue
        small = path.is_file() and not path.is_symlink() and info.st_size < 1 << 20
        found[str(path.relative_to(folder))] = (
            info.st_mode,
            info.st_ino,
            info.st_size,
            info.st_mtime_ns,
            info.st_ctime_ns,
            path.read_bytes() if small else b"",
        )
    return found


@contextmanager
def untouched(folder: Path, but: str = "") -> Iterator[None]:
    """Nothing below `folder` comes, goes or changes, but for the file called `but`."""
    before = facts(folder)
    yield
    after = {name: fact for name, fact in facts(folder).items() if name in before or Path(name).name != but}
    assert list(after) == list(before), "files came or went"
    assert after == before


# Control characters but tab and line feed, escapes, C1, separators, bidi marks.
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
FAULTS = ("Traceback", "a fault in ckpt itself", "MemoryError", "RecursionError")


def judge(found: Answer, folder: Path, statuses: tuple[int, ...] = (0, 2)) -> None:
    """Rule R, or an answer: inside the limits, in clean text, without a traceback."""
    text = found.out + found.err
    assert not found.late, f"not done after {found.seconds:.0f} s"
    assert found.status in statuses, (found.status, text[-2000:])
    assert not any(fault in found.err for fault in FAULTS), found.err[-2000:]
    assert not any(line.startswith("caught at") for line in found.err.splitlines()), found.err[-2000:]  # what was run would say so
    assert not RAW.search(text), repr(text[:2000])
    assert "object at 0x" not in text, text[:2000]
    if found.status == 2:
        assert found.err.count("\n") == 1 and found.err.endswith("\n"), found.err[:2000]
        where = re.match(r"ckpt: error: (.+?): .", found.err)
        assert where and (folder / where[1]).parent == folder, f"no file of the folder is named: {found.err[:300]}"
        assert len(found.err) < 3000, "an error is a line, not a book"
    else:
        assert all(line.startswith("ckpt: ") for line in found.err.splitlines()), found.err[:2000]

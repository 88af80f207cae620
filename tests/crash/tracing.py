"""Runs under strace: what they call, and what happens when one call fails, or is the last."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

# What changes a disk, or makes a change durable.
CALLS = (
    "openat,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,fallocate,ftruncate,truncate,fsync,fdatasync,"
    "rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat,mkdir,mkdirat,fchmod,fchown,fsetxattr,fremovexattr"
)


class Call(NamedTuple):
    """A call that concerns the folder; `number`: the how-manieth of this name in the whole run. Paths are names in the folder."""

    name: str
    number: int
    args: list[str]
    result: int
    line: str


class Ended(NamedTuple):
    status: int
    err: str
    log: str


@cache
def cannot_trace() -> str:
    """Why programs cannot be traced here; nothing where they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True, text=True)
    return "" if done.returncode == 0 else f"strace may not trace here: {done.stderr.strip()[:80]}"


def traced(words: Sequence[str], options: Sequence[str], environment: Mapping[str, str] | None = None) -> Ended:
    """Run a program under strace; the status is that of the program."""
    with tempfile.NamedTemporaryFile("r", encoding="ascii") as log:
        env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"} | dict(environment or {})
        done = subprocess.run(["strace", "-f", "-o", log.name, *options, *words], capture_output=True, text=True, env=env, timeout=60)
        return Ended(done.returncode, done.stderr, log.read())


def recorded(
    words: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None, fault: Sequence[str] = ()
) -> tuple[Ended, list[Call]]:
    """Run a program and tell what it did in `folder`."""
    ended = traced(words, ["-y", "-xx", "-s", "10000000", "-e", f"trace={CALLS}", *fault], environment)
    return ended, _calls(ended.log, str(folder))


_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")


def _calls(log: str, folder: str) -> list[Call]:
    counts: Counter[str] = Counter()
    found = []
    hidden = "".join(f"\\x{byte:02x}" for byte in os.fsencode(folder))
    for line in log.splitlines():
        match = _LINE.match(line)
        if match is None:
            assert hidden not in line or "= ?" in line, f"a call that was cut in two: {line[:200]}"
            continue
        name, args, result = match.groups()
        counts[name] += 1
        if hidden in args and (name != "openat" or "O_RDONLY" not in args):
            words = [_relative(arg, folder) for arg in args.split(", ")]
            found.append(Call(name, counts[name], words, int(result), f"{name}({', '.join(word[:60] for word in words)}) = {result}"))
    return found


def _relative(arg: str, folder: str) -> str:
    """An argument as it was, but paths in plain letters, and relative to the folder."""
    if arg.startswith('"') and _HEX.sub("", arg) == '""':
        text = os.fsdecode(raw(arg))
        return os.path.relpath(text, folder) if text.startswith(folder) else arg
    return _HEX.sub(lambda match: os.path.relpath(os.fsdecode(raw(match[0])), folder), arg) if "<" in arg else arg


def raw(arg: str) -> bytes:
    """The bytes of a string that strace printed in hexadecimal digits."""
    return bytes.fromhex(arg.strip('"').replace("\\x", ""))

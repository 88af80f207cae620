"""Mutations of good files, from a seed: for the tests, which draw the seed, and for `make fuzz`, which goes on as long as it is told.

As a program: `mutations.py --seconds 60 [--seed N]`. What breaks a rule is kept in the folder that is named at the end.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from judge import Warm, judge, lay_lures, untouched

SAMPLES = Path(__file__).resolve().parents[2] / "sample_models"
HEADS = [
    b"",
    b"PK\3\4",
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
    b"\x40\0\0\0\0\0\0\0{",
    b'{"weight_map": {',
    b"\x82\xa6params\x81\xa1k\xc7",
    b"GGUF\3\0\0\0",
    b"\x08\x09\x3a",
    b"\x12\1" + bytes(14),
    b"\x93NUMPY\1\0v\0{'descr': ",
    b"\x80\x04}\x94\x8c\x01w\x94\x8c\x05numpy",
    b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0",
]
# What turns a number, a length or an opcode into a worse one.
WORSE = [
    b"\xff",
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"0",
    b"-",
    b"9" * 20,
    b'"',
    b"{",
    b"[",
    b".",
    b"(",
    b"t",
    b"R",
    b"b",
    b"h\0",
    b"q\0",
    b"\x85",
    b"PK\5\6",
]


def samples() -> list[Path]:
    return sorted(path for path in SAMPLES.iterdir() if path.is_file() and path.suffix != ".py")


def mutated(choose: random.Random) -> bytes:
    """A good file with something done to it, or random bytes after a good beginning."""
    if choose.random() < 0.1:
        return choose.choice(HEADS) + choose.randbytes(choose.randrange(300))
    return changed(choose.choice(samples()).read_bytes(), choose)


def changed(whole: bytes, choose: random.Random) -> bytes:
    """A few things done to a file."""
    raw = bytearray(whole)
    for _ in range(choose.randint(1, 4)):
        at = choose.randrange(len(raw) + 1)
        if choose.random() < 0.5:  # most of what is read first stands at the beginning, and at the end
            at = min(len(raw), choose.choice([choose.randrange(400), max(0, len(raw) - choose.randrange(1, 600))]))
        _mutate(raw, at, choose)
    return bytes(raw)


def _mutate(raw: bytearray, at: int, choose: random.Random) -> None:
    how, length = choose.randrange(7), choose.randint(1, 8)
    if how == 0:
        raw[at : at + length] = choose.randbytes(length)
    elif how == 1:
        raw[at : at + choose.randint(0, 4)] = choose.choice(WORSE)
    elif how == 2:
        del raw[at : at + choose.choice([1, length, 64, len(raw)])]
    elif how == 3:  # a bit
        raw[at : at + 1] = bytes(byte ^ 1 << choose.randrange(8) for byte in raw[at : at + 1])
    elif how == 4:  # a piece of itself, elsewhere
        start = choose.randrange(len(raw) + 1)
        raw[at:at] = raw[start : start + choose.randint(1, 200)]
    elif how == 5:  # a piece of another file
        other = choose.choice(samples()).read_bytes()
        start = choose.randrange(len(other))
        raw[at : at + length] = other[start : start + choose.randint(1, 200)]
    else:
        raw += choose.choice([b"\0", bytes(8), choose.randbytes(30), raw[-60:]])


def check(seed: int, folder: Path, warm: Warm) -> None:
    """One mutation, one command: an answer or rule R inside the limits, and the folder as it was."""
    choose = random.Random(seed)
    path = folder / "a.pt"
    path.write_bytes(mutated(choose))
    command, *more = choose.choice([["ls"], ["ls", "--json"], ["summary"], ["tied"], ["hash"], ["get", "*"], ["stats"]])
    with untouched(folder):
        found = warm(folder, command, path.name, *more)
    judge(found, folder)


def seeds(first: int, seconds: float) -> Iterator[int]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield first
        first += 1


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 40))
    args = parser.parse_args()
    kept, folder = Path(tempfile.mkdtemp(prefix="ckpt-fuzz-")), Path(tempfile.mkdtemp())
    lay_lures(folder)
    warm, count, bad = Warm("ckpt_cli.commands.ls", "numpy"), 0, 0
    for seed in seeds(args.seed, args.seconds):
        count += 1
        try:
            check(seed, folder, warm)
        except AssertionError as error:
            bad += 1
            (kept / f"{seed}.pt").write_bytes((folder / "a.pt").read_bytes())
            print(f"seed {seed}: {str(error)[:300]}", flush=True)
    warm.close()
    print(f"{count:,} mutations from seed {args.seed}, {bad} faults{f', kept in {kept}' if bad else ''}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())

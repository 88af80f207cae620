"""What is no checkpoint at all is said to be what it is."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Iterator
from pathlib import Path

from judge import Case

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


def cases() -> Iterator[Case]:
    yield Case("an LFS pointer", "error", "run `git lfs pull`", POINTER)
    yield Case("an LFS pointer called safetensors", "error", "run `git lfs pull`", POINTER, "a.safetensors")
    for what, text in {
        "doctype": b"<!DOCTYPE html>\n<html>",
        "html": b"<HTML lang=en>",
        "after spaces": b"\n\n  <html>",
        "xml": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    }.items():
        yield Case(f"a web page, {what}", "error", "a web page", text)
    yield Case("an empty file", "error", "the file is empty", b"")
    for count in (1, 8, 512, 100_000):
        yield Case(f"{count} zeros", "error", "nothing but zeros", bytes(count))
    yield Case("10 GB of zeros", "error", "nothing but zeros", lambda path: os.truncate(_new(path), 10**10))
    for what, raw in {
        "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(99),
        "a PDF": b"%PDF-1.7",
        "a gzip": gzip.compress(b"x" * 99),
        "an ELF": b"\x7fELF" + bytes(99),
        "a script": b"#!/bin/sh\ntouch canary\n",
        "a Python file": b"import os\nos.system('touch canary')\n",
        "text": b"hello",
        "one byte": b"x",
        "JSON": b'{"a": 1}',
        "a JSON list": b"[1, 2]",
        "a bare pickle": b"\x80\x04N.",
        "escapes": b"\x1b[2J\x1b]0;x\x07",
        "a tar": b"a" * 257 + b"ustar" + bytes(300),
        "a RAR": b"Rar!\x1a\7\0",
        "a pointer that is cut": POINTER[:20],
    }.items():
        yield Case(what, "error", "not a checkpoint", raw)
    for what, raw in {"a zip's first bytes": b"PK\3\4", "a zip's first bytes and text": b"PK\3\4 but not so"}.items():
        yield Case(what, "error", "truncated", raw)
    for seed in range(8):
        yield Case(f"garbage {seed}", "error", "", random.Random(seed).randbytes(3000))
    for name in ("a b.pt", "--help", "-x.pt", "*.pt", "[0].pt", "\u00e9.pt", "$(touch canary).pt", "a'b\".pt"):
        if not name.startswith("-"):
            yield Case(f"a file called {name}", "error", "the file is empty", b"", name)
    for name in ("\x1b[2J.pt", "a\nb.pt", "\u202egnp.pt", "\x9b.pt"):
        yield Case(f"a file called {name!r}", "error", "\\", b"", name)
    yield Case("a FIFO", "error", "a FIFO, not a file", os.mkfifo)
    yield Case("an empty folder", "error", "the folder holds no model", Path.mkdir)
    yield Case("a link to nowhere", "error", "no such file", lambda path: path.symlink_to("nowhere"))
    yield Case("a link to itself", "error", "symbolic links", lambda path: path.symlink_to(path.name))
    yield Case("a link to a device", "error", "a device, not a file", lambda path: path.symlink_to("/dev/zero"))
    yield Case("nothing", "error", "no such file", lambda path: None)


def _new(path: Path) -> Path:
    path.write_bytes(b"")
    return path

"""What a file that no format claims seems to be, by its first bytes or what lies beside it, and what to do about it."""

from __future__ import annotations

import os
import re
from typing import Any

from ..errors import UnknownFormat
from ..storage.file import File

# First bytes → what they begin, and the mend. Registered or documented by each format: RFC 1952, the xz and zstd formats, APPNOTE, PNG, …
_ARCHIVES = {
    b"\x1f\x8b": ("gzip data", "gunzip it first"),
    b"\xfd7zXZ\0": ("xz data", "unxz it first"),
    b"\x28\xb5\x2f\xfd": ("zstd data", "unzstd it first"),
    b"BZh": ("bzip2 data", "bunzip2 it first"),
    b"\x04\x22\x4d\x18": ("lz4 data", "unlz4 it first"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "7z x it first"),
    b"Rar!\x1a\7": ("a RAR archive", "unrar x it first"),
}
_OTHERS = {
    b"%PDF-": "a PDF",
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x7fELF": "a program or a library (ELF)",
    b"PAR1": "a Parquet table",
    b"ARROW1\0\0": "an Arrow table",
    b"SQLite format 3\0": "an SQLite database",
}
_WEB = (b"<!doctype html", b"<html", b"<?xml")
_TARRED = (".tgz", ".txz", ".tbz", ".tbz2", ".tzst", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst", ".tar.lz4")
_PYTHON = re.compile(rb"#![^\n]*python|(?:from [\w.]+ )?import \w|def \w+\(|class \w+[(:]|@\w|\"\"\"")
_MOST_JSON = 1 << 16  # bytes: what an error page may have
_SHORT = 160  # characters of what it says


# A file's name → what it is of, and beside which file: the names are those of tensorflow/core/util/tensor_bundle/naming.h and torch's DCP.
_DATA = re.compile(r"(?P<prefix>.+)\.data-\d{5}-of-\d{5}", re.DOTALL)


def part(file: File) -> UnknownFormat | None:
    """That it is one of the files of a checkpoint, which lies beside it and goes by another name; None where it is not."""
    data, folder = _DATA.fullmatch(file.path), os.path.dirname(file.path)
    if data and os.path.isfile(data["prefix"] + ".index"):
        return UnknownFormat("this holds the data of a TensorFlow checkpoint, which goes by its prefix", f"give {data['prefix']}")
    if file.path.endswith(".distcp") and os.path.isfile(os.path.join(folder, ".metadata")):
        return UnknownFormat("this is a part of a distributed checkpoint, which is the folder", f"give {folder or '.'}")
    return None


def unknown(file: File) -> UnknownFormat:
    """The error for a file that no format claims."""
    head = file.head
    if file.size == 0:
        return UnknownFormat("the file is empty", "download or copy it again")
    if data := _DATA.fullmatch(file.path):
        return UnknownFormat(
            "this may hold the data of a TensorFlow checkpoint, whose index is missing", f"copy {data['prefix']}.index, too"
        )
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return UnknownFormat("this is a Git LFS pointer, not the file itself", "run `git lfs pull`")
    if head.lstrip()[:64].lower().startswith(_WEB):
        return UnknownFormat("this is a web page, not a checkpoint", "download the file itself; the link may need a log-in")
    if not head.strip(b"\0"):
        return UnknownFormat("the file begins with nothing but zeros", "download or copy it again")
    return (
        _archive(file) or _other(head) or _text(file) or UnknownFormat("not a checkpoint of any known format", "`ckpt formats` lists them")
    )


def _archive(file: File) -> UnknownFormat | None:
    """What must be unpacked first."""
    if file.head[257:262] == b"ustar":
        return _is("a tar archive", "tar xf it first")
    if file.head.startswith((b"PK\3\4", b"PK\5\6")):
        return _is("a zip archive without a data.pkl", "unzip it first, if a checkpoint lies in it")
    for magic, (name, mend) in _ARCHIVES.items():
        if file.head.startswith(magic):
            return _is(name, "tar xf it first" if file.path.lower().endswith(_TARRED) else mend)
    return None


def _other(head: bytes) -> UnknownFormat | None:
    found = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None)
    return _is(found, "give the checkpoint itself") if found else None


def _text(file: File) -> UnknownFormat | None:
    """Text for people or programs: what it says, where it is short."""
    if not _is_text(file.head, file.size > len(file.head)):
        return None
    if file.head.lstrip()[:1] in (b"{", b"["):
        said = _said(file)
        return _is("JSON text", "download the file itself; the link may need a log-in" if said else "give the checkpoint itself", said)
    if any(_PYTHON.match(line) for line in file.head.splitlines()):
        return _is("Python source", "`--arch FILE.py:CALLABLE` takes it, beside a checkpoint")
    short = file.size <= _SHORT and file.head.decode(errors="replace").strip()
    return _is("plain text", "download the file itself", short or "")


def _is(what: str, mend: str, said: str = "") -> UnknownFormat:
    return UnknownFormat(f"this is {what}, not a checkpoint" + (f': "{said}"' if said else ""), mend)


def _is_text(head: bytes, cut: bool) -> bool:
    """Whether it is UTF-8 without control characters; `cut`: the last character may not be whole."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if not (cut and error.reason == "unexpected end of data"):
            return False
        text = head[: error.start].decode()
    return all(char.isprintable() or char in "\t\r\n\f\ufeff" for char in text)


def _said(file: File) -> str:
    """The message of an error page, in one line; nothing where it has none, or a long one."""
    import json

    if file.size > _MOST_JSON:
        return ""
    try:
        page = json.loads(file.read(0, file.size), strict=False)
    except (ValueError, RecursionError):
        return ""
    return _message(page if isinstance(page, dict) else {})


def _message(page: dict[str, Any]) -> str:
    for key in ("error", "message", "detail", "error_description"):
        value = page.get(key)
        text = _message(value) if isinstance(value, dict) else " ".join(value.split()) if isinstance(value, str) else ""
        if text:
            return text if len(text) <= _SHORT else ""
    return ""

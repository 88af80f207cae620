"""What a file that no format claims seems to be, by its first bytes or what lies beside it, and what to do about it."""

from __future__ import annotations

import os
import re
from typing import Any

from ..errors import UnknownFormat
from ..storage.file import File
from . import SeveralFiles, formats
from .other_programs import error_of_program

# First bytes → what they begin, and what to do. From each format's own specification: RFC 1952, the xz and zstd formats, APPNOTE, PNG, …
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
_MOST_JSON = 1 << 16  # bytes: an error page has no more
_SHORT = 160  # characters of the message that is shown
# What the name of a part has in it → the format to be asked, so that a format is not imported to read another one's file.
_PARTS = {".data-": "tensorflow", ".distcp": "dcp"}


def part_error(file: File) -> UnknownFormat | None:
    """The error for one of the files of a checkpoint that lies beside it and is read by another name; None for any other file."""
    name = os.path.basename(file.path)
    for form in (formats[asked] for mark, asked in _PARTS.items() if mark in name):
        if isinstance(form, SeveralFiles) and (error := form.part_error(file.path)):
            return error
    return None


def unknown_error(file: File) -> UnknownFormat:
    """The error for a file that no format claims."""
    head = file.head
    if file.size == 0:
        return UnknownFormat("the file is empty", "download or copy it again")
    if stray := _stray_part_error(file.path):
        return stray
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return UnknownFormat("this is a Git LFS pointer, not the file itself", "run `git lfs pull`")
    if head.lstrip()[:64].lower().startswith(_WEB):
        return UnknownFormat("this is a web page, not a checkpoint", "download the file itself; the link may need a log-in")
    if not head.strip(b"\0"):
        return UnknownFormat("the file begins with nothing but zeros", "download or copy it again")
    unknown = UnknownFormat("not a checkpoint of any known format", "`ckpt formats` lists them")
    return _archive(file) or _other(head) or error_of_program(file) or _text(file) or unknown


def _stray_part_error(path: str) -> UnknownFormat | None:
    several = (form for form in formats.built_in() if isinstance(form, SeveralFiles))
    return next((error for form in several if (error := form.stray_part_error(path))), None)


def _archive(file: File) -> UnknownFormat | None:
    """The error for an archive, which must be unpacked first."""
    if file.head[257:262] == b"ustar":
        return _is("a tar archive", "tar xf it first")
    if file.head.startswith((b"PK\3\4", b"PK\5\6")):
        return _is("a zip archive without a data.pkl", "unzip it first, if a checkpoint lies in it")
    for magic, (name, mend) in _ARCHIVES.items():
        if file.head.startswith(magic):
            return _is(name, "tar xf it first" if file.path.lower().endswith(_TARRED) else mend)
    return None


def _other(head: bytes) -> UnknownFormat | None:
    """The error for a file of another kind, by its first bytes."""
    name = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None)
    return _is(name, "give the checkpoint itself") if name else None


def _text(file: File) -> UnknownFormat | None:
    """The error for text; what it says, where that is short."""
    if not _is_text(file.head, file.size > len(file.head)):
        return None
    if file.head.lstrip()[:1] in (b"{", b"["):
        message = _error_message(file)
        mend = "download the file itself; the link may need a log-in" if message else "give the checkpoint itself"
        return _is("JSON text", mend, message)
    if any(_PYTHON.match(line) for line in file.head.splitlines()):
        return _is("Python source", "`--arch FILE.py:CALLABLE` takes it, beside a checkpoint")
    short = file.size <= _SHORT and file.head.decode(errors="replace").strip()
    return _is("plain text", "download the file itself", short or "")


def _is(what: str, mend: str, message: str = "") -> UnknownFormat:
    return UnknownFormat(f"this is {what}, not a checkpoint" + (f': "{message}"' if message else ""), mend)


def _is_text(head: bytes, cut: bool) -> bool:
    """Whether `head` is UTF-8 without control characters. `cut`: the file goes on, so the last character may not be whole."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if not (cut and error.reason == "unexpected end of data"):
            return False
        text = head[: error.start].decode()
    return all(char.isprintable() or char in "\t\r\n\f\ufeff" for char in text)


def _error_message(file: File) -> str:
    """The message of an error page in JSON, in one line; nothing where it has none, or a long one."""
    import json

    if file.size > _MOST_JSON:
        return ""
    try:
        page = json.loads(file.read(0, file.size), strict=False)
    except (ValueError, RecursionError):
        return ""
    return _message(page if isinstance(page, dict) else {})


def _message(page: dict[str, Any]) -> str:
    """The first message in a JSON object, under the keys that web servers use for it."""
    for key in ("error", "message", "detail", "error_description"):
        value = page.get(key)
        text = _message(value) if isinstance(value, dict) else " ".join(value.split()) if isinstance(value, str) else ""
        if text:
            return text if len(text) <= _SHORT else ""
    return ""

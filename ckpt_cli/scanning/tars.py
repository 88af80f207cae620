"""Tar archives, plain ones and those of torch before 0.2. Nothing is extracted; members are read where they lie."""

from __future__ import annotations

from typing import Any

from ..formats.encodings.object_nodes import Global, Tuple, text_of
from ..formats.encodings.storage_ids import STORAGES
from ..numbers.dtypes import DTYPES
from ..storage.file import File
from . import Search, within
from .bytes_read import part
from .judgement import judge
from .safe_names import TORCH, TORCH_TAR, Rules
from .streams import Stream
from .trace import traced

_MOST_MEMBERS = 100_000
_MOST_READ = 64 << 20  # bytes of one header
_OLD_TORCH = {"sys_info", "pickle", "tensors", "storages"}


def is_tar(head: bytes) -> bool:
    """Whether the first block is a header of a tar: by its magic, or by its checksum in the oldest tars (POSIX 1003.1, pax)."""
    if head[257:262] == b"ustar":
        return True
    field = head[148:156].strip(b" \0")
    if len(head) < 512 or not head[0] or not field or any(byte not in b"01234567" for byte in field):
        return False
    return int(field, 8) == sum(head[:148]) + 8 * 32 + sum(head[156:512])


class _Readable:
    """A file as `tarfile` reads it. A header that is larger than any honest one is not read."""

    def __init__(self, file: File) -> None:
        self.file, self.at = file, 0

    def read(self, count: int = -1) -> bytes:
        count = self.file.size - self.at if count < 0 else min(count, self.file.size - self.at)
        if count > _MOST_READ:
            raise ValueError("a header of the tar is too large")
        data = self.file.read(self.at, max(count, 0))
        self.at += len(data)
        return data

    def seek(self, at: int, whence: int = 0) -> int:
        self.at = at + (0, self.at, self.file.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at


def scan_tar(search: Search, file: File, place: str) -> bool:
    """Search all members of a tar. Its first bytes, the name of the first member, may be opcodes as well."""
    Stream(search, file, place, TORCH).search(known=True)
    members, wrong = _members(file)
    if wrong:
        search.unread(f"the tar: {wrong}", place)
    old = {name for name, _ in members if name in _OLD_TORCH} == _OLD_TORCH
    for name, content in members:
        inner = within(place, name)
        if old and name in _OLD_TORCH:
            _scan_old(search, name, content, inner)
        elif not old or content.size:
            search.member(content, inner)
    return True


def _members(file: File) -> tuple[list[tuple[str, File]], str]:
    """The regular members, and what is wrong with the tar."""
    import tarfile

    found: list[tuple[str, File]] = []
    try:
        with tarfile.open(fileobj=_Readable(file), mode="r:") as tar:  # type: ignore[call-overload]
            for info in tar:
                if len(found) > _MOST_MEMBERS:
                    return found, f"members beyond {_MOST_MEMBERS:,} were not looked at"
                if info.issparse():
                    return found, f"{info.name!r} is sparse, and is not looked at"
                if info.isreg():
                    found.append((info.name, part(file, info.offset_data, info.size)))
            rest = file.read(tar.offset, min(file.size - tar.offset, 1 << 20)) if tar.offset < file.size else b""
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        return found, str(error)[:80] or "it is broken"
    return found, "" if not rest.strip(b"\0") else "bytes stand behind its end"


def _scan_old(search: Search, name: str, file: File, place: str) -> None:
    """A member of a file of torch's before 0.2: pickles, and data between them (torch/serialization.py, `legacy_load`)."""
    rules = TORCH_TAR if name == "pickle" else TORCH
    count, at = _pickle(search, file, 0, place, rules)
    if name in ("tensors", "storages"):
        for _ in range(count if type(count) is int and 0 <= count < _MOST_MEMBERS else 0):
            record, at = _pickle(search, file, at, place, rules)
            at = _behind_tensor(file, at) if name == "tensors" else _behind_storage(file, at, record)
        if name == "storages" and at < file.size:  # the views of storages
            _, at = _pickle(search, file, at, place, rules)
    if at != file.size:
        search.unread(f"{file.size - at:,} bytes behind its pickles are not understood", place)


def _pickle(search: Search, file: File, at: int, place: str, rules: Rules) -> tuple[Any, int]:
    trace = traced(file, at, search.opcodes)
    search.opcodes -= trace.ran
    judge(search, trace, rules, place)
    if trace.wrong:
        search.unread(f"the pickle at byte {at:,} was not read to its end: {trace.wrong}", place)
        return None, file.size
    return trace.stack[-1], trace.end


def _behind_tensor(file: File, at: int) -> int:
    """The number of axes in 4 bytes, 4 unused ones, sizes, strides and the offset in 8 bytes each."""
    return at + 8 + 16 * int.from_bytes(file.read(at, 4), "little") + 8


def _behind_storage(file: File, at: int, record: Any) -> int:
    """The count of elements in 8 bytes, then the elements; `record` is (key, location, class)."""
    items = record.items if type(record) is Tuple else []
    name = items[2].name if len(items) == 3 and type(items[2]) is Global else text_of(record) or ""
    dtype = DTYPES[STORAGES[name]] if name in STORAGES else DTYPES["uint8"]
    return at + 8 + int.from_bytes(file.read(at, 8), "little") * dtype.nbytes

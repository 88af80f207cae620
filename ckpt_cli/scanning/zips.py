"""Zips: those of torch, Keras, numpy and any other. One that the strict reader refuses is searched member by member all the same.

Other programs differ in what they take: torch goes by the central directory and ignores checksums, others go by local headers. So a zip
that can be read in two ways is not understood, and what every local header says is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import Malformed
from ..formats.encodings import zip as zips
from ..storage.file import File
from ..storage.memory_file import MemoryFile
from . import Search, within
from .bytes_read import part
from .compressed import BY_METHOD, inflate
from .keras_code import scan_config
from .safe_names import SCRIPT, TORCH, Rules
from .streams import begins_with_names, scan_pickle

_MOST_MEMBERS = 20_000
_BLOCK = 4 << 20
_MOST_CHECKED = 1 << 20  # bytes of a member whose checksum is compared here; `integrity` compares those of checkpoints
_ELEMENTS = re.compile(r"/data/(?:weights/weight|constants/tensor)_\d+$")  # in a .pt2 (torch/export/pt2_archive/constants.py)
_SIGNATURE = re.compile(rb"PK(?:\x03\x04|\x01\x02|\x05\x06|\x06\x06|\x07\x08)")


def scan_zip(search: Search, file: File, place: str) -> bool:
    """Search all members of a zip."""
    try:
        members = zips.members(file)
    except Malformed as error:
        search.unread(f"the zip: {error.what}", place)
        members = None
    contents = _listed(search, file, members, place) if members is not None else _found(search, file, place)
    _scan_members(search, contents, set(members or ()), place)
    return True


def _scan_members(search: Search, contents: Iterator[tuple[str, File]], names: set[str], place: str) -> None:
    kinds = _Kinds(names)
    for name, content in contents:
        kinds.scan(search, name, content, within(place, name))
    kinds.tell(search, place)


class _Kinds:
    """What the members of one zip are, by their names."""

    def __init__(self, names: set[str]) -> None:
        self.roots = {name[: -len("data.pkl")] for name in names if name.rpartition("/")[2] == "data.pkl"}
        self.is_script = any(f"{root}constants.pkl" in names for root in self.roots)
        self.is_package = any(name.rpartition(".data/")[2] == "extern_modules" for name in names)
        self.is_exported = any(name.rpartition("/")[2] == "archive_format" for name in names)
        self.is_keras = {"config.json", "metadata.json"} <= names
        self.code: list[str] = []

    def scan(self, search: Search, name: str, content: File, place: str) -> None:
        """Search one member, by what reads it."""
        leaf = name.rpartition("/")[2]
        if self._is_code(leaf):
            self.code.append(name)
        elif rules := self._rules(leaf):
            search.pickles += 1
            scan_pickle(search, content, place, rules)
        elif self._is_storage(name) and not begins_with_names(content):
            return
        elif leaf == "config.json" and self.is_keras:
            scan_config(search, content.read(0, content.size), place)
        else:
            search.member(content, place, known=self.is_exported and _ELEMENTS.search(name) is not None)

    def _is_code(self, leaf: str) -> bool:
        return (self.is_script or self.is_package) and leaf.endswith((".py", ".pyc"))

    def _rules(self, leaf: str) -> Rules | None:
        if leaf == "data.pkl" and not self.is_script:
            return TORCH
        if self.is_script and leaf.endswith((".pkl", ".debug_pkl")):
            return SCRIPT
        return TORCH if self.is_package and leaf.endswith(".pkl") else None

    def _is_storage(self, name: str) -> bool:
        """Whether torch reads a member as the bytes of a storage, and as nothing else."""
        folder, _, key = name.rpartition("/")
        kinds = ("data", "constants") if self.is_script else ("data",)
        if any(name == f"{root}{kind}/{key}" for root in self.roots for kind in kinds):
            return key.isalnum()
        return self.is_package and folder.endswith(".data") and key.endswith(".storage")

    def tell(self, search: Search, place: str) -> None:
        """Add what is about the whole zip: the code of a program."""
        if len(self.roots) > 1:
            search.unread(f"the zip has {len(self.roots)} data.pkl, and it depends on the program which one is loaded", place)
        files = f"file{'s' * (len(self.code) != 1)}"
        if self.is_script:
            what = f"a TorchScript program of {len(self.code):,} {files}, which torch.jit.load and a call of the module run"
            search.add("code/__torch__", what, place)
        elif self.code:
            what = f"a torch.package with {len(self.code):,} Python {files}, which loading it imports: {', '.join(self.code[:3])}"
            search.add(self.code[0], what, place)


def _listed(search: Search, file: File, members: dict[str, zips.Member], place: str) -> Iterator[tuple[str, File]]:
    """Name and contents of the members, by the central directory; where it and local headers disagree, by these as well."""
    first = min((each.header for each in members.values()), default=0)
    agree = True
    if first:
        search.unread(f"{first:,} bytes stand before the first member of the zip", place)
    for name, each in members.items():
        if name.endswith("/"):
            continue
        inner = within(place, name)
        try:
            content = part(each.file, each.data_offset(), each.packed)
        except Malformed as error:
            search.unread(error.what, inner)
            agree = False
            continue
        content = _inflated(search, content, each.method, inner) if each.method else content
        if "/data/" not in name and content.size <= _MOST_CHECKED and each.crc and _checksum(content) != each.crc:
            search.unread("its checksum is wrong", inner)
        yield name, content
    if not agree or first:
        yield from _found(search, file, place)


def _checksum(content: File) -> int:
    from zlib import crc32

    return crc32(content.read(0, content.size))


def _inflated(search: Search, content: File, method: int, place: str) -> File:
    if method not in BY_METHOD:
        search.unread(f"it is compressed by method {method}, and is not looked at", place)
        return MemoryFile(content.path, b"")
    data, wrong = inflate(search, content, BY_METHOD[method])
    if wrong:
        search.unread(f"it does not inflate: {wrong}", place)
    return MemoryFile(content.path, data)


def _found(search: Search, file: File, place: str) -> Iterator[tuple[str, File]]:
    """Name and contents of whatever has a local header, in a zip that is broken, or meant to look so."""
    marks = list(_signatures(file))
    for (at, kind), (stop, _) in zip(marks, [*marks[1:], (file.size, b"")], strict=True):
        if kind != b"PK\3\4" or at + zips.LOCAL.size > file.size:
            continue
        fields = zips.LOCAL.unpack(file.read(at, zips.LOCAL.size))
        method, packed, name_size, extra_size = fields[3], fields[7], fields[9], fields[10]
        begin = at + zips.LOCAL.size + name_size + extra_size
        if begin > file.size:
            continue
        name = file.read(at + zips.LOCAL.size, name_size).decode("utf-8", "replace")
        end = begin + packed if 0 < packed < 0xFFFFFFFF and begin + packed <= file.size else max(stop, begin)
        content = part(file, begin, end - begin)
        inner = within(place, name)
        yield name, content
        if method:
            inflated = _inflated(search, content, method if method in BY_METHOD else 8, inner)
            if inflated.size:
                yield name, inflated


def _signatures(file: File) -> Iterator[tuple[int, bytes]]:
    """Where the records of a zip begin, and their kinds."""
    count, at = 0, 0
    while at < file.size and count < _MOST_MEMBERS:
        block = file.read(at, min(_BLOCK + 3, file.size - at))
        for found in _SIGNATURE.finditer(block):
            if found.start() < _BLOCK:
                count += 1
                yield at + found.start(), found[0]
        at += _BLOCK

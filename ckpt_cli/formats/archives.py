"""Archives with a checkpoint in them, which is read where it lies: `FILE!MEMBER`, or the only one that there is.

A tar (NeMo's .nemo is one), a tar in gzip, a zip. Stored members are windows of the archive; deflated data are inflated when they are read.
Nothing is extracted, and archives in archives are not looked into.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..errors import EditError, Malformed, ReadError, did_you_mean
from ..storage.file import File, FileWindow
from .encodings import tar
from .encodings import zip as zips
from .format import Format
from .index import Index

_GZIP = b"\x1f\x8b"
_MOST_ASKED = 2_000  # members that are looked at, to find the one that is a checkpoint
_MOST_LISTED = 20
_DEFLATED = 8

Claims = Callable[[File], Format | None]  # the format that claims a file
Members = dict[str, Callable[[], File]]  # opens each member, by its name


class Found(NamedTuple):
    """A checkpoint in an archive: its file, and what is to be said about it."""

    file: File
    notes: tuple[str, ...]


def is_archive(file: File) -> bool:
    """Whether a file is a tar, a tar in gzip, or a zip."""
    return zips.is_zip(file) or _is_packed_tar(file) or tar.begins_tar(file.head)


def checkpoint_in(archive: File, member: str, claims: Claims, locked: bool) -> Found:
    """The checkpoint `member` of an archive, or the only one where that is empty.

    Args:
        archive: The archive.
        member: The name of a member.
        claims: Says which format claims a file.
        locked: Whether the checkpoint is going to be changed in place.

    Raises:
        ReadError: There is no such member, or not one checkpoint.
        EditError: It is going to be changed.
    """
    if not is_archive(archive):
        raise ReadError("this is no archive with members", f"give {archive.path} itself", archive.path)
    members = _members(archive)
    name = tar.plain_name(member) or _only_one(archive, members, claims)
    if name not in members:
        known = ", ".join(list(members)[:_MOST_LISTED]) + (", …" if len(members) > _MOST_LISTED else "")
        raise ReadError(f"there is no member {name!r} in the archive", did_you_mean(name, members) or f"it has {known or 'none'}")
    if locked:
        raise EditError("what is in an archive is read, not edited", f"ckpt convert {_quoted(archive, name)} out.pt first", archive.path)
    others = sorted(other for other in members if other != name)
    lying = f"; beside it lie {', '.join(others[:8])}{', …' if len(others) > 8 else ''}" if others else ""
    return Found(members[name](), () if member else (f"{archive.path}!{name} is opened{lying}",))


def _members(archive: File) -> Members:
    if zips.is_zip(archive):
        stored = {name: member for name, member in zips.members(archive).items() if not name.endswith("/")}
        return {name: lambda member=member: _in_zip(archive, member) for name, member in stored.items()}  # type: ignore[misc]
    if _is_packed_tar(archive):
        from ..storage.inflated import GZIP, InflatedFile

        holder: File = InflatedFile(FileWindow(archive, 0, archive.size), GZIP)
    else:
        holder = archive
    return {
        name: lambda each=each: FileWindow(holder, each.start, each.nbytes, f"{archive.path}!{each.name}")  # type: ignore[misc]
        for name, each in tar.members(holder).items()
    }


def _in_zip(archive: File, member: zips.Member) -> File:
    """A member of a zip as a file. Raises Malformed where it is broken, or compressed otherwise than by deflating."""
    path = f"{archive.path}!{member.name}"
    window = FileWindow(archive, member.data_offset(), member.packed, path)
    if member.method == 0:
        window.facts["crc"] = member.crc
        return window
    if member.method != _DEFLATED:
        raise Malformed("it is compressed in a way that is not read", "unzip it first", path)
    from ..storage.inflated import RAW, InflatedFile

    inflated = InflatedFile(window, RAW, path)
    if (inflated.size, inflated.crc) != (member.nbytes, member.crc):
        raise Malformed("its length or checksum is wrong", "download or copy it again", path)
    return inflated


def _only_one(archive: File, members: Members, claims: Claims) -> str:
    """The name of the only checkpoint among the members."""
    if len(members) > _MOST_ASKED:
        raise ReadError(f"the archive has {len(members):,} members", f"name the checkpoint: {_quoted(archive, 'MEMBER')}", archive.path)
    found = [name for name, opened in members.items() if _is_checkpoint(opened(), claims)]
    if len(found) == 1:
        return found[0]
    if not found:
        from .unrecognised import unknown_error

        raise unknown_error(archive)
    listed = " ".join(_quoted(archive, name) for name in found[:_MOST_LISTED]) + (" …" if len(found) > _MOST_LISTED else "")
    raise ReadError(f"the archive holds {len(found):,} checkpoints", f"name the one that you mean: {listed}", archive.path)


def _is_checkpoint(file: File, claims: Claims) -> bool:
    """Whether a member is one, be it broken. An index lists files that do not lie beside it here."""
    try:
        form = claims(file)
    except Malformed:
        return True
    return form is not None and not isinstance(form, Index)


def _is_packed_tar(file: File) -> bool:
    if file.head[:2] != _GZIP:
        return False
    from ..storage.inflated import inflated_head

    return tar.begins_tar(inflated_head(file))


def _quoted(archive: File, member: str) -> str:
    from shlex import quote

    return quote(f"{archive.path}!{member}")

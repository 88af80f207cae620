"""What a run of bytes is, by its first bytes, and the search of what it holds: archives, compressed data, HDF5, pickles."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import CkptError
from ..storage.file import File
from . import Search, within
from .compressed import SURELY_COMPRESSED, WEAKLY_COMPRESSED, begins_to_inflate, scan_compressed
from .keras_code import scan_config
from .safe_names import PLAIN, Rules
from .streams import Stream
from .tars import is_tar, scan_tar
from .zips import scan_zip

_DEEPEST = 8
_HDF5 = b"\x89HDF\r\n\x1a\n"
_UNREADABLE = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\7": "a RAR archive",
    b"\x04\x22\x4d\x18": "lz4 data",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"ZF": "data compressed by joblib before 0.10",
}
_PROGRAMS = {b"\x7fELF": "ELF", b"MZ": "PE", b"\xcf\xfa\xed\xfe": "Mach-O", b"\xca\xfe\xba\xbe": "Mach-O"}
# Data alone, to which a pickle may be appended.
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"%PDF-")
Scan = Callable[[Search, File, str], bool]


class Searching(Search):
    """A search that knows all containers."""

    def look(self, file: File, place: str, rules: Rules | None = None, known: bool = False) -> bool:
        """Search a run of bytes, and what lies within it."""
        if self.depth >= _DEEPEST:
            self.unread("it lies in too many containers to be looked at", place)
            return True
        self.depth += 1
        try:
            known = known or file.head.startswith(b"GGUF") or _is_safetensors(file)
            scan = _scan_for(file.head, known)
            if scan:
                self.pickles += 1
                return scan(self, file, place)
            return Stream(self, file, place, rules or PLAIN).search(known) or known or file.head.startswith(_PICTURES) or _is_text(file)
        except CkptError as error:
            self.unread(error.what, place)
            return True
        finally:
            self.depth -= 1


def _scan_for(head: bytes, known: bool) -> Scan | None:
    """The search of what begins as `head`. Marks of two or three bytes say little of a file that is `known`."""
    if head.startswith((b"PK\3\4", b"PK\5\6", b"PK\1\2")):
        return scan_zip
    if head.startswith(_HDF5):
        return _scan_hdf5
    if head.startswith(SURELY_COMPRESSED) or (head.startswith(WEAKLY_COMPRESSED) and (not known or begins_to_inflate(head))):
        return scan_compressed
    if is_tar(head):
        return scan_tar
    if known:
        return None
    for magic, what in _UNREADABLE.items():
        if head.startswith(magic):
            return lambda search, file, place: _not_read(search, place, f"{what} is not looked into")
    kind = next((kind for magic, kind in _PROGRAMS.items() if head.startswith(magic)), None)
    if kind:
        return lambda search, file, place: _not_read(search, place, f"it is a program or a library ({kind})", "machine code")
    return None


def _not_read(search: Search, place: str, what: str, name: str = "") -> bool:
    search.add(name, what, place)
    return True


def _scan_hdf5(search: Search, file: File, place: str) -> bool:
    """The configs in the attributes of Keras' files."""
    from ..formats.keras import hdf5
    from ..storage.storage import Extent

    tree = hdf5.read_tree(Extent(file, 0, file.size))
    for name in ("model_config", "training_config"):
        attribute = tree.nodes[""].attribute(name)
        if attribute is not None:
            scan_config(search, (attribute.text or "").encode("utf-8", "replace"), within(place, name))
    return True


def _is_text(file: File) -> bool:
    """Whether the bytes are text in UTF-8, as far as 64 kB tell."""
    try:
        text = file.read(0, min(file.size, 1 << 16)).decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        text = error.object[: error.start].decode() if file.size > 1 << 16 and error.reason == "unexpected end of data" else "\0"
    return all(char.isprintable() or char in "\t\r\n\f" for char in text)


def _is_safetensors(file: File) -> bool:
    """Whether the length of a JSON header stands first, and the header behind it."""
    return file.head[8:9] == b"{" and 1 < int.from_bytes(file.head[:8], "little") <= file.size - 8

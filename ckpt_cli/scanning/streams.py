"""Files that are one item after another: pickles, arrays of numpy's, torch's files from before 1.6 with their storages."""

from __future__ import annotations

from typing import Any

from ..errors import Malformed
from ..formats.encodings.object_nodes import List, text_of
from ..formats.encodings.storage_ids import LEGACY_MAGIC, StorageId, is_storage_id
from ..formats.numpy import npy
from ..storage.file import File
from ..storage.memory_file import MemoryFile
from . import Search, within
from .bytes_read import part
from .judgement import judge, streams_in
from .safe_names import TORCH, Rules
from .search import MOST_SEARCHED, is_pickle, pickles_within
from .trace import traced
from .trace_machine import WRAPPER, Trace

_PICKLES_BEHIND_MAGIC = 4
_MOST_ITEMS = 100_000
_MOST_AT_START = 10_000  # opcodes
_MOST_STRICTLY = 1 << 30  # bytes of a pickle


class Stream:
    """Searches one run of bytes, as a part of the search `outer`."""

    def __init__(self, outer: Search, file: File, place: str, rules: Rules) -> None:
        self.outer, self.file, self.place, self.rules = outer, file, place, rules

    def search(self, known: bool = False) -> bool:
        """Go through all items. False where the bytes are none of these.

        Args:
            known: What the bytes are is known by other means, so they need not be searched for pickles that begin within.
        """
        at = 0
        for _ in range(_MOST_ITEMS):
            end = self._item(at, known)
            if end is None:
                return self._rest(at) if at or not known else False
            at = end
            if at >= self.file.size:
                return True
        self.outer.unread(f"over {_MOST_ITEMS:,} pickles one after another", self.place)
        return True

    def _item(self, at: int, known: bool = False) -> int | None:
        """Search the item that begins at `at`: where it ends. None where none begins there."""
        head = self.file.read(at, min(8, self.file.size - at))
        if head.startswith(npy.MAGIC):
            return self._array(at)
        trace = self._trace(at)
        if not is_pickle(trace, at) and not (at and not trace.wrong):
            return None
        is_legacy = not trace.wrong and type(trace.stack[-1]) is int and trace.stack[-1] == LEGACY_MAGIC
        if known and not (is_legacy or trace.globals or head[:1] == b"\x80" or trace.end == self.file.size):
            return None  # other bytes, which happen to be opcodes
        self._judge(trace)
        if any(each.path == WRAPPER for each in trace.globals):
            self._judge_as_plain(at)
        if trace.wrong:
            self.outer.unread(f"the pickle at byte {at:,} was not read to its end: {trace.wrong}", self.place)
            self._rest(trace.end, said=True)
            return self.file.size
        return self._legacy(trace.end) if is_legacy else trace.end

    def _trace(self, at: int, wraps_arrays: bool = True) -> Trace:
        trace = traced(self.file, at, self.outer.opcodes, wraps_arrays)
        self.outer.opcodes -= trace.ran
        return trace

    def _judge(self, trace: Trace, rules: Rules | None = None) -> None:
        judge(self.outer, trace, rules or self.rules, self.place)
        for raw in streams_in(trace):
            if raw is None:
                self.outer.unread("bytes that are loaded as a file of torch's are computed", self.place)
            else:
                self._look_within(raw)

    def _look_within(self, raw: bytes) -> None:
        """Search bytes in a pickle that are loaded with it."""
        before = self.outer.pickles
        self.outer.look(MemoryFile(self.file.path, raw), within(self.place, "bytes in the pickle"))
        if self.outer.pickles == before:
            self.outer.unread("bytes that are loaded as a file of torch's are none", self.place)

    def _judge_as_plain(self, at: int) -> None:
        """Judge the names that a pickle of joblib's has for pickle.load, which takes the elements of arrays for opcodes."""
        plain, names = self._trace(at, wraps_arrays=False), Trace(self.file)
        names.globals = plain.globals
        self._judge(names)

    def _array(self, at: int) -> int:
        """An array of numpy's, or the pickle that stands in the place of its elements."""
        rest = part(self.file, at)
        try:
            header = npy.header(lambda start, stop: rest.read(start, stop - start), rest.size)
            nbytes = npy.elements_nbytes(header)
        except Malformed as error:
            self.outer.unread(f"the array at byte {at:,}: {error.what}", self.place)
            self._rest(at + 8, said=True)
            return self.file.size
        if nbytes is None:
            end = self._item(at + header.size)
            if end is None:
                self.outer.unread(f"the array at byte {at:,} holds objects, and no pickle of them", self.place)
            return self.file.size if end is None else end
        if header.size + nbytes > rest.size:
            self.outer.unread(f"the array at byte {at:,} is cut off", self.place)
        return min(at + header.size + nbytes, self.file.size)

    def _legacy(self, at: int) -> int:
        """The pickles behind torch's magic number, and the storages behind those: as in torch/serialization.py, `_legacy_save`."""
        pids: list[Any] = []
        keys: Any = None
        for _ in range(_PICKLES_BEHIND_MAGIC):
            trace = self._trace(at)
            self._judge(trace, TORCH)
            if trace.wrong:
                self.outer.unread(f"the pickle at byte {at:,} was not read to its end: {trace.wrong}", self.place)
                self._rest(trace.end, said=True)
                return self.file.size
            pids, keys, at = pids + trace.persistents, trace.stack[-1], trace.end
        try:
            return _behind_storages(self.file, at, pids, keys)
        except Malformed as error:
            self.outer.unread(f"the storages behind the pickles: {error.what}", self.place)
            self._rest(at, said=True)
            return self.file.size

    def _rest(self, at: int, said: bool = False) -> bool:
        """Search bytes that are not understood for pickles, from `at` on. False where there is none and `at` is 0."""
        found = False
        most = min(MOST_SEARCHED, self.outer.searched)
        self.outer.searched -= min(most, self.file.size - at)
        for trace in pickles_within(self.file, at, most):
            found = True
            self._judge(trace)
        if self.file.size - at > most:
            self.outer.unread(f"bytes from {at + most:,} on were not looked at", self.place)
        if not said and (found or at):
            self.outer.unread(f"{self.file.size - at:,} bytes from byte {at:,} on are not all understood", self.place)
        return found or at > 0


def _behind_storages(file: File, at: int, pids: list[Any], keys: Any) -> int:
    """Where the storages end that begin at `at`: for each key the count of its elements, and their bytes. Raises Malformed."""
    known = {pid.key: pid for pid in (StorageId(node) for node in pids if is_storage_id(node))}
    for item in keys.items if type(keys) is List else [None]:
        key = str(text_of(item) if text_of(item) is not None else item)
        if key not in known:
            raise Malformed(f"storage {key!r} is not known")
        dtype = known[key].dtype
        at += 8 + int.from_bytes(file.read(at, 8), "little") * (dtype.nbytes if dtype else 1)
        if at > file.size:
            raise Malformed("they are cut off")
    return at


def begins_with_names(file: File) -> bool:
    """Whether bytes that should be the elements of a tensor are a pickle that names something."""
    trace = traced(file, 0, _MOST_AT_START)
    return bool(trace.globals) and is_pickle(trace, 0)


def scan_pickle(search: Search, file: File, place: str, rules: Rules) -> None:
    """Search a file that has to be one pickle: what is none is not understood."""
    if rules is TORCH and _strictly(search, file, place):
        return
    if not Stream(search, file, place, rules).search():
        search.unread("this is no pickle", place)


def _strictly(search: Search, file: File, place: str) -> bool:
    """Whether the strict reader, which is faster, takes the whole of a pickle of torch's. Its names are judged then."""
    from ..formats.encodings.pickle_reader import loaded

    if file.size > _MOST_STRICTLY:
        return False
    try:
        machine = loaded(file.read(0, file.size))
    except Malformed:
        return False
    if machine.at != file.size:
        return False
    trace = Trace(file)
    trace.globals, trace.persistents = machine.globals, machine.persistents
    judge(search, trace, TORCH, place)
    return True

"""A disk that loses what was not fsynced: the calls of a run are replayed into it, and it tells what a power cut may leave.

Of the data of a file that were not fsynced any pages may be there, in any order, and its length may have grown without them. One sector of
what was written at once may be torn: part of it is there, and part is not. Of the names
of a folder that was not fsynced any number of the first changes may be there, or, on a disk that keeps no order, any of them at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from random import Random

from scenarios import Content, State
from tracing import Call, raw

from ckpt_cli.storage.unfinished import JOURNAL_MARK

_PAGE = 4096
MARK = '"' + "".join(f"\\x{byte:02x}" for byte in JOURNAL_MARK.encode()) + '"'
Chance = Callable[[], bool]
Tear = Callable[[int, int], list[tuple[int, int, bool]]]  # of bytes [start, stop): the parts of a torn sector, and which of them is there


def no_tear(start: int, stop: int) -> list[tuple[int, int, bool]]:
    return []


def tears(random: Random) -> Tear:
    """Tears one sector of every other write, at any byte: its first part is there and its second is not, or the other way round."""

    def tear(start: int, stop: int) -> list[tuple[int, int, bool]]:
        size = random.choice([512, 4096])
        low = random.randrange(start, stop) // size * size
        low, high = max(low, start), min(low + size, stop)
        cut, first = random.randint(low, high), random.random() < 0.5
        return [(low, cut, first), (cut, high, not first)] if random.random() < 0.5 else []

    return tear


class Node:
    """A file: what is surely on the disk, what was written since, and what a program sees."""

    def __init__(self, data: bytes = b"") -> None:
        self.sure, self.now = data, bytearray(data)
        self.waiting: list[tuple[int, bytes | None]] = []  # bytes at an offset; None: the length is that offset
        self.mark = getattr(data, "mark", b"")  # the extended attribute by which an edit in place is known
        self.marks: list[bytes] = []  # what it was since then

    def write(self, at: int, data: bytes) -> None:
        self.now.extend(bytes(max(0, at + len(data) - len(self.now))))
        self.now[at : at + len(data)] = data
        self.waiting.append((at, data))

    def resize(self, size: int) -> None:
        self.now = self.now[:size].ljust(size, b"\0")
        self.waiting.append((size, None))

    def sync(self, attributes: bool) -> None:
        self.sure, self.waiting = bytes(self.now), []
        if attributes and self.marks:
            self.mark, self.marks = self.marks[-1], []

    def left(self, chance: Chance, hole: bytes, tear: Tear) -> Content:
        """What a power cut may leave; `hole`: what stands where the length grew without the data; `tear`: says where a sector is torn."""
        data = bytearray(self.sure)
        for at, written in self.waiting:
            if written is None:
                data = (data[:at].ljust(at, hole)) if chance() else data
                continue
            start, before = at, bytes(data)
            while start < at + len(written):
                stop = min((start // _PAGE + 1) * _PAGE, at + len(written))
                if chance():
                    data.extend(hole * max(0, stop - len(data)))
                    data[start:stop] = written[start - at : stop - at]
                start = stop
            for start, stop, is_there in tear(at, at + len(written)):
                data.extend(hole * max(0, stop - len(data)))
                old = before[start:stop].ljust(stop - start, hole)
                data[start:stop] = written[start - at : stop - at] if is_there else old
        return Content(data, next((mark for mark in reversed(self.marks) if chance()), self.mark))


class Disk:
    """One folder, and the files in it by name: as a program sees them, and as they are surely on the disk."""

    def __init__(self, state: State) -> None:
        self.now = {name: Node(data) for name, data in state.items()}
        self.sure = dict(self.now)
        self.waiting: list[dict[str, Node | None]] = []
        self._at: dict[str, int] = {}  # how far each open file was written

    def replay(self, call: Call) -> bool:
        """Do what a call did; whether that changed anything."""
        if call.result < 0:
            return False
        step = getattr(self, f"_{call.name}", None)
        assert step is not None, f"the model does not know this call: {call.line}"
        step(call)
        return call.name not in ("fchmod", "fchown")

    def left(self, random: Random, ordered: bool, names: float, data: float, torn: bool = False) -> State:
        """What a power cut may leave; `names` and `data`: how likely a change is to be there; `torn`: whether sectors are."""
        held = dict(self.sure)
        kept = [random.random() < names for _ in self.waiting]
        if ordered and not all(kept):
            kept = [index < kept.index(False) for index in range(len(kept))]
        for change, there in zip(self.waiting, kept, strict=True):
            held.update(change if there else {})
        hole = random.choice([b"\0", b"\xaa"])
        tear = tears(random) if torn else no_tear
        nodes = {id(node): node.left(lambda: random.random() < data, hole, tear) for node in held.values() if node}
        return {name: nodes[id(node)] for name, node in sorted(held.items()) if node}

    def _change(self, **names: Node | None) -> None:
        pass

    def _names(self, change: dict[str, Node | None]) -> None:
        self.waiting.append(change)
        self.now = {name: node for name, node in {**self.now, **change}.items() if node}

    def _openat(self, call: Call) -> None:
        name, flags = call.args[1], call.args[2]
        self._at[f"{call.result}<{name}>"] = 0
        if "O_CREAT" in flags and name not in self.now:
            self._names({name: Node()})
        elif "O_TRUNC" in flags:
            self.now[name].resize(0)

    def _write(self, call: Call) -> None:
        at = self._at.get(call.args[0], 0)
        self._file(call.args[0]).write(at, raw(call.args[1])[: call.result])
        self._at[call.args[0]] = at + call.result

    def _pwrite64(self, call: Call) -> None:
        self._file(call.args[0]).write(int(call.args[3]), raw(call.args[1])[: call.result])

    def _copy_file_range(self, call: Call) -> None:
        source, target = self._file(call.args[0]), self._file(call.args[2])
        start, at = int(call.args[1].strip("[]")), int(call.args[3].strip("[]"))
        target.write(at, bytes(source.now[start : start + call.result]))

    def _fallocate(self, call: Call) -> None:
        node, size = self._file(call.args[0]), int(call.args[2]) + int(call.args[3])
        node.resize(max(size, len(node.now)))

    def _ftruncate(self, call: Call) -> None:
        self._file(call.args[0]).resize(int(call.args[1]))

    def _fsync(self, call: Call) -> None:
        if _name(call.args[0]) == ".":
            for change in self.waiting:
                self.sure.update({name: node for name, node in change.items() if node})
                for name in [name for name, node in change.items() if node is None]:
                    self.sure.pop(name, None)
            self.waiting = []
        else:
            self._file(call.args[0]).sync(call.name == "fsync")

    _fdatasync = _fsync

    def _fsetxattr(self, call: Call) -> None:
        if call.args[1] == MARK:
            self._file(call.args[0]).marks.append(raw(call.args[2]))

    def _fremovexattr(self, call: Call) -> None:
        self._file(call.args[0]).marks.append(b"")

    def _rename(self, call: Call) -> None:
        old, new = call.args[0], call.args[1]
        if self.now[old] is not self.now.get(new):  # else it does nothing at all
            self._names({old: None, new: self.now[old]})

    def _unlink(self, call: Call) -> None:
        self._names({call.args[0]: None})

    def _link(self, call: Call) -> None:
        self._names({call.args[1]: self.now[call.args[0]]})

    def _linkat(self, call: Call) -> None:
        self._names({call.args[3]: self.now[call.args[1]]})

    def _fchmod(self, call: Call) -> None:
        pass

    _fchown = _fchmod

    def _file(self, arg: str) -> Node:
        return self.now.get(_name(arg)) or Node()  # one that was removed is nobody's


def _name(arg: str) -> str:
    match = re.search("<(.*)>", arg)
    assert match is not None, arg
    return match[1]


def cuts(state: State, calls: Iterable[Call], random: Random, many: int) -> Iterator[tuple[str, State]]:
    """What power cuts may leave, before the first call and after each; those after the last are said to be `at the end`."""
    disk, done = Disk(state), list(calls)
    known: set[int] = set()
    for number, call in enumerate([None, *done]):
        if call is not None and not disk.replay(call) and number < len(done):
            continue
        label = f"after call {number}: {call.line if call else 'none'}" if number < len(done) else "at the end"
        ways = [(True, 0.0, 0.0, False), (True, 1.0, 1.0, False), (True, 1.0, 0.0, False), (True, 0.0, 1.0, False), (True, 1.0, 1.0, True)]
        ways += [
            (random.random() < 0.5, random.choice([0.5, 0.8, 1]), random.choice([0, 0.3, 0.7, 1]), random.random() < 0.5)
            for _ in range(many)
        ]
        for ordered, names, data, torn in ways:
            left = disk.left(random, ordered, names, data, torn)
            print_of_it = hash((label == "at the end", tuple((name, data, data.mark) for name, data in sorted(left.items()))))
            if print_of_it not in known:
                known.add(print_of_it)
                there = f"{names:.0%} of the names, {data:.0%} of the data{', torn' * torn}"
                yield f"{label} ({'in order' if ordered else 'in no order'}, {there})", left

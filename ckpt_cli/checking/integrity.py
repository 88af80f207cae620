"""Whether a checkpoint's bytes are all there, and are what its checksums were made of.

Every storage is read to its end, in parts, by the workers of `blocks`. In a zip each record has a CRC-32, the pickle's among them; the
parts' are joined. torch can be told to compute none (torch.serialization.set_crc32_options): then 0 stands in both places, and such a
record is read without being compared. What lies whole under one float tensor is looked at for NaN on the way, so that it is read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..analysis.distance import unravelled
from ..errors import CkptError, os_error
from ..formats import formats
from ..formats.encodings import zip as zips
from ..storage.checksums import CRC32, Crc
from ..storage.storage import Extent, Storage
from ..tensors.blocks import Part, Progress, Reader, costs, cut, each
from ..tensors.checkpoint import Checkpoint, Tensor
from . import Violation, some, views, violation
from .finite import Finite, may_be_infinite


class Leaf:
    """A storage that is made of no other: the names of the tensors in it, and the one float tensor that is all of it."""

    def __init__(self, storage: Storage, called: str = "") -> None:
        """`called`: what a record of the file is called that is no tensor's."""
        self.storage, self.called = storage, called
        self.names: dict[str, None] = {}
        self.keys: set[object] = set()
        self.whole: Tensor | None = None

    @property
    def member(self) -> zips.Member | None:
        return self.storage if isinstance(self.storage, zips.Member) else None

    @property
    def sums(self) -> Crc:
        return self.storage.sums

    @property
    def place(self) -> tuple[str, int]:
        """Where it lies, so that files are read from front to back."""
        storage = self.storage
        if not isinstance(storage, Extent):
            return "", 0
        return storage.file.path, storage.header if isinstance(storage, zips.Member) else storage.offset


class _Read(NamedTuple):
    """What came of a part, or of all parts together: a CRC-32 and what the file says it is, what is not finite, the error that it ended in.

    `written` is None where the file has no place for a checksum, and empty where it has none there.
    """

    crc: int = 0
    written: tuple[int, ...] | None = None
    finite: Finite | None = None
    error: str = ""


class Integrity(NamedTuple):
    """What was found: violations, how much was compared, whose values were looked at (by Tensor.key) and whose cannot be read."""

    violations: list[Violation]
    bytes: int
    checksums: int
    without: int
    finite: dict[object, Finite]
    unreadable: set[str]


def integrity(checkpoint: Checkpoint, names: Iterable[str], every: bool, finite: bool, progress: Progress | None = None) -> Integrity:
    """Read all that `names` hold, and with `every` all other records of the file, too; with `finite` look at values on the way."""
    leaves = _leaves(checkpoint, names, every, finite)
    items = cut((leaf, leaf.storage.nbytes, leaf.storage.divisible() and not _compressed(leaf)) for leaf in leaves)
    if finite:
        import numpy  # noqa: F401 (before there are workers, who share it)
    read = each(items, _job, costs(items), progress=progress)
    violations: list[Violation] = []
    looked: dict[object, Finite] = {}
    unreadable: set[str] = set()
    compared = without = 0
    for leaf, result in _merged(items, read):
        compared += bool(result.written)
        without += result.written == () and leaf.storage.nbytes > 0
        wrong = [value for value in result.written or () if value != result.crc]
        if result.error:
            unreadable.update(leaf.names)
            violations.append(_told("unreadable", leaf, result.error))
        elif wrong:
            violations.append(_told("checksum", leaf, f"its {leaf.sums.name} is {result.crc:08x}, the file says {wrong[0]:08x}"))
        if leaf.whole and result.finite is not None and not result.error:
            looked[leaf.whole.key] = result.finite
    return Integrity(violations, sum(leaf.storage.nbytes for leaf in leaves), compared, without, looked, unreadable)


def _leaves(checkpoint: Checkpoint, names: Iterable[str], every: bool, finite: bool) -> list[Leaf]:
    found: dict[Storage, Leaf] = {}
    for name in names:
        for tensor in list(views(checkpoint[name])) or [checkpoint[name]]:
            for storage in _bottom(tensor.storage):
                leaf = found.setdefault(storage, Leaf(storage))
                leaf.names[name] = None
                leaf.keys.add(tensor.key)
                leaf.whole = tensor if finite and len(leaf.keys) == 1 and _covers(tensor, storage) else None
    for called, storage in _records(checkpoint) if every else ():
        found.setdefault(storage, Leaf(storage, called))
    return sorted(found.values(), key=lambda leaf: leaf.place)


def _bottom(storage: Storage) -> list[Storage]:
    """What a storage is made of in the end; mostly itself."""
    parts = storage.parts()
    return [below for part in parts for below in _bottom(part)] if parts else [storage]


def _covers(tensor: Tensor, storage: Storage) -> bool:
    """Whether the tensor's elements, which may be infinite, are the bytes of `storage` as they stand."""
    if tensor.layout not in ("", "conjugate") or not may_be_infinite(tensor.dtype):
        return False
    return tensor.storage is storage and tensor.contiguous and tensor.start == 0 and tensor.nbytes == storage.nbytes


def _records(checkpoint: Checkpoint) -> Iterator[tuple[str, Storage]]:
    """Every member of every zip that the checkpoint is in, and what its format has checksums of besides."""
    if checkpoint.origin is None:
        return
    form = formats[checkpoint.origin.format]
    for members in form.archives(checkpoint):
        yield from members.items()
    yield from form.records(checkpoint)


def _compressed(leaf: Leaf) -> bool:
    return leaf.member is not None and leaf.member.method != 0


def _job(item: list[Part[Leaf]], reader: Reader) -> list[_Read]:
    return [_read(part, reader) for part in item]


def _read(part: Part[Leaf], reader: Reader) -> _Read:
    """The part read. An error is a finding, too."""
    storage, crc = part.of.storage, 0
    finite = Finite(part.of.whole.dtype) if part.of.whole else None
    try:
        written = _written(part.of) if part.start == 0 else None
        if isinstance(storage, zips.Member) and storage.method:
            return _Read(CRC32.of(storage.contents()), written)
        for block in reader.blocks(storage, part.start, part.stop):
            crc = part.of.sums.update(block, crc) if storage.crc is not None else 0
            if finite is not None:
                finite.add(block)
    except CkptError as error:
        return _Read(error=error.what)
    except OSError as error:
        return _Read(error=os_error(error).what)
    return _Read(crc, written, finite)


def _written(leaf: Leaf) -> tuple[int, ...] | None:
    """The checksum as the file has it, in both places where a zip has one. There, none was computed where there is nothing but 0."""
    storage = leaf.storage
    if storage.crc is None:
        return None
    if not isinstance(storage, zips.Member):
        return (storage.crc,)
    values = [storage.crc]
    if not storage.method:
        again = storage.crc_offsets()[1]  # asks for its place, which is to be found even where it is empty
        values += [int.from_bytes(storage.file.read(again, 4), "little")] if storage.flags & 8 else []
    return tuple(values) if any(values) else ()


def _merged(items: Sequence[list[Part[Leaf]]], results: Iterator[list[_Read]]) -> Iterator[tuple[Leaf, _Read]]:
    """Each leaf and what came of all its parts."""
    whole = _Read()
    for item, read in zip(items, results, strict=True):
        for part, found in zip(item, read, strict=True):
            whole = found if part.start == 0 else _joined(whole, found, part)
            if part.stop == part.of.storage.nbytes:
                yield part.of, whole


def _joined(one: _Read, two: _Read, part: Part[Leaf]) -> _Read:
    if one.finite is not None and two.finite is not None:
        one.finite.merge(two.finite)
    return _Read(part.of.sums.joined(one.crc, two.crc, part.nbytes), one.written, one.finite, one.error or two.error)


def _told(kind: str, leaf: Leaf, wrong: str) -> Violation:
    """A record of a zip by its name, other bytes by the tensors in them."""
    names, storage = list(leaf.names), leaf.storage
    file = storage.file.path if isinstance(storage, Extent) else ""
    facts = {"file": file, "tensors": names}
    record = leaf.member.name if leaf.member else leaf.called
    if record:
        inside = f"; it holds {some(names)}" if names else ""
        return violation(kind, record, wrong + inside, **facts)
    return violation(kind, names[0] if names else file, wrong + (f"; so are {some(names[1:])}" if names[1:] else ""), **facts)


def not_finite(
    checkpoint: Checkpoint, names: Iterable[str], known: Mapping[object, Finite], progress: Progress | None = None
) -> Iterator[Violation]:
    """The tensors with NaN or infinite elements; `known`: what was found of some on the way."""
    from ..tensors.blocks import fold

    wanted = {(name, number): _once(view) for name in names for number, view in enumerate(views(checkpoint[name]))}
    wanted = {place: view for place, view in wanted.items() if may_be_infinite(view.dtype)}
    left = {f"{number} {name}": view for (name, number), view in wanted.items() if view.key not in known}
    if left:
        import numpy  # noqa: F401 (before there are workers, who share it)
    folded = dict(fold(left, lambda tensor: Finite(tensor.dtype), progress=progress))
    for (name, number), view in wanted.items():
        found = known[view.key] if view.key in known else folded[f"{number} {name}"]
        if not found:
            yield _first_of(name, view, found, inner=number > 0 or checkpoint[name].layout.startswith("sparse"))


def _once(view: Tensor) -> Tensor:
    """The same elements, each once, where an axis repeats them."""
    if view.contiguous or 0 not in view.strides:
        return view
    shape = tuple(n if stride else min(n, 1) for n, stride in zip(view.shape, view.strides, strict=True))
    return Tensor.view(view.dtype, shape, view.storage, view.strides, view.offset)


def _first_of(name: str, view: Tensor, found: Finite, inner: bool) -> Violation:
    index = list(unravelled(found.first, view.shape))
    value = "NaN" if found.value != found.value else "Infinity" if found.value > 0 else "-Infinity"
    place = f"[{','.join(map(str, index))}]" + (" of its parts" if inner else "")
    what = f"{value} at {place}; {found.nan:,} NaN and {found.inf:,} infinite among {found.count:,} elements"
    return violation("finite", name, what, index=index, value=found.value, nan=found.nan, inf=found.inf)

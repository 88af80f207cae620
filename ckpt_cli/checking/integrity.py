"""Whether all bytes of a checkpoint can be read, and have the checksums that the file says.

Every storage is read to its end, in parts, by the workers of `blocks`. Each record of a zip has a CRC-32, the pickle too; the CRCs of parts
are combined. torch can be told to compute none (torch.serialization.set_crc32_options). Then both places hold 0, and the record is read but
not compared. A storage that is exactly one float tensor is searched for NaN in the same pass, so that it is read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..analysis.distance import unravelled
from ..errors import CkptError, first_few, os_error
from ..formats import HasChecksums, formats
from ..formats.encodings import zip as zips
from ..storage.checksums import CRC32, Crc
from ..storage.storage import Extent, Storage
from ..tensors.blocks import Part, Progress, Reader, costs, cut, each
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Layout, Tensor
from . import Violation, views, violation
from .finite import Finite, may_be_infinite


class Leaf:
    """A storage that is not made of other storages.

    Attributes:
        storage: The storage.
        record: The name of the record of the file that it is, if that is no tensor's.
        names: The names of the tensors in it.
        keys: The keys (Tensor.key) of the tensors in it.
        whole: The one float tensor that is all of it, if there is one.
    """

    def __init__(self, storage: Storage, record: str = "") -> None:
        self.storage, self.record = storage, record
        self.names: dict[str, None] = {}
        self.keys: set[object] = set()
        self.whole: Tensor | None = None

    @property
    def member(self) -> zips.Member | None:
        """The storage as a member of a zip; None where it is not one."""
        return self.storage if isinstance(self.storage, zips.Member) else None

    @property
    def sums(self) -> Crc:
        """The kind of checksum that the storage has."""
        return self.storage.sums

    @property
    def place(self) -> tuple[str, int]:
        """The file and the offset in it, a key by which files are read from front to back."""
        storage = self.storage
        if not isinstance(storage, Extent):
            return "", 0
        return storage.file.path, storage.header if isinstance(storage, zips.Member) else storage.offset


class _Read(NamedTuple):
    """The result of reading a part of a leaf, or all of it.

    Attributes:
        crc: The checksum of the bytes that were read.
        written: The checksums that the file has: None where it has no place for one, empty where the place holds none.
        finite: Elements that are not finite, if they were searched for.
        error: The error that reading ended in; empty where there was none.
    """

    crc: int = 0
    written: tuple[int, ...] | None = None
    finite: Finite | None = None
    error: str = ""


class Integrity(NamedTuple):
    """The result of `integrity`.

    Attributes:
        violations: Each leaf that cannot be read, or has another checksum.
        bytes: The number of bytes in all leaves.
        checksums: The number of leaves that were compared with a checksum.
        without: The number of leaves that have a place for a checksum, and none in it.
        finite: By Tensor.key, the tensors that were searched for elements that are not finite.
        unreadable: The names of the tensors that cannot be read.
    """

    violations: list[Violation]
    bytes: int
    checksums: int
    without: int
    finite: dict[object, Finite]
    unreadable: set[str]


def integrity(checkpoint: Checkpoint, names: Iterable[str], every: bool, finite: bool, progress: Progress | None = None) -> Integrity:
    """Read tensors to their end, and compare checksums.

    Args:
        checkpoint: The checkpoint.
        names: The names of the tensors to read.
        every: Whether all other records of the file are read, too.
        finite: Whether NaN and infinities are searched for in the same pass, where a storage is exactly one tensor.
        progress: Called with the bytes done and the bytes in all.
    """
    leaves = _leaves(checkpoint, names, every, finite)
    items = cut((leaf, leaf.storage.nbytes, leaf.storage.divisible() and not _compressed(leaf)) for leaf in leaves)
    if finite:
        import numpy  # noqa: F401 (before there are workers, who share it)
    results = each(items, _job, costs(items), progress=progress)
    violations: list[Violation] = []
    searched: dict[object, Finite] = {}
    unreadable: set[str] = set()
    compared = without = 0
    for leaf, result in _merged(items, results):
        compared += bool(result.written)
        without += result.written == () and leaf.storage.nbytes > 0
        wrong = [value for value in result.written or () if value != result.crc]
        if result.error:
            unreadable.update(leaf.names)
            violations.append(_leaf_violation("unreadable", leaf, result.error))
        elif wrong:
            violations.append(_leaf_violation("checksum", leaf, f"its {leaf.sums.name} is {result.crc:08x}, the file says {wrong[0]:08x}"))
        if leaf.whole is not None and result.finite is not None and not result.error:
            searched[leaf.whole.key] = result.finite
    return Integrity(violations, sum(leaf.storage.nbytes for leaf in leaves), compared, without, searched, unreadable)


def _leaves(checkpoint: Checkpoint, names: Iterable[str], every: bool, finite: bool) -> list[Leaf]:
    leaves: dict[Storage, Leaf] = {}
    for name in names:
        for tensor in list(views(checkpoint[name])) or [checkpoint[name]]:
            for storage in _bottom(tensor.storage):
                leaf = leaves.setdefault(storage, Leaf(storage))
                leaf.names[name] = None
                leaf.keys.add(tensor.key)
                leaf.whole = tensor if finite and len(leaf.keys) == 1 and _covers(tensor, storage) else None
    for record, storage in _records(checkpoint) if every else ():
        leaves.setdefault(storage, Leaf(storage, record))
    return sorted(leaves.values(), key=lambda leaf: leaf.place)


def _bottom(storage: Storage) -> list[Storage]:
    """The storages that a storage is made of in the end; mostly itself."""
    parts = storage.parts()
    return [below for part in parts for below in _bottom(part)] if parts else [storage]


def _covers(tensor: Tensor, storage: Storage) -> bool:
    """Whether the bytes of `storage` are the elements of the tensor, in order, and of a dtype that has NaN or infinities."""
    if tensor.layout != Layout.PLAIN or not may_be_infinite(tensor.dtype):
        return False
    return tensor.storage is storage and tensor.contiguous and tensor.start == 0 and tensor.nbytes == storage.nbytes


def _records(checkpoint: Checkpoint) -> Iterator[tuple[str, Storage]]:
    """What has a checksum besides the tensors: what the format says, else every member of every zip that the checkpoint is in."""
    for name, (_, raw, _) in checkpoint.undecoded.items():
        yield from ((name, below) for below in _bottom(raw)) if raw else ()
    if checkpoint.origin is None:
        return
    within, form = checkpoint.origin.file, formats[checkpoint.origin.format]
    if "crc" in within.facts:  # of a member of an archive
        yield within.path, Extent(within, 0, within.size, within.facts["crc"])
    if isinstance(form, HasChecksums):
        yield from form.checksummed(checkpoint)
    else:
        for file in form.files_read(checkpoint):
            yield from zips.members(file).items() if zips.is_zip(file) else ()


def _compressed(leaf: Leaf) -> bool:
    return leaf.member is not None and leaf.member.method != 0


def _job(item: list[Part[Leaf]], reader: Reader) -> list[_Read]:
    return [_read(part, reader) for part in item]


def _read(part: Part[Leaf], reader: Reader) -> _Read:
    """Read a part. An error is a result, too."""
    storage, crc = part.of.storage, 0
    finite = Finite(part.of.whole.dtype) if part.of.whole is not None else None
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
    """The checksum in the file, from both places where a zip has it. Where both places of a zip hold 0, none was computed."""
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
    """Each leaf and the combined result of its parts."""
    whole = _Read()
    for item, read in zip(items, results, strict=True):
        for part, result in zip(item, read, strict=True):
            whole = result if part.start == 0 else _joined(whole, result, part)
            if part.stop == part.of.storage.nbytes:
                yield part.of, whole


def _joined(one: _Read, two: _Read, part: Part[Leaf]) -> _Read:
    if one.finite is not None and two.finite is not None:
        one.finite.merge(two.finite)
    return _Read(part.of.sums.joined(one.crc, two.crc, part.nbytes), one.written, one.finite, one.error or two.error)


def _leaf_violation(kind: str, leaf: Leaf, wrong: str) -> Violation:
    """A violation that names a record of a zip by its name, and other bytes by the tensors in them."""
    names, storage = list(leaf.names), leaf.storage
    file = storage.file.path if isinstance(storage, Extent) else ""
    facts = {"file": file, "tensors": names}
    record = leaf.member.name if leaf.member else leaf.record
    if record:
        inside = f"; it holds {first_few(names, 5)}" if names else ""
        return violation(kind, record, wrong + inside, **facts)
    return violation(kind, names[0] if names else file, wrong + (f"; so are {first_few(names[1:], 5)}" if names[1:] else ""), **facts)


def not_finite(
    checkpoint: Checkpoint, names: Iterable[str], known: Mapping[object, Finite], progress: Progress | None = None
) -> Iterator[Violation]:
    """Find the tensors with NaN or infinite elements.

    Args:
        checkpoint: The checkpoint.
        names: The names of the tensors to search.
        known: Results that are known already, by Tensor.key; these tensors are not read again.
        progress: Called with the bytes done and the bytes in all.

    Yields:
        A violation for each tensor, with the first such element.
    """
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
            yield _finite_violation(name, view, found, inner=number > 0 or checkpoint[name].layout.sparse)


def _once(view: Tensor) -> Tensor:
    """A view that has each element once, where an axis of stride 0 repeats them."""
    if view.contiguous or 0 not in view.strides:
        return view
    shape = tuple(n if stride else min(n, 1) for n, stride in zip(view.shape, view.strides, strict=True))
    return Tensor.view(view.dtype, shape, view.storage, view.strides, view.offset)


def _finite_violation(name: str, view: Tensor, found: Finite, inner: bool) -> Violation:
    index = list(unravelled(found.first, view.shape))
    value = "NaN" if found.value != found.value else "Infinity" if found.value > 0 else "-Infinity"
    place = f"[{','.join(map(str, index))}]" + (" of its parts" if inner else "")
    what = f"{value} at {place}; {found.nan:,} NaN and {found.inf:,} infinite among {found.count:,} elements"
    return violation("finite", name, what, index=index, value=found.value, nan=found.nan, inf=found.inf)

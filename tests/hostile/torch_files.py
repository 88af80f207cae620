"""torch's zip files and its files from before 1.6: every pickle of `pickle_files` in both, and what only they can get wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from struct import pack

import pickle_files
from judge import Case
from legacy import INFO, MAGIC, legacy, parts, replaced, storage_part
from pickle_files import LISTED
from pickles import HOOKS, call, name, pickled, storage, tensor
from zips import Entry, archive, end, end64, local_part, plain, record, torch_zip

GOOD = pickled({"w": tensor()})
WHOLE = torch_zip(GOOD)
SMALL = [Entry("a/data.pkl", GOOD), Entry("a/data/0", bytes(16))]


def changed(number: int, **facts: object) -> list[Entry]:
    """The members, one of them with a lie."""
    return [entry._replace(**facts) if i == number else entry for i, entry in enumerate(plain(GOOD))]  # type: ignore[arg-type]


def pickles() -> Iterator[Case]:
    for trick in pickle_files.cases():
        yield Case(f"pickle: {trick.name}", trick.gives, trick.says, torch_zip(trick.pickle))


def accepted() -> Iterator[Case]:
    yield Case("a plain archive", "ok", LISTED, WHOLE)
    yield Case("no storages", "ok", "", archive(plain(pickled({}), {})))
    yield Case("a storage that no tensor has", "ok", LISTED, archive(plain(GOOD, {"0": bytes(16), "9": bytes(99)})))
    yield Case("no byteorder", "ok", LISTED, archive(SMALL))
    yield Case("members in another order", "ok", LISTED, archive(list(reversed(plain(GOOD)))))
    yield Case("bytes after the pickle's end", "ok", LISTED, torch_zip(GOOD + b"N."))
    yield Case("a comment at the end", "ok", LISTED, archive(plain(GOOD), note=b"a note"))
    yield Case("a comment on a member", "ok", LISTED, archive(changed(0, central={"comment": b"x" * 300})))
    yield Case("a gap before the directory", "ok", LISTED, archive(plain(GOOD), gap=bytes(99)))
    yield Case(
        "extra fields",
        "ok",
        LISTED,
        archive(changed(3, extra=pack("<HH", 0x4246, 60) + bytes(60), extra_central=pack("<HH", 7, 2) + b"xy")),
    )
    yield Case("a 64-bit end that need not be", "ok", LISTED, archive(plain(GOOD), wide={}))
    yield Case(
        "64-bit sizes that need not be",
        "ok",
        LISTED,
        archive(changed(3, central={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}, extra_central=pack("<HH2Q", 1, 16, 16, 16))),
    )
    yield Case("a deflated pickle", "ok", LISTED, archive(changed(0, method=8)))
    yield Case("folders as members", "ok", LISTED, archive([*plain(GOOD), Entry("a/data/", b"")]))
    yield Case(
        "foreign members",
        "ok",
        LISTED,
        archive([*plain(GOOD), Entry("../../evil", b"x"), Entry("/etc/passwd", b"x"), Entry("C:\\x", b"x"), Entry("a/\x1b[2J", b"x")]),
    )
    yield Case(
        "a script that runs nothing",
        "error",
        "the root of the archive is no module",
        archive(
            [*plain(GOOD), Entry("a/code/evil.py", b"open('canary', 'w')"), Entry("a/constants.pkl", b"cos\nsystem\n(S'touch canary'\ntR.")]
        ),
    )
    yield Case("a big-endian file", "ok", LISTED, torch_zip(GOOD, order=b"big"))
    yield Case("40,000 storages", "ok", "t39999\tfloat32\t1", lambda path: path.write_bytes(many()))


def many() -> bytes:
    tensors = {f"t{i}": tensor(storage(key=str(i), count=1), shape=(1,), strides=(1,)) for i in range(40_000)}
    return torch_zip(pickled(tensors), {str(i): bytes(4) for i in range(40_000)})


def ambiguous() -> Iterator[Case]:
    """One interpretation only: what two readers may read in two ways is refused."""
    twin = "two members of the zip are called"
    other = pickled({"other": tensor()})
    yield Case("two pickles of one name", "error", twin, archive([*plain(GOOD), Entry("a/data.pkl", other)]))
    yield Case("two storages of one name", "error", twin, archive([*plain(GOOD), Entry("a/data/0", b"x" * 16)]))
    yield Case("two other members of one name", "error", twin, archive([*plain(GOOD), Entry("a/x", b"1"), Entry("a/x", b"1")]))
    yield Case("two roots", "error", "more than one data.pkl", archive([*plain(GOOD), Entry("b/data.pkl", other)]))
    yield Case("a root and a nested one", "ok", LISTED, archive([*plain(GOOD), Entry("a/b/data.pkl", other)]))
    yield Case("a data.pkl at the top", "error", "without its storages", archive([Entry("data.pkl", GOOD)]))
    yield Case("a zip that is no checkpoint", "error", "not a checkpoint", archive([Entry("word/document.xml", b"<x>")]))
    body = archive(plain(GOOD))
    yield Case("two archives in a row", "error", "", archive(plain(other)) + body)
    yield Case("two ends", "error", "", body + end(0, 0, 0))
    second = end(0, 0, len(body))
    yield Case("a second end in the comment", "error", "the zip", archive(plain(GOOD), note=b"xx" + second))
    yield Case("an end within the comment of an end", "error", "the zip", archive(plain(GOOD), note=b"PK\5\6" + bytes(18)))
    yield Case("a comment that is the signature", "error", "", archive(plain(GOOD), note=b"PK\5\6"))
    yield Case("a comment of a whole archive", "error", "", archive(plain(GOOD), note=archive([Entry("b/data.pkl", other)])))
    yield Case("a comment longer than said", "error", "more than one end, or bytes after it", archive(plain(GOOD), note=b"abc", comment=1))
    yield Case("a comment shorter than said", "error", "more than one end, or bytes after it", archive(plain(GOOD), note=b"abc", comment=9))
    yield Case("bytes after the end", "error", "bytes after it", body + b"x")
    yield Case("a line feed after the end", "error", "bytes after it", body + b"\n")
    yield Case("bytes ahead of the archive", "error", "", archive(plain(GOOD), before=b"PK\3\4"))
    yield Case("a gap between directory and end", "error", "does not end where its end record begins", body[:-22] + b"xxxx" + body[-22:])
    for what, lies in {
        "another disk": {"disk": 1},
        "a directory on another disk": {"first": 1},
        "fewer members on this disk": {"here": 3},
        "one member fewer": {"here": 3, "count": 3},
        "one member more": {"here": 5, "count": 5},
        "no members": {"here": 0, "count": 0},
        "a directory that is larger": {"size": 99999},
        "a directory that is smaller": {"size": 3},
        "a directory elsewhere": {"offset": 0},
        "a directory beyond the end": {"offset": 2**31},
    }.items():
        yield Case(f"an end that says {what}", "error", "the zip", archive(plain(GOOD), **lies))
    for what, facts in {
        "a count of 65,535": {"here": 0xFFFF, "count": 0xFFFF},
        "a size of all ones": {"size": 0xFFFFFFFF},
        "an offset of all ones": {"offset": 0xFFFFFFFF},
    }.items():
        yield Case(f"{what} without a 64-bit end", "error", "64-bit end record is missing", archive(plain(GOOD), **facts))
    for what, wide in {
        "another disk": {"disk": 1},
        "fewer members on this disk": {"here": 3},
        "a false count": {"here": 3, "count": 3},
        "an endless count": {"here": 2**60, "count": 2**60},
        "a directory elsewhere": {"offset": 0},
        "an offset beyond the end": {"offset": 2**62},
        "a size beyond the end": {"size": 2**62},
        "a false length": {"length": 4},
        "an endless length": {"length": 2**63},
        "a locator that leads elsewhere": {"locator": {"at": 0}},
        "a locator beyond the end": {"locator": {"at": 2**63}},
        "a locator on another disk": {"locator": {"disk": 1}},
        "a locator of two disks": {"locator": {"disks": 2}},
        "its own other disk": {"first": 1},
    }.items():
        yield Case(f"a 64-bit end that says {what}", "error", "the zip", archive(plain(GOOD), wide=wide))
    yield Case(
        "an end and a 64-bit end that disagree",
        "error",
        "end records disagree",
        archive(plain(GOOD), wide={}, here=3, count=3, size=5, offset=7),
    )


def members() -> Iterator[Case]:
    disagree = "its local header and the central directory disagree"
    for number, what in ((0, "the pickle"), (3, "a storage")):
        kind = "error" if number == 0 else "ok"
        for fact, lie in {
            "name": b"a/other!!!"[: len(plain(GOOD)[number].name)],
            "method": 8,
            "flags": 0x0800,
            "size": 5,
            "packed": 5,
            "crc": 1,
            "signature": b"PK\3\5",
            "name_size": 3,
        }.items():
            says = LISTED if number else "not a checkpoint" if fact == "signature" else disagree
            yield Case(
                f"{what} whose local header has another {fact}", kind, says, archive(changed(number, local={fact: lie})), values=disagree
            )
    yield Case("a local header with another name as long", "error", disagree, archive(changed(0, local={"name": b"b/data.pkl"})))
    for number, what in ((0, "pickle"), (3, "storage")):
        yield Case(f"an encrypted {what}", "error", "is encrypted", archive(changed(number, flags=1)))
        yield Case(f"a {what} strongly encrypted", "error", "is encrypted", archive(changed(number, flags=0x41)))
        yield Case(
            f"a {what} whose name is no UTF-8",
            "error",
            "not UTF-8",
            archive(changed(number, local={"name": b"a/\xff"}, central={"name": b"a/\xff"})),
        )
        for what_else, facts in {
            "a header beyond the end": {"header": 2**31},
            "a header in the directory": {"header": len(WHOLE) - 60},
            "a size beyond the end": {"size": 2**31, "packed": 2**31},
            "two sizes": {"size": 99},
        }.items():
            yield Case(f"a {what} with {what_else}", "error", "member '", archive(changed(number, central=facts)))
        for what_else, extra in {
            "no": b"",
            "a short": pack("<HHQ", 1, 8, 16),
            "a cut": pack("<HH", 1, 16),
            "an empty": pack("<HH", 1, 0),
            "another": pack("<HHQQ", 2, 16, 16, 16),
        }.items():
            yield Case(
                f"a {what} of 64-bit sizes with {what_else} extra record",
                "error",
                "64-bit size is missing",
                archive(changed(number, central={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}, extra_central=extra)),
            )
        for size in (2**40, 2**63, 2**64 - 1):
            says = "lies outside of the file"
            yield Case(
                f"a {what} of {size:,} bytes in 64 bits",
                "error",
                says,
                archive(
                    changed(number, central={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}, extra_central=pack("<HH2Q", 1, 16, size, size))
                ),
            )
        yield Case(
            f"a {what} at a 64-bit place beyond the end",
            "error",
            "lies outside of the file",
            archive(changed(number, central={"header": 0xFFFFFFFF}, extra_central=pack("<HHQ", 1, 8, 2**62))),
        )
        for method in (1, 9, 12, 14, 93, 99, 0xFFFF):
            kind, says = ("error", "compressed in a way that is not read") if number == 0 else ("ok", LISTED)
            yield Case(f"a {what} packed by method {method}", kind, says, archive(changed(number, method=method)), values="is compressed")
    yield Case("a deflated storage", "ok", LISTED, archive(changed(3, method=8)), values="is compressed")
    yield Case(
        "a record of another signature", "error", "central directory is broken", archive(changed(1, central={"signature": b"PK\1\3"}))
    )
    whole = plain(GOOD)
    yield Case("a member upon another", "error", "overlaps", archive([*whole, Entry("a/data/9", bytes(16), central={"header": 0})]))
    inside = Entry("a/data/9", b"x")
    hidden = Entry("a/data/8", local_part(inside) + bytes(40))
    start = len(b"".join(map(local_part, whole))) + 30 + len(hidden.name)
    yield Case("a member within another", "error", "overlaps", overlapping([*whole, hidden], inside, start))
    yield Case(
        "a bad checksum of the deflated pickle",
        "error",
        "checksum is wrong",
        archive(changed(0, method=8, local={"crc": 5}, central={"crc": 5})),
    )
    yield Case(
        "a deflated pickle that is none",
        "error",
        "is broken",
        archive(changed(0, data=b"\xff" * 50, local={"method": 8}, central={"method": 8})),
    )


def overlapping(entries: list[Entry], inside: Entry, at: int) -> bytes:
    """An archive whose directory also lists a member that lies within another one's data."""
    body, directory = bytearray(), bytearray()
    for entry in entries:
        directory += record(entry, len(body))
        body += local_part(entry)
    directory += record(inside, at)
    return bytes(body + directory) + end(len(entries) + 1, len(directory), len(body))


def bombs() -> Iterator[Case]:
    nothing = b"\x80\x02N." + bytes(300_000_000)
    yield Case(
        "a deflated pickle of 300 MB",
        "error",
        "compressed in a way that is not read",
        lambda path: path.write_bytes(archive(changed(0, data=nothing, method=8))),
    )
    short = Entry("a/data.pkl", GOOD + bytes(50_000_000), 8)
    lie = {"size": len(GOOD)}
    yield Case(
        "a deflated pickle of more than it says",
        "error",
        "length or checksum is wrong",
        lambda path: path.write_bytes(archive([short._replace(local=lie, central=lie), *plain(GOOD)[1:]])),
    )
    fields = {"size": 5}
    yield Case(
        "a deflated pickle of less than it says",
        "error",
        "length or checksum is wrong",
        archive([Entry("a/data.pkl", b"N.", 8, local=fields, central=fields), *plain(GOOD)[1:]]),
    )
    yield Case(
        "a deflated byteorder of 100 MB", "error", "", lambda path: path.write_bytes(archive(changed(1, data=b" " * 100_000_000, method=8)))
    )
    yield Case("a byteorder of 100 MB", "error", "", lambda path: path.write_bytes(archive(changed(1, data=b" " * 100_000_000))))
    yield Case("deflated records of 200 MB each", "ok", LISTED, lambda path: path.write_bytes(carried()))
    for order in (b"middle", b"BIG", b"", b"\xff\xfe"):
        yield Case(f"the byteorder {order!r}", "error", "byte order", archive(plain(GOOD, order=order)))
    yield Case(
        "an untyped storage in a big-endian file",
        "error",
        "byte order cannot be told",
        torch_zip(
            pickled({"w": tensor(storage("UntypedStorage", count=16), function="_rebuild_tensor_v3", more=(name("torch", "float32"),))}),
            order=b"big",
        ),
    )


def carried() -> bytes:
    """Records beside the pickle that are small on disk and 5 GB together when they are inflated."""
    one = Entry("a/extra/0", bytes(200_000_000), 8)
    raw = local_part(one)
    body, directory = bytearray(), bytearray()
    for entry in plain(GOOD):
        directory += record(entry, len(body))
        body += local_part(entry)
    header = record(one, 0)
    for i in range(25):
        label = f"a/extra/{chr(65 + i)}".encode()
        directory += header[:42] + pack("<L", len(body)) + label
        body += raw[:30] + label + raw[30 + len(label) :]
    return bytes(body + directory) + end(29, len(directory), len(body))


def cuts() -> Iterator[Case]:
    """Truncation at every structural boundary, and in between."""
    places, at = set(), 0
    for entry in plain(GOOD):
        places |= {at, at + 4, at + 30, at + 30 + len(entry.name)}
        at += len(local_part(entry))
        places |= {at - 1, at}
    for entry in plain(GOOD):
        at += len(record(entry, 0))
        places |= {at - 46, at - 1, at}
    places |= set(range(len(WHOLE) - 22, len(WHOLE))) | set(range(1, len(WHOLE), 37))
    for place in sorted(places - {0}):
        yield Case(f"cut after {place} bytes", "error", "truncated" if place >= 4 else "not a checkpoint", WHOLE[:place])


def packed() -> Iterator[Case]:
    """Elements of less than a byte: torch pads the rows of such a tensor to whole bytes, and no program agrees on what is in between."""
    scheme = (name("torch", "per_tensor_affine"), 0.5, 0)
    for kind, width in {"QUInt4x2Storage": 2, "QUInt2x4Storage": 4}.items():
        for shape, strides, offset in [((3, 3), (3, 1), 0), ((width + 1,), (1,), 0), ((width,), (1,), 1), ((), (), 0)]:
            args = (storage(kind, count=16 * width), offset, shape, strides, scheme, False, HOOKS)
            root = {"w": call(name("torch._utils", "_rebuild_qtensor"), *args)}
            yield Case(f"a {kind} of {shape} from {offset}", "error", "ends within a byte", torch_zip(pickled(root)))


def zips() -> Iterator[Case]:
    yield from pickles()
    for part in (packed, accepted, ambiguous, members, bombs, cuts):
        yield from part()
    yield Case("6 GiB on paper", "ok", f"w\tuint8\t{6 << 30}", sparse_zip)


def legacies() -> Iterator[Case]:
    for trick in pickle_files.cases():
        says = trick.says
        yield Case(f"pickle: {trick.name}", trick.gives, says, lambda path, trick=trick: path.write_bytes(around(trick.pickle)))
    yield Case("a plain file", "ok", LISTED, legacy(GOOD))
    yield Case("no storages", "ok", "", legacy(pickled({}), [], b""))
    yield from heads()
    yield from tails()
    whole = b"".join(parts(GOOD))
    places, at = set(range(1, len(whole), 29)), 0
    for part in parts(GOOD):
        at += len(part)
        places |= {at - 1, at, at + 1, at + 8}
    for place in sorted(place for place in places if place < len(whole)):
        yield Case(f"cut after {place} bytes", "error", "truncated" if place > 13 else "", whole[:place])


def around(pickle: bytes) -> bytes:
    """A legacy file about a pickle that may be broken: a storage is listed where the pickle names it."""
    if b"Storage" not in pickle or b"storage" not in pickle:
        return legacy(pickle, [], b"")
    return legacy(pickle, ["0"], storage_part(bytes(16), 1 if b"UntypedStorage" in pickle or b"QInt8Storage" in pickle else 4))


def heads() -> Iterator[Case]:
    """The pickles around the object: the magic number, the version, the system's facts, the keys."""
    unknown = "is not known"
    for what, version in {
        "1000": 1000,
        "True": True,
        "None": None,
        "text": "1001",
        "a float": 1001.0,
        "a list": [1001],
        "900 digits": 10**900,
        "escapes": "\x1b[2J\n",
    }.items():
        yield Case(f"the version {what}", "error", unknown, replaced(1, pickled(version), GOOD))
    hostile = {trick.name: trick.pickle for trick in pickle_files.cases()}
    for number, what in ((0, "magic number"), (1, "version"), (2, "facts of the system"), (4, "keys")):
        for trick in (
            "REDUCE of os.system",
            "a tuple in a tuple, 60 deep, each twice",
            "a nest of 100,000 lists",
            "half a million marks",
            "EXT1",
            "a decimal without end",
            "an eight-byte length",
            "no STOP",
        ):
            harmless = number == 2 and trick in ("REDUCE of os.system", "a tuple in a tuple, 60 deep, each twice")
            gives, says = ("ok", LISTED) if harmless else ("error", "")
            yield Case(f"{trick} as the {what}", gives, says, replaced(number, hostile[trick], GOOD))
    yield Case(
        "a big-endian machine, whose files are little-endian, too",
        "ok",
        LISTED,
        replaced(2, pickled(INFO | {"little_endian": False}), GOOD),
    )
    yield Case("facts of the system that are none", "ok", LISTED, replaced(2, pickled(None), GOOD))
    yield Case("a magic number as text", "error", "stand after the end of the pickle", replaced(0, pickled(str(MAGIC + 1)), GOOD))
    yield Case("the magic number within another", "error", "", replaced(0, pickled([MAGIC, 5]), GOOD))


def tails() -> Iterator[Case]:
    """The list of keys, and the storages that follow it."""
    listed = "is not in the file"
    yield Case("no keys", "error", listed, legacy(GOOD, [], b""))
    yield Case("keys that are no list", "error", "", legacy(GOOD, "0"))
    yield Case("keys that are a dict", "error", "", legacy(GOOD, {"0": 1}))
    yield Case("keys that are None", "error", "", replaced(4, pickled(None), GOOD))
    yield Case("a storage twice", "error", "twice", legacy(GOOD, ["0", "0"], storage_part(bytes(16)) * 2))
    yield Case("a key of a number", "ok", LISTED, legacy(GOOD, [0]))
    yield Case("a key that no tensor has", "error", "no tensor has it", legacy(GOOD, ["0", "7"], storage_part(bytes(16)) * 2))
    yield Case("a key of escapes", "error", "no tensor has it", legacy(GOOD, ["\x1b[2J\n"]))
    yield Case("a key that is a list", "error", "", legacy(GOOD, [["0"]]))
    for what, count in {
        "one more": 5,
        "one fewer": 3,
        "none": 0,
        "minus one": -1,
        "minus four": -4,
        "2^61": 2**61,
        "2^62": 2**62,
        "the most": 2**63 - 1,
        "the least": -(2**63),
    }.items():
        yield Case(f"a count of {what}", "error", "", legacy(GOOD, ["0"], storage_part(bytes(16), count=count)))
    yield Case("a byte too many", "error", "1 bytes stand after the last storage", legacy(GOOD, ["0"], storage_part(bytes(16)) + b"x"))
    yield Case("a second storage", "error", "24 bytes stand after the last storage", legacy(GOOD, ["0"], storage_part(bytes(16)) * 2))
    two = pickled({"w": tensor(), "v": tensor(storage("DoubleStorage", count=2), shape=(2,), strides=(1,))})
    yield Case("one storage of two widths", "error", "", legacy(two))


def sparse_zip(path: Path) -> None:
    """A storage of 6 GiB that is a hole in the disk, in a 64-bit archive."""
    count = 6 << 30
    pickle = pickled({"w": tensor(storage("ByteStorage", count=count), shape=(count,), strides=(1,))})
    first = Entry("a/data.pkl", pickle)
    big = {"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF, "crc": 0}
    extra = pack("<HH2Q", 1, 16, count, count)
    second = Entry("a/data/0", b"", local=big, central=big, extra=extra, extra_central=extra)
    head = local_part(first)
    start = len(head) + len(local_part(second))
    directory = record(first, 0) + record(second, len(head))
    with path.open("wb") as file:
        file.write(head + local_part(second))
        file.truncate(start + count)
        file.seek(start + count)
        at = start + count
        file.write(
            directory
            + end64(2, len(directory), at, at + len(directory))
            + end(2, 0xFFFFFFFF, 0xFFFFFFFF, here=0xFFFF, count=0xFFFF, size=0xFFFFFFFF, offset=0xFFFFFFFF)
        )

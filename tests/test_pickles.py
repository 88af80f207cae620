"""Pickles as symbols: read, written again and loaded by Python itself they give the same objects; hostile ones end soon, in one line."""

from __future__ import annotations

import io
import pickle
import resource
import subprocess
import sys
import time
import zipfile
from argparse import Namespace
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SAMPLES, WHOLE, Ckpt, examples
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ckpt_cli import reading
from ckpt_cli.errors import CkptError, Malformed
from ckpt_cli.formats.encodings import pickle_reader
from ckpt_cli.formats.encodings.object_nodes import Node
from ckpt_cli.formats.encodings.pickle_reader import Unpickler
from ckpt_cli.formats.encodings.pickle_writer import Pickler

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Plain:
    """Attributes in a dict."""

    def __init__(self, a: Any = None) -> None:
        self.a = a


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a: Any = None) -> None:
        self.a = a


class Both(Slots):
    """Slots and a dict: the state is a pair."""

    def __init__(self, a: Any = None) -> None:
        super().__init__(a)
        self.c = [a]


class Reduced:
    """A call with arguments and a state."""

    def __init__(self, a: Any = None) -> None:
        self.a = a
        self.more = None

    def __reduce__(self) -> Any:
        return Reduced, (self.a,), {"more": self.more}


class Keywords:
    """Made by NEWOBJ_EX."""

    def __new__(cls, *, a: Any = None) -> Keywords:
        made = super().__new__(cls)
        made.a = a
        return made

    def __getnewargs_ex__(self) -> Any:
        return (), {"a": self.a}


class Items(list):
    """A list with attributes."""


CLASSES = (Plain, Slots, Both, Reduced, Items)


def structure(thing: Any) -> Any:
    """Everything that tells two objects apart: types, values, order, and which parts are one and the same object."""
    numbers: dict[int, int] = {}
    kept: list[Any] = []

    def walk(item: Any) -> Any:
        if item is None or isinstance(item, (bool, int, str, bytes)):
            return type(item).__name__, item
        if isinstance(item, (float, complex)):
            return type(item).__name__, repr(item)
        if id(item) in numbers:
            return "again", numbers[id(item)]
        if item != ():
            numbers[id(item)] = len(numbers)
            kept.append(item)
        name = type(item).__name__
        if isinstance(item, (set, frozenset)):
            return name, sorted(map(repr, item))
        inside: list[Any] = []
        if isinstance(item, dict):
            inside += [(walk(key), walk(value)) for key, value in item.items()]
        if isinstance(item, (list, tuple, deque)):
            inside += [walk(value) for value in item]
        if isinstance(item, bytearray):
            inside.append(bytes(item))
        if hasattr(item, "__dict__"):
            inside.append(walk(vars(item)))
        inside += [(slot, walk(getattr(item, slot))) for slot in ("a", "b") if hasattr(type(item), slot) and hasattr(item, slot)]
        return name, inside

    return walk(thing)


def through(thing: Any, protocol: int) -> Any:
    machine = Unpickler(pickle.dumps(thing, protocol))
    root = machine.load()
    return pickle.loads(Pickler(machine.protocol).dump(root))


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**300), 2**300)
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.complex_numbers()
)
keys = st.integers() | st.text(st.characters()) | st.tuples(st.integers(), st.text()) | st.none()


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    few = {"max_size": 4}
    pairs = st.dictionaries(keys, inner, **few)
    return (
        st.lists(inner, **few)
        | st.lists(inner, **few).map(tuple)
        | pairs
        | pairs.map(OrderedDict)
        | pairs.map(lambda d: defaultdict(list, d))
        | pairs.map(lambda d: Namespace(**{f"k{i}": v for i, v in enumerate(d.values())}))
        | st.sets(keys, **few)
        | st.frozensets(keys, **few)
        | st.lists(inner, **few).map(deque)
        | st.builds(lambda cls, a: cls([a]) if cls is Items else cls(a), st.sampled_from(CLASSES), inner)
        | inner.map(lambda a: [a, a, (a,)])
    )


def knotted(thing: Any) -> Any:
    """Recursive: a list, a dict and a tuple that hold themselves."""
    loop: list[Any] = [thing]
    loop.append(loop)
    inner: dict[str, Any] = {"thing": thing}
    inner["self"] = (inner, loop)
    return (loop, inner, inner)


objects = st.recursive(scalars, containers, max_leaves=20)


@settings(max_examples=examples(250), deadline=None)
@given(thing=objects | objects.map(knotted), protocol=st.sampled_from(list(PROTOCOLS)))
def test_any_object_is_the_same_after_it_was_read_and_written_as_symbols(thing: Any, protocol: int) -> None:
    try:
        expected = pickle.loads(pickle.dumps(thing, protocol))
    except TypeError:
        assume(False)  # slots below protocol 2
    assert structure(through(thing, protocol)) == structure(expected)


EXAMPLES: list[tuple[str, Any]] = [
    ("many items", list(range(5000))),
    ("many pairs", {str(i): i for i in range(5000)}),
    ("many memos", [[str(i) * 2] for i in range(300)] * 2),
    ("long text", "x" * 70_000 + "\ud800"),
    ("long bytes", b"\xff" * 70_000),
    ("long set", set(range(3000))),
    ("integers at every edge", [s * 2**n + d for n in (0, 7, 8, 15, 16, 31, 32, 63, 64, 2000) for s in (1, -1) for d in (-1, 0, 1)]),
    ("classes and functions", [Plain, structure, len, OrderedDict, type(None), NotImplemented, ...]),
    ("range, slice", [range(1, 9, 2), slice(1, 2)]),
    ("exception", ValueError("a", 1).args),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("thing", [row[1] for row in EXAMPLES], ids=[row[0] for row in EXAMPLES])
def test_large_and_odd_objects_are_the_same_afterwards(thing: Any, protocol: int) -> None:
    assert through(thing, protocol) == thing


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_classes_of_every_kind_are_the_same_afterwards(protocol: int) -> None:
    thing = [cls([cls()]) for cls in CLASSES if cls not in (Slots, Both) or protocol >= 2]
    thing[0].more = thing
    assert structure(through(thing, protocol)) == structure(thing)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_keyword_arguments_of_new_are_kept(protocol: int) -> None:
    made = through([Keywords(a=(1, 2))], protocol)[0]
    assert type(made) is Keywords and made.a == (1, 2)


def test_bytearrays_need_no_protocol_5() -> None:
    for protocol in PROTOCOLS:
        assert through([bytearray(b"ab\xff")] * 2, protocol) == [bytearray(b"ab\xff")] * 2


def test_a_global_whose_name_holds_a_line_break_is_still_one_global() -> None:
    raw = b"\x80\x02\x8c\x08a\nb\nI1\n.\x8c\x01c\x93."
    again = Unpickler(Pickler(2).dump(Unpickler(raw).load())).load()
    assert (again.module, again.name) == ("a\nb\nI1\n.", "c")


BROKEN: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "truncated"),
    ("no STOP", b"N", "truncated"),
    ("two objects", b"NN.", "does not end in one object"),
    ("an open mark", b"(N.", "does not end in one object"),
    ("unknown opcode", b"\xff.", "no opcode"),
    ("unknown memo", b"h\x05.", "memo"),
    ("nothing to build", b"N}b.", "broken pickle"),
    ("nothing to pop", b"0.", "nothing on the stack"),
    ("a pair without a value", b"}(Nu.", "a key without a value"),
    ("length beyond the end", b"X\xff\xff\xff\xffab.", "truncated"),
    ("negative length", b"T\xff\xff\xff\xffab.", "truncated"),
    ("eight-byte length", b"\x8e" + b"\xff" * 8 + b".", "truncated"),
    ("a decimal integer without end", b"I" + b"9" * 5000 + b"\n.", "over 4,000 digits"),
    ("a binary integer without end", b"\x8b" + (5000).to_bytes(4, "little") + b"\x01" * 5000 + b".", "over 4,000 digits"),
    ("protocol 9", b"\x80\x09N.", "protocol 9 is not known"),
    ("below the mark", b"N(\x85.", "a tuple of more than there is"),
    ("text that is no UTF-8", b"X\x01\0\0\0\xff.", "broken pickle"),
    ("a float that is none", b"Fabc\n.", "broken pickle"),
    ("memo of a text number", b"gx\n.", "broken pickle"),
    ("a global of integers", b"K\x01K\x02\x93.", "no string"),
]


@pytest.mark.parametrize(("raw", "says"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_pickle_says_what_is_wrong(raw: bytes, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        Unpickler(raw).load()


@settings(max_examples=examples(400), deadline=None)
@given(
    raw=st.binary(max_size=60)
    | st.lists(st.sampled_from([bytes([i]) for i in range(256)] + [b"K\1", b"q\0", b"h\0", b"("]), max_size=40).map(b"".join)
)
def test_random_bytes_are_a_tree_or_malformed(raw: bytes) -> None:
    try:
        root = Unpickler(raw + b".").load()
        Pickler(4).dump(root)
    except CkptError:
        pass


def archive(pickled: bytes, path: Path) -> Path:
    """A torch zip around any pickle at all."""
    with zipfile.ZipFile(path, "w") as file:
        for name, data in (("data.pkl", pickled), ("byteorder", b"little"), ("data/0", bytes(64)), ("version", b"3\n")):
            file.writestr(f"a/{name}", data)
    return path


def answered(ckpt: Ckpt, path: Path) -> None:
    """Each command ends in an answer or in one line (the fixture checks that), and never in a fault of ckpt's own."""
    out = path.with_name("out.pt")
    for args in (["ls", path], ["tied", "--equal", path], ["summary", path], ["rename", path, "re:$=x", "-o", out, "--force"]):
        result = ckpt(*args, status=None)
        assert result.status in (0, 2) and "a fault in ckpt itself" not in result.err, (args, result.err)


FUZZ = settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
GOOD = ["training.ckpt", "module.pt", "shared-mlp.pt", "mlp.legacy.pt", "dtypes.safetensors", "shared-mlp.safetensors"]


@FUZZ
@given(data=st.data())
def test_a_mutated_pickle_in_a_good_archive_is_an_answer_or_one_line(tmp_path: Path, ckpt: Ckpt, data: st.DataObject) -> None:
    with zipfile.ZipFile(SAMPLES / data.draw(st.sampled_from(GOOD[:3]))) as file:
        pickled = bytearray(file.read(next(name for name in file.namelist() if name.endswith("data.pkl"))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(pickled) - 1))
        pickled[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    answered(ckpt, archive(bytes(pickled), tmp_path / "a.pt"))


@FUZZ
@given(data=st.data())
def test_a_mutated_or_truncated_file_is_an_answer_or_one_line(tmp_path: Path, ckpt: Ckpt, data: st.DataObject) -> None:
    raw = bytearray((SAMPLES / data.draw(st.sampled_from(GOOD))).read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        del raw[at:]
    else:
        raw[at : at + data.draw(st.integers(1, 4))] = data.draw(st.binary(min_size=1, max_size=4))
    path = tmp_path / "a.bin"
    path.write_bytes(raw)
    answered(ckpt, path)


@FUZZ
@given(
    raw=st.binary(max_size=200), head=st.sampled_from([b"", b"PK\3\4", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x40\0\0\0\0\0\0\0{"])
)
def test_random_bytes_are_one_line(tmp_path: Path, ckpt: Ckpt, raw: bytes, head: bytes) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(head + raw)
    answered(ckpt, path)


def laughs(depth: int) -> bytes:
    """Tuples of two, each twice the one before: small on disk, endless to walk."""
    return b"\x80\x02K\x01" + b"".join(b"q\x00h\x00\x86" for _ in range(depth)) + b"."


def nest(depth: int, leaves: int = 0) -> bytes:
    return b"\x80\x02" + b"]" * depth + (b"(" + b"K\x01" * leaves + b"e" if leaves else b"") + b"a" * (depth - 1) + b"."


LONG = b"X" + (1 << 20).to_bytes(4, "little") + b"n" * (1 << 20)
HOSTILE: list[tuple[str, bytes]] = [
    ("billion laughs", laughs(60)),
    ("a nest of 900", nest(900)),
    ("a nest of 10,000", nest(10_000)),
    ("a nest of 300,000", nest(300_000)),
    ("many leaves at the bottom of a nest", nest(900, 400_000)),
    ("a long name above many leaves", b"\x80\x02}(" + LONG + b"](" + b"N" * 100_000 + b"eu."),
    ("a tuple nest", b"\x80\x02N" + b"\x85" * 300_000 + b"."),
    ("a dict that holds itself", b"\x80\x02}q\x00K\x01h\x00s."),
    ("a list that holds itself twice", b"\x80\x02]q\x00(h\x00h\x00e."),
    ("deep keys", b"\x80\x02}N" + b"\x85" * 100_000 + b"Ns."),
    ("a tuple of a million", b"\x80\x02(" + b"K\x07" * 1_000_000 + b"t."),
    ("a state nest", b"\x80\x02" + b"ca\nb\n)R" * 2000 + b"b" * 1999 + b"."),
    ("arguments nest", b"\x80\x02" + b"ca\nb\n" * 2000 + b"N" + b"\x85R" * 2000 + b"."),
]

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from ckpt_cli.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("raw", [row[1] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_a_hostile_pickle_ends_soon_in_little_memory(raw: bytes, tmp_path: Path) -> None:
    path = archive(raw, tmp_path / "a.pt")
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", LIMITED, "ls", path], capture_output=True, text=True, timeout=20)
    assert time.monotonic() - began < 20
    assert done.returncode in (0, 2) and "fault in ckpt" not in done.stderr and "MemoryError" not in done.stderr
    noted = [line for line in done.stderr.splitlines() if not line.startswith("ckpt: the file names code: ")]
    assert len(noted) == (done.returncode == 2)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 3 << 20


def test_deep_containers_of_a_program_are_read_and_written(tmp_path: Path) -> None:
    thing: Any = torch.ones(1)
    for _ in range(150):
        thing = {"a": [thing]}
    torch.save({"deep": thing, "extra": torch.ones(1)}, tmp_path / "a.pt")
    assert next(iter(reading.open(str(tmp_path / "a.pt")))).count(".") == 300


def state_pickle() -> bytes:
    """The pickle of tensors of many shapes, of which most repeat others."""
    shared = torch.zeros(8)
    makers = [
        lambda: torch.zeros(4, 4),
        lambda: torch.zeros(300, 3, dtype=torch.bfloat16),
        lambda: torch.zeros(()),
        lambda: torch.zeros(2, 2, 2, 2, 2).permute(4, 0, 1, 2, 3),
        lambda: shared[2:6],
        lambda: torch.nn.Parameter(torch.zeros(3)),
        lambda: torch.zeros(2, dtype=torch.uint16),
    ]
    tensors = [makers[i % len(makers)]() for i in range(70)]
    buffer = io.BytesIO()
    torch.save({"a": {f"{i}.w": t for i, t in enumerate(tensors)}, "b": tensors[5:12], "c": Plain(tensors[0])}, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return archive.read("archive/data.pkl")


STATE = state_pickle()


def told(node: Any, above: tuple[int, ...] = ()) -> Any:
    """A tree of nodes as plain tuples."""
    if not isinstance(node, Node):
        return repr(node)
    if id(node) in above or len(above) > 40:
        return "…"
    slots = [slot for cls in type(node).__mro__ for slot in getattr(cls, "__slots__", ()) if slot not in ("like", "key")]
    values = [getattr(node, slot) for slot in slots]
    return type(node).__name__, *(tuple(tellings(value, (*above, id(node)))) for value in values)


def tellings(value: Any, above: tuple[int, ...]) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [part for item in value for part in tellings(item, above)]
    return [told(value, above)]


def read_by(load: Any) -> Any:
    try:
        return told(load())
    except Malformed as error:
        return str(error)


def test_most_tensors_of_a_state_dict_are_read_as_repeating_others() -> None:
    assert pickle_reader.load(STATE).pairs[0][1].pairs[69][1].like is not None
    assert told(pickle_reader.load(STATE)) == told(Unpickler(STATE).load())


@settings(max_examples=300 if WHOLE else 100)
@given(at=st.integers(0, len(STATE) - 1), put=st.integers(0, 255) | st.sampled_from(b"hjqr(.RtQ0p\x94\x85"), how=st.sampled_from("=+-<"))
def test_what_repeats_is_read_as_opcode_by_opcode(at: int, put: int, how: str) -> None:
    """A byte replaced, added or left out, or a memo entry asked for that a repeated run has made."""
    byte = bytes([put])
    if how == "<":
        changed = STATE[:-1] + b"j" + (put + at % 512).to_bytes(4, "little") + b"0."
    else:
        changed = STATE[:at] + (b"" if how == "-" else byte) + STATE[at + (how != "+") :]
    assert read_by(lambda: pickle_reader.load(changed)) == read_by(lambda: Unpickler(changed).load())

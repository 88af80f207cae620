"""The engine under stats, hash and diff: forked, threaded and in one process it gives the same; errors come out; nothing is left behind."""

from __future__ import annotations

import gc
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import examples, heeds_ctrl_c
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_cli.errors import Malformed, Opaque, ReadError
from ckpt_cli.numbers.dtypes import named
from ckpt_cli.show import progress as progress_module
from ckpt_cli.show.progress import Progress, line
from ckpt_cli.storage import workers
from ckpt_cli.storage.file import File
from ckpt_cli.storage.sequential import Drawn
from ckpt_cli.storage.storage import Extent, Memory, Storage
from ckpt_cli.tensors import blocks
from ckpt_cli.tensors.blocks import Reader, each, fold
from ckpt_cli.tensors.tensor import Layout, Tensor

UINT8 = named("uint8")


class Joined:
    """A fold that keeps all that it is given."""

    def __init__(self) -> None:
        self.data, self.pid, self.parts = b"", os.getpid(), 1

    def add(self, block: bytearray) -> None:
        self.data += bytes(block)

    def merge(self, other: Joined) -> None:
        self.data += other.data
        self.parts += other.parts


class Broken(Storage):
    def __init__(self, nbytes: int, error: Exception) -> None:
        self.nbytes, self.error = nbytes, error

    def readinto(self, start: int, view: memoryview) -> None:
        raise self.error


def tensor(data: bytes) -> Tensor:
    return Tensor.whole(UINT8, (len(data),), Memory(data))


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def nothing_left() -> Iterator[None]:
    gc.collect()  # files of other tests that wait to be closed
    before = children(), descriptors()
    yield
    gc.collect()
    assert (children(), descriptors()) == before


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items of 64 bytes and blocks of 16, so that a few bytes are much."""
    monkeypatch.setattr(blocks, "ITEM", 64)
    monkeypatch.setattr(workers, "BLOCK", 16)
    monkeypatch.setattr(workers, "THREAD_BLOCK", 16)
    monkeypatch.setattr(workers, "_REPORTED", 16)


SIZES = (0, 1, 15, 16, 17, 63, 64, 65, 500, 0, 3)


@pytest.mark.parametrize("divisible", [True, False])
@pytest.mark.parametrize("crew", [1, 2, 3])
@pytest.mark.usefixtures("small_pieces", "nothing_left")
def test_every_byte_of_every_tensor_comes_once_and_in_order(crew: int, divisible: bool) -> None:
    tensors = {str(at): tensor(os.urandom(size)) for at, size in enumerate(SIZES)}
    told: list[tuple[int, int]] = []
    found = list(fold(tensors, lambda t: Joined(), workers=crew, progress=lambda *at: told.append(at), divisible=divisible))
    assert [(name, one.data) for name, one in found] == [(name, t.tobytes()) for name, t in tensors.items()]
    assert told[-1] == (sum(SIZES), sum(SIZES)) and told == sorted(told)
    assert max(one.parts for _, one in found) == (8 if divisible else 1)
    assert (os.getpid() in {one.pid for _, one in found}) == (crew == 1)


@pytest.mark.usefixtures("small_pieces")
def test_threads_do_where_there_is_no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    tensors = {str(at): tensor(os.urandom(size)) for at, size in enumerate(SIZES)}
    found = {name: one.data for name, one in fold(tensors, lambda t: Joined(), workers=2)}
    assert found == {name: t.tobytes() for name, t in tensors.items()}
    with pytest.raises(Malformed):
        list(fold({"a": tensor(bytes(99)), "b": Tensor.whole(UINT8, (9,), Broken(9, Malformed("bad")))}, lambda t: Joined(), workers=2))


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.integers(0, 200), max_size=12), st.integers(1, 3), st.booleans())
def test_any_sizes(sizes: list[int], crew: int, divisible: bool) -> None:
    tensors = {str(at): tensor(os.urandom(size)) for at, size in enumerate(sizes)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "ITEM", 64)
        patch.setattr(workers, "BLOCK", 16)
        found = {name: one.data for name, one in fold(tensors, lambda t: Joined(), workers=crew, divisible=divisible)}
    assert found == {name: t.tobytes() for name, t in tensors.items()}


def test_tied_names_are_read_once_and_views_by_themselves() -> None:
    storage = Memory(bytes(range(6)))
    whole, turned = Tensor.whole(UINT8, (2, 3), storage), Tensor.view(UINT8, (3, 2), storage, (1, 3), 0)
    made: list[Tensor] = []

    def make(one: Tensor) -> Joined:
        made.append(one)
        return Joined()

    found = {name: one.data for name, one in fold({"a": whole, "b": turned, "c": whole}, make)}
    assert found == {"a": bytes(range(6)), "b": bytes([0, 3, 1, 4, 2, 5]), "c": bytes(range(6))}
    assert len(made) == 2


@pytest.mark.usefixtures("small_pieces")
def test_what_is_drawn_in_order_is_not_cut() -> None:
    drawn = Tensor.whole(UINT8, (300,), Drawn(300, lambda: iter([bytes(range(100))] * 3)))
    [(_, one)] = fold({"a": drawn}, lambda t: Joined(), workers=2)
    assert one.data == bytes(range(100)) * 3 and one.parts == 1


def test_two_storages_in_lockstep() -> None:
    """What diff needs: a job over two tensors, blocks of both at once."""
    left, right = os.urandom(1000), os.urandom(1000)

    def same(item: tuple[Storage, Storage], reader: Reader) -> list[bool]:
        one, two = (reader.blocks(storage, 0, 1000, slot) for slot, storage in enumerate(item))
        return [a == b for a, b in zip(one, two, strict=True)]

    pairs = [(Memory(left), Memory(left)), (Memory(left), Memory(right)), (Memory(left), Memory(left[:999] + b"?" + left[1000:]))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "BLOCK", 256)
        found = list(each(pairs, same, [2000] * 3, workers=2))
    assert found[:2] == [[True] * 4, [False] * 4] and found[2] == [True, True, True, left[999:] == b"?"]


ERRORS = {
    "ours": (Malformed("it is broken", "mend it", "file"), "file: it is broken (mend it)"),
    "the system's": (OSError(5, "Input/output error", "file"), "Input/output error"),
    "one that cannot be sent": (ValueError("no", lambda: 0), "ValueError"),
}


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("crew", [1, 2])
@pytest.mark.usefixtures("small_pieces", "nothing_left")
def test_an_error_in_a_worker_comes_out_after_what_was_before_it(crew: int, kind: str) -> None:
    error, text = ERRORS[kind]
    tensors = {"a": tensor(bytes(99)), "b": Tensor.whole(UINT8, (99,), Broken(99, error)), "c": tensor(bytes(99))}
    seen = []
    with pytest.raises(Exception) as caught:
        seen.extend(name for name, _ in fold(tensors, lambda t: Joined(), workers=crew))
    assert seen == [] or seen == ["a"]
    assert text in str(caught.value) or type(caught.value).__name__ == text
    assert kind.startswith("one") or type(caught.value) is type(error)


@pytest.mark.usefixtures("small_pieces")
def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(1000))
    cut = Tensor.whole(UINT8, (1000,), Extent(File(str(path)), 0, 1000))
    os.truncate(path, 500)
    with pytest.raises(Malformed, match="shorter"):
        list(fold({"a": cut}, lambda t: Joined(), workers=2))


class Slow(Joined):
    def add(self, block: bytearray) -> None:
        time.sleep(20)


@pytest.mark.usefixtures("small_pieces", "nothing_left")
def test_stopping_early_ends_the_workers() -> None:
    others = children()  # of other tests
    with closing(
        fold({"a": tensor(bytes(9)), "b": tensor(bytes(5000))}, lambda t: Slow() if t.nbytes > 9 else Joined(), workers=2)
    ) as found:
        assert next(found)[0] == "a"
        assert len(children() - others) == 2
    assert children() == others


@pytest.mark.usefixtures("small_pieces", "nothing_left")
def test_a_worker_that_is_killed_is_an_error() -> None:
    def die(item: int, reader: Reader) -> int:
        if item == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    with pytest.raises(ReadError, match="ended from outside"):
        list(each(range(50), die, [1] * 50, workers=2))


def test_what_has_no_elements_is_refused() -> None:
    sparse = Tensor.view(UINT8, (2,), Memory(b"ab"), (1,), 0, Layout.SPARSE_COO)
    with pytest.raises(Opaque):
        list(fold({"a": sparse}, lambda t: Joined()))


ENDLESS = """
import os, sys, time
from ckpt_cli.tensors.blocks import each
def job(item, reader):
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(60)
try:
    list(each(range(4), job, [1] * 4, workers=2))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(("number", "to_group", "status"), [(signal.SIGINT, True, 130), (signal.SIGINT, False, 130)])
def test_interrupted_nothing_is_left(number: int, to_group: bool, status: int) -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=heeds_ctrl_c
    )
    assert running.stdout is not None and running.stderr is not None
    pids = [int(running.stdout.readline()) for _ in range(2)]
    (os.killpg if to_group else os.kill)(running.pid, number)
    assert running.wait(10) == status
    assert not any(alive(pid) for pid in pids)
    assert running.stderr.read() == b""
    running.stdout.close()
    running.stderr.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_end_when_the_program_is_killed() -> None:
    program = ENDLESS.replace("sleep(60)", "sleep(0.3)").replace("range(4)", "range(4000)").replace("[1] * 4,", "[1] * 4000,")
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert running.stdout is not None
    pids = [int(running.stdout.readline()) for _ in range(2)]
    running.kill()
    running.wait(10)
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.stdout.close()
    assert not any(alive(pid) for pid in pids)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise io.UnsupportedOperation


def test_progress_is_drawn_after_half_a_second_and_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress_module, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with Progress() as progress:
        now[0] = 0.4
        progress(10**9, 8 * 10**9)
        assert sys.stderr.getvalue() == ""
        for now[0], done in ((1.0, 2), (1.05, 3), (2.0, 4)):
            progress(done * 10**9, 8 * 10**9)
    drawn = sys.stderr.getvalue().split("\r")[1:]
    assert drawn == [
        "2.0 GB of 8.0 GB (25 %), 2.0 GB/s, 3 s left\x1b[K",
        "4.0 GB of 8.0 GB (50 %), 2.0 GB/s, 2 s left\x1b[K",
        "\x1b[K",
    ]


def test_progress_is_silent_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_AFTER", -1.0)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Progress() as progress:
        progress(1, 2)
    assert sys.stderr.getvalue() == ""


@pytest.mark.parametrize(
    ("done", "seconds", "text"),
    [(0, 1.0, "0 B of 1.0 TB (0 %), 0 B/s"), (10**9, 1.0, "1.0 GB of 1.0 TB (0 %), 1.0 GB/s, 17 min left")],
)
def test_progress_line(done: int, seconds: float, text: str) -> None:
    assert line(done, 10**12, seconds) == text

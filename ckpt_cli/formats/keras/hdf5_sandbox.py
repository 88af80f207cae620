"""Runs the HDF5 library in a forked child process, with limits on time and memory.

The library is written in C: a hostile file can make it crash, hang or use all memory. The child walks the file (hdf5_walk) and answers in
JSON through a pipe; whatever happens to it, this process gets an answer or raises Malformed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from signal import SIG_DFL, SIGINT, SIGKILL, SIGTERM, SIGXCPU, signal
from typing import TYPE_CHECKING, Any, NoReturn

from ...errors import Malformed, ReadError
from ...storage.descriptors import write_all

if TYPE_CHECKING:
    from ...storage.storage import Storage

_CPU_SECONDS = 7  # of processor time; a file that a framework wrote takes a small part of it
_WALL_SECONDS = 16
_MEMORY = 1 << 30  # bytes that the child may use beyond those of this process
_MOST_ANSWER = 512 << 20  # bytes
_NO_MEMORY = 3  # the exit status of a child that ran out of memory


def walk_in_child(source: Storage) -> bytes:
    """Walk the HDF5 file whose bytes are `source`.

    Returns:
        JSON: {"objects": [record, …]} (see hdf5_objects), or {"error": text}.

    Raises:
        Malformed: The child crashed, or took too much time or memory.
        ReadError: This system cannot fork.
    """
    return run_in_child(lambda: _answer(source))


def run_in_child(job: Callable[[], bytes]) -> bytes:
    """Return what `job` returns, which is run in a process of its own.

    Raises:
        Malformed: The child failed or crashed, or took too much time or memory.
        ReadError: This system cannot fork.
    """
    if not hasattr(os, "fork"):
        raise ReadError("HDF5 is read in a process of its own, and this system cannot fork one")
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _run_child(job, write_end)
    os.close(write_end)
    answer = None
    try:
        answer = _read_answer(read_end)
    finally:
        os.close(read_end)
        if answer is None:
            os.kill(child, SIGKILL)
        status = os.waitpid(child, 0)[1]
    if answer is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == SIGXCPU):
        raise Malformed("the HDF5 file keeps its reader busy without an end")
    if status or not answer:
        raise Malformed(f"the HDF5 file makes its reader fail: {_failure(status)}")
    return answer


def _read_answer(pipe: int) -> bytes | None:
    """Read the pipe to its end; None where that takes too long or the answer is too large."""
    from select import POLLIN, poll  # select() takes no descriptor above 1023
    from time import monotonic

    waiting = poll()
    waiting.register(pipe, POLLIN)

    deadline, answer = monotonic() + _WALL_SECONDS, bytearray()
    while waiting.poll(max(0, deadline - monotonic()) * 1000):
        piece = os.read(pipe, 1 << 16)
        if not piece:
            return bytes(answer)
        answer += piece
        if len(answer) > _MOST_ANSWER:
            break
    return None


def _failure(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"it crashes with signal {os.WTERMSIG(status)}"
    return "it needs too much memory" if os.WEXITSTATUS(status) == _NO_MEMORY else f"status {os.WEXITSTATUS(status)}"


def _run_child(job: Callable[[], bytes], pipe: int) -> NoReturn:
    """Run the job within limits, write its answer and end. Nothing that the child prints reaches a terminal."""
    status = 1
    try:
        _confine()
        write_all(pipe, job())
        status = 0
    except MemoryError:
        status = _NO_MEMORY
    except BaseException:
        pass
    os._exit(status)


def _confine() -> None:
    """Set the limits, silence the C library, and let signals kill this process at once."""
    import faulthandler

    faulthandler.disable()
    for number in (SIGINT, SIGTERM, SIGXCPU):
        signal(number, SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    _limit_resources()


def _limit_resources() -> None:
    import resource

    with open("/proc/self/statm" if os.path.exists("/proc/self/statm") else os.devnull) as file:
        pages = int((file.read().split() or ["0"])[0])
    cpu_seconds = int(sum(os.times()[:2]))
    for limit, value in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + _MEMORY),
        (resource.RLIMIT_CPU, cpu_seconds + _CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (allowed, hard))


def _answer(source: Storage) -> bytes:
    import json

    from . import hdf5_walk
    from .hdf5_library import ReadOnlyFile

    try:
        file = ReadOnlyFile(lambda at, count: source.read(at, at + count), source.nbytes)
        answer: dict[str, Any] = {"objects": hdf5_walk.walk(file)}
    except MemoryError:
        raise
    except Exception as error:
        answer = {"error": (str(*error.args[:1]).splitlines() or [type(error).__name__])[0][:300]}
    return json.dumps(answer).encode()

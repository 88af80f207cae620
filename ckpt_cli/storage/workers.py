"""Jobs done in parallel: in forked workers, in threads where there is no fork, or one after another here. Results come in order.

A job is a function of an item and a `Reader`. Forked workers inherit the items and the function, so only the index of an item is sent to
them, and only its result comes back, pickled. They end with the caller: when all results are there, when the caller gives up or is
interrupted (they are killed), and when it is killed itself (the pipe of indices ends, and they exit).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ..errors import ReadError
from .descriptors import read_into, write_all
from .storage import Storage

T = TypeVar("T")
R = TypeVar("R")

BLOCK = 512 << 10  # bytes: a block and what is computed from it stay in the cache of a core
THREAD_BLOCK = 4 << 20  # bytes: threads pass on the interpreter's lock between blocks, so theirs are larger
_REPORTED = 16 << 20  # bytes after which a worker reports its progress
_AHEAD = 2  # items that wait for each worker


class Reader:
    """Reads storages for a job, into buffers that are used again and again.

    Args:
        size: bytes of a block.
        report: is called with the number of bytes after each block.
    """

    def __init__(self, size: int = BLOCK, report: Callable[[int], None] | None = None) -> None:
        self.size, self.report = size, report
        self._buffers: dict[int, bytearray] = {}

    def blocks(self, storage: Storage, start: int, stop: int, buffer_index: int = 0) -> Iterator[bytearray]:
        """Yield the bytes [start, stop) in order. A block is valid until the next one with the same `buffer_index` is asked for.

        To read two storages in lockstep, zip the blocks of two buffer indices. Two bytearrays are compared as fast as memory is read.
        """
        for at in range(start, stop, self.size):
            block = self._buffer(min(self.size, stop - at), buffer_index)
            storage.readinto(at, memoryview(block))
            yield block
            if self.report:
                self.report(len(block))

    def _buffer(self, count: int, buffer_index: int) -> bytearray:
        if count < self.size:
            return bytearray(count)
        if buffer_index not in self._buffers:
            self._buffers[buffer_index] = bytearray(count)
        return self._buffers[buffer_index]


Job = Callable[[T, Reader], R]
Report = Callable[[int], None]


def alone(items: Sequence[T], job: Job[T, R], report: Report) -> Iterator[R]:
    """Yield the result of each item, computed in this process, one after the other."""
    reader = Reader(BLOCK, report)
    return (job(item, reader) for item in items)


def threaded(items: Sequence[T], job: Job[T, R], report: Report, workers: int) -> Iterator[R]:
    """Yield the result of each item, computed in threads; each job has a reader of its own."""
    from concurrent.futures import ThreadPoolExecutor

    def done(item: T) -> R:
        return job(item, Reader(THREAD_BLOCK, report))

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(done, item) for item in items]
        try:
            while futures:
                yield futures.pop(0).result()
        finally:
            pool.shutdown(cancel_futures=True)


def forked(items: Sequence[T], job: Job[T, R], report: Report, workers: int, order: Sequence[int]) -> Iterator[R]:
    """Yield the result of each item, computed in forked processes that take items in `order`. An error is raised in its turn.

    Raises:
        ReadError: a worker was killed from outside.
    """
    import pickle  # noqa: F401 (imported before the fork, so that workers share it)

    crew = _Crew(items, job, workers, order)
    try:
        for index in range(len(items)):
            result, error = crew.outcome(index, report)
            if error is not None:
                raise error
            yield result
    finally:
        crew.end()


class _Crew:
    """Workers, the pipe that gives them indices of items, and a pipe from each for its messages."""

    def __init__(self, items: Sequence[Any], job: Job[Any, Any], workers: int, order: Sequence[int]) -> None:
        self._queue = iter(order)
        self._done: dict[int, tuple[Any, Exception | None]] = {}
        self._workers: dict[int, int] = {}  # the read end of its pipe → process id
        todo, self._todo = os.pipe()
        try:
            for _ in range(workers):
                self._hire(items, job, todo)
            for _ in range(workers * _AHEAD):
                self._hand_out()
        except BaseException:
            self.end()
            raise
        finally:
            os.close(todo)

    def _hire(self, items: Sequence[Any], job: Job[Any, Any], todo: int) -> None:
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)  # a signal to the group is handled by the program, which ends its workers
                os.close(self._todo)  # a write end left open here would keep the pipe from ending
                os.close(out)
                _serve(items, job, todo, into)
            finally:
                os._exit(0)
        os.close(into)
        self._workers[out] = pid

    def _hand_out(self) -> None:
        """Send one more index, which any worker takes; after the last one the pipe is closed, and the workers end."""
        index = next(self._queue, None)
        if index is None:
            self._no_more()
            return
        try:
            os.write(self._todo, index.to_bytes(4, "little"))
        except BrokenPipeError:  # no worker is left; `_ready` finds their pipes ended
            pass

    def _no_more(self) -> None:
        if self._todo >= 0:
            os.close(self._todo)
            self._todo = -1

    def outcome(self, index: int, report: Report) -> tuple[Any, Exception | None]:
        """Wait for the result of an item, or the error that it ended in."""
        while index not in self._done:
            for pipe in self._ready():
                self._receive_message(pipe, report)
        return self._done.pop(index)

    def _ready(self) -> list[int]:
        """Wait until workers have something to say; the pipes of these."""
        import select

        if not self._workers:
            raise ReadError("a worker process was ended from outside", "is there enough memory?")
        poll = select.poll()
        for pipe in self._workers:
            poll.register(pipe, select.POLLIN)
        return [pipe for pipe, _ in poll.poll()]

    def _receive_message(self, pipe: int, report: Report) -> None:
        """Take one message of a worker: bytes read since the last one, and perhaps the outcome of an item."""
        size = _receive(pipe, 8)
        if len(size) < 8:  # the worker has ended, or was killed
            os.close(pipe)
            os.waitpid(self._workers.pop(pipe), 0)
            return
        import pickle

        message = _receive(pipe, int.from_bytes(size, "little"))
        read, index, result, error = pickle.loads(message)
        report(read)
        if index is not None:
            self._done[index] = result, error
            self._hand_out()

    def end(self) -> None:
        """Kill the workers that are left, and close all pipes."""
        self._no_more()
        while self._workers:
            pipe, pid = self._workers.popitem()
            os.close(pipe)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _serve(items: Sequence[Any], job: Job[Any, Any], todo: int, into: int) -> None:
    """Run a worker: take an index, send a result or an error, until there are no more indices."""
    import pickle

    read = 0

    def report(count: int) -> None:
        nonlocal read
        read += count
        if read >= _REPORTED:
            send(None, None, None)

    def send(index: int | None, result: Any, error: Exception | None) -> None:
        nonlocal read
        message = pickle.dumps((read, index, result, error))
        read = 0
        write_all(into, len(message).to_bytes(8, "little") + message)

    reader = Reader(BLOCK, report)
    while taken := os.read(todo, 4):
        index = int.from_bytes(taken, "little")
        try:
            result = job(items[index], reader)
        except Exception as error:
            send(index, None, _portable(error))
        else:
            send(index, result, None)


def _portable(error: Exception) -> Exception:
    """The error, if it survives pickling; else its text as a RuntimeError."""
    import pickle

    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _receive(pipe: int, count: int) -> bytearray:
    """`count` bytes; fewer where the pipe ends."""
    data = bytearray(count)
    return data[: read_into(pipe, memoryview(data))]

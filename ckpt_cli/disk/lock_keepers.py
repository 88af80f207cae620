"""Locks of more files than this program may have open: they are handed over to processes that do nothing but hold them.

A lock (flock) belongs to the open file, and ends with the last descriptor of it, in whichever process. A keeper ends with this program: its
socket ends then.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from ..storage.open_files import allowed
from . import locks

if TYPE_CHECKING:
    from socket import socket

_SHARE = 4  # one in so many descriptors that are allowed is for locks
_SPARE = 16  # descriptors of a keeper that hold no lock


class LockKeepers:
    """Holds open files that are locked: a part of what is allowed in this process, the others in keepers."""

    def __init__(self) -> None:
        self._own: list[int] = []
        self._keepers: dict[int, socket] = {}  # by process id
        self._allowed = self._room = 0

    def hold(self, fd: int) -> None:
        """Take over an open file that is locked, until `end`."""
        self._allowed = self._allowed or allowed()
        if len(self._own) < self._allowed // _SHARE or not hasattr(os, "fork"):
            self._own.append(fd)
            return
        if not self._room:
            self._start()
        from socket import send_fds

        send_fds(list(self._keepers.values())[-1], [b"."], [fd])
        self._room -= 1
        locks.pass_on(fd)

    def _start(self) -> None:
        """Start another keeper."""
        from socket import socketpair

        here, there = socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                _keep(there)
            finally:
                os._exit(0)
        there.close()
        self._keepers[pid] = here
        self._room = self._allowed - _SPARE

    def end(self) -> None:
        """Give all locks back."""
        while self._own:
            locks.close(self._own.pop())
        while self._keepers:
            pid, here = self._keepers.popitem()
            here.close()
            os.waitpid(pid, 0)
        locks.end_kept()


def _keep(there: socket) -> None:
    """Run a keeper: hold what comes, until nothing can come any more. Signals to the group are for the program, which ends it."""
    import gc
    from socket import recv_fds

    gc.disable()  # what it would find belongs to the program, and closes descriptors by number
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    own = there.fileno()
    os.closerange(0, own)
    os.closerange(own + 1, allowed())
    while recv_fds(there, 1, 1)[0]:
        pass

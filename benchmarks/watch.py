"""Runs a command and prints, in one line: its exit status, seconds, peak memory and bytes written, all its processes together.

It is a program of its own, and a small one: what the system tells of a process (ru_maxrss) includes what its parent held when it forked.
"""

from __future__ import annotations

import os
import sys
import time


def memory(group: int) -> int:
    """The memory of a process group now, without this process: pages that several share count once (PSS).

    A process between vfork and exec would count with all that its parent has; ckpt forks alone.
    """
    total = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and int(name) != os.getpid() and os.getpgid(int(name)) == group:
                with open(f"/proc/{name}/smaps_rollup") as rollup:
                    total += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) * 1024
        except (OSError, StopIteration):  # it has ended meanwhile
            pass
    return total


def written(pid: int) -> int:
    """What a process that has ended, and the children it waited for, gave to write calls or dirtied in whole pages, whichever is more."""
    with open(f"/proc/{pid}/io") as counters:
        told = dict(line.split(": ") for line in counters)
    return max(int(told["wchar"]), int(told["write_bytes"]))


def main() -> None:
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # the group is what tells its processes from others
    start = time.perf_counter()
    child = os.fork()
    if not child:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.execvp(sys.argv[1], sys.argv[1:])
        finally:
            os._exit(127)  # where there is no such program
    peak = 0
    # The child is left a zombie until its counters are read.
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        began = time.perf_counter()
        peak = max(peak, memory(os.getpgrp()))
        # To look through a large process takes long and holds it up: a tenth of the time at most is spent on that.
        time.sleep(max(0.002, 10 * (time.perf_counter() - began)))
    seconds = time.perf_counter() - start
    wrote = written(child)
    _, status, usage = os.wait4(child, 0)
    # Neither can be too much: samples may miss the peak, and the largest process alone is part of the whole.
    print(os.waitstatus_to_exitcode(status), seconds, max(peak, usage.ru_maxrss * 1024), wrote)


if __name__ == "__main__":
    main()

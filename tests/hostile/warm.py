"""A warm process that forks a child for every command line: each has its own limits, its own streams, and may only read.

Run as a program: a request is a line of JSON on standard input, the answer a line on standard output. A list of requests shares a child.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import sys
import sysconfig
import time
from typing import Any

SECONDS = 20  # of the processor
WAIT = 60  # a machine that is busy is slow, not wrong
ADDRESS_SPACE = 4 << 30

# What no reading may do, as CPython's audit hooks call it; what a child is caught at ends it with this status.
CAUGHT = 99
_FORBIDDEN = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "subprocess.Popen",
    "pty.spawn",
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "urllib.Request",
    "ftplib.connect",
    "smtplib.connect",
    "pickle.find_class",
    "webbrowser.open",
    "ctypes.dlopen",
    "code.__new__",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.utime",
    "os.setxattr",
    "shutil.rmtree",
    "shutil.move",
    "shutil.copyfile",
    "tempfile.mkstemp",
    "tempfile.mkdtemp",
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def watch(event: str, args: tuple[Any, ...]) -> None:
    """Ends the process where it does what reading never does."""
    writes = event == "open" and ((isinstance(args[1], str) and set(args[1]) & set("wax+")) or (args[2] or 0) & _WRITING)
    if writes and args[0] == os.devnull:
        return
    ours = event == "pickle.find_class" and str(args[0]).startswith("ckpt_cli.")  # what workers send home
    ours = ours or (event == "ctypes.dlopen" and args == (None,))  # ctypes itself, which numpy imports
    if writes or (event in _FORBIDDEN and not ours):
        os.write(2, f"caught at {event} {args!r}\n".encode(errors="replace"))
        os._exit(CAUGHT)


def confine(out: int, err: int) -> None:
    """Give this process, a new child, the limits and the streams of a case."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((null, 0), (out, 1), (err, 2)):
        os.dup2(ours, theirs)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def child(request: dict[str, Any], out: int, err: int) -> None:
    """Become the command line: never returns."""
    confine(out, err)
    os.closerange(3, 64)
    os.chdir(request["folder"])
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 (as long as the process)
    sys.argv = ["ckpt", *request["args"]]
    if not request["writes"]:
        sys.addaudithook(watch)
    from ckpt_cli.start import run

    run()


def children(requests: list[dict[str, Any]], streams: list[tuple[int, int]], ended: int) -> None:
    """Run the command lines one after the other, in one process; each status is written to `ended` as a line. Never returns."""
    confine(*streams[0])
    sys.stdin = open(0)  # noqa: SIM115 (as long as the process)
    texts = [(open(out, "w"), open(err, "w")) for out, err in streams]  # noqa: SIM115 (before opening is watched)
    sys.addaudithook(watch)
    from ckpt_cli.cli import main

    gc.disable()  # as the program does
    for request, (out, err), (sys.stdout, sys.stderr) in zip(requests, streams, texts, strict=True):
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(request["folder"])
        sys.argv = ["ckpt", *request["args"]]
        status = main()
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(ended, f"{status}\n".encode())
    os._exit(0)


def awaited(pid: int) -> tuple[int, bool, int]:
    """How a child ends: its exit code, whether it had to be killed, and the most kilobytes that it held."""
    handle = os.pidfd_open(pid)
    late = not select.select([handle], [], [], WAIT)[0]
    if late:
        os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    os.close(handle)
    return os.waitstatus_to_exitcode(status), late, usage.ru_maxrss


def taken(fd: int) -> str:
    """What was written to a file in memory, which is then closed."""
    text = os.pread(fd, os.fstat(fd).st_size, 0).decode("utf-8", "backslashreplace")
    os.close(fd)
    return text


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command line in a child of its own."""
    out, err = os.memfd_create("out"), os.memfd_create("err")
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            child(request, out, err)
        finally:
            os._exit(98)
    status, late, kilobytes = awaited(pid)
    seconds = time.monotonic() - began
    return {"status": status, "out": taken(out), "err": taken(err), "late": late, "seconds": seconds, "kilobytes": kilobytes}


def answers(requests: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
    """Run command lines, which only read, in one child; None for those that it did not live to end."""
    streams = [(os.memfd_create("out"), os.memfd_create("err")) for _ in requests]
    ended = os.memfd_create("ended")
    pid = os.fork()
    if pid == 0:
        try:
            children(requests, streams, ended)
        finally:
            os._exit(98)
    _, _, kilobytes = awaited(pid)
    texts = [(taken(out), taken(err)) for out, err in streams]
    statuses = [int(line) for line in taken(ended).split()]
    known = {"late": False, "seconds": 0.0, "kilobytes": kilobytes}
    found = [{"status": status, "out": out, "err": err} | known for status, (out, err) in zip(statuses, texts, strict=False)]
    return [*found, *[None] * (len(requests) - len(found))]


def serve(modules: list[str]) -> None:
    from importlib import import_module

    import ckpt_cli.cli  # noqa: F401

    sys.path[0] = sysconfig.get_path("scripts")  # as the program `ckpt` has it
    for module in modules:
        import_module(module)
    loaded = {name for name in ("json", "torch") if name in sys.modules}
    for name in loaded:  # a command that wants one looks for it anew, and so may find the one that lies in its folder
        del sys.modules[name]
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(answers(request) if isinstance(request, list) else answer(request)), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1:])

"""A warm process that forks a child for every command line: each has its own limits, its own streams, and may only read.

Run as a program: a request is a line of JSON on standard input, the answer a line on standard output.
"""

from __future__ import annotations

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


def child(request: dict[str, Any], out: int, err: int) -> None:
    """Become the command line: never returns."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((null, 0), (out, 1), (err, 2)):
        os.dup2(ours, theirs)
    os.closerange(3, 64)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(request["folder"])
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 (as long as the process)
    sys.argv = ["ckpt", *request["args"]]
    if not request["writes"]:
        sys.addaudithook(watch)
    from ckpt_cli.start import run

    run()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    out, err = os.memfd_create("out"), os.memfd_create("err")
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            child(request, out, err)
        finally:
            os._exit(98)
    handle = os.pidfd_open(pid)
    late = not select.select([handle], [], [], WAIT)[0]
    if late:
        os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - began
    texts = [os.pread(fd, os.fstat(fd).st_size, 0).decode("utf-8", "backslashreplace") for fd in (out, err)]
    for fd in (out, err, handle):
        os.close(fd)
    status = os.waitstatus_to_exitcode(status)
    return {"status": status, "out": texts[0], "err": texts[1], "late": late, "seconds": seconds, "kilobytes": usage.ru_maxrss}


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
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1:])

"""Where the program begins and ends: the process around a command line.

Nothing heavy is imported at the top: Ctrl-C during an import ends the program quietly, too.
"""

from __future__ import annotations

import os
import sys

_INTERRUPTED = 130  # exit status: 128 + SIGINT


def start() -> None:
    """Run the `ckpt` program."""
    try:
        run()
    except KeyboardInterrupt:  # there is nothing to clean up yet, or no longer
        os._exit(_INTERRUPTED)
    except BaseException as error:
        from .cli import Terminated

        if isinstance(error, Terminated):  # before `main` begins, or after it has ended
            os._exit(128 + int(error.args[0]))
        raise


def run() -> None:
    """Run the command line of this process, and end the process with its exit status."""
    import gc
    from signal import SIGHUP, SIGTERM, signal

    from .cli import main

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # ckpt divides the work itself; numpy's own threads would only get in the way
    _leave_deleted_folder()
    signal(SIGTERM, _terminate)
    signal(SIGHUP, _terminate)
    gc.disable()  # a command ends before garbage matters; collecting it costs a third of the start-up
    status = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        status = status if status else 0
    os._exit(status)  # everything is cleaned up; tearing down the interpreter would only take time


def _terminate(number: int, frame: object) -> None:
    from .cli import Terminated

    raise Terminated(number)


def _leave_deleted_folder() -> None:
    """Move to /proc/self if the current folder was deleted: libraries that ask for it (oneMKL) stop otherwise. No user has files there."""
    try:
        os.getcwd()
    except OSError:
        if os.path.isdir("/proc/self"):
            os.chdir("/proc/self")

"""The fence around a library of models: what its code may do while `ckpt` asks it.

A config is data from a stranger, and a library does much with one: it imports, looks for files, downloads, warns. Inside the fence
nothing is fetched or unpickled, modules in the current folder are not imported, nothing is printed, and every exception becomes a
LibraryError of one line. `bounds` adds bounds of size, time and memory while a model is built.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from ..architectures.user_module import one_line
from ..errors import CkptError, LibraryError

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "USE_HUB_KERNELS": "NO",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
REFUSED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "pickle.find_class")  # audit events

_inside = 0  # how many fences stand at present
_watched = False


class Stopped(BaseException):
    """A bound was passed (`bounds`). No `except Exception` of a library catches it."""


@contextmanager
def fenced(library: str, what: str) -> Iterator[None]:
    """Run a library's code.

    Args:
        library: its name and, where it is known, its version.
        what: what it is asked to build, for messages.

    Raises:
        LibraryError: the code raises anything, or a bound is passed.
    """
    global _inside
    _watch()
    os.environ.update(ENVIRONMENT)
    _go_offline()
    _inside += 1
    try:
        with _quiet(), _no_folder_on_path():
            yield
    except CkptError:
        raise
    except Stopped as stopped:
        raise LibraryError(f"{library} was stopped at {what}: {stopped}", _MEND) from None
    except MemoryError:
        raise LibraryError(f"{library} was stopped at {what}: it takes too much memory", _MEND) from None
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise LibraryError(f"{library} needs {missing} for {what}", f"pip install {missing}" if missing else "") from error
    except (Exception, SystemExit) as error:
        raise LibraryError(f"{library} cannot build {what}: {one_line(error)}", _MEND) from error
    finally:
        _inside -= 1


_MEND = "see what its config.json says"


def _watch() -> None:
    """Have Python ask `_audit` about every connection and every class that a pickle names. An audit hook stays until the process ends."""
    global _watched
    if not _watched:
        sys.addaudithook(_audit)
        _watched = True


def _audit(event: str, details: tuple[object, ...]) -> None:
    if _inside and event in REFUSED:
        raise PermissionError(f"ckpt lets no library do this: {event}")


def _go_offline() -> None:
    """Tell huggingface_hub, which reads the environment once, where the user's own program imported it before."""
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what a library prints, logs or warns of is shown, unless CKPT_DEBUG is set."""
    if os.environ.get("CKPT_DEBUG") == "1":
        yield
        return
    import logging
    import warnings
    from io import StringIO

    level = logging.root.manager.disable
    nowhere = StringIO()
    with redirect_stdout(nowhere), redirect_stderr(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(level)


@contextmanager
def _no_folder_on_path() -> Iterator[None]:
    """Modules in the current folder are not imported: a `typing.py` may lie beside a checkpoint."""
    path = list(sys.path)
    sys.path[:] = outside_current_folder(path)
    try:
        yield
    finally:
        sys.path[:] = path


def outside_current_folder(path: Iterable[str]) -> list[str]:
    """Return the import path without the current folder, unless Python itself or its packages are there."""
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # the folder was deleted
        here = ""
    own = tuple(os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix))
    if here.startswith(own):
        return [entry for entry in path if entry]
    return [entry for entry in path if entry and os.path.realpath(entry) != here]

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
def fenced(library: str, where: str) -> Iterator[None]:
    """Run a library's code.

    Args:
        library: its name and version.
        where: the config that it is asked about, for messages.

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
    except CkptError as error:
        error.where = error.where or where
        raise
    except (Exception, SystemExit, Stopped) as error:
        raise _told(error, library, where) from (None if isinstance(error, (Stopped, MemoryError)) else error)
    finally:
        _inside -= 1


def _told(error: BaseException, library: str, where: str) -> LibraryError:
    """What a library raised, in one line."""
    if isinstance(error, Stopped):
        return LibraryError(f"{library} was stopped: the model {error}", "see what the config says", where)
    if isinstance(error, MemoryError):
        return LibraryError(f"{library} was stopped: the model takes too much memory", "see what the config says", where)
    if isinstance(error, ImportError) and (missing := _missing(error)):
        return LibraryError(f"{library} needs {missing} for this model", f"pip install {missing}", where)
    if type(error).__name__ == "OfflineModeIsEnabled":
        return LibraryError(f"{library} would fetch a part of this model", "ckpt fetches nothing", where)
    why = one_line(error).partition(" Exception raised from ")[0]  # torch goes on with its own frames
    return LibraryError(f"{library} cannot build the model: {why}", "see what the config says", where)


def _missing(error: ImportError) -> str:
    """The package that an import lacks: Python's own error names it, or the library's text does: `requires the timm library`."""
    import re

    told = re.search(r"requires the (\w+) library", str(error))
    return (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else told[1] if told else ""


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

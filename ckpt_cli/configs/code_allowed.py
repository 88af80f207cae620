"""Whether code that a text names may run. Where the text is the command line it may; where it is a file, only if the user says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UsageError

_refused = 0  # of the process, not of a context: a thread that is started meanwhile must not be freer


@contextmanager
def code_allowed(allowed: bool) -> Iterator[None]:
    """Within the block a file is followed; `allowed` says whether the code that it names may run."""
    global _refused
    _refused += not allowed
    try:
        yield
    finally:
        _refused -= not allowed


def require_code_allowed(spec: str) -> None:
    """Refuse to run what `spec` names, `FILE.py:NAME` or `package.module:NAME`, where a file says it and the user has not allowed it.

    Raises:
        UsageError: it may not run.
    """
    if _refused:
        raise UsageError(f"{spec} is code, which a recipe may not run by itself", "read it; where you trust it, add --allow-code")

"""What errors say to a Python program: the options that they name are arguments here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from .. import errors
from ..errors import CkptError

_FLAGS = ("allow-code", "common", "dequantise", "exact", "force", "fresh", "ignore-index")
_CHOICES = "linear|slerp|task|ties|dare|zeros|keep|drop|none|own|float32"
# A command line that is quoted stays as it is. A value is in capitals, in quotes, a number or one of the choices.
_OPTION = re.compile(rf"""ckpt [a-z][^`;)]*|(?<![\w-])--([a-z][a-z-]*)(?: (?:(?=[A-Z0-9'"])|({_CHOICES})\b))?|(?<![\w-])-i\b|\bfrom = """)


def in_python(line: str) -> str:
    """Return a line with arguments in place of options: `--force` is `force=True`, `--base BASE` is `base=BASE`."""
    return _OPTION.sub(_argument, line)


def _argument(found: re.Match[str]) -> str:
    option, choice = found.groups()
    if option is None:
        return {"-i": "in_place=True", "from = ": "from_="}.get(found[0], found[0])
    value = f'"{choice}"' if choice else "True" if option in _FLAGS else ""
    name = "from_" if option == "from" else option.replace("-", "_")
    return f"{name}={value}{' ' if option in _FLAGS and found[0].endswith(' ') else ''}"


@contextmanager
def about(where: str) -> Iterator[None]:
    """Do what `errors.about` does, and say errors in the words of Python."""
    try:
        with errors.about(where):
            yield
    except CkptError as error:
        error.what, error.mend = in_python(error.what), in_python(error.mend)
        raise

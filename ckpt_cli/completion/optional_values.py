"""Options whose value may be left out: `--by-layer`, or `--by-layer 2`. Their metavar is in brackets.

A value is a number. What else follows the option is the next argument: `ckpt diff --by-layer a.pt b.pt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

LEFT_OUT = "100"  # no path has more parts


def may_lack_value(param: Any) -> bool:
    """Return whether the value of a click parameter may be left out."""
    return param.param_type_name == "option" and (param.metavar or "").startswith("[")


def filled_in(words: Sequence[str], params: Iterable[Any]) -> Iterator[str]:
    """Yield the words of a command line, with a value behind each option that lacks one."""
    options = {name for param in params if may_lack_value(param) for name in param.opts}
    plain = False
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        plain = plain or word == "--"
        yield word
        if word in options and not plain and not following.isdecimal():
            yield LEFT_OUT

"""How large a config may be that a library is given: a library copies it many times, and makes objects by the counts in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import repeat

from ..configs import Config
from ..errors import LibraryError

_MOST_VALUES = 200_000  # of a config; 21,841 labels, by number and by name, are 44,000
_MOST_OBJECTS = 200_000  # that a library may make for a number: a text for each label, a type for each layer
_MOST_SIZE = 1 << 24  # of a vocabulary, of which there is a row each
_COUNTED = "labels|classes|layers?|blocks?|heads?|experts|stages|groups|depths?|levels|codebooks|quantizers"
_LIMITS = ((re.compile(rf"(^|_)({_COUNTED})$"), _MOST_OBJECTS), (re.compile(r"(^|_)vocab_size$"), _MOST_SIZE))  # by the entry's name


def require_moderate(config: Config) -> None:
    """Refuse a config that would cost a library much time and memory before any bound of its own.

    Raises:
        LibraryError: the config has too many values, or one of its counts is too large.
    """
    count = 0
    for name, value in _values(config.entries):
        count += 1
        most = _limit(name) if isinstance(value, int) else None
        if most and isinstance(value, int) and abs(value) > most:
            raise _too_many(f"{name} is {value:,}" if abs(value) < 10**30 else f"{name} has more than 30 digits", most, config)
    if count > _MOST_VALUES:
        raise _too_many(f"the config has {count:,} values", _MOST_VALUES, config)


def _too_many(what: str, most: int, config: Config) -> LibraryError:
    given = f"{config.library or 'a library'} is given no more than {most:,}"
    return LibraryError(f"{what[-200:]}, and {given}", "see what the config says", config.path)


def _limit(name: str) -> int | None:
    """The largest number that an entry of that name may be; None where it may be any."""
    return next((most for pattern, most in _LIMITS if pattern.search(name)), None)


def _values(entries: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield every value, at any depth, and the name of the entry that it stands in."""
    left: list[Iterator[tuple[str, object]]] = [iter([("", entries)])]
    while left:
        for name, value in left[-1]:
            yield name, value
            if isinstance(value, Mapping):
                left.append((str(key), inner) for key, inner in value.items())
                break
            if isinstance(value, (list, tuple)):
                left.append(zip(repeat(name), value, strict=False))
                break
        else:
            left.pop()

"""A command line as bash reads it, up to the cursor: its words without their quotes, and how the last one goes on."""

from __future__ import annotations

import os
import re
from typing import NamedTuple


class Word(NamedTuple):
    """`text` without quotes. What a shell replaces when the word is completed begins after `kept` characters of it.

    `quote` is the quote that is open at its end, if any; `meant` is the text with the values of its variables.
    """

    text: str
    kept: int = 0
    quote: str = ""
    meant: str = ""


_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def split(line: str, breaks: str = "") -> list[Word]:
    """The words of `line`, the last one that at the cursor: empty after a space. `breaks` also end what bash holds for a word."""
    found, text, meant, kept, quote, begun, at = [], "", "", 0, "", False, 0
    while at < len(line):
        variable = _VARIABLE.match(line, at) if quote != "'" else None
        if variable:
            text, meant, at = text + variable[0], meant + os.environ.get(variable[1] or variable[2], ""), variable.end()
            continue
        char, before = line[at], len(text)
        at += 1
        if quote == "'" or (quote and char != "\\"):
            text, quote = (text, "") if char == quote else (text + char, quote)
        elif char == "\\":
            after = line[at : at + 1]
            text += after if not quote or after in '"\\$`' else char + after
            at += 1
        elif char in "'\"":
            quote, begun = char, True
            kept = len(text)
        elif char.isspace():
            found += [Word(text, kept, "", meant)] if text or begun else []
            text, meant, kept, begun = "", "", 0, False
        else:
            text += char
            kept = len(text) if char in breaks else kept
        meant += text[before:]
    return [*found, Word(text, kept, quote, meant)]


def as_bash_takes_it(candidate: str, word: Word) -> str:
    """What replaces the end of `word` so that it reads as `candidate`: quoted in the way that was begun."""
    rest = candidate[word.kept :]
    if word.quote == "'":
        return rest.replace("'", "'\\''")
    if word.quote:
        return re.sub(r'([\\$`"])', r"\\\1", rest)
    return re.sub(r"([^\w@%+:,./=^\x80-\U0010ffff-])", r"\\\1", rest)

"""A command line as bash reads it, up to the cursor: its words without their quotes, and how the last word can go on."""

from __future__ import annotations

import os
import re
from typing import NamedTuple


class Word(NamedTuple):
    """One word.

    Attributes:
        text: The word without its quotes.
        kept: How many characters of `text` the shell keeps: a completion replaces those after them.
        quote: The quote that is open at the end of the word, or nothing.
        meant: The text with the values of its variables.
    """

    text: str
    kept: int = 0
    quote: str = ""
    meant: str = ""


_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def split(line: str, breaks: str = "") -> list[Word]:
    """Split a command line into words.

    Args:
        line: The command line up to the cursor.
        breaks: The characters that also end a word for bash's completion (COMP_WORDBREAKS).

    Returns:
        The words; the last one is at the cursor, and is empty after a space.
    """
    words, text, meant, kept, quote, quoted, at = [], "", "", 0, "", False, 0
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
            quote, quoted = char, True
            kept = len(text)
        elif char.isspace():
            words += [Word(text, kept, "", meant)] if text or quoted else []
            text, meant, kept, quoted = "", "", 0, False
        else:
            text += char
            kept = len(text) if char in breaks else kept
        meant += text[before:]
    return [*words, Word(text, kept, quote, meant)]


def as_bash_takes_it(candidate: str, word: Word) -> str:
    """Return what replaces the end of `word` so that it reads as `candidate`, in the quotes that the user has opened."""
    rest = candidate[word.kept :]
    if word.quote == "'":
        return rest.replace("'", "'\\''")
    if word.quote:
        return re.sub(r'([\\$`"])', r"\\\1", rest)
    return re.sub(r"([^\w@%+:,./=^\x80-\U0010ffff-])", r"\\\1", rest)

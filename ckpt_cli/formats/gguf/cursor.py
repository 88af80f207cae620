"""Reads the header of a GGUF file from front to back: numbers, strings, and values that are passed over.

Every count and length is checked against the bytes that are left. Of a vocabulary of 150,000 strings no string is made: only the lengths
are read.
"""

from __future__ import annotations

import struct
from typing import Any

from ...errors import Malformed
from ...storage.file import File

_MOST_HEADER = 256 << 20  # bytes; the largest vocabularies take about 10 MB
_DEEPEST = 8  # arrays in arrays

# Types of values (enum gguf_type): what `struct` calls the numbers, and what all of them are called.
NUMBER_LETTERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TYPE_NAMES = {
    0: "uint8", 1: "int8", 2: "uint16", 3: "int16", 4: "uint32", 5: "int32", 6: "float32", 7: "bool", 8: "string", 9: "array",
    10: "uint64", 11: "int64", 12: "float64",
}  # fmt: skip
UINT32, FLOAT32, BOOL, STRING, ARRAY, FLOAT64 = 4, 6, 7, 8, 9, 12


class Cursor:
    """A position `at` in the header. As much of the file is held as was needed so far.

    Attributes:
        order: The byte order as `struct` has it, `<` or `>`.
        version: The version of the format, 2 or 3.
    """

    def __init__(self, file: File) -> None:
        """Read magic and version. Raises Malformed where the version is not known."""
        self.file, self.data, self.at = file, b"", 4
        self._read_to(24)
        little, big = (int.from_bytes(self.data[4:8], order) for order in ("little", "big"))
        self.order, self.version = ("<", little) if little & 0xFFFF else (">", big)
        if self.version == 1:
            raise Malformed("GGUF version 1 is not read", "convert it with llama.cpp's gguf-py, or take a newer file")
        if self.version not in (2, 3):
            raise Malformed(f"GGUF version {self.version:,} is not known; 2 and 3 are")
        self.at = 8
        self._length = struct.Struct(self.order + "Q")

    def _read_to(self, end: int) -> None:
        """Hold the file up to byte `end`. Raises Malformed where it ends before."""
        if end <= len(self.data):
            return
        if end > self.file.size:
            raise Malformed(f"truncated: {end - self.file.size:,} bytes of the header are missing", "download or copy it again")
        if end > _MOST_HEADER:
            raise Malformed(f"the header is said to have over {_MOST_HEADER:,} bytes: no vocabulary has")
        stop = min(self.file.size, max(end, 4 * len(self.data), 1 << 16), _MOST_HEADER)
        self.data += self.file.read(len(self.data), stop - len(self.data))

    def number(self, letter: str) -> Any:
        """Return the next number, of the type that `struct` calls `letter`."""
        layout = struct.Struct(self.order + letter)
        self._read_to(self.at + layout.size)
        (value,) = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return value

    def count(self, least: int, what: str, most: int = _MOST_HEADER) -> int:
        """Return the next u64, a count of things (`what`) that take at least `least` bytes each."""
        count: int = self.number("Q")
        if count * least > self.file.size - self.at or count > most:
            raise Malformed(f"{count:,} {what} do not fit into what is left of the file", "download or copy it again")
        return count

    def string(self, what: str) -> str:
        """Return the next string, a u64 length and UTF-8. Raises Malformed, which calls it `what`, where it is not UTF-8."""
        length = self.number("Q")
        self._read_to(self.at + length)
        raw = self.data[self.at : self.at + length]
        self.at += length
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise Malformed(f"{what} is no UTF-8: {raw[:60]!r}") from None

    def skip(self, value_type: int, key: str, depth: int = 0) -> None:
        """Pass over a value; `key` is what an error calls it, `depth` in how many arrays it lies."""
        if value_type in NUMBER_LETTERS:
            self.number(NUMBER_LETTERS[value_type])
        elif value_type == STRING:
            self._skip_strings(1)
        elif value_type == ARRAY and depth < _DEEPEST:
            self._skip_array(key, depth)
        else:
            known = value_type == ARRAY
            raise Malformed(f"{key}: arrays nest too deep" if known else f"{key}: value type {value_type:,} is not known")

    def _skip_array(self, key: str, depth: int) -> None:
        item_type = self.number("I")
        if item_type in NUMBER_LETTERS:
            size = struct.calcsize("<" + NUMBER_LETTERS[item_type])
            nbytes = self.count(size, f"elements of {key}") * size
            self.at += nbytes
            self._read_to(self.at)
        elif item_type == STRING:
            self._skip_strings(self.count(8, f"strings of {key}"))
        else:
            for _ in range(self.count(12, f"elements of {key}")):
                self.skip(item_type, key, depth + 1)

    def _skip_strings(self, count: int) -> None:
        unpack, at = self._length.unpack_from, self.at
        while count:
            data = self.data
            try:
                while count:
                    at += 8 + unpack(data, at)[0]
                    count -= 1
            except struct.error:
                self._read_to(at + 8)
        self.at = at
        self._read_to(at)

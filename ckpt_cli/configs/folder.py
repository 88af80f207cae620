"""A folder in which configs lie. Each file is read once, within limits; what is wrong with one becomes a note."""

from __future__ import annotations

import os
from typing import Any

from ..errors import CkptError, Malformed, about
from ..formats.encodings import strict_json
from ..storage.file import File

MOST_CONFIG = 16 << 20  # bytes


class Folder:
    """A folder in which configs lie.

    Attributes:
        path: its path.
        weights: the name of the file of weights that is asked about; empty where there is none.
        notes: what is wrong with the files that were asked for.
    """

    def __init__(self, path: str, weights: str = "") -> None:
        """Nothing is read yet."""
        self.path, self.weights, self.notes = path, weights, list[str]()
        self._documents: dict[str, Any] = {}
        self._others: dict[str, Folder] = {}

    def document(self, name: str) -> Any:
        """Return the JSON document in the file `name`; None where there is no such file, or where it is none of ours (see `notes`)."""
        if name not in self._documents:
            self._documents[name] = self._read(name)
        return self._documents[name]

    def take(self, name: str, document: Any) -> None:
        """Take a document for that of the file `name`."""
        self._documents[name] = document

    def object(self, name: str) -> dict[str, Any]:
        """Return the JSON object in the file `name`; an empty one where there is none."""
        document = self.document(name)
        if document is None or isinstance(document, dict):
            return document or {}
        note = f"{self.file(name)} is not read: a JSON object is needed"
        self.notes += [note] if note not in self.notes else []
        return {}

    def file(self, name: str) -> str:
        """Return the path of the file `name`."""
        return os.path.join(self.path, name)

    def below(self, name: str) -> Folder:
        """Return the folder `name` in this one, whose notes are this one's."""
        return self._other(self.file(name))

    @property
    def above(self) -> Folder:
        """The folder in which this one lies."""
        folder, last = os.path.split(os.path.normpath(self.path))
        return self._other(folder if last not in ("", os.curdir, os.pardir) else os.path.dirname(os.path.abspath(self.path)))

    @property
    def name(self) -> str:
        """The last part of its path."""
        return os.path.basename(os.path.abspath(self.path))

    def _other(self, path: str) -> Folder:
        if path not in self._others:
            self._others[path] = other = Folder(path)
            other.notes = self.notes
        return self._others[path]

    def _read(self, name: str) -> Any:
        path = self.file(name)
        if not os.path.lexists(path):
            return None
        try:
            return read_document(path)
        except CkptError as error:
            self.notes.append(f"{path} is not read: {error.what}")
        return None


def read_document(path: str) -> Any:
    """Return the JSON document in a file. NaN and infinities, which configs of Mamba hold, are read as Python reads them.

    Raises:
        ReadError: it is no regular file, is too large for a config, or is no JSON.
    """
    with about(path):
        file = File(path)
        if file.size > MOST_CONFIG:
            raise Malformed(f"its {file.size:,} bytes are too many for a config; up to {MOST_CONFIG:,} are read")
        try:
            return strict_json.loads(file.read(0, file.size), infinite=True)
        except Malformed as error:
            raise Malformed(error.what.replace("JSON header", "JSON"), error.mend) from None

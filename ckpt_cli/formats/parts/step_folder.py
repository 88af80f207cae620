"""Folders of steps with a file that names the newest one: DeepSpeed's `latest`, Megatron's `latest_checkpointed_iteration.txt`."""

from __future__ import annotations

import os

from ...errors import ReadError, about

_MOST = 256  # bytes


def names_in(folder: str) -> list[str]:
    """The names of what lies in a folder; nothing where it is none. Raises ReadError where it may not be read."""
    if not os.path.isdir(folder):
        return []
    with about(folder):
        return sorted(os.listdir(folder))


def tracked(folder: str, tracker: str) -> str | None:
    """What the file `tracker` in a folder says; None where there is no such file, or it says what is no plain name."""
    path = os.path.join(folder, tracker)
    if not os.path.isfile(path):
        return None
    with about(path), open(path, "rb") as file:
        text = file.read(_MOST + 1).decode("utf-8", "replace").strip()
    plain = text.isprintable() and text not in ("", ".", "..") and os.path.basename(text) == text and len(text) < _MOST
    return text if plain and "\\" not in text else None


def named_step(folder: str, tracker: str, name: str | None = None) -> str | None:
    """The folder of the step that the file `tracker` names; `name`: what it is called, where the file says a number.

    Raises:
        ReadError: It is not there.
    """
    step = tracked(folder, tracker)
    if step is None:
        return None
    path = os.path.join(folder, name or step)
    if not os.path.isdir(path):
        raise ReadError(f"{tracker} names the step {step}, which is not there", "download or copy it, too, or give another step", folder)
    return path

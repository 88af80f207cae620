"""The signs of an edit in place that has not been completed: an undo journal beside the file, or a mark on the file itself.

They are looked for before any file is read, so this module imports almost nothing; `disk.recovery` settles what they point to.
"""

from __future__ import annotations

import os

JOURNAL_MARK = "user.ckpt.journal"  # an extended attribute


def journal_path(target: str) -> str:
    """The path of the undo journal of `target`, which is a real path."""
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{os.fsdecode(os.fsencode(name)[:200])}.ckpt-journal")


def is_signed(target: str) -> bool:
    """Whether `target` (a real path) has a journal or a mark, or whether that cannot be told: then recovery says why."""
    try:
        os.lstat(journal_path(target))
    except (FileNotFoundError, NotADirectoryError):
        return _is_marked(target)
    except OSError:
        pass
    return True


def _is_marked(target: str) -> bool:
    try:
        os.getxattr(target, JOURNAL_MARK)
    except (AttributeError, OSError):  # a system or file system without extended attributes, or a file without this one
        return False
    return True

"""Writing files, all or nothing: whatever happens in between, a path holds the old content or the new.

A new file is written and fsynced under a temporary name beside its target, with the target's mode, then renamed over it, and the folder
fsynced. A patch of the file itself is written in place under an undo journal. Several files are one edit, under the journal of the first.
What is temporary is removed on every way out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence

from ..errors import WriteError, about
from . import locks, sync
from .file_to_write import FileToWrite, WriteOptions
from .joint_edit import JointEdit
from .opening import settle
from .overwriting import overwrite, patch_in_place
from .replacing import back_up, broken_links, lock_existing, written_anew
from .temporary import sweep


def save_all(main: str, outputs: Iterable[FileToWrite], removed: Sequence[str], options: WriteOptions) -> list[str]:
    """Write `outputs` and remove the files `removed`, as one edit. Symbolic links stay links.

    Args:
        main: The file that names the others.
        outputs: The files to be written.
        removed: Paths of files to be removed.
        options: How they are written.

    Returns:
        Notes for the user, one line each.

    Raises:
        WriteError: A file may not be written.
        ReadError: Another program is changing a file, or has changed it since it was read.
    """
    with_targets = targets(outputs, options)
    if len(with_targets) == 1 and not removed:
        target, output = with_targets[0]
        with about(output.path):
            return _save_one(target, output, options)
    edit = JointEdit(os.path.realpath(main), with_targets, [os.path.realpath(path) for path in removed], options)
    if with_targets or removed:
        edit.run()
    return edit.notes


def targets(outputs: Iterable[FileToWrite], options: WriteOptions) -> list[tuple[str, FileToWrite]]:
    """Each output with the real path that it is written to. Raises WriteError for one that may not be written."""
    with_targets = []
    for output in outputs:
        with about(output.path):
            target = os.path.realpath(output.path)
            _check_target(target, options)
            with_targets.append((target, output))
    return with_targets


def _check_target(target: str, options: WriteOptions) -> None:
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise WriteError("this is no regular file", "choose another name")
    if not options.replace:
        raise WriteError("the file is there already", options.mend)


def _save_one(target: str, output: FileToWrite, options: WriteOptions) -> list[str]:
    fd = lock_existing(target)
    try:
        settle(target)
        sweep(target)
        patch = patch_in_place(target, output, options)
        if patch is not None:
            if patch.changes:
                overwrite(target, patch, options)
            return []
        notes = broken_links(target, output)
        with written_anew(target, output, options) as temporary:
            back_up(target, options)
            temporary.move()
        sync.sync_folders([target])
        return notes
    finally:
        if fd >= 0:
            locks.close(fd)

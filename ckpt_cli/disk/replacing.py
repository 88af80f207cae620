"""Files written anew: what is done around the rename by which a new file takes the place of an old one."""

from __future__ import annotations

import os

from . import locks, sync
from .file_to_write import FileToWrite, WriteOptions
from .layout import FileLayout
from .patch import copy
from .temporary import TemporaryFile, link, naming_target, remove_quietly, temporary_path


def lock_existing(target: str) -> int:
    """Open and lock the file that is going to be replaced; -1 where there is none, or it may be replaced but not read."""
    try:
        fd = os.open(target, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):
        return -1
    try:
        locks.take(fd, target)
    except BaseException:
        os.close(fd)
        raise
    return fd


def written_anew(target: str, output: FileToWrite, options: WriteOptions) -> TemporaryFile:
    """The new content of `target`, complete and durable under a temporary name."""

    def write(fd: int) -> None:
        file_layout = FileLayout(fd, options.progress)
        if output.patch is None:
            output.write(file_layout)
            file_layout.settle()
        else:
            copy(output.patch, file_layout)

    return TemporaryFile(target, write)


def broken_links(target: str, output: FileToWrite) -> list[str]:
    """The note that other names of the file that is replaced (hard links) keep its old content; nothing where it has none."""
    try:
        others = os.stat(target).st_nlink - 1
    except FileNotFoundError:
        return []
    names = "another name, which keeps" if others == 1 else f"{others:,} other names, which keep"
    return [f"{output.path} is written anew: the hard link is broken to {names} the old content"] if others > 0 else []


def back_up(target: str, options: WriteOptions) -> None:
    """Keep the old content under the name of its backup, if one is wanted, before the new content takes its place."""
    if options.backup is None or not os.path.exists(target):
        return
    backup, temporary = f"{target}{options.backup}", temporary_path(target)
    try:
        with naming_target(target):
            link(target, temporary)
            os.replace(temporary, backup)
        sync.sync_folders([backup])  # a disk may take the names in any order
    finally:  # a rename onto another link of the same file does nothing at all
        remove_quietly(temporary)

"""`ckpt git-diff`: the program that git calls, so that `git diff` and `git log -p` show what changed in which tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import typer

from .. import reading
from ..analysis.diff import Difference, diff
from ..errors import CkptError, UsageError, os_error
from ..formats import git_lfs
from ..formats.safetensors.index_names import is_index
from ..show.answer import Answer
from ..show.checkpoint_text import header_records, tensor_records, value_text
from ..show.differences import show_differences
from ..tensors.checkpoint import Checkpoint

_INDEX = "the index of a model whose shards git does not hand over with it (give the attribute to the shards, not to the index)"

Arguments = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...", help="As git gives them: one file, or a path and two files with their hashes and modes.", show_default=False
    ),
]
Stats = Annotated[bool, typer.Option("--stats", help="With FILE: min, max, mean, std, NaN and infinities, too.")]


def git_diff_command(arguments: Arguments, with_stats: Stats = False) -> None:
    """What git calls for the difference of two checkpoints, or for the text of one. Set it up once:

    \b
    git config --global diff.ckpt.command 'ckpt git-diff'    # git diff
    git config --global diff.ckpt.textconv 'ckpt git-diff'   # git log -p, git show
    echo '*.safetensors diff=ckpt' >> .gitattributes

    What cannot be read is said in the answer, and the exit status is 0, since git shows nothing of the other files otherwise.
    A Git LFS pointer stands for its object, where that was fetched.
    """
    if len(arguments) == 1 and "GIT_DIFF_PATH_COUNTER" in os.environ:
        Answer().lines([f"* Unmerged path {arguments[0]}"])
    elif len(arguments) == 1:
        _describe(arguments[0], with_stats)
    elif len(arguments) in (7, 9):
        _show_change(Change(*arguments))
    else:
        raise UsageError(f"git gives one argument, or seven, or nine, not {len(arguments)}", "docs/git.md says how git is told to call it")


class Change(NamedTuple):
    """The arguments of an external diff, as git(1) describes them under GIT_EXTERNAL_DIFF; the last two are of a renamed file."""

    path: str
    old_file: str
    old_hex: str
    old_mode: str
    new_file: str
    new_hex: str
    new_mode: str
    new_path: str = ""
    extended_header: str = ""

    def mode_lines(self) -> list[str]:
        """Return the line that says how the mode of the file changed, if it did."""
        if self.old_mode == self.new_mode:
            return []
        if self.old_file == os.devnull:
            return [f"new file mode {self.new_mode}"]
        if self.new_file == os.devnull:
            return [f"deleted file mode {self.old_mode}"]
        return [f"mode {self.old_mode} → {self.new_mode}"]


def _show_change(change: Change) -> None:
    """Answer `git diff`: what differs between two versions of a file."""
    out = _answer_for_git()
    out.heading(f"diff --ckpt a/{change.path} b/{change.new_path or change.path}")
    out.lines(line for line in change.extended_header.splitlines() if not line.startswith("index "))
    out.lines(change.mode_lines())
    if _same_bytes(change.old_file, change.new_file):  # only the mode or the name changed
        return
    before, after = _checkpoint_or_reason(change.old_file), _checkpoint_or_reason(change.new_file)
    if isinstance(before, str) or isinstance(after, str):
        out.lines([f"{side}/{change.path}: {reason}" for side, reason in (("a", before), ("b", after)) if isinstance(reason, str)])
        return
    try:
        differences = [*diff(before, after, exact=True), *_other_differences(before, after)]
    except (CkptError, OSError) as error:
        out.lines([f"{change.path}: {_without_place(error)}"])
        return
    if differences:
        show_differences(out, differences)
    else:
        out.lines(["no value differs: the files hold the same in other bytes"])


def _answer_for_git() -> Answer:
    """Return an answer with colours where git itself would use them, and a table where git has a pager."""
    import subprocess

    out = Answer()
    color_query = ["git", "config", "--get-colorbool", "color.diff", str(out.terminal).lower()]
    out.terminal = out.terminal or "GIT_PAGER_IN_USE" in os.environ
    try:
        wanted = subprocess.run(color_query, capture_output=True, check=False).stdout.strip() == b"true"
    except OSError:
        wanted = False
    out.color = wanted and not os.environ.get("NO_COLOR")
    return out


def _same_bytes(old: str, new: str) -> bool:
    from filecmp import cmp

    try:
        return cmp(old, new, shallow=False)
    except OSError:  # opening it gives the error
        return False


def _checkpoint_or_reason(path: str) -> Checkpoint | str:
    """Open the checkpoint that git has put at `path`, an empty one for a side that does not exist; or return why it cannot be read."""
    if path == os.devnull:
        return Checkpoint({})
    try:
        pointer = git_lfs.pointer(path)
        kept = pointer.kept() if pointer else path
        if kept is None:
            return f"{pointer}, is not in the local store (git lfs fetch)"
        return reading.open(kept)
    except (CkptError, OSError) as error:
        return _INDEX if is_index(path) else _without_place(error)


def _without_place(error: CkptError | OSError) -> str:
    """Return the text of an error without its place, which is a temporary file of git."""
    ours = error if isinstance(error, CkptError) else os_error(error)
    return f"{ours.what} ({ours.mend})" if ours.mend else ours.what


def _other_differences(before: Checkpoint, after: Checkpoint) -> Iterator[Difference]:
    """Yield what differs besides tensors: objects and metadata."""
    for status, one, two in (("object", before.objects, after.objects), ("metadata", before.metadata, after.metadata)):
        for name in dict.fromkeys([*one, *two]):
            was, now = (value_text(side[name]) if name in side else "" for side in (one, two))
            if was != now:
                yield Difference(status, name, was, now)


def _describe(path: str, with_stats: bool) -> None:
    """Print one checkpoint as text, which git compares line by line."""
    checkpoint = _checkpoint_or_reason(path)
    if isinstance(checkpoint, str):
        Answer().lines([checkpoint])
        return
    rows = list(header_records(checkpoint))
    try:
        rows += tensor_records(checkpoint, with_stats)
    except (CkptError, OSError) as error:
        rows.append((_without_place(error),))
    Answer().records(rows)

"""`ckpt git-diff`: called by git, so that `git diff` and `git log -p` say what changed in which tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from .. import reading
from ..analysis.diff import Difference, diff
from ..analysis.digest import digests
from ..errors import CkptError, UsageError, os_error
from ..formats import git_lfs
from ..show.output import Answer
from ..tensors.checkpoint import Checkpoint, Foreign
from .diff import show

_INDEX = "the index of a model whose shards git does not hand over with it (give the attribute to the shards, not to the index)"
_LONGEST = 60  # characters of an object's value


def git_diff_command(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="As git gives them: one file, or a path and two files with their hashes and modes.", show_default=False
        ),
    ],
    with_stats: Annotated[bool, typer.Option("--stats", help="With FILE: min, max, mean, std, NaN and infinities, too.")] = False,
) -> None:
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
        _compare(*arguments)
    else:
        raise UsageError(f"git gives one argument, or seven, or nine, not {len(arguments)}", "docs/git.md says how git is told to call it")


def _compare(path: str, old: str, old_hex: str, old_mode: str, new: str, new_hex: str, new_mode: str, to: str = "", told: str = "") -> None:
    """The answer to `git diff`; `to` and `told` are of a file that was renamed."""
    out = _output()
    added, removed = old == os.devnull, new == os.devnull
    out.heading(f"diff --ckpt a/{path} b/{to or path}")
    out.lines(line for line in told.splitlines() if not line.startswith("index "))
    if old_mode != new_mode:
        out.lines(
            [f"new file mode {new_mode}" if added else f"deleted file mode {old_mode}" if removed else f"mode {old_mode} → {new_mode}"]
        )
    if _same_bytes(old, new):  # the mode, or the name, is all that changed
        return
    before, after = _held(old), _held(new)
    unread = [f"{side}/{path}: {one}" for side, one in (("a", before), ("b", after)) if isinstance(one, str)]
    if unread or isinstance(before, str) or isinstance(after, str):
        out.lines(unread)
        return
    try:
        differences = [*diff(before, after, exact=True), *_besides(before, after)]
    except (CkptError, OSError) as error:
        out.lines([f"{path}: {_said(error)}"])
        return
    if differences:
        show(out, differences, False, {})
    else:
        out.lines(["no value differs: the files hold the same in other bytes"])


def _output() -> Answer:
    """A table where git has a pager, colours where git itself would use them: it knows of the pager, and of what the user wants."""
    import subprocess

    out = Answer()
    asked = ["git", "config", "--get-colorbool", "color.diff", str(out.terminal).lower()]
    out.terminal = out.terminal or "GIT_PAGER_IN_USE" in os.environ
    try:
        wanted = subprocess.run(asked, capture_output=True, check=False).stdout.strip() == b"true"
    except OSError:
        wanted = False
    out.color = wanted and not os.environ.get("NO_COLOR")
    return out


def _same_bytes(old: str, new: str) -> bool:
    from filecmp import cmp

    try:
        return cmp(old, new, shallow=False)
    except OSError:  # said when it is opened
        return False


def _held(path: str) -> Checkpoint | str:
    """The checkpoint that git has put at `path`, nothing for a side that does not exist; or why it cannot be read."""
    if path == os.devnull:
        return Checkpoint({})
    try:
        pointer = git_lfs.pointer(path)
        kept = pointer.kept() if pointer else path
        if kept is None:
            return f"{pointer}, is not in the local store (git lfs fetch)"
        return reading.open(kept)
    except (CkptError, OSError) as error:
        return _INDEX if path.endswith(".index.json") else _said(error)


def _said(error: CkptError | OSError) -> str:
    """An error without its place, which is a temporary file of git's."""
    ours = error if isinstance(error, CkptError) else os_error(error)
    return f"{ours.what} ({ours.mend})" if ours.mend else ours.what


def _besides(before: Checkpoint, after: Checkpoint) -> Iterator[Difference]:
    """What differs besides tensors: objects and metadata."""
    for kind, one, two in (("object", before.objects, after.objects), ("metadata", before.metadata, after.metadata)):
        for name in dict.fromkeys([*one, *two]):
            was, now = (_value(side[name]) if name in side else "" for side in (one, two))
            if was != now:
                yield Difference(kind, name, was, now)


def _value(value: Any) -> str:
    text = " ".join((value.text if isinstance(value, Foreign) else str(value)).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _describe(path: str, with_stats: bool) -> None:
    """The text of one checkpoint, a line for each thing in it, in the order of the names: what git compares line by line."""
    held = _held(path)
    if isinstance(held, str):
        Answer().lines([held])
        return
    rows: list[tuple[str, ...]] = [("format", held.origin.format if held.origin else "")]
    rows += [("metadata", name, _value(value)) for name, value in sorted(held.metadata.items())]
    rows += [("object", name, _value(value)) for name, value in sorted(held.objects.items())]
    try:
        rows += _tensors(held, with_stats)
    except (CkptError, OSError) as error:
        rows.append((_said(error),))
    Answer().records(rows)


def _tensors(held: Checkpoint, with_stats: bool) -> Iterator[tuple[str, ...]]:
    tied, figures = held.tied_to(), _figures(held) if with_stats else {}
    for digest in sorted(digests(held), key=lambda one: one.name):
        ties = (f"tied to {tied[digest.name]}",) if digest.name in tied else ()
        yield ("tensor", digest.name, digest.dtype, digest.shape, digest.sha256[:16], *figures.get(digest.name, ()), *ties)


def _figures(held: Checkpoint) -> Mapping[str, tuple[str, ...]]:
    from ..analysis.stats import computable, stats

    found = stats({name: tensor for name, tensor in held.items() if computable(tensor)})
    return {name: tuple(_shown(key, getattr(one, key)) for key in ("min", "max", "mean", "std", "nan", "inf")) for name, one in found}


def _shown(key: str, figure: Any) -> str:
    return f"{key}=" if figure is None else f"{key}={figure:.6g}"

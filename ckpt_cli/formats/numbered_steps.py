"""Folders of numbered steps of a training: which is the newest, by number, and what is said of it.

checkpoint-50/, checkpoint-500/         transformers' Trainer, diffusers' scripts; checkpoint_0/ of Accelerate
0/, 100/                                a CheckpointManager of Orbax; one that is being written has a longer name
ckpt-3.index, model.ckpt-100.index      TensorFlow, where no file `checkpoint` says which is the latest
checkpoint_100                          Flax
epoch=3-step=400.ckpt                   Lightning
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

_STEP = re.compile(
    r"(?P<stem>(?:|(?:.*[-_.])?(?:checkpoint|ckpt|step|iter|epoch)[-_=]?))(?P<number>[0-9]{1,18})(?P<suffix>(?:\.[a-z]\w*)?)"
)
_UNFINISHED = re.compile(r".*\.orbax-checkpoint-tmp.*|tmp-checkpoint-[0-9]+")  # what Orbax and the Trainer write into before they rename it
_EPOCH = re.compile("epoch=[0-9]+")  # of Lightning; it grows with the step
_RECORDS = ("checkpoint", "latest", "latest_checkpointed_iteration.txt")  # files in which programs name the latest step
_SHOWN = 8


class Step(NamedTuple):
    """One of the steps of a series: its number, and the name of its file or folder."""

    number: int
    name: str


def is_unfinished(name: str) -> bool:
    """Whether a folder is a step that is being written, or whose writing was cut off."""
    return _UNFINISHED.fullmatch(name) is not None


def is_a_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is a folder; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def series(names: Iterable[str]) -> dict[tuple[str, str], list[Step]]:
    """The steps among the names of files and folders, by what their names have in common; each series from the oldest to the newest."""
    found: dict[tuple[str, str], list[Step]] = {}
    for name in names:
        step = _STEP.fullmatch(name)
        if step and (step["stem"] or not step["suffix"]):
            key = _EPOCH.sub("epoch=", step["stem"]), step["suffix"]
            found.setdefault(key, []).append(Step(int(step["number"]), name))
    return {key: sorted(steps) for key, steps in found.items()}


def newest_first(names: Iterable[str]) -> list[str]:
    """The names, the newest step first; none where they are not all steps of one series, or two have one number."""
    names = list(names)
    found = series(names)
    steps = next(iter(found.values()), [])
    if len(found) != 1 or len(steps) != len(names) or len({step.number for step in steps}) < len(steps):
        return []
    return [step.name for step in reversed(steps)]


def note(folder: str, opened: str) -> str:
    """What to say of the steps in a folder: which of them is `opened`, or that they lie beside it. Empty where there are none."""
    with os.scandir(folder) as entries:
        is_folder = {entry.name: is_a_folder(entry) for entry in entries}
    found = series(is_folder)
    own = next((steps for steps in found.values() if any(step.name == opened for step in steps)), None)
    if own is None:
        named = (steps for (stem, _), steps in found.items() if stem)  # a bare number may be a part of the model
        names = [step.name for steps in named for step in reversed(steps) if is_folder[step.name]]
        return f"beside the model lie steps, each opened by its own path: {', '.join(names[:_SHOWN])}" if names else ""
    if opened == own[-1].name:
        return f"{opened} is opened, " + (f"the newest of {len(own):,} steps" if len(own) > 1 else "the only step")
    record = next((name for name in _RECORDS if name in is_folder), None)
    return f"{opened} is opened{f', as {record} says' if record else ''}; {own[-1].name} is newer{'' if record else ', and holds no model'}"

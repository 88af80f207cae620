"""Every broken, hostile or odd file gives what its case says, inside the limits, and nothing of the folder is run or changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import shards
import torch_files
from conftest import SAMPLES, WHOLE
from judge import Answer, Case, Warm, judge, lay_lures, untouched

HERE = Path(__file__).parent
# A module NAME_files.py with `cases` is a room; torch's two formats share one.
ROOMS: dict[str, Callable[[], Iterator[Case]]] = {
    "zip": torch_files.zips,
    "legacy": torch_files.legacies,
    "shards": shards.cases,
} | {
    path.stem.removesuffix("_files"): import_module(path.stem).cases
    for path in sorted(HERE.glob("*_files.py"))
    if path.stem not in ("torch_files", "pickle_files", "test_files")
}
NAMED = [(f"{room}-{case.name}", case) for room, cases in ROOMS.items() for case in cases()]
CASES = dict(NAMED)
LARGE = ("on paper", ",000 ", "MB", "half a million", "hundred thousand", "laughs", "60 deep")  # one command is enough for these
SMALL = {key: case for key, case in CASES.items() if not key.startswith("large-") and not any(word in key for word in LARGE)}
BROKEN = [key for key, case in SMALL.items() if case.gives == "error"]
FINE = [key for key, case in SMALL.items() if case.gives != "error"]


@pytest.fixture(scope="session")
def bare() -> Iterator[Warm]:
    """Nothing is imported yet but the command line."""
    warm = Warm("ckpt_cli.commands.ls", "ckpt_cli.commands.summary")
    yield warm
    warm.close()


@pytest.fixture(scope="session")
def numbers() -> Iterator[Warm]:
    """What reads values has numpy already."""
    warm = Warm(
        *(f"ckpt_cli.commands.{name}" for name in ("get", "stats", "check", "diff", "convert", "set", "drop")),
        "numpy",
        "ml_dtypes",
        "numkong",
    )
    yield warm
    warm.close()


def laid(below: Path) -> Path:
    """A folder in which modules lie that nobody should import."""
    inner = below / "snapshots" / "abc"
    inner.mkdir(parents=True)
    lay_lures(inner)
    return inner


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return laid(tmp_path)


def test_no_two_cases_have_one_name() -> None:
    assert len(CASES) == len(NAMED)


def groups() -> Iterator[list[str]]:
    """The cases of each room, forty at a time; the large ones alone, of which a twelfth is enough for every day."""
    for room in ROOMS:
        keys = [key for key in SMALL if key.startswith(f"{room}-")]
        yield from (keys[at : at + 40] for at in range(0, len(keys), 40))
    large = [key for key in CASES if key not in SMALL]
    yield from ([key] for key in (large if WHOLE else large[6::12]))


@pytest.mark.parametrize("keys", list(groups()), ids=lambda keys: keys[0])
def test_ls(keys: list[str], tmp_path: Path, bare: Warm) -> None:
    """Small cases share a child; one that does not give what it should there is asked again in a child of its own, which decides."""
    folders = {key: laid(tmp_path / str(number)) for number, key in enumerate(keys)}
    for key, folder in folders.items():
        CASES[key].build(folder)
    alone = keys
    if len(keys) > 1:
        with untouched(tmp_path):
            answers = bare.together([(folder, ["ls", CASES[key].file]) for key, folder in folders.items()])
        alone = [key for key, found in zip(keys, answers, strict=True) if found is None or not gives(CASES[key], found, folders[key])]
    for key in alone:
        with untouched(tmp_path):
            found = bare(folders[key], "ls", CASES[key].file)
        listed(CASES[key], found, folders[key])


CODE_NOTE = "ckpt: the file names code: "  # what `ls` says of a pickle with foreign classes


def gives(case: Case, found: Answer, folder: Path) -> bool:
    try:
        listed(case, found, folder)
    except AssertionError:
        return False
    return True


def listed(case: Case, found: Answer, folder: Path) -> None:
    """Holds the answer of `ls` to what the case says."""
    judge(found, folder)
    if case.gives == "error":
        assert found.status == 2 and case.says in found.err and not found.out, (case.name, found)
    else:
        assert found.status == 0 and case.says in (found.out if case.gives == "ok" else found.err), (case.name, found)
        assert case.gives == "warning" or not found.err or found.err.startswith(CODE_NOTE), (case.name, found.err)


@pytest.mark.parametrize("key", [key for key, case in (CASES if WHOLE else SMALL).items() if case.values and case.gives == "ok"])
def test_values_that_are_not_what_the_list_says(key: str, folder: Path, numbers: Warm) -> None:
    case = CASES[key]
    case.build(folder)
    for args in (["hash", case.file], ["stats", case.file]):
        found = numbers(folder, *args)
        judge(found, folder)
        assert found.status == 2 and case.values in found.err and not found.out, (args, found)


READING = (["summary"], ["check"], ["get"], ["stats"], ["diff"], ["tied", "--equal"], ["hash"], ["spec"])
MADE = "made.safetensors"
WRITING = ("convert", "set", "drop", "cast", "rename")
COMMANDS = (*READING, *([command] for command in WRITING))


@pytest.mark.parametrize("key", BROKEN[:: 12 if WHOLE else 48])
def test_a_broken_file_is_broken_to_every_command(key: str, folder: Path, numbers: Warm) -> None:
    """Which of the commands, is told by the place of the case in the table: each case meets two."""
    case = CASES[key]
    case.build(folder)
    shutil.copy(SAMPLES / "mlp.pt", folder / "other.pt")
    place = BROKEN.index(key) // 12
    for args in (words(case.file, place), words(case.file, place + 1)):
        with untouched(folder.parent):
            found = numbers(folder, *args, writes=args[0] in WRITING)
        reported = args[0] == "check" and case.file.endswith(".index.json")  # a wrong index does not hold
        judge(found, folder, (1, 2) if reported else (2,))
        assert found.status == 1 or (case.says in found.err and not found.out), (args, found)


def words(file: str, place: int) -> list[str]:
    """A command line that reads `file`, and writes to MADE if to anything."""
    command = COMMANDS[place % len(COMMANDS)]
    out = ["-o", MADE]
    more = {
        "get": ["*"],
        "diff": ["other.pt"],
        "convert": [MADE],
        "set": ["* += 1", *out],
        "drop": ["*a*", *out],
        "cast": ["float16", *out],
        "rename": ["*=x.*", *out],
    }
    return [*command, file, *more.get(command[0], [])]


@pytest.mark.parametrize("key", FINE[:: 5 if WHOLE else 20])
def test_what_can_be_listed_is_read_or_refused_by_every_command(key: str, folder: Path, numbers: Warm, bare: Warm) -> None:
    """A tensor of an exabyte is never made, whatever is asked of it; what is written lies in the file that was named."""
    case = CASES[key]
    case.build(folder)
    shutil.copy(SAMPLES / "mlp.pt", folder / "other.pt")
    place = FINE.index(key) // 5  # the same commands for a case, whether others are left out or not
    for args in (words(case.file, place), words(case.file, place + 3)):
        with untouched(folder.parent, but=MADE):
            found = numbers(folder, *args, writes=args[0] in WRITING)
        judge(found, folder, (0, 1, 2) if args[0] in ("diff", "check") else (0, 2))
        made = folder / MADE
        assert made.exists() == (found.status == 0 and args[0] in WRITING), found
        if made.exists():  # what was written is whole
            judge(bare(folder, "ls", MADE), folder, (0,))
            made.unlink()

"""Every call that changes the disk is made to fail, to be the last, or to be interrupted; and files may not grow, as on a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest
from conftest import heeds_ctrl_c
from scenarios import FULL, NAMES, SCENARIOS, Scenario, after, before, command, contents, folder, swept, tidy, use, verdict
from tracing import CALLS, Call, Ended, cannot_trace, recorded, traced

traces = pytest.mark.skipif(bool(cannot_trace()), reason=cannot_trace())
ERRORS = ["ENOSPC", "EIO", "EDQUOT", "EROFS"]
SIGNALS = {"KILL": -9, "INT": 130, "TERM": 143, "HUP": 129}
# What may fail, for there is another way, or nothing depends on it: copying in the kernel, links, sweeping, owners and attributes.
SPARED = ("copy_file_range", "link", "linkat", "unlink", "unlinkat", "fchown", "fsetxattr")


@cache
def calls_of(name: str) -> list[Call]:
    scenario = SCENARIOS[name]
    with folder(before(scenario.source)) as home:
        ended, calls = recorded(command(scenario.words(home)), home)
        assert ended.status == 0, ended.err
    return calls


def commit(calls: list[Call]) -> int:
    """The index of the call from which on the edit holds."""
    over = [index for index, call in enumerate(calls) if call.name == "pwrite64" and call.args[2:] == ["1", "15"]]
    if over:  # the journal of several files says that it is over, and that is fsynced
        return next(index for index, call in enumerate(calls) if index > over[0] and call.name == "fsync")
    gone = [index for index, call in enumerate(calls) if call.name == "unlink" and call.args[0].endswith("journal")]
    moved = [index for index, call in enumerate(calls) if call.name == "rename" and not call.args[1].startswith(".")]
    return gone[-1] if gone else moved[-1]


def faults(name: str) -> Iterator[tuple[int, str]]:
    """Each call of an edit, failing in two ways, the last one, and interrupted in two ways; or some of these."""
    for index in range(len(calls_of(name))) if FULL else sorted(Random(name).sample(range(len(calls_of(name))), 2)):
        ways = [
            f"error={ERRORS[index % 4]}",
            f"error={ERRORS[(index + 2) % 4]}",
            "signal=KILL",
            "signal=INT",
            f"signal={['TERM', 'HUP'][index % 2]}",
        ]
        for fault in ways if FULL else [ways[Random(f"{name}{index}").randrange(5)]]:
            yield index, fault


def injected(scenario: Scenario, call: Call, fault: str, home: Path) -> Ended:
    """The edit, with that fault in that call."""
    ended = traced(command(scenario.words(home)), ["-e", f"trace={CALLS}", "-e", f"inject={call.name}:{fault}:when={call.number}"])
    if fault.startswith("error"):
        assert "(INJECTED)" in ended.log, f"{call.line} was not made again"
    return ended


@traces
@pytest.mark.parametrize("name", NAMES)
def test_a_call_that_fails_or_is_the_last(name: str) -> None:
    scenario, calls = SCENARIOS[name], calls_of(name)
    for index, fault in faults(name):
        what = f"{fault} in call {index + 1} of {len(calls)}: {calls[index].line}"
        with folder(before(scenario.source)) as home:
            ended = injected(scenario, calls[index], fault, home)
            if fault.startswith("error"):
                failed(scenario, calls, index, ended, home, what)
            elif fault != "signal=KILL":
                interrupted(scenario, ended, SIGNALS[fault.removeprefix("signal=")], home, what)
            else:
                assert ended.status == -9, what
            recovered(scenario, home, what)


def failed(scenario: Scenario, calls: list[Call], index: int, ended: Ended, home: Path, what: str) -> None:
    """Before the edit holds: exit 2, one line, the old files, no litter. What is spared may go well."""
    left, call = contents(home), calls[index]
    if ended.status == 0:
        assert call.name in SPARED or index > commit(calls), f"exit 0, {what}"
        assert not set(after(scenario.name).items()) - set(left.items()), what  # what could not be swept is left to the next use
        return
    assert ended.status == 2 and ended.err.startswith("ckpt: error: ") and ended.err.count("\n") == 1, f"{what}: {ended.status} {ended.err}"
    assert "fault in ckpt" not in ended.err and ".tmp" not in ended.err, f"{what}: {ended.err}"
    if index <= commit(calls):
        assert verdict(scenario, home) == "old", f"{what}: {verdict(scenario, home)}"
        assert tidy(left), f"litter is left, {what}: {list(left)}"


def interrupted(scenario: Scenario, ended: Ended, status: int, home: Path, what: str) -> None:
    """The old files or the new, and no litter; a signal that comes when all is done may be too late."""
    assert ended.status in (0, status), f"{what}: {ended.status} {ended.err}"
    assert verdict(scenario, home) in (("new",) if ended.status == 0 else ("old", "new")), f"{what}: {verdict(scenario, home)}"
    assert tidy(contents(home)), f"litter is left, {what}: {list(contents(home))}"


def recovered(scenario: Scenario, home: Path, what: str) -> None:
    use(scenario, home)
    assert verdict(scenario, home) in ("old", "new"), f"{what}: {verdict(scenario, home)}"
    swept(scenario, home, what)


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from ckpt_cli.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("name", NAMES)
def test_files_that_may_not_grow(name: str) -> None:
    """What is written stops in the middle of a call, as it does on a full disk."""
    scenario = SCENARIOS[name]
    largest = max(map(len, after(name).values()))
    sizes = [0, 1, 25, 300, *range(1000, largest + 2000, 1500), largest - 1, largest, largest + 1000]
    for size in sizes if FULL else Random(name).sample(sizes, 1):
        with folder(before(scenario.source)) as home:
            ended = subprocess.run([sys.executable, "-c", LIMITED, str(size), *scenario.words(home)], capture_output=True, text=True)
            assert ended.returncode in (0, 2) and ended.stderr.count("\n") == (1 if ended.returncode else 0), ended.stderr
            assert verdict(scenario, home) == ("old" if ended.returncode else "new"), f"{size} bytes: {verdict(scenario, home)}"
            assert tidy(contents(home)), f"litter is left: {list(contents(home))}"


@pytest.mark.parametrize("name", NAMES if FULL else NAMES[2:3])
def test_a_signal_at_any_time(name: str) -> None:
    scenario, random = SCENARIOS[name], Random(name)
    for _ in range(40 if FULL else 2):
        number = random.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
        with folder(before(scenario.source)) as home:
            child = subprocess.Popen(
                command(scenario.words(home)), stderr=subprocess.PIPE, text=True, preexec_fn=heeds_ctrl_c, env=os.environ
            )
            time.sleep(0.05 + random.random() * 0.15)
            child.send_signal(number)
            _, err = child.communicate(timeout=30)
            what = f"{signal.Signals(number).name}: {child.returncode} {err}"
            assert child.returncode in (0, 128 + number, -number, 1), what  # 1: an interrupt while Python itself was starting
            if number != signal.SIGKILL:
                assert tidy(contents(home)), f"litter is left, {what}: {list(contents(home))}"
            recovered(scenario, home, what)

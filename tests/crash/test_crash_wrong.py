"""The crash tests can fail: savers that are wrong on purpose are caught."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest
from disk import cuts
from scenarios import SCENARIOS, Scenario, State, before, folder, renamed, use, verdict
from tracing import CALLS, Call, cannot_trace, recorded, traced

pytestmark = pytest.mark.skipif(bool(cannot_trace()), reason=cannot_trace())
SAVER = [sys.executable, str(Path(__file__).with_name("wrong.py"))]


def edited(scenario: Scenario, wrong: str) -> list[Call]:
    """What the wrong saver calls; without a crash it does what it should."""
    with folder(before(scenario.source)) as home:
        ended, calls = recorded([*SAVER, *scenario.words(home)], home, {"CKPT_WRONG": wrong})
        assert ended.status == 0 and verdict(scenario, home) == "new", ended.err
    return calls


def harmed(scenario: Scenario, calls: list[Call]) -> str:
    """The first power cut that the files do not survive."""
    for label, left in cuts(before(scenario.source), calls, Random(1), 3):
        if not survives(scenario, left, at_end=label.startswith("at the end")):
            return label
    return ""


def survives(scenario: Scenario, left: State, at_end: bool) -> bool:
    with folder(left) as home:
        try:
            use(scenario, home)
        except AssertionError:  # `ckpt ls` finds the file broken
            return False
        return verdict(scenario, home) in (("new",) if at_end else ("old", "new"))


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ("file_not_synced", "rebuild-safetensors"),
        ("file_not_synced", "new-pt"),
        ("folder_not_synced", "out-safetensors"),
        ("folder_not_synced", "patch-pt"),
        ("journal_not_synced", "patch-safetensors"),
        ("journal_not_synced", "shards-patch-safetensors"),
        ("journal_gone_early", "patch-safetensors"),
        ("copied_over", "rebuild-pt"),
        ("moved_before_kept", "shards-cast-safetensors"),
    ],
)
def test_a_power_cut_harms_what_is_saved_wrongly(wrong: str, name: str) -> None:
    assert harmed(SCENARIOS[name], edited(SCENARIOS[name], wrong)), f"{wrong} was not caught"


@pytest.mark.parametrize("wrong", ["mark_not_synced", "mark_gone_early"])
def test_a_power_cut_harms_a_renamed_file_that_is_marked_wrongly(wrong: str) -> None:
    scenario, harmed = SCENARIOS["patch-safetensors"], ""
    for label, left in cuts(before(scenario.source), edited(scenario, wrong), Random(1), 30):
        with folder(left) as home:
            harmed = harmed or (label if renamed(scenario, home) else "")
    assert harmed, f"{wrong} was not caught"


def test_a_saver_that_copies_over_the_old_file_is_caught_when_it_is_killed() -> None:
    scenario = SCENARIOS["rebuild-pt"]
    call = [call for call in edited(scenario, "copied_over") if call.name == "write"][-1]
    assert attempted(scenario, "copied_over", call, "signal=KILL")[1] not in ("old", "new")


def test_a_saver_that_does_not_hear_of_errors_is_caught_by_its_exit_status() -> None:
    scenario = SCENARIOS["rebuild-safetensors"]
    call = next(call for call in edited(scenario, "error_swallowed") if call.name == "fsync")
    assert attempted(scenario, "error_swallowed", call, "error=EIO")[0] == 0


def attempted(scenario: Scenario, wrong: str, call: Call, fault: str) -> tuple[int, str]:
    """The exit status, and what is left, of a wrong saver with a fault in one of its calls."""
    with folder(before(scenario.source)) as home:
        options = ["-e", f"trace={CALLS}", "-e", f"inject={call.name}:{fault}:when={call.number}"]
        ended = traced([*SAVER, *scenario.words(home)], options, {"CKPT_WRONG": wrong})
        return ended.status, verdict(scenario, home)

"""A power cut at any moment leaves the old files or the new, byte for byte, once the next use has recovered them."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest
from disk import Disk, cuts
from scenarios import FULL, NAMES, SCENARIOS, Scenario, State, after, before, command, contents, folder, renamed, swept, use, verdict
from tracing import Call, cannot_trace, recorded

pytestmark = pytest.mark.skipif(bool(cannot_trace()), reason=cannot_trace())
MANY = 40 if FULL else 2  # states at random, of each moment


def some(states: Iterable[tuple[str, State]], random: Random) -> list[tuple[str, State]]:
    """All of them, or a sample and the last."""
    found = list(states)
    return found if FULL else [*random.sample(found, min(30, len(found))), found[-1]]


def traced_edit(scenario: Scenario) -> list[Call]:
    with folder(before(scenario.source)) as home:
        ended, calls = recorded(command(scenario.words(home)), home)
        assert ended.status == 0, ended.err
        assert contents(home) == after(scenario.name)
    return calls


def held(scenario: Scenario, label: str, left: State, random: Random) -> None:
    """Fails unless the next use makes of `left` the old files or the new, and the next edit removes all litter."""
    with folder(left) as home:
        use(scenario, home, shards_first=random.random() < 0.5)
        assert verdict(scenario, home) in (("new",) if label.startswith("at the end") else ("old", "new")), label
        if random.random() < (0.3 if FULL else 0.1):
            swept(scenario, home, label)


@pytest.mark.parametrize("name", NAMES)
def test_a_power_cut_leaves_the_old_or_the_new(name: str) -> None:
    scenario, random = SCENARIOS[name], Random(name)
    for label, left in some(cuts(before(scenario.source), traced_edit(scenario), random, MANY), random):
        held(scenario, label, left, random)


def hot(scenario: Scenario, calls: list[Call], random: Random) -> list[State]:
    """States in which a journal holds: the process was killed, nothing is lost."""
    found, disk = [], Disk(before(scenario.source))
    for call in calls:
        disk.replay(call)
        left = disk.left(random, True, 1.0, 1.0)
        if any(name.endswith("journal") for name in left):
            found.append(left)
    return found if FULL else random.sample(found, 1)


@pytest.mark.parametrize("name", [name for name in NAMES if "patch" in name or "mixed" in name or "cast" in name])
def test_a_power_cut_while_an_edit_is_being_undone(name: str) -> None:
    """The undoing may itself be cut short, and is then done again."""
    scenario, random = SCENARIOS[name], Random(name)
    for state in hot(scenario, traced_edit(scenario), random):
        with folder(state) as home:
            ended, calls = recorded(command(["ls", str(home / scenario.source)]), home)
            assert ended.status == 0, ended.err
        for label, left in some(cuts(state, calls, random, MANY // 4), random):
            held(scenario, label.replace("at the end", "when it is undone"), left, random)


@pytest.mark.parametrize("name", [name for name in NAMES if "patch" in name])
def test_a_power_cut_and_then_another_name(name: str) -> None:
    """Who renames a file before its next use finds it whole as well."""
    scenario, random = SCENARIOS[name], Random(name)
    for label, left in some(cuts(before(scenario.source), traced_edit(scenario), random, MANY), random):
        with folder(left) as home:
            harmed = renamed(scenario, home)
            assert not harmed, f"{harmed}, {label}"

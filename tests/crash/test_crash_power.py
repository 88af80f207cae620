"""A power cut at any moment leaves the old files or the new, byte for byte, once the next use has recovered them."""

from __future__ import annotations

from random import Random

import pytest
from disk import cuts
from scenarios import FULL, SCENARIOS, Scenario, State, after, before, command, contents, folder, swept, use, verdict
from tracing import Call, cannot_trace, recorded

pytestmark = pytest.mark.skipif(bool(cannot_trace()), reason=cannot_trace())
MANY = 40 if FULL else 2  # states at random, of each moment


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


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_power_cut_leaves_the_old_or_the_new(name: str) -> None:
    scenario, random = SCENARIOS[name], Random(name)
    for label, left in cuts(before(scenario.source), traced_edit(scenario), random, MANY):
        held(scenario, label, left, random)

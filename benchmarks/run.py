"""Times every task against its yardstick, and prints which goals are reached: `make bench`. A benchmark is no test; it exits 0 always.

How it is measured is told in docs/performance.md, which --write makes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import growth
import machine
import page
from inputs import Inputs
from measuring import Failed, Pace, Watched, run, take_turns, watch
from rows import PEER_COMMANDS, PROGRAMS, ROWS, Row

TURN = itertools.count(1)
FULL = 2000  # MB
SLOW = 20.0  # seconds; a peer that needs more is run once, and watched then
SYNCED = """sh -c 'cp "$0" "$1" && sync "$1"' """


def prepared(inputs: Inputs, template: str) -> tuple[list[str], tuple[int, ...]]:
    """The command and the exit statuses it may have. Its inputs are made, no outputs are there, nothing is left to be written."""
    inputs.clear_outputs()
    inputs["turn"] = str(next(TURN))
    words = inputs.words(template)
    if "{out" in template:
        os.sync()
    # Only `diff` exits with 1: where files differ.
    return words, (0, 1) if words[:2] == [PROGRAMS["ckpt"], "diff"] else (0,)


def timed(inputs: Inputs, template: str) -> float:
    return run(*prepared(inputs, template))[0]


def watched(inputs: Inputs, template: str) -> Watched:
    return watch(*prepared(inputs, template))


def measure(row: Row, inputs: Inputs, pace: Pace) -> dict[str, Any]:
    """What a row has to show. The run that is not counted is the one that is watched."""
    templates = [f"{{ckpt}} {row.command}", row.yardstick]
    if row.yardstick.startswith("cp "):
        templates.append(SYNCED + row.yardstick.removeprefix("cp "))
    try:
        seen = watched(inputs, templates[0])
        for template in templates[1:]:
            timed(inputs, template)
        turns = take_turns([partial(timed, inputs, template) for template in templates], pace)
    except (Failed, OSError) as reason:
        return {"error": machine.without_paths(str(reason))}
    figures = {"ours": turns.median(0), "theirs": turns.median(1), "ratio": turns.ratio(1)}
    synced = {"synced": turns.ratio(2)} if len(templates) > 2 else {}
    return figures | synced | {"memory": seen.memory, "written": seen.written}


def measure_peer(template: str, inputs: Inputs, pace: Pace) -> dict[str, Any]:
    try:
        seen = watched(inputs, template)
        if seen.seconds > SLOW:
            return {"seconds": seen.seconds, "memory": seen.memory}
        turns = take_turns([partial(timed, inputs, template)], pace._replace(least=1))
    except FileNotFoundError:
        return {"error": "not installed"}
    except (Failed, OSError) as reason:
        return {"error": f"failed: {machine.without_paths(str(reason))}"}
    return {"seconds": turns.median(0), "memory": seen.memory}


def run_rows(inputs: Inputs, rows: list[Row], pace: Pace) -> dict[str, Any]:
    print(page.aligned(page.HEAD))
    found = {}
    for place, row in enumerate(rows):
        found[row.task] = measure(row, inputs, pace)
        print(page.aligned(page.cells(row, found[row.task])), flush=True)
        inputs.keep_only(word for later in rows[place + 1 :] for word in (later.command, later.yardstick))
    return found


def run_peers(inputs: Inputs, rows: list[Row], pace: Pace) -> dict[str, Any]:
    """Each task that peers do, too, by `ckpt` and by each of them."""
    tasks = {row.task: {"ckpt": f"{{ckpt}} {row.command}"} | PEER_COMMANDS[row.task] for row in rows if row.task in PEER_COMMANDS}
    found: dict[str, Any] = {task: {} for task in tasks}
    for place, (task, commands) in enumerate(tasks.items()):
        for who, template in commands.items():
            found[task][who] = measure_peer(template, inputs, pace)
            line = page.peer_cells(task, who, found[task][who], found[task]["ckpt"])
            print(f"{line[0]:47}  {line[1]:27}  {line[2]:>7}  {line[3]:>7}  {line[4]}", flush=True)
        inputs.keep_only(template for later in list(tasks.values())[place + 1 :] for template in later.values())
    return found


def run_growth(folder: Path, megabytes: int) -> dict[str, Any]:
    """Growth with 1,000,000 names where the big files are big, with 100,000 otherwise."""
    print("growth", flush=True)
    most = 10**6 if megabytes >= 1000 else 10**5
    return {"bytes": growth.over_bytes(folder, megabytes, timed), "names": growth.over_names(folder, most, timed)}


def _is_same_machine(one: dict[str, str], other: dict[str, str]) -> bool:
    """Whether the facts of two measurements differ by the date alone."""
    return one | {"date": other["date"]} == other


def keep(part: str, facts: dict[str, str], found: dict[str, Any]) -> None:
    """Keeps what was measured, beside what was measured on the same machine before and not now, and writes the page."""
    results = json.loads(page.RESULTS.read_text()) if page.RESULTS.exists() else {}
    before = results.get(part, {"facts": facts, "tasks": {}})
    if part == "rows" and not _is_same_machine(before["facts"], facts) and len(found) < len(before["tasks"]):
        part = "rows since"  # some rows alone, on another machine: the others keep their figures
        before = results.get(part, {"facts": facts, "tasks": {}})
    elif part == "rows" and "rows since" in results:
        since = results["rows since"]
        since["tasks"] = {task: figures for task, figures in since["tasks"].items() if task not in found}
    results[part] = {"facts": facts, "tasks": (before["tasks"] if _is_same_machine(before["facts"], facts) else {}) | found}
    page.RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    if part == "growth":
        growth.draw(found)
    page.PAGE.write_text(page.render(results))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=FULL, help="the size of the big files")
    parser.add_argument("--folder", type=Path, help="where the inputs are made, in a folder that is removed; the system's for such things")
    parser.add_argument("--only", default="*", metavar="GLOB", help="the tasks whose names match")
    parser.add_argument("--seconds", type=float, default=6, help="the time for the rounds of one row")
    parser.add_argument("--rounds", type=int, default=3, help="the least number of rounds of one row")
    parser.add_argument("--growth", action="store_true", help="also time and memory over sizes, and over numbers of names")
    parser.add_argument("--peers", action="store_true", help="what else does these tasks, and nothing besides")
    parser.add_argument("--write", action="store_true", help="keep the figures, and write docs/performance.md")
    return parser.parse_args()


def main() -> None:
    given = options()
    pace = Pace(given.seconds, given.rounds)
    rows = [row for row in ROWS if fnmatchcase(row.task, given.only)]
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="ckpt-bench-") as name:
        folder = Path(name)
        facts = machine.facts(folder, given.megabytes)
        print("; ".join(f"{name} {value}" for name, value in facts.items()))
        inputs = Inputs(folder / "rows", given.megabytes, PROGRAMS)
        parts: dict[str, Callable[[], dict[str, Any]]] = {"rows": partial(run_rows, inputs, rows, pace)}
        if given.peers:
            parts = {"peers": partial(run_peers, inputs, rows, pace)}
        elif given.growth:
            parts["growth"] = partial(run_growth, folder, given.megabytes)
        if given.megabytes < FULL:
            print(f"(the goals are set for {FULL:,} MB; in smaller files the start of the program weighs more)")
        for part, work in parts.items():
            found = work()
            if given.write:
                keep(part, facts, found)


if __name__ == "__main__":
    # What is made is removed then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

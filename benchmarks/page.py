"""What was measured, as tables: for the terminal, and as docs/performance.md.

python benchmarks/page.py             write the page anew from results.json, without measuring
python benchmarks/page.py --check     change nothing; exit 1 where the page is stale or a row has never been measured
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

from rows import BOTH, PEER_COMMANDS, ROWS, Row

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results.json"
HEAD = ["task", "ckpt", "yardstick", "ratio", "goal", "to cp + sync", "peak memory", "goal", "written", "goal", "verdict"]
WIDTHS = [47, 7, 23, 7, 7, 12, 11, 8, 7, 7, 7]
PEER_HEAD = ["task", "", "time", "times that of ckpt", "peak memory"]

INTRODUCTION = """# Performance

<!-- Written by `make bench` (the rows and the growth) and `make bench-peers`; the words are in benchmarks/page.py. -->

Times in seconds mean little on another machine, so every goal is a ratio to a yardstick that runs in the same minute on the same files:
what the machine itself needs to start Python, to read a file, to compare two, to copy one. Nothing here is a test, and a goal that is
missed is shown as such.

{facts}

## How it is measured

- Whole processes, from start to exit, with standard output to `/dev/null`. Command and yardstick run in turn, A B A B …, three to fifteen
  rounds; the times are medians, and the ratio is the median of the ratios round by round, so that what slows the machine down for a
  while slows both. Each has a run before that is not counted; the files are in the page cache.
- Outputs are removed before every run, for both sides, and what other runs left to be written to disk is written first (`sync`):
  overwriting a file is two to three times as fast as making one.
- `cp` returns when the bytes are in memory; `ckpt` when they are on the disk (`fsync`), because a checkpoint that a crash can lose is not
  saved. The goals are set against plain `cp`, the harder yardstick of the two. The column *to cp + sync* has the ratio to `cp` followed
  by `sync FILE`, which leaves what `ckpt` leaves: that is the honest comparison, and where a disk is much slower than memory the only one
  that says something of the program. A goal that is missed against `cp` and reached against `cp + sync` is shown as that.
- Peak memory is that of all processes of a command together, in a run of its own that is not timed: every few milliseconds (less often
  where there is much to look through) the proportional set sizes (PSS, `/proc/PID/smaps_rollup`) are added up, in which pages that forked
  workers share count once; the largest sum counts, or what the kernel says of the largest process (`ru_maxrss`), where that is more.
  Files in the page cache do not count unless they are mapped. MB are 10⁶ bytes.
- Bytes written are what `/proc/PID/io` says of the command at its end: given to write calls (`wchar`) or dirtied in whole pages of 4 kB
  (`write_bytes`), whichever is more; the goal is twice the bytes that change, and 64 KiB.
- The big files hold layers of 4096 × 4096 normally distributed numbers and a bias of 16 kB. The files for the edits in place are twice as
  large, with layers of zeros that take no room (sparse): such an edit need touch the header and the bias alone, and a command that
  rewrites the file shows as one. The file of 1 TB is sparse, too. Edits with `-o` have the dense files.
"""

PEERS = """## Peers

What else does the same tasks, in the newest versions that the package index has: the commands `sft` (of sft-cli), `ckptkit` and
`safetensors-print`, and the few lines that people write with `torch` and `safetensors` (benchmarks/naive.py). A peer is here where it
gives a comparable answer: `ckptkit diff` compares names and shapes, and never values; none of the three edits values, initialises, or
lists what is in a `.pt`. `sft convert` has the torch of this project's environment. What takes longer than twenty seconds is run once,
and watched in that run, which costs it a few parts in a hundred.

{facts}

{table}"""

GROWTH = """## Growth

Time should grow with the bytes that a command must touch, not with those that it need not (`set -i`), and with the number of names;
memory with the names alone. `diff` is that of two files in which every element differs. Dashed: growth in proportion; dotted: the goal
for memory, where names are few.

![Time and peak memory over the size of a file and over the number of names](growth.svg)
"""


def seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def size(count: float) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def times(ratio: float) -> str:
    """A ratio in three digits; below a tenth, as a part of one."""
    return f"{ratio:.3g} ×" if ratio >= 0.1 else f"1/{1 / ratio:.0f}"


def label(yardstick: str) -> str:
    """What a yardstick is called: its program, without the files."""
    for script, name in (("{naive} load", "torch.load"), ("{naive} names", "safe_open loop"), (BOTH, "cat both, cp + sync")):
        if script in yardstick:
            return name
    return yardstick.replace("{python}", "python").partition(" {")[0]


def cells(row: Row, found: dict[str, Any]) -> list[str]:
    """One line of the table. The goals are those that the row has now."""
    if "error" in found:
        return [row.task, *["–"] * (len(HEAD) - 2), f"failed: {found['error']}"]
    most = row.patch and 2 * row.patch + 65536
    missed = {
        "ratio": found["ratio"] > row.ratio,
        "memory": found["memory"] > row.memory * 1e6,
        "bytes written": bool(most) and found["written"] > most,
    }
    return [
        row.task,
        seconds(found["ours"]),
        f"{label(row.yardstick)} {seconds(found['theirs'])}",
        times(found["ratio"]),
        f"≤ {times(row.ratio)}",
        times(found["synced"]) if "synced" in found else "",
        size(found["memory"]),
        f"≤ {row.memory} MB",
        size(found["written"]) if most else "",
        f"≤ {size(most)}" if most else "",
        verdict(missed, found.get("synced", math.inf) <= row.ratio),
    ]


def verdict(missed: dict[str, bool], synced: bool) -> str:
    """What is missed; and where that is a ratio to `cp`, whether it is the disk's part."""
    if not any(missed.values()):
        return "reached"
    said = f"MISSED: {', '.join(name for name in missed if missed[name])}"
    return f"{said} (reached to cp + sync)" if missed["ratio"] and synced else said


def markdown(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)


def aligned(line: list[str]) -> str:
    """A line of the table for the terminal, where lines come one by one."""
    return "  ".join(cell.ljust(width) for cell, width in zip(line, WIDTHS, strict=True)).rstrip()


def told(facts: dict[str, str]) -> str:
    """What it was measured on, as a sentence."""
    return f"Measured: {'; '.join(f'{name} {value}' for name, value in facts.items())}."


def peer_cells(task: str, who: str, found: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    if "error" in found:
        return [task, who, "–", "", found["error"]]
    over = times(found["seconds"] / ours["seconds"]) if who != "ckpt" and "seconds" in ours else ""
    return [task, who, seconds(found["seconds"]), over, size(found["memory"])]


def peer_table(tasks: dict[str, Any]) -> str:
    lines = [
        peer_cells(task if who == "ckpt" else "", who, one, found["ckpt"])
        for task, found in tasks.items()
        if task in PEER_COMMANDS
        for who, one in found.items()
    ]
    return markdown(PEER_HEAD, lines)


def what_runs() -> str:
    """The commands of every row, about as they are typed."""
    words = {"{python}": "python", "{naive}": "benchmarks/naive.py", "{out}": "OUT.safetensors", "{out_torch}": "OUT.pt", "{turn}": "N"}

    def typed(template: str) -> str:
        for word, meaning in words.items():
            template = template.replace(word, meaning)
        return f"`{re.sub('{(.*?)}', lambda found: found[1].upper(), template)}`"

    return markdown(["task", "command", "yardstick"], [[row.task, typed(f"ckpt {row.command}"), typed(row.yardstick)] for row in ROWS])


def render(results: dict[str, Any]) -> str:
    """The page: the rows in their order, and what else has been measured."""
    since = results.get("rows since", {"tasks": {}})  # measured alone, on another machine
    tasks = results["rows"]["tasks"] | since["tasks"]
    lines = [cells(row, tasks[row.task]) for row in ROWS if row.task in tasks]
    parts = [INTRODUCTION.format(facts=told(results["rows"]["facts"]))]
    added = f"\n{told(since['facts'])} These rows alone: {'; '.join(since['tasks'])}.\n" if since["tasks"] else ""
    parts += [f"## Results\n\n{markdown(HEAD, lines)}{added}\nWhat each row runs:\n\n{what_runs()}"]
    if "peers" in results:
        parts.append(PEERS.format(facts=told(results["peers"]["facts"]), table=peer_table(results["peers"]["tasks"])))
    if "growth" in results:
        parts.append(GROWTH)
    return "\n".join(parts)


def main() -> int:
    results = json.loads(RESULTS.read_text())
    page = render(results)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page)
        return 0
    there = PAGE.read_text()
    measured = results["rows"]["tasks"].keys() | results.get("rows since", {"tasks": {}})["tasks"].keys()
    unmeasured = [row.task for row in ROWS if row.task not in measured]
    stale = [f"{PAGE.name} is not what page.py makes of {RESULTS.name}"] * (page != there)
    for line in (*stale, *(f"{PAGE.name} has no figures of: {task}" for task in unmeasured)):
        print(line)
    return 1 if stale or unmeasured else 0


if __name__ == "__main__":
    sys.exit(main())

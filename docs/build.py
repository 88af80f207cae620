"""Rebuilds what the documentation takes from the program: `make docs`; `--check` says what is stale and exits 1.

- In every page, a block ```console is a transcript: its lines that begin with `$ ` are run, in a terminal 100 columns wide, in a
  folder with a copy of the sample models that all blocks of the page share; what they print replaces what stands there.
- What stands between `<!-- begin: NAME -->` and `<!-- end -->` is written by the function of that name.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import math
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

from ckpt_cli.analysis.figures import FIGURES, Figure
from ckpt_cli.architectures import architectures
from ckpt_cli.architectures.family import Family
from ckpt_cli.cli import COMMANDS
from ckpt_cli.commands.formats import ABILITIES, abilities
from ckpt_cli.formats import formats
from ckpt_cli.mapping.axes import shown
from ckpt_cli.mapping.convention import convention, framework_names
from ckpt_cli.schemes import schemes
from ckpt_cli.schemes.presets import presets

ROOT = Path(__file__).resolve().parent.parent

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COLUMNS = 100
COMMAND = re.compile(r"^\$ .*\n(?:>.*\n)*", re.MULTILINE)


def in_terminal(command: str, folder: Path) -> str:
    """What a shell command shows in a terminal, standard output and error as they come."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NO_COLOR": "1",
        "TERM": "xterm",
        "COLUMNS": str(COLUMNS),
    }
    shell = subprocess.Popen(["sh", "-c", command], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # the terminal is gone: the shell has ended
            break
        if not block:
            break
        shown += block
    shell.wait()
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode().replace("\r\n", "\n"))
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def transcript(block: str, folder: Path) -> str:
    """A block with its commands run anew. Lines after `> ` go on with the command, as a shell shows it."""
    return "".join(
        found[0] + in_terminal(re.sub(r"^[$>] ?", "", found[0], flags=re.MULTILINE), folder) for found in COMMAND.finditer(block)
    )


def run_transcripts(text: str) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for sample in (ROOT / "sample_models").iterdir():
            if sample.is_file() and sample.suffix != ".py":
                shutil.copy(sample, folder)
        shutil.copytree(ROOT / "sample_models/bert", folder / "bert", copy_function=shutil.copy)
        return re.sub(r"(?<=^```console\n).*?(?=^```$)", lambda found: transcript(found[0], folder), text, flags=re.DOTALL | re.MULTILINE)


def command_table() -> str:
    return "| command | |\n|---|---|\n" + "".join(f"| `ckpt {name}` | {title} |\n" for name, title in COMMANDS.items())


def reference() -> str:
    """The help page of every command."""
    with tempfile.TemporaryDirectory() as folder:
        pages = [f"## ckpt {name}\n\n```text\n{in_terminal(f'ckpt {name} --help', Path(folder))}```\n" for name in COMMANDS]
    return "\n".join(pages)


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def scheme_table() -> str:
    distinct = sorted({one.name: one for one in schemes.values()}.values(), key=lambda one: (one.family, one.name.lower()))
    rows = [f"| `{cell(one.signature)}` | {one.family} | {cell(one.formula)} |\n" for one in distinct]
    return "| scheme | family | what it draws |\n|---|---|---|\n" + "".join(rows)


def preset_table() -> str:
    rows = [f"| `{name}` | {cell(' '.join(one.doc.split()))} |\n" for name, one in presets.items()]
    return "| preset | |\n|---|---|\n" + "".join(rows)


def architecture_table() -> str:
    """The architectures: those with a data file, with the types of configs and the styles of names."""
    described = [each for each in (architectures[name] for name in sorted(architectures)) if isinstance(each, Family)]
    rows = [(f"`{each.name}`", cell(each.title), ", ".join(f"`{kind}`" for kind in each.document.get("types", ()))) for each in described]
    styles = [", ".join(f"`{style}`" for style in each.styles if not style.endswith("-bare")) for each in described]
    lines = [f"| {' | '.join((*row, names))} |" for row, names in zip(rows, styles, strict=True)]
    return "\n".join(["| name | what it is | `model_type` in configs | `names=` |", "|---|---|---|---|", *lines, ""])


def format_table() -> str:
    head = f"| format | | suffixes | {' | '.join(ABILITIES)} |\n|---|---|---|{'---|' * len(ABILITIES)}\n"
    rows = [
        f"| `{form.name}` | {form.title} | {' '.join(f'`{suffix}`' for suffix in form.suffixes)} | "
        f"{' | '.join('yes' if can else '–' for can in abilities(form).values())} |\n"
        for form in formats.values()
    ]
    return head + "".join(rows)


def map_table() -> str:
    """What each framework calls the variables of each kind of layer, and how their axes lie."""
    frameworks = {name: convention(name) for name in framework_names()}
    rows = []
    for kind in frameworks["torch"].kinds:
        keys = dict.fromkeys(key for one in frameworks.values() if kind in one.kinds for key in one.kinds[kind].variables)
        for key in keys:
            held = [one.kinds[kind].variables.get(key) if kind in one.kinds else None for one in frameworks.values()]
            cells = [
                f"`{each.names[one.written].replace('.', one.separator)}`" + f" `{shown(each.axes)}`" * bool(each.axes) if each else ""
                for one, each in zip(frameworks.values(), held, strict=True)
            ]
            rows.append(f"| {kind.replace('_', ' ')} | {key.replace('_', ' ').replace('|', chr(92) + '|')} | {' | '.join(cells)} |\n")
    return f"| layer | variable | {' | '.join(frameworks)} |\n|---|---|{'---|' * len(frameworks)}\n" + "".join(rows)


def fields(nullable: bool) -> str:
    """The figures as fields of a type of docs/scripts.md: in their order, a line for each run of measures or of counts."""

    def field(figure: Figure) -> str:
        return f"{figure.name}: {figure.type}" + " | null" * (nullable and not figure.type.endswith("null"))

    lines = (map(field, group) for _, group in groupby(FIGURES.values(), lambda figure: figure.is_count))
    return "".join(f"  {', '.join(line)},\n" for line in lines)


def stats_types() -> str:
    return f"""```ts
type Stats = {{ path: string, format: string, tensors: Figures[] }}
  | {{ path: string, format: string, layers: OfLayer[] }}   // --by-layer
  | {{ path: string, format: string, total: Total }}        // --total
type Figures = {{
  name: string, dtype: string, shape: integer[],
{fields(nullable=True)}  histogram?: Histogram                         // with --hist, where there is a finite element
}}
type OfLayer = {{
  name: string,                                 // the path of the layer
  dtype: string,                                // empty where there are several
  params: integer,
{fields(nullable=True)}  histogram?: Histogram
}}
type Total = {{
  dtype: string,                                // empty where there are several
  params: integer,
{fields(nullable=False)}  histogram?: Histogram
}}
type Histogram = {{ edges: real[], counts: integer[] }}   // 21 edges, 20 counts
```

| figure | | a spec may bound it |
|---|---|---|
""" + "".join(f"| `{name}` | {figure.meaning} | {'yes' if figure.bounded else '–'} |\n" for name, figure in FIGURES.items())


def bounds() -> str:
    """The figures that an entry of a spec may bound."""
    names = " ".join(f"`{name}`" for name, figure in FIGURES.items() if figure.bounded)
    return (
        "| figure | value | |\n|---|---|---|\n"
        f"| {names} | `[low, high]` | the figure, as `ckpt stats` prints it, is within, both ends included; NaN and infinities are left "
        "out of it. Of complex tensors the modulus of the mean |\n"
    )


def floors() -> tuple[tuple[str, ...], ...]:
    """The rooms on their floors, as tests/test_rooms.py has them."""
    tree = ast.parse((ROOT / "tests/test_rooms.py").read_text())
    values = [node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS"]
    found: tuple[tuple[str, ...], ...] = ast.literal_eval(values[0])
    return found


def room_row(room: str) -> str:
    """A folder or a file, and the first sentence of its docstring."""
    path = ROOT / "ckpt_cli" / room.replace(".", "/")
    if path.name == "FAMILY":
        families = sorted(
            folder.name for folder in path.parent.iterdir() if (folder / "__init__.py").exists() and folder.name != "encodings"
        )
        return f"| {' '.join(f'`formats/{name}/`' for name in families)} | A family of formats each, with what only it needs. |\n"
    module = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = (ast.get_docstring(ast.parse(module.read_text())) or "").split("\n\n")[0].split(". ")[0].rstrip(".")
    return f"| `{room.replace('.', '/')}{'/' if path.is_dir() else '.py'}` | {cell(text)}. |\n"


def room_table() -> str:
    """The folders and files of the package, ground floor first."""
    return "| room, ground floor first | |\n|---|---|\n" + "".join(room_row(room) for floor in floors() for room in floor)


GENERATED: dict[str, Callable[[], str]] = {
    "rooms": room_table,
    "commands": command_table,
    "reference": reference,
    "architectures": architecture_table,
    "schemes": scheme_table,
    "presets": preset_table,
    "formats": format_table,
    "maps": map_table,
    "stats": stats_types,
    "bounds": bounds,
}


def fill(text: str) -> str:
    pattern = re.compile(r"(<!-- begin: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{GENERATED[found[2]]()}{found[3]}", text)


def build(page: Path) -> str:
    return fill(run_transcripts(page.read_text()))


FLOAT = re.compile(r"-?\d+\.\d*(?:e[-+]?\d+)?|-?\d+e[-+]?\d+")


def alike(old: str, new: str) -> bool:
    """Whether two pages say the same. The last digits of what torch computes are the processor's, and so is the width of their column."""
    texts = [re.sub(r"[ \n]+", " ", FLOAT.sub("#", page)) for page in (old, new)]
    numbers = [[float(number) for number in FLOAT.findall(page)] for page in (old, new)]
    return texts[0] == texts[1] and all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(*numbers, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a page is stale")
    check = parser.parse_args().check
    stale = []
    with ThreadPoolExecutor(os.cpu_count()) as jobs:  # a page waits for its commands, one after the other
        for page, fresh in zip(PAGES, jobs.map(build, PAGES), strict=True):
            if alike(page.read_text(), fresh):
                continue
            stale.append(str(page.relative_to(ROOT)))
            if not check:
                page.write_text(fresh)
    if stale:
        print(f"{'stale' if check else 'rebuilt'}: {', '.join(stale)}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())

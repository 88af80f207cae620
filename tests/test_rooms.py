"""The rooms of `ckpt_cli`: who imports whom, and how large functions and files are."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import SAMPLES, Ckpt

PACKAGE = SAMPLES.parent / "ckpt_cli"

# Every room on its floor, the lowest first. Rooms of one floor do not know each other. A file that lies in no folder is a room of its own.
FLOORS = (
    ("errors",),
    ("registry",),
    ("numbers",),
    ("storage",),
    ("tensors",),
    ("disk",),
    ("formats.encodings",),
    ("formats",),
    ("formats.FAMILY",),
    ("reading", "writing"),
    ("configs",),
    ("packing",),
    ("architectures", "schemes"),
    ("providers",),
    ("analysis", "mapping", "training", "scanning", "merging", "adapters"),
    ("checking",),
    ("edits",),
    ("show",),
    ("completion",),
    ("commands",),
    ("cli", "interface"),
    ("start", "__init__"),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

LONGEST_FUNCTION, LONGEST_FILE, MOST_FLAT_FILES = 40, 300, 8


@cache
def modules() -> dict[str, Path]:
    """Path of each module by its dotted name below `ckpt_cli`; that of a folder is the folder's."""
    return {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The folder of a module, or itself. In `formats`, the folder of a family, or that of what they share."""
    first, *rest = module.split(".")
    return f"{first}.{rest[0]}" if first == "formats" and rest and (PACKAGE / first / rest[0]).is_dir() else first


def floor_of(module: str) -> int:
    room = room_of(module)
    return FLOOR_OF["formats.FAMILY" if room.startswith("formats.") and room not in FLOOR_OF else room]


class Imports(ast.NodeVisitor):
    """The modules of `ckpt_cli` that a module imports, anywhere in it but for its types."""

    def __init__(self, module: str) -> None:
        self.found: set[str] = set()
        self.package = ["ckpt_cli", *module.split(".")]
        if modules()[module].name != "__init__.py" or module == "__init__":
            self.package.pop()

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING":
            for each in node.orelse:
                self.visit(each)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self.package[: len(self.package) - node.level + 1] if node.level else []
        source = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            self._add(f"{source}.{alias.name}") or self._add(source)

    def _add(self, name: str) -> bool:
        """Whether that is a module, which is added then."""
        module = name.removeprefix("ckpt_cli.") if name != "ckpt_cli" else "__init__"
        known = module in modules() and name.startswith("ckpt_cli")
        if known:
            self.found.add(module)
        return known


@cache
def imports() -> dict[str, set[str]]:
    found = {}
    for module, path in modules().items():
        visitor = Imports(module)
        visitor.visit(parsed(path))
        found[module] = visitor.found - {module}
    return found


def test_imports_inside_functions_are_seen_and_those_of_types_are_not() -> None:
    assert imports()["reading"] >= {"disk.opening", "formats", "formats.locate"} and "disk.recovery" in imports()["disk.opening"]
    assert "disk.saving" in imports()["writing"] and "disk.layout" not in imports()["writing"]


def test_a_module_imports_from_floors_below_and_from_its_own_room_alone() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in sorted(others)
        if room_of(module) != room_of(other) and floor_of(module) <= floor_of(other)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    circles = [" -> ".join(circle) for circle in circles_of(imports())]
    assert not circles, "\n".join(circles)


def circles_of(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """The modules that can be reached from themselves, each with others of its circle."""
    reached = {module: reached_from(module, graph) for module in graph}
    done: set[str] = set()
    for module in graph:
        circle = sorted(other for other in reached[module] if module in reached[other])
        if module in reached[module] and not done & set(circle):
            done |= set(circle)
            yield circle


def reached_from(module: str, graph: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[module])
    while waiting:
        other = waiting.pop()
        if other not in found:
            found.add(other)
            waiting += graph[other]
    return found


def test_the_check_of_circles_finds_one() -> None:
    assert list(circles_of({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}})) == [["b", "c"]]


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "helper", "manager", "misc", "common", "base", "handler"])
def test_no_module_has_a_name_that_says_nothing(name: str) -> None:
    assert not [module for module in modules() if name in module.split(".")]


def test_no_function_and_no_file_is_long_and_few_files_lie_in_no_folder() -> None:
    long_files = [f"{path} has {count} lines" for path in modules().values() if (count := lines_of(path)) > LONGEST_FILE]
    long_functions = [
        f"{path}: {node.name} has {count} lines"
        for path in modules().values()
        for node in ast.walk(parsed(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (count := height_of(node)) > LONGEST_FUNCTION
    ]
    assert not long_files + long_functions, "\n".join(long_files + long_functions)
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_FLAT_FILES


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


def height_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the last."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


# Lists each path; then its name, and what it has loaded of the package by now.
CODE = """
import sys
from ckpt_cli.cli import main
for path in sys.argv[1:]:
    assert main(["ls", path]) == 0
    print(path, *(name for name in sys.modules if name.startswith("ckpt_cli.")), file=sys.stderr)
"""


def loaded_by_ls(*paths: Path) -> dict[str, set[str]]:
    """For each path, what one process that lists them one after another has loaded when that one is done."""
    done = subprocess.run([sys.executable, "-c", CODE, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout, done.stderr
    return {path: set(names) for path, *names in map(str.split, done.stderr.splitlines()) if path.startswith("/")}


def of_writing(loaded: set[str]) -> set[str]:
    """Those among modules that only writing needs."""
    disk = {module for module in loaded if module.startswith("ckpt_cli.disk.")}
    return (disk | loaded & {"ckpt_cli.writing"}) - {"ckpt_cli.disk.opening"}


def test_listing_a_sample_of_any_format_loads_nothing_of_writing() -> None:
    samples = [path for path in sorted(SAMPLES.iterdir()) if path.suffix != ".py" and not path.name.startswith((".", "__"))]
    loaded = loaded_by_ls(*samples)
    assert len(loaded) == len(samples) > 30
    assert all("ckpt_cli.disk.opening" in modules for modules in loaded.values())
    assert {path: found for path, modules in loaded.items() if (found := of_writing(modules))} == {}


def test_listing_shards_loads_nothing_of_writing(tmp_path: Path, ckpt: Ckpt) -> None:
    index = tmp_path / "m.safetensors.index.json"
    ckpt("convert", SAMPLES / "mlp.safetensors", index, "--shard-size", "200B")
    assert [of_writing(modules) for modules in loaded_by_ls(index).values()] == [set()]


def test_an_interrupted_edit_is_what_loads_recovery(tmp_path: Path) -> None:
    path = tmp_path / "mlp.pt"
    shutil.copy(SAMPLES / path.name, path)
    (tmp_path / f".{path.name}.ckpt-journal").write_bytes(b"cut short")
    assert "ckpt_cli.disk.recovery" in of_writing(*loaded_by_ls(path).values())

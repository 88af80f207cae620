"""The documentation knows every command and scheme; `make check-docs` holds transcripts, help pages and tables to the program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ckpt_cli.cli import COMMANDS
from ckpt_cli.schemes import schemes

ROOT = Path(__file__).resolve().parent.parent


def test_the_demo_runs_through(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["sh", ROOT / "examples/demo.sh"], cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PATH": path})
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("the same")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme_and_the_reference(name: str) -> None:
    assert f"`ckpt {name}`" in (ROOT / "README.md").read_text()
    assert f"## ckpt {name}\n" in (ROOT / "docs/reference.md").read_text()


def test_every_scheme_is_in_the_table() -> None:
    page = (ROOT / "docs/schemes.md").read_text()
    assert all(f"`{scheme.name}(" in page for scheme in schemes.values())


def test_every_benchmark_has_its_line_in_the_page_of_figures() -> None:
    """The figures are as old as they are; the words, the goals and the rows are those of benchmarks/."""
    done = subprocess.run([sys.executable, "benchmarks/page.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}`python benchmarks/page.py`, or `make bench`"


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([\w/.-]+\.md)", page.read_text())
    assert all((page.parent / link).exists() for link in links)

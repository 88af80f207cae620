"""A byte of contents that changed is never said to be the same, in any format, for any kind of object."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import every_byte
import pytest
from conftest import WHOLE
from judge import Warm

SOURCES = every_byte.sources()


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    process = Warm(*every_byte.COMMANDS)
    yield process
    process.close()


@pytest.mark.parametrize("source", SOURCES[:: 1 if WHOLE else 6], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_changed_byte_is_never_the_same(source: Path, tmp_path: Path, warm: Warm) -> None:
    for seed in range(8 if WHOLE else 1):
        every_byte.check(source, random.Random(f"{source.name} {seed}"), tmp_path, warm)

"""Any bytes at all, any mutation, truncation or splice of a good file: an answer or rule R, inside the limits."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import mutations
import pytest
from conftest import WHOLE, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judge import Warm, judge, lay_lures, untouched

ANY = settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    process = Warm("ckpt_cli.commands.ls", "ckpt_cli.commands.summary", "ckpt_cli.commands.hash", "numpy")
    yield process
    process.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lay_lures(tmp_path)
    return tmp_path


@ANY
@given(head=st.sampled_from(mutations.HEADS), raw=st.binary(max_size=300))
def test_any_bytes(head: bytes, raw: bytes, folder: Path, warm: Warm) -> None:
    path = folder / "a.pt"
    path.write_bytes(head + raw)
    with untouched(folder):
        found = warm(folder, "ls", path.name)
    judge(found, folder)


@settings(ANY, max_examples=150 if WHOLE else 40)
@given(seed=st.integers(0, 1 << 48))
def test_any_mutation(seed: int, folder: Path, warm: Warm) -> None:
    mutations.check(seed, folder, warm)


@settings(ANY, max_examples=20 if WHOLE else 3)
@given(data=st.data())
@pytest.mark.parametrize("sample", mutations.samples(), ids=lambda path: path.name)
def test_any_truncation_is_an_error(sample: Path, data: st.DataObject, folder: Path, warm: Warm) -> None:
    raw = sample.read_bytes()
    path = folder / sample.name
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
    found = warm(folder, "ls", path.name)
    judge(found, folder)
    assert found.status == 2, "the end of a good file is missed by every reader"


@settings(ANY, max_examples=examples(60))
@given(seed=st.integers(0, 1 << 48))
def test_any_mutation_of_a_folder(seed: int, folder: Path, warm: Warm) -> None:
    """One of the files of a distributed checkpoint."""
    choose = random.Random(seed)
    for path in (mutations.SAMPLES / "mlp.dcp").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    victim = folder / choose.choice([".metadata", "__0_0.distcp"])
    victim.write_bytes(mutations.changed(victim.read_bytes(), choose))
    with untouched(folder):
        found = warm(folder, choose.choice(["ls", "summary", "hash", "check"]), ".metadata")
    judge(found, folder, (0, 1, 2))
